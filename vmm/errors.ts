/** Errors of the host side, as the user meets them: one line on stderr and exit status 1 (Design §8). */

import { getSystemErrorMap } from 'node:util';

/** Something the user asked for cannot be had. The message is one line that says what, and what to do. */
export class UserError extends Error {
  override readonly name = 'UserError';
}

/** The guest ended the machine by a mistake of its own. The message is one line. */
export class GuestCrash extends Error {
  override readonly name = 'GuestCrash';
}

/** @returns the text of a failed system call ("no such file or directory"), or the message of any other error. */
export function reasonOf(error: unknown): string {
  const { errno, message } = error as NodeJS.ErrnoException;
  const known = errno === undefined ? undefined : getSystemErrorMap().get(errno);
  return known ? known[1] : (message ?? String(error)).split('\n')[0];
}
