/**
 * A directory of the host and what is beneath it. No operation follows a symbolic link or leaves the directory,
 * whatever the guest, or others on the host, do to it meanwhile: each opens its path anew by openat2(2)
 * (native/files.c) and works on the descriptor, or on one name in a directory's descriptor.
 *
 * Paths are relative to the directory, '' being itself; `a/b` has no empty, `.` or `..` component. One character is one
 * byte.
 */

import { closeSync, constants, fchmodSync, fstatSync, ftruncateSync, openSync } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { type Addon, loadAddon } from '../../native/addon.ts';
import { NinepError } from './messages.ts';

const { errno } = osConstants;
const { O_DIRECTORY, O_NOCTTY, O_NONBLOCK, O_RDONLY, O_WRONLY, O_CREAT, O_EXCL } = constants;
/** asm-generic/fcntl.h; Node has no name for it. */
const O_PATH = 0o10000000;
const AT_REMOVEDIR = 0x200;
/** For {@link HostTree.setOwner}: leave it as it is. */
export const KEEP_ID = 0xffffffff;

/** Bytes of the values that {@link HostTree.stat} and {@link HostTree.statfs} fill in: see Addon.fstat and fstatfs. */
export const STAT_SIZE = 16 * 8;
export const STATFS_SIZE = 9 * 8;

/** Where a path ends: the directory that it is in, and its name there. */
function split(path: string): { readonly directory: string; readonly name: string } {
  // The root is in no directory that is ours.
  if (path === '') throw new NinepError(errno.EBUSY);
  const slash = path.lastIndexOf('/');
  return { directory: slash < 0 ? '' : path.slice(0, slash), name: path.slice(slash + 1) };
}

/** @throws NinepError for a result that is -errno */
function check(result: number): number {
  if (result < 0) throw new NinepError(-result);
  return result;
}

/** Everything throws NinepError when the host refuses. */
export class HostTree {
  private readonly addon: Addon;
  /** Of the directory: what every path starts from. */
  readonly root: number;

  /** @throws the error of node:fs when it is no directory that can be opened; AddonError without the addon. */
  constructor(path: string) {
    this.addon = loadAddon();
    this.root = openSync(path, O_PATH | O_DIRECTORY);
  }

  close(): void {
    closeSync(this.root);
  }

  /** Opens a file or a directory; nothing else, as devices and FIFOs reach beyond the tree. @returns fd */
  open(path: string, flags: number): number {
    return this.onlyFiles(check(this.addon.openBeneath(this.root, path, flags | O_NONBLOCK | O_NOCTTY, 0)));
  }

  /** Makes a file and opens it. @returns fd */
  create(path: string, flags: number, mode: number): number {
    const all = flags | O_CREAT | O_EXCL | O_NONBLOCK | O_NOCTTY;
    return check(this.addon.openBeneath(this.root, path, all, mode));
  }

  private onlyFiles(fd: number): number {
    const stat = fstatSync(fd);
    if (stat.isFile() || stat.isDirectory()) return fd;
    closeSync(fd);
    throw new NinepError(errno.ENXIO);
  }

  /** Fills in what is known of the file at `path`, or of an open one. */
  stat(file: string | number, values: Uint8Array): void {
    this.using(file, (fd) => check(this.addon.fstat(fd, values)));
  }

  statfs(path: string, values: Uint8Array): void {
    this.using(path, (fd) => check(this.addon.fstatfs(fd, values)));
  }

  /** @returns bytes of the target */
  readlink(path: string, target: Uint8Array): number {
    return this.using(path, (fd) => check(this.addon.readlink(fd, target)));
  }

  setOwner(file: string | number, uid: number, gid: number): void {
    this.using(file, (fd) => check(this.addon.fchown(fd, uid, gid)));
  }

  /** @throws the error of node:fs, too */
  setMode(file: string | number, mode: number): void {
    if (typeof file === 'number') fchmodSync(file, mode);
    else check(this.addon.chmodBeneath(this.root, file, mode));
  }

  /** @param times see Addon.futimens */
  setTimes(file: string | number, times: Float64Array): void {
    this.using(file, (fd) => check(this.addon.futimens(fd, times)));
  }

  /** @throws the error of node:fs, too */
  truncate(path: string, size: number): void {
    const fd = this.open(path, O_WRONLY);
    try {
      ftruncateSync(fd, size);
    } finally {
      closeSync(fd);
    }
  }

  /** Reads directory entries: see Addon.getdents. @returns bytes */
  entries(fd: number, offsetLow: number, offsetHigh: number, entries: Uint8Array): number {
    return check(this.addon.getdents(fd, offsetLow, offsetHigh, entries));
  }

  makeDirectory(path: string, mode: number): void {
    this.inDirectory(path, (directory, name) => this.addon.mkdirat(directory, name, mode));
  }

  makeNode(path: string, mode: number): void {
    this.inDirectory(path, (directory, name) => this.addon.mknodat(directory, name, mode));
  }

  makeSymlink(path: string, target: string): void {
    this.inDirectory(path, (directory, name) => this.addon.symlinkat(directory, name, target));
  }

  remove(path: string, isDirectory: boolean): void {
    const flags = isDirectory ? AT_REMOVEDIR : 0;
    this.inDirectory(path, (directory, name) => this.addon.unlinkat(directory, name, flags));
  }

  makeLink(path: string, newPath: string): void {
    this.inDirectory(path, (directory, name) =>
      this.inDirectory(newPath, (newDirectory, newName) => this.addon.linkat(directory, name, newDirectory, newName)),
    );
  }

  rename(path: string, newPath: string): void {
    this.inDirectory(path, (directory, name) =>
      this.inDirectory(newPath, (newDirectory, newName) => this.addon.renameat(directory, name, newDirectory, newName)),
    );
  }

  /** Calls back with an O_PATH descriptor of `file`, or with `file` when it is a descriptor. */
  private using<Result>(file: string | number, action: (fd: number) => Result): Result {
    if (typeof file === 'number') return action(file);
    const fd = check(this.addon.openBeneath(this.root, file, O_PATH, 0));
    try {
      return action(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** Calls back with a descriptor of the directory that `path` is in, and its name there. @returns its result */
  private inDirectory(path: string, action: (directory: number, name: string) => number): number {
    const { directory, name } = split(path);
    const fd = check(this.addon.openBeneath(this.root, directory, O_PATH | O_DIRECTORY | O_RDONLY, 0));
    try {
      return check(action(fd, name));
    } finally {
      closeSync(fd);
    }
  }
}
