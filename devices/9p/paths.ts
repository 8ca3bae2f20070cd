/** Paths beneath the shared directory, as {@link HostTree} takes them, made of names that a guest sends. */

import { constants } from 'node:os';
import { NinepError } from './messages.ts';

const { errno } = constants;
const NAME_MAX = 255;
export const PATH_MAX = 4095;

export function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

/** The path of something that is, or may be, in a directory. @throws NinepError when it cannot be there. */
export function childOf(directory: string, name: string): string {
  if (name === '' || name === '.' || name.includes('/') || name.includes('\0')) throw new NinepError(errno.ENOENT);
  if (name.length > NAME_MAX) throw new NinepError(errno.ENAMETOOLONG);
  const path = directory === '' ? name : `${directory}/${name}`;
  if (path.length > PATH_MAX) throw new NinepError(errno.ENAMETOOLONG);
  return path;
}

/** The same where `..` is no name either. */
export function newChildOf(directory: string, name: string): string {
  if (name === '.' || name === '..') throw new NinepError(errno.EEXIST);
  return childOf(directory, name);
}
