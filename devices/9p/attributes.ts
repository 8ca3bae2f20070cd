/** What the host knows of a file, and the qid that the guest knows it by. */

import { constants } from 'node:os';
import { type HostTree, STAT_SIZE } from './host-tree.ts';
import { NinepError, QID_SIZE } from './messages.ts';

export const QTDIR = 0x80;
export const QTSYMLINK = 0x02;
const QTFILE = 0;

const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;

// Indices of the 64-bit values of HostTree.stat.
const ST_DEV = 0;
const ST_INO = 1;
export const ST_MODE = 2;
export const ST_NLINK = 3;
export const ST_UID = 4;
export const ST_GID = 5;
/** Followed by size, blksize, blocks and the times. */
export const ST_RDEV = 6;
const ST_SIZE = 7;
const ST_MTIME = 12;
export const ST_CTIME_NSEC = 15;

// A qid: type[1] version[4] path[8].
const QID_VERSION = 1;
const QID_PATH = 5;
const QID_PATH_TOP = 11;

/** The attributes of the file that was looked at last. */
export class Attributes {
  private readonly tree: HostTree;
  private readonly oneDevice: boolean;
  private readonly bytes = Buffer.alloc(STAT_SIZE);
  private readonly qid = Buffer.alloc(QID_SIZE);
  /** Devices in the tree by their numbers; that of the root is the first. */
  private readonly devices = new Map<bigint, number>();

  /** @param oneDevice other file systems than the root's are not shown */
  constructor(tree: HostTree, oneDevice: boolean) {
    this.tree = tree;
    this.oneDevice = oneDevice;
    this.look('');
  }

  /**
   * Looks at the file at a path, or at an open one. Inode numbers of other devices than the root's are told apart in
   * their top bits, as by QEMU's multidevs=remap.
   * @throws NinepError
   * @returns its qid, valid until the next call
   */
  look(file: string | number): Uint8Array {
    const { bytes, qid, devices } = this;
    this.tree.stat(file, bytes);
    const { type } = this;
    const device = bytes.readBigUInt64LE(8 * ST_DEV);
    let index = devices.get(device);
    if (index === undefined) {
      index = devices.size;
      devices.set(device, index);
    }
    if (index !== 0 && this.oneDevice) throw new NinepError(constants.errno.ENODEV);
    qid[0] = type === S_IFDIR ? QTDIR : type === S_IFLNK ? QTSYMLINK : QTFILE;
    const version = bytes.readUInt32LE(8 * ST_MTIME) ^ (bytes.readUInt32LE(8 * ST_SIZE) << 8);
    qid.writeUInt32LE(version >>> 0, QID_VERSION);
    bytes.copy(qid, QID_PATH, 8 * ST_INO, 8 * ST_INO + 8);
    qid.writeUInt16LE(qid.readUInt16LE(QID_PATH_TOP) ^ (index & 0xffff), QID_PATH_TOP);
    return qid;
  }

  /** S_IF* */
  get type(): number {
    return this.bytes.readUInt32LE(8 * ST_MODE) & S_IFMT;
  }

  /** The bytes of values `first` … `last` (ST_*). */
  values(first: number, last = first): Uint8Array {
    return this.bytes.subarray(8 * first, 8 * last + 8);
  }

  /** The low four bytes of value `index`. */
  word(index: number): Uint8Array {
    return this.bytes.subarray(8 * index, 8 * index + 4);
  }
}
