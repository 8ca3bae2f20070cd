/**
 * A 9P2000.L server (messages.ts says where the protocol is written) in front of a {@link HostTree}, with the meanings
 * that QEMU's has (hw/9pfs) under security_model=none: files belong on the host to whom the guest says, as far as we
 * may give them away. Requests are served one after the other, so there is never one to flush.
 *
 * What it does not have: extended attributes, device nodes, locks between guests.
 */

import { closeSync, fdatasyncSync, constants as fsConstants, fsyncSync, ftruncateSync } from 'node:fs';
import { constants } from 'node:os';
import * as a from './attributes.ts';
import { Fids, NOT_OPEN } from './fids.ts';
import { type HostTree, KEEP_ID, STATFS_SIZE } from './host-tree.ts';
import * as m from './messages.ts';
import { MessageReader, MessageWriter, NinepError } from './messages.ts';
import { childOf, newChildOf, PATH_MAX, parentOf } from './paths.ts';

const { errno } = constants;
const PROTOCOL = '9P2000.L';
/** Bytes of any request but Twrite, and of any reply but Rread, at most. */
export const MESSAGE_MAX = 64 * 1024;
const MSIZE_MIN = 4096;
/** A megabyte at once: more would keep the run loop. */
const MSIZE_MAX = 1 << 20;
const NAMES_PER_WALK = 16;

const DT_DIR = 4;
const DT_LNK = 10;
const MODE_BITS = 0o7777;
const DMDIR = 1 << 31;
const PERMISSION_BITS = 0o777;
const SET_ID_BITS = 0o6000;

/** Open flags that a guest may choose: those of Linux on x86, which are those of the protocol. */
const { O_ACCMODE, O_APPEND, O_DIRECTORY, O_DSYNC, O_RDONLY, O_SYNC, O_TRUNC } = { O_ACCMODE: 3, ...fsConstants };
const OPEN_FLAGS = O_ACCMODE | O_APPEND | O_DIRECTORY | O_DSYNC | O_SYNC | O_TRUNC;

/** Rgetattr: mode, nlink, uid, gid, rdev, the times but that of birth, ino, size and blocks. */
const STATS_BASIC = 0x7ff;
// Tsetattr.
const ATTR_MODE = 0x1;
const ATTR_UID = 0x2;
const ATTR_GID = 0x4;
const ATTR_SIZE = 0x8;
const ATTR_ATIME = 0x10;
const ATTR_MTIME = 0x20;
const ATTR_CTIME = 0x40;
const ATTR_ATIME_SET = 0x80;
const ATTR_MTIME_SET = 0x100;
const UTIME_NOW = 0x3fffffff;
const UTIME_OMIT = 0x3ffffffe;

const UNLINKAT_REMOVEDIR = 0x200;
const LOCK_SUCCESS = 0;
const F_UNLCK = 2;
/** st_rdev of what is no device, and the qid version of what was not looked at. */
const NONE = 0;

/** struct linux_dirent64: d_ino[8] d_off[8] d_reclen[2] d_type[1] d_name. */
const DIRENT_RECLEN = 16;
const DIRENT_TYPE = 18;
const DIRENT_NAME = 19;
/** Bytes of an entry of Rreaddir without its name. */
const ENTRY_SIZE = m.QID_SIZE + 8 + 1 + 2;

/** Where the data of Rread goes and that of Twrite comes from; of either there is `size` bytes at most. */
export interface Payload {
  readonly size: number;
  /** Reads from byte `position` of a file, fewer bytes only at its end. @throws the error of node:fs @returns bytes */
  readFile(fd: number, position: number, count: number): number;
  /** @throws the error of node:fs @returns bytes */
  writeFile(fd: number, position: number, count: number): number;
}

export interface NinepOptions {
  /** Nothing can be changed. */
  readonly readonly?: boolean;
  /** Other file systems that are mounted in the tree are not shown. */
  readonly oneDevice?: boolean;
}

