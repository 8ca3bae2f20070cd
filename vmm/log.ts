/** The log of `-d`: to standard error, or to the file of `-D`. Lines are gathered and written many at once. */

import { openSync } from 'node:fs';
import { reasonOf, UserError } from './errors.ts';
import { print, STDERR } from './print.ts';

/** Characters that may wait. */
const WAITING_MOST = 1 << 16;

export class Log {
  private readonly fd: number;
  private waiting: string[] = [];
  private characters = 0;

  /** @throws UserError when the file cannot be written */
  constructor(path: string | undefined) {
    try {
      this.fd = path === undefined ? STDERR : openSync(path, 'a');
    } catch (error) {
      throw new UserError(`-D ${path}: could not open the log: ${reasonOf(error)}`);
    }
  }

  line(text: string): void {
    this.waiting.push(text, '\n');
    this.characters += text.length;
    if (this.characters > WAITING_MOST) {
      this.flush();
    }
  }

  lines(texts: readonly string[]): void {
    for (const text of texts) {
      this.line(text);
    }
  }

  /** Writes what waits. */
  flush(): void {
    if (this.waiting.length > 0) {
      print(this.fd, this.waiting.join(''));
      this.waiting = [];
      this.characters = 0;
    }
  }
}
