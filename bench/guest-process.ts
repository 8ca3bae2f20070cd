/** A monitor with its guest, as a process of its own: what it prints and when, how it ends. */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';

/** Those that run: none may outlive us. */
const living = new Set<GuestProcess>();
process.on('exit', () => {
  for (const guest of living) guest.child.kill('SIGKILL');
});

export class GuestProcess {
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  /** performance.now() at the start of the program. */
  readonly started: number;
  /** performance.now() at the first byte on its console; NaN: none yet. */
  firstByte = Number.NaN;
  stdout = '';
  stderr = '';
  /** Called for each line of the console, with performance.now() of its arrival. */
  onLine: (line: string, time: number) => void = () => {};
  private readonly ended: Promise<unknown>;
  private lineStart = 0;

  constructor([command, ...args]: readonly string[]) {
    this.started = performance.now();
    this.child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: environment() });
    this.child.stdout.setEncoding('latin1').on('data', (text: string) => this.printed(text));
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    living.add(this);
    this.ended = once(this.child, 'close').finally(() => living.delete(this));
  }

  get pid(): number {
    return this.child.pid!;
  }

  private printed(text: string): void {
    const now = performance.now();
    if (Number.isNaN(this.firstByte)) this.firstByte = now;
    this.stdout += text;
    for (
      let end = this.stdout.indexOf('\n', this.lineStart);
      end >= 0;
      end = this.stdout.indexOf('\n', this.lineStart)
    ) {
      this.onLine(this.stdout.slice(this.lineStart, end).trimEnd(), now);
      this.lineStart = end + 1;
    }
  }

  /** Waits for its end. @returns its exit status; null when it did not end in time and was killed */
  async exit(milliseconds: number): Promise<number | null> {
    const timer = setTimeout(() => this.child.kill('SIGKILL'), milliseconds);
    await this.ended;
    clearTimeout(timer);
    return this.child.exitCode;
  }

  /** Ends it as a container engine does, by SIGTERM and in the end by SIGKILL. */
  async stop(): Promise<void> {
    this.child.kill('SIGTERM');
    await this.exit(5000);
  }

  /** The end of what it said, for messages. */
  get lastWords(): string {
    return `${this.stdout.slice(-300)}${this.stderr.slice(-300)}`.trim().replaceAll(/\s+/g, ' ');
  }
}

export const sleep = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

/**
 * As an installation runs it (bin/launcher.c): what Node reads from NODE_* before a line of ours, certificates say, costs
 * more than the whole start.
 */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('NODE_')));
}