/** Requests that change something; opening is looked at by itself. */
const CHANGES: readonly number[] = [
  ...[m.TCREATE, m.TLCREATE, m.TSYMLINK, m.TMKNOD, m.TRENAME, m.TSETATTR, m.TLINK],
  ...[m.TMKDIR, m.TRENAMEAT, m.TUNLINKAT, m.TWRITE, m.TREMOVE],
];

export class NinepServer {
  /** The request to serve, but for the data of a Twrite. */
  readonly request = Buffer.alloc(MESSAGE_MAX);
  private readonly tree: HostTree;
  private readonly options: NinepOptions;
  private readonly fids = new Fids();
  private readonly reader = new MessageReader(this.request);
  private readonly writer = new MessageWriter(MESSAGE_MAX);
  private readonly attributes: a.Attributes;
  private msize = MSIZE_MAX;
  private payload!: Payload;
  /** Bytes of the payload in the reply. */
  private dataLength = 0;

  /** What serves each type of request. Txattrwalk, Txattrcreate and Tauth are left to be refused. */
  private readonly handlers: Readonly<Record<number, () => void>> = {
    [m.TVERSION]: () => this.version(),
    [m.TATTACH]: () => this.attach(),
    // There is never a request under way.
    [m.TFLUSH]: () => {},
    [m.TWALK]: () => this.walk(),
    [m.TCLUNK]: () => this.fids.remove(this.reader.u32()),
    [m.TGETATTR]: () => this.getattr(),
    [m.TSETATTR]: () => this.setattr(),
    [m.TLOPEN]: () => this.lopen(),
    [m.TLCREATE]: () => this.lcreate(),
    [m.TCREATE]: () => this.create(),
    [m.TREAD]: () => this.read(),
    [m.TWRITE]: () => this.write(),
    [m.TREADDIR]: () => this.readdir(),
    [m.TFSYNC]: () => this.fsync(),
    [m.TMKDIR]: () => this.mkdir(),
    [m.TMKNOD]: () => this.mknod(),
    [m.TSYMLINK]: () => this.symlink(),
    [m.TREADLINK]: () => this.readlink(),
    [m.TLINK]: () => this.link(),
    [m.TRENAME]: () => this.rename(),
    [m.TRENAMEAT]: () => this.renameat(),
    [m.TUNLINKAT]: () => this.unlinkat(),
    [m.TREMOVE]: () => this.remove(),
    [m.TSTATFS]: () => this.statfs(),
    [m.TLOCK]: () => this.lock(),
    [m.TGETLOCK]: () => this.getlock(),
  };

  constructor(tree: HostTree, options: NinepOptions = {}) {
    this.tree = tree;
    this.options = options;
    this.attributes = new a.Attributes(tree, options.oneDevice ?? false);
  }

  /** Forgets the session. */
  reset(): void {
    this.fids.clear();
    this.msize = MSIZE_MAX;
  }

  close(): void {
    this.fids.clear();
    this.tree.close();
  }

  /**
   * Serves the message in {@link request}.
   * @param length its bytes there
   * @returns the reply, valid until the next call; the data of an Rread is in the payload already
   */
  serve(length: number, payload: Payload): Buffer {
    const { request, reader, writer } = this;
    const type = request[4];
    const tag = request.readUInt16LE(5);
    this.payload = payload;
    this.dataLength = 0;
    reader.begin(length);
    writer.begin();
    try {
      if (this.options.readonly && CHANGES.includes(type)) throw new NinepError(errno.EROFS);
      const handler = this.handlers[type];
      if (!handler) throw new NinepError(errno.EOPNOTSUPP);
      handler();
      writer.finish(type + 1, tag, writer.length + this.dataLength);
    } catch (error) {
      writer.begin();
      writer.u32(errnoOf(error));
      writer.finish(m.RLERROR, tag);
    }
    return writer.bytes.subarray(0, writer.length);
  }

  // ── Session ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Tversion msize[4] version[s] */
  private version(): void {
    const { reader, writer } = this;
    const msize = reader.u32();
    const version = reader.string();
    if (msize < MSIZE_MIN) throw new NinepError(errno.EMSGSIZE);
    this.reset();
    this.msize = Math.min(msize, MSIZE_MAX);
    writer.u32(this.msize);
    writer.string(version === PROTOCOL ? PROTOCOL : 'unknown');
  }

