/** The fids of a 9P session: what the guest's numbers stand for. */

import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import { NinepError } from './messages.ts';

const { EBADF, EINVAL, ENFILE } = constants.errno;
/** More than any guest needs; it bounds our memory. */
const FIDS_MAX = 65536;
/** {@link Fid.fd} of one that is not open. */
export const NOT_OPEN = -1;

export interface Fid {
  /** See HostTree. It changes when the guest renames what it stands for. */
  path: string;
  /** Who attached: owner of what is made here. */
  readonly uid: number;
  fd: number;
  /** Open as a directory. */
  isDirectory: boolean;
  /** Open for writing. */
  isWritable: boolean;
}

/** Every method throws NinepError for what the guest did wrong. */
export class Fids {
  private readonly fids = new Map<number, Fid>();

  get(number: number): Fid {
    const fid = this.fids.get(number);
    if (!fid) throw new NinepError(EBADF);
    return fid;
  }

  /** Of a fid that is open. @returns its descriptor */
  open(number: number, isDirectory: boolean): number {
    const fid = this.get(number);
    if (fid.fd === NOT_OPEN || fid.isDirectory !== isDirectory) throw new NinepError(EINVAL);
    return fid.fd;
  }

  add(number: number, path: string, uid: number): void {
    if (this.fids.has(number)) throw new NinepError(EINVAL);
    if (this.fids.size >= FIDS_MAX) throw new NinepError(ENFILE);
    this.fids.set(number, { path, uid, fd: NOT_OPEN, isDirectory: false, isWritable: false });
  }

  remove(number: number): void {
    const { fd } = this.get(number);
    this.fids.delete(number);
    if (fd !== NOT_OPEN) closeSync(fd);
  }

  clear(): void {
    for (const number of [...this.fids.keys()]) this.remove(number);
  }

  /** What was at `from` is at `to` now, and so is everything beneath it. */
  renamed(from: string, to: string): void {
    for (const fid of this.fids.values()) {
      if (fid.path === from || fid.path.startsWith(`${from}/`)) fid.path = to + fid.path.slice(from.length);
    }
  }
}
