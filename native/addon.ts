/** Loads the native addon, the system calls that Node lacks, the first time something asks for it. */

import { existsSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Results are non-negative, or -errno. */
export interface Addon {
  // tap.c

  /** Attaches to an existing TAP interface, with vnet headers of 12 bytes and no packet information. @returns fd */
  tapOpen(ifname: string, multiQueue: boolean): number;
  /** Takes over an open TAP descriptor; -EMEDIUMTYPE when it is none with a vnet header. @returns the same fd */
  tapAdopt(fd: number): number;
  /** TUNSETOFFLOAD with TUN_F_* bits. */
  setOffload(fd: number, flags: number): number;
  /** Reads one packet into pieces of `ram`; a packet that is longer than they are is consumed and gives -EMSGSIZE. */
  readv(fd: number, ram: Uint8Array, addresses: Float64Array, lengths: Uint32Array, count: number): number;
  /** Writes one packet from pieces of `ram`. */
  writev(fd: number, ram: Uint8Array, addresses: Float64Array, lengths: Uint32Array, count: number): number;

  // tap-writer.c: `ring` is what struct ring describes there

  /** Starts a thread that writes to `fd` what is put into `ring`; it is all zeroes, 128 KiB or more, a power of two. */
  tapWriterStart(fd: number, ring: Int32Array): number;
  /** Wakes the thread, if it rests. */
  tapWriterWake(fd: number): number;
  /** Writes what is in the ring; if the thread is at it, waits for that, or gives -EBUSY. */
  tapWriterDrain(fd: number, wait: boolean): number;
  /** Ends the thread when it has written what is in the ring. */
  tapWriterStop(fd: number): number;

  // idle.c

  /**
   * Waits in the event loop's place: once the loop has served all there is, calls `step`, which returns for how many ns
   * (0: not at all; Infinity) to wait until one of `fds` is readable (at most 30; negative ones are skipped; `step` may
   * change them); and so on. As soon as `step` returns 0, or the event loop has something to do, calls `done`. `step` is
   * told whether nothing has happened since its last call but that the time is over.
   * One at a time. @returns 0, or -EBUSY
   */
  idle(fds: Int32Array, step: (quiet: boolean) => number, done: () => void): number;

  // disk.c

  /** @returns bytes of the block device `fd` */
  blockDeviceSize(fd: number): number;
  /** The bytes of a file or block device need not be kept. */
  discard(fd: number, offset: number, length: number): number;

  // files.c: strings are Latin-1, one character per byte. Descriptors may be O_PATH ones where nothing else is said.

  /** Opens `path` beneath the directory `root` by openat2(2); a symbolic link in it is -ELOOP, but for O_PATH at its end. */
  openBeneath(root: number, path: string, flags: number, mode: number): number;
  chmodBeneath(root: number, path: string, mode: number): number;
  /**
   * Sixteen 64-bit values: dev, ino, mode, nlink, uid, gid, rdev, size, blksize, blocks; seconds and nanoseconds of
   * access, modification and change.
   */
  fstat(fd: number, values: Uint8Array): number;
  /** Nine 64-bit values: type, bsize, blocks, bfree, bavail, files, ffree, fsid, namelen. */
  fstatfs(fd: number, values: Uint8Array): number;
  /** 0xffffffff leaves an id as it is. */
  fchown(fd: number, uid: number, gid: number): number;
  /** Seconds and nanoseconds of access and modification; UTIME_NOW and UTIME_OMIT count. */
  futimens(fd: number, times: Float64Array): number;
  /** @returns bytes of the target */
  readlink(fd: number, target: Uint8Array): number;
  /** Reads struct linux_dirent64 records of an open directory behind the one with d_off `offset`. @returns bytes */
  getdents(fd: number, offsetLow: number, offsetHigh: number, entries: Uint8Array): number;
  // Names are single: no slash, neither `.` nor `..`.
  mkdirat(directory: number, name: string, mode: number): number;
  /** -EPERM for device nodes. */
  mknodat(directory: number, name: string, mode: number): number;
  symlinkat(directory: number, name: string, target: string): number;
  unlinkat(directory: number, name: string, flags: number): number;
  linkat(directory: number, name: string, newDirectory: number, newName: string): number;
  renameat(directory: number, name: string, newDirectory: number, newName: string): number;

  // memory.c

  /** Gives free memory of the C heap back to the kernel, as far as that can be had. @returns 1: there was some */
  trimHeap(): number;
  /** From now on V8 gets new memory side by side, and not all over the address space. */
  gatherMemory(): number;

  // sandbox.c

  /**
   * Confines the process, for good and with all its threads, to what a running machine needs. -EOPNOTSUPP where this
   * Node's event loop has an io_uring.
   * @param needs SANDBOX_*
   * @param roots descriptors of the directories that are shared by 9P
   */
  sandbox(needs: number, roots: Int32Array): number;
}

/** {@link Addon.sandbox}: IPv4 and IPv6 sockets may be made. */
export const SANDBOX_CONNECT = 1;
/** Files may be removed. */
export const SANDBOX_UNLINK = 2;

/** The addon cannot be had; the message is one line that says why, and what to do. */
export class AddonError extends Error {
  override readonly name = 'AddonError';
}

const FILE = 'tsvmm_net.node';
const BUILT = join('build', 'Release', FILE);

/** Walks up from the source tree or the bundle: an installation has the addon beside it, a checkout in build/. */
function findAddon(): string | undefined {
  const starts: string[] = [];
  // Bundles are CommonJS, where import.meta is empty; they are found through the launcher.
  if (import.meta.url) starts.push(dirname(fileURLToPath(import.meta.url)));
  if (process.argv[1] && existsSync(process.argv[1])) starts.push(dirname(realpathSync(process.argv[1])));
  for (const start of starts) {
    let directory = start;
    for (;;) {
      for (const candidate of [join(directory, FILE), join(directory, BUILT)]) {
        if (existsSync(candidate)) return candidate;
      }
      const parent = dirname(directory);
      if (parent === directory) break;
      directory = parent;
    }
  }
  return undefined;
}

let loaded: Addon | undefined;

/** @returns the addon; undefined where it is absent or does not load, for who can do without. */
export function tryLoadAddon(): Addon | undefined {
  try {
    return loadAddon();
  } catch {
    return undefined;
  }
}

/**
 * @returns the addon, loaded once.
 * @throws AddonError with one line when it is absent or does not load.
 */
export function loadAddon(): Addon {
  if (loaded) return loaded;
  const path = findAddon();
  if (!path) {
    throw new AddonError(`the native addon ${FILE} is missing: build it with 'node scripts/build-addon.mjs'`);
  }
  const module = { exports: {} };
  try {
    process.dlopen(module, path);
  } catch (error) {
    throw new AddonError(
      `the native addon ${path} does not load (${(error as Error).message.split('\n')[0]}): rebuild it with 'node scripts/build-addon.mjs'`,
    );
  }
  loaded = module.exports as Addon;
  return loaded;
}