  /** Tattach fid[4] afid[4] uname[s] aname[s] n_uname[4]: every aname is the root. */
  private attach(): void {
    const { reader } = this;
    const fid = reader.u32();
    reader.u32();
    reader.string();
    reader.string();
    this.fids.add(fid, '', reader.u32());
    this.writer.raw(this.attributes.look(''));
  }

  /** Twalk fid[4] newfid[4] nwname[2] nwname*(wname[s]): as far as there is something; newfid only if it is the end. */
  private walk(): void {
    const { reader, writer, fids } = this;
    const number = reader.u32();
    const newNumber = reader.u32();
    const count = reader.u16();
    const fid = fids.get(number);
    if (count > NAMES_PER_WALK || (newNumber === number && fid.fd !== NOT_OPEN)) throw new NinepError(errno.EINVAL);
    let { path } = fid;
    const qids: Uint8Array[] = [];
    for (let index = 0; index < count; index++) {
      const name = reader.string();
      try {
        path = name === '..' ? parentOf(path) : childOf(path, name);
        qids.push(Buffer.from(this.attributes.look(path)));
      } catch (error) {
        if (index === 0) throw error;
        break;
      }
    }
    if (qids.length === count) {
      if (newNumber === number) fid.path = path;
      else fids.add(newNumber, path, fid.uid);
    }
    writer.u16(qids.length);
    for (const qid of qids) writer.raw(qid);
  }

  // ── a.Attributes ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Tgetattr fid[4] request_mask[8] */
  private getattr(): void {
    const { reader, writer, attributes } = this;
    const { path, fd } = this.fids.get(reader.u32());
    const mask = reader.u32();
    const qid = attributes.look(fd === NOT_OPEN ? path : fd);
    writer.u64(mask & STATS_BASIC);
    writer.raw(qid);
    writer.raw(attributes.word(a.ST_MODE));
    writer.raw(attributes.word(a.ST_UID));
    writer.raw(attributes.word(a.ST_GID));
    writer.raw(attributes.values(a.ST_NLINK));
    writer.raw(attributes.values(a.ST_RDEV, a.ST_CTIME_NSEC));
    // Birth, in seconds and nanoseconds, generation and data version are not told.
    writer.reserve(32).fill(0);
  }

  /**
   * Tsetattr fid[4] valid[4] mode[4] uid[4] gid[4] size[8] atime_sec[8] atime_nsec[8] mtime_sec[8] mtime_nsec[8], in the
   * order in which QEMU does it.
   */
  private setattr(): void {
    const { reader, tree } = this;
    const { path, fd, isWritable } = this.fids.get(reader.u32());
    const valid = reader.u32();
    const [mode, uid, gid] = [reader.u32(), reader.u32(), reader.u32()];
    const size = reader.u64();
    const times = Float64Array.of(reader.i64(), reader.u64(), reader.i64(), reader.u64());
    const file = fd === NOT_OPEN ? path : fd;
    if (valid & ATTR_MODE) tree.setMode(file, mode & MODE_BITS);
    if (valid & (ATTR_ATIME | ATTR_MTIME)) {
      if (!(valid & ATTR_ATIME)) times[1] = UTIME_OMIT;
      else if (!(valid & ATTR_ATIME_SET)) times[1] = UTIME_NOW;
      if (!(valid & ATTR_MTIME)) times[3] = UTIME_OMIT;
      else if (!(valid & ATTR_MTIME_SET)) times[3] = UTIME_NOW;
      tree.setTimes(file, times);
    }
    if (valid & (ATTR_UID | ATTR_GID)) {
      tree.setOwner(file, valid & ATTR_UID ? uid : KEEP_ID, valid & ATTR_GID ? gid : KEEP_ID);
    } else if ((valid & ~ATTR_MODE) === ATTR_CTIME) {
      // Changing nothing sets the time of change.
      tree.setOwner(file, KEEP_ID, KEEP_ID);
    }
    if (valid & ATTR_SIZE) {
      if (!Number.isSafeInteger(size)) throw new NinepError(errno.EFBIG);
      if (isWritable) ftruncateSync(fd, size);
      else tree.truncate(path, size);
    }
  }

