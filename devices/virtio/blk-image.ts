/** A raw disk image: a file or a block device of the host, read and written in place. */

import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { loadAddon } from '../../native/addon.ts';
import type { GuestMemory } from '../bus.ts';
import type { SegmentList } from './segments.ts';

export const SECTOR_SIZE = 512;

const ZEROES = new Uint8Array(64 * 1024);

export interface BlkImageOptions {
  readonly readonly?: boolean;
  /** Flushes wait for the disk; without, the host writes back when it likes (`cache=unsafe`). */
  readonly flush?: boolean;
  /** What the guest discards is given back to the host. */
  readonly discard?: boolean;
}

export class BlkImage {
  readonly readonly: boolean;
  private readonly flushes: boolean;
  private readonly discards: boolean;
  /** 512-byte sectors; a last, partial one counts, and reads as zeroes behind the end of the file. */
  readonly sectors: number;
  private readonly fd: number;

  /**
   * @throws the error of node:fs when the file cannot be opened; an Error when it is neither file nor disk; AddonError
   * when discarding or a block device needs the addon and it is not there.
   */
  constructor(path: string, { readonly = false, flush = true, discard = false }: BlkImageOptions = {}) {
    this.readonly = readonly;
    this.flushes = flush;
    this.discards = discard;
    if (discard) loadAddon();
    this.fd = openSync(path, readonly ? 'r' : 'r+');
    try {
      this.sectors = Math.ceil(sizeOf(this.fd, path) / SECTOR_SIZE);
    } catch (error) {
      closeSync(this.fd);
      throw error;
    }
  }

  /** Reads from byte `position` on into the pieces, without a copy. @throws the error of node:fs. */
  read(memory: GuestMemory, pieces: SegmentList, position: number): void {
    for (let i = 0; i < pieces.count; i++) {
      let address = pieces.address[i];
      const end = address + pieces.length[i];
      memory.written(address, end - address);
      while (address < end) {
        const count = readSync(this.fd, memory.bytes, address, end - address, position);
        if (count === 0) {
          memory.bytes.fill(0, address, end); // behind the end of the file
          break;
        }
        address += count;
        position += count;
      }
    }
  }

  /** Writes the pieces from byte `position` on. @throws the error of node:fs. */
  write(memory: GuestMemory, pieces: SegmentList, position: number): void {
    for (let i = 0; i < pieces.count; i++) {
      this.writeBytes(memory.bytes, pieces.address[i], pieces.length[i], position);
      position += pieces.length[i];
    }
  }

  /** @throws the error of node:fs. */
  writeZeroes(position: number, length: number): void {
    for (let done = 0; done < length; done += ZEROES.length)
      this.writeBytes(ZEROES, 0, Math.min(ZEROES.length, length - done), position + done);
  }

  /** The guest needs these bytes no more: a hint, so a host that cannot take it is no error. */
  discard(position: number, length: number): void {
    if (this.discards) loadAddon().discard(this.fd, position, length);
  }

  /** Everything written is on the disk. @throws the error of node:fs. */
  flush(): void {
    if (this.flushes && !this.readonly) fdatasyncSync(this.fd);
  }

  close(): void {
    closeSync(this.fd);
  }

  private writeBytes(source: Uint8Array, offset: number, length: number, position: number): void {
    for (let done = 0; done < length; )
      done += writeSync(this.fd, source, offset + done, length - done, position + done);
  }
}

function sizeOf(fd: number, path: string): number {
  const stat = fstatSync(fd);
  if (stat.isFile()) return stat.size;
  if (!stat.isBlockDevice()) throw new Error(`${path} is neither a file nor a block device`);
  const size = loadAddon().blockDeviceSize(fd);
  if (size < 0) throw new Error(`${path} does not tell its size (errno ${-size})`);
  return size;
}
