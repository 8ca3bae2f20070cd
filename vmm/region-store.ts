/**
 * Keeps what was translated of a kernel's code for its next run (`-accel tcg,tb-store=`): a file for each kernel, in a
 * directory of ours. The file is opened and read before the process is confined, and written in place when the machine
 * ends; a checksum tells when that was cut short. Whoever reads it compares all of the guest's code with what is there now,
 * so a file of another kernel, or of another version of it, does no harm.
 */

import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  futimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { decodeParts, encodeParts } from '../cpu/jit/stored-format.ts';
import type { StoredPart } from '../cpu/jit/stored-regions.ts';
import { reasonOf, UserError } from './errors.ts';

/** Set by the bundler: tells apart what translates differently. */
declare const TRANSLATOR_HASH: number;

const SUFFIX = '.regions';
/** Files in a directory: when there is another, the one that was used longest ago goes. */
const MOST_FILES = 64;

export class RegionStore {
  /** What earlier runs left. */
  readonly parts: readonly StoredPart[];
  private readonly file: number;

  private constructor(file: number) {
    this.file = file;
    this.parts = decodeParts(readFileSync(file), TRANSLATOR_HASH) ?? [];
    // Who is used last is removed last.
    const now = new Date();
    futimesSync(file, now, now);
  }

  /**
   * @param directory as `tb-store` says; undefined: the user's, if there is one
   * @param form which back end the regions are for
   * @returns undefined when nothing can be kept and nobody asked for it
   * @throws UserError when somebody did
   */
  static open(directory: string | undefined, kernel: Uint8Array, form: string): RegionStore | undefined {
    // Sources that are run as they are may change any time.
    if (typeof TRANSLATOR_HASH !== 'number') return undefined;
    try {
      const path = directory ?? userDirectory();
      return path ? new RegionStore(openFile(path, `${hashOf(kernel)}-${form}${SUFFIX}`)) : undefined;
    } catch (error) {
      if (directory === undefined) return undefined;
      throw new UserError(`-accel tb-store=${directory}: ${reasonOf(error)}`);
    }
  }

  /** Writes what later runs may need. */
  write(parts: readonly StoredPart[]): void {
    const bytes = encodeParts(parts, TRANSLATOR_HASH);
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.file, bytes, at, bytes.length - at, at);
      ftruncateSync(this.file, bytes.length);
    } catch {
      // A full disk, say: what is there is not whole, and the next run does without.
    }
  }

  close(): void {
    closeSync(this.file);
  }
}

/** Our directory in the user's for such things; undefined: it has none. */
function userDirectory(): string | undefined {
  const { HOME, XDG_CACHE_HOME } = process.env;
  if (XDG_CACHE_HOME) return makeDirectory(join(XDG_CACHE_HOME, 'tsvmm'));
  // Another user's home (of sudo) is none to leave files in.
  if (!HOME || statSync(HOME).uid !== process.geteuid?.()) return undefined;
  return makeDirectory(join(makeDirectory(join(HOME, '.cache')), 'tsvmm'));
}

function makeDirectory(path: string): string {
  try {
    mkdirSync(path, 0o700);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return path;
}

/** Opens a file of the directory that nobody else can have written. @returns its descriptor */
function openFile(directory: string, name: string): number {
  const flags = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const path = join(directory, name);
  let file: number;
  try {
    file = openSync(path, flags);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    makeRoom(directory);
    file = openSync(path, flags | constants.O_CREAT, 0o600);
  }
  const { mode, uid } = fstatSync(file);
  if ((mode & constants.S_IFMT) === constants.S_IFREG && uid === process.geteuid?.() && (mode & 0o022) === 0)
    return file;
  closeSync(file);
  throw new Error(`${name} is not a file that only we write`);
}

/** Makes room for one more file. */
function makeRoom(directory: string): void {
  const names = readdirSync(directory).filter((name) => name.endsWith(SUFFIX));
  if (names.length < MOST_FILES) return;
  const files = names.flatMap((name) => {
    const stat = statSync(join(directory, name), { throwIfNoEntry: false });
    return stat === undefined ? [] : { name, time: stat.mtimeMs, isEmpty: stat.size === 0 };
  });
  files.sort((a, b) => Number(b.isEmpty) - Number(a.isEmpty) || a.time - b.time);
  // Another machine may do the same.
  for (const { name } of files.slice(0, files.length + 1 - MOST_FILES)) rmSync(join(directory, name), { force: true });
}

/** Bytes between those that are looked at. */
const SAMPLE_STRIDE = 61;

/** A name for a kernel: of its size and a sample of its bytes (FNV-1a). */
function hashOf(kernel: Uint8Array): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < kernel.length; i += SAMPLE_STRIDE) hash = Math.imul(hash ^ kernel[i], 0x01000193);
  return `${kernel.length.toString(16)}-${(hash >>> 0).toString(16).padStart(8, '0')}`;
}