  /** Tstatfs fid[4] */
  private statfs(): void {
    const { path } = this.fids.get(this.reader.u32());
    const values = Buffer.alloc(STATFS_SIZE);
    this.tree.statfs(path, values);
    const { writer } = this;
    writer.raw(values.subarray(0, 4)); // type
    writer.raw(values.subarray(8, 12)); // bsize
    writer.raw(values.subarray(16, 64)); // blocks, bfree, bavail, files, ffree, fsid
    writer.raw(values.subarray(64, 68)); // namelen
  }

  // ── Files ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Tlopen fid[4] flags[4] */
  private lopen(): void {
    const { reader, tree } = this;
    const fid = this.fids.get(reader.u32());
    const flags = reader.u32() & OPEN_FLAGS;
    if (fid.fd !== NOT_OPEN) throw new NinepError(errno.EINVAL);
    if (this.options.readonly && (flags & (O_ACCMODE | O_TRUNC)) !== O_RDONLY) throw new NinepError(errno.EROFS);
    const qid = this.attributes.look(fid.path);
    const type = this.attributes.type;
    // Devices and FIFOs are not even opened: that alone may have an effect.
    if (type !== a.S_IFREG && type !== a.S_IFDIR) throw new NinepError(type === a.S_IFLNK ? errno.ELOOP : errno.ENXIO);
    const isDirectory = type === a.S_IFDIR;
    fid.fd = tree.open(fid.path, isDirectory ? O_RDONLY | O_DIRECTORY : flags);
    fid.isDirectory = isDirectory;
    fid.isWritable = !isDirectory && (flags & O_ACCMODE) !== O_RDONLY;
    this.opened(qid);
  }

