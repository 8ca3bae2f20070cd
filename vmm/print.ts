/** Text to a descriptor, all of it: standard output and error may be closed or full; that must not become an error. */

import { writeSync } from 'node:fs';

export const STDOUT = 1;
export const STDERR = 2;

export function print(fd: number, text: string): void {
  let bytes = Buffer.from(text);
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(writeSync(fd, bytes));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') {
        return;
      }
    }
  }
}