  /** Tlcreate fid[4] name[s] flags[4] mode[4] gid[4]: makes a file, and the directory's fid stands for it. */
  private lcreate(): void {
    const { reader, tree } = this;
    const fid = this.fids.get(reader.u32());
    const path = newChildOf(fid.path, reader.string());
    const flags = reader.u32() & OPEN_FLAGS & ~O_DIRECTORY;
    const mode = reader.u32();
    const gid = reader.u32();
    if (fid.fd !== NOT_OPEN) throw new NinepError(errno.EINVAL);
    const fd = tree.create(path, flags, mode);
    try {
      this.giveAway(fd, fid.uid, gid, mode);
      this.opened(this.attributes.look(fd));
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    fid.fd = fd;
    fid.path = path;
    fid.isWritable = (flags & O_ACCMODE) !== O_RDONLY;
  }

  private opened(qid: Uint8Array): void {
    this.writer.raw(qid);
    this.writer.u32(this.msize - m.WRITE_HEADER_SIZE - 1); // iounit, as Linux has it (P9_IOHDRSZ)
  }

  /** Tread fid[4] offset[8] count[4] */
  private read(): void {
    const { reader, writer, payload } = this;
    const number = reader.u32();
    const position = reader.u64();
    const count = Math.min(reader.u32(), this.msize - m.READ_HEADER_SIZE, payload.size);
    if (this.fids.get(number).isDirectory) throw new NinepError(errno.EOPNOTSUPP);
    const fd = this.fids.open(number, false);
    if (!Number.isSafeInteger(position)) throw new NinepError(errno.EINVAL);
    this.dataLength = payload.readFile(fd, position, count);
    writer.u32(this.dataLength);
  }

  /** Twrite fid[4] offset[8] count[4] data[count] */
  private write(): void {
    const { reader, writer, payload } = this;
    const fd = this.fids.open(reader.u32(), false);
    const position = reader.u64();
    const count = reader.u32();
    if (count > payload.size) throw new NinepError(errno.EINVAL);
    if (!Number.isSafeInteger(position)) throw new NinepError(errno.EFBIG);
    writer.u32(payload.writeFile(fd, position, count));
  }

  /** Tfsync fid[4] datasync[4] */
  private fsync(): void {
    const { fd } = this.fids.get(this.reader.u32());
    if (fd === NOT_OPEN) throw new NinepError(errno.EINVAL);
    if (this.reader.u32() !== 0) fdatasyncSync(fd);
    else fsyncSync(fd);
  }

  /** Tlock fid[4] type[1] flags[4] start[8] length[8] proc_id[4] client_id[s]: the guest has its files for itself. */
  private lock(): void {
    this.fids.open(this.reader.u32(), false);
    this.writer.u8(LOCK_SUCCESS);
  }

  /** Tgetlock fid[4] type[1] start[8] length[8] proc_id[4] client_id[s] */
  private getlock(): void {
    const { reader, writer } = this;
    this.fids.open(reader.u32(), false);
    reader.u8();
    writer.u8(F_UNLCK);
    for (let word = 0; word < 5; word++) writer.u32(reader.u32());
    writer.string(reader.string());
  }

  // ── Directories ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Treaddir fid[4] offset[8] count[4]: whole entries only, each `qid[13] offset[8] type[1] name[s]`. */
  private readdir(): void {
    const { reader, writer } = this;
    const fd = this.fids.open(reader.u32(), true);
    const [low, high] = [reader.u32(), reader.u32()];
    const room = MESSAGE_MAX - m.READ_HEADER_SIZE;
    const count = Math.min(reader.u32(), this.msize - m.READ_HEADER_SIZE, this.payload.size, room);
    const entries = Buffer.alloc(Math.min(count, room));
    const end = this.tree.entries(fd, low, high, entries);
    writer.u32(0);
    for (let at = 0; at < end; at += entries.readUInt16LE(at + DIRENT_RECLEN)) {
      const nameEnd = entries.indexOf(0, at + DIRENT_NAME);
      const name = entries.subarray(at + DIRENT_NAME, nameEnd);
      if (writer.length - m.READ_HEADER_SIZE + ENTRY_SIZE + name.length > count) {
        if (at === 0) throw new NinepError(errno.EINVAL);
        break;
      }
      const type = entries[at + DIRENT_TYPE];
      writer.u8(type === DT_DIR ? a.QTDIR : type === DT_LNK ? a.QTSYMLINK : NONE);
      writer.u32(NONE);
      writer.raw(entries.subarray(at, at + 8)); // d_ino
      writer.raw(entries.subarray(at + 8, at + 16)); // d_off
      writer.u8(type);
      writer.u16(name.length);
      writer.raw(name);
    }
    writer.bytes.writeUInt32LE(writer.length - m.READ_HEADER_SIZE, m.HEADER_SIZE);
  }

  /** Tmkdir dfid[4] name[s] mode[4] gid[4] */
  private mkdir(): void {
    const { reader } = this;
    const directory = this.fids.get(reader.u32());
    const path = newChildOf(directory.path, reader.string());
    const [mode, gid] = [reader.u32(), reader.u32()];
    this.tree.makeDirectory(path, mode);
    this.giveAway(path, directory.uid, gid, mode);
    this.writer.raw(this.attributes.look(path));
  }

  /** Tcreate fid[4] name[s] perm[4] mode[1] extension[s], for directories alone: makes one, and the fid stands for it. */
  private create(): void {
    const { reader } = this;
    const fid = this.fids.get(reader.u32());
    const path = newChildOf(fid.path, reader.string());
    const permissions = reader.u32();
    if (fid.fd !== NOT_OPEN) throw new NinepError(errno.EINVAL);
    if ((permissions & DMDIR) === 0) throw new NinepError(errno.EOPNOTSUPP);
    const mode = permissions & PERMISSION_BITS;
    this.tree.makeDirectory(path, mode);
    this.giveAway(path, fid.uid, KEEP_ID, mode);
    fid.fd = this.tree.open(path, O_RDONLY | O_DIRECTORY);
    fid.path = path;
    fid.isDirectory = true;
    this.opened(this.attributes.look(path));
  }

  /** Tmknod dfid[4] name[s] mode[4] major[4] minor[4] gid[4] */
  private mknod(): void {
    const { reader } = this;
    const directory = this.fids.get(reader.u32());
    const path = newChildOf(directory.path, reader.string());
    const [mode, , , gid] = [reader.u32(), reader.u32(), reader.u32(), reader.u32()];
    this.tree.makeNode(path, mode);
    this.giveAway(path, directory.uid, gid, mode);
    this.writer.raw(this.attributes.look(path));
  }

  /** Tsymlink dfid[4] name[s] symtgt[s] gid[4]: any target, as it is the guest that follows it. */
  private symlink(): void {
    const { reader } = this;
    const directory = this.fids.get(reader.u32());
    const path = newChildOf(directory.path, reader.string());
    const target = reader.string();
    const gid = reader.u32();
    this.tree.makeSymlink(path, target);
    this.giveAway(path, directory.uid, gid);
    this.writer.raw(this.attributes.look(path));
  }

  /** Treadlink fid[4] */
  private readlink(): void {
    const { path } = this.fids.get(this.reader.u32());
    const target = Buffer.alloc(PATH_MAX);
    this.writer.string(target.toString('latin1', 0, this.tree.readlink(path, target)));
  }

  /** Tlink dfid[4] fid[4] name[s] */
  private link(): void {
    const { reader } = this;
    const directory = this.fids.get(reader.u32());
    const { path } = this.fids.get(reader.u32());
    this.tree.makeLink(path, newChildOf(directory.path, reader.string()));
  }

  /** Trename fid[4] dfid[4] name[s] */
  private rename(): void {
    const { reader } = this;
    const { path } = this.fids.get(reader.u32());
    const directory = this.fids.get(reader.u32());
    this.move(path, newChildOf(directory.path, reader.string()));
  }

  /** Trenameat olddirfid[4] oldname[s] newdirfid[4] newname[s] */
  private renameat(): void {
    const { reader } = this;
    const from = newChildOf(this.fids.get(reader.u32()).path, reader.string());
    this.move(from, newChildOf(this.fids.get(reader.u32()).path, reader.string()));
  }

  private move(from: string, to: string): void {
    this.tree.rename(from, to);
    this.fids.renamed(from, to);
  }

  /** Tunlinkat dirfid[4] name[s] flags[4] */
  private unlinkat(): void {
    const { reader } = this;
    const path = newChildOf(this.fids.get(reader.u32()).path, reader.string());
    this.tree.remove(path, (reader.u32() & UNLINKAT_REMOVEDIR) !== 0);
  }

  /** Tremove fid[4]: the fid is gone, whether the file could be removed or not. */
  private remove(): void {
    const number = this.reader.u32();
    const { path } = this.fids.get(number);
    try {
      this.attributes.look(path);
      this.tree.remove(path, this.attributes.type === a.S_IFDIR);
    } finally {
      this.fids.remove(number);
    }
  }

  // ── What they share ────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * What was just made has exactly this mode, whatever our umask is, and belongs to whom the guest says, where we may
   * give it away. Symbolic links have no mode.
   */
  private giveAway(file: string | number, uid: number, gid: number, mode?: number): void {
    if (mode !== undefined) this.tree.setMode(file, mode & MODE_BITS);
    try {
      this.tree.setOwner(file, uid, gid);
      // A new owner costs the set-id bits.
      if (mode !== undefined && (mode & SET_ID_BITS) !== 0) this.tree.setMode(file, mode & MODE_BITS);
    } catch (error) {
      // Then it stays ours.
      errnoOf(error);
    }
  }
}

/** Is it the request that failed, or this program? @throws the error if the latter */
function errnoOf(error: unknown): number {
  if (error instanceof NinepError) return error.errno;
  const { errno: code } = error as NodeJS.ErrnoException;
  if (error instanceof Error && typeof code === 'number') return -code;
  throw error;
}
