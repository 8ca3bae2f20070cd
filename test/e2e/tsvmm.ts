/** bin/tsvmm as a process of its own, as users start it: what it prints, what it is told, how it ends. */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const TSVMM = `${ROOT}bin/tsvmm`;
/** A guest that scripts/build-guests.mjs has built. */
export const guest = (name: string) => `${ROOT}build/guests/${name}`;

/** Tests of hours and gigabytes run as well: `TSVMM_LONG=1`. */
export const LONG = process.env.TSVMM_LONG === '1';

/** How guest code runs: an argument of -accel, for all machines whose options do not say otherwise (scripts/matrix.mjs). */
export const ACCEL = process.env.TSVMM_ACCEL;

export const isRoot = process.getuid?.() === 0;

export interface Ending {
  /** Exit status; null when a signal ended it. */
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface StartOptions {
  /** Words before the program: another program that starts it (`unshare`, `ip netns exec` …). */
  readonly via?: readonly string[];
  /** Standard input: a pipe that stays open (the default), or one that is at its end at once. */
  readonly stdin?: 'open' | 'ended';
}

export class Tsvmm {
  readonly process: ChildProcessByStdio<Writable, Readable, Readable>;
  /** Resolves when the process is gone and all that it printed has been read. */
  readonly ended: Promise<Ending>;
  stdout = '';
  stderr = '';

  constructor(args: readonly string[], { via = [], stdin = 'open' }: StartOptions = {}) {
    const accelerator = ACCEL === undefined ? [] : ['-accel', ACCEL];
    const [command, ...words] = [...via, TSVMM, ...accelerator, ...args];
    this.process = spawn(command, words, { cwd: ROOT, stdio: ['pipe', 'pipe', 'pipe'] });
    this.process.stdout.setEncoding('latin1').on('data', (text) => {
      this.stdout += text;
    });
    this.process.stderr.setEncoding('utf8').on('data', (text) => {
      this.stderr += text;
    });
    // It may be gone before it has read what it was sent.
    this.process.stdin.on('error', () => {});
    if (stdin === 'ended') {
      this.process.stdin.end();
    }
    this.ended = once(this.process, 'close').then(([status, signal]) => {
      const { stdout, stderr } = this;
      return { status, signal, stdout, stderr };
    });
  }

  /** Waits until the console shows what is looked for, at or behind character `from`. */
  async console(wanted: RegExp, timeout = 30_000, from = 0): Promise<RegExpExecArray> {
    const deadline = performance.now() + timeout;
    for (;;) {
      const match = wanted.exec(this.stdout.slice(from));
      if (match) {
        return match;
      }
      const left = deadline - performance.now();
      if (left <= 0 || this.process.exitCode !== null || this.process.signalCode !== null) {
        const why = left <= 0 ? `not within ${timeout} ms` : `ended with ${this.process.exitCode}`;
        throw new Error(`${wanted}: ${why}\nstdout: ${this.stdout}\nstderr: ${this.stderr}`);
      }
      await Promise.race([
        once(this.process.stdout, 'data'),
        this.ended,
        new Promise((resolve) => setTimeout(resolve, left)),
      ]);
    }
  }

  /** Types on the console and waits for what that brings. */
  async type(text: string, wanted: RegExp): Promise<RegExpExecArray> {
    const from = this.stdout.length;
    this.process.stdin.write(text, 'latin1');
    return await this.console(wanted, 30_000, from);
  }

  /** Ends it, however it is, and waits for that. */
  async kill(): Promise<void> {
    this.process.kill('SIGKILL');
    await this.ended;
  }
}

/** Runs it to its end, which must come within `timeout` ms. */
export async function run(
  args: readonly string[],
  { timeout = 30_000, ...options }: StartOptions & { readonly timeout?: number } = {},
): Promise<Ending> {
  const vm = new Tsvmm(args, { stdin: 'ended', ...options });
  const timer = setTimeout(() => vm.process.kill('SIGKILL'), timeout);
  const ending = await vm.ended;
  clearTimeout(timer);
  return ending;
}

/** @returns a TCP port of 127.0.0.1 that nobody listens on just now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** Runs any program to its end. @throws with what it said when its status is not 0 */
export async function output(command: string, ...args: string[]): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  const [status, signal] = await once(child, 'close');
  if (status !== 0) {
    throw new Error(`${command} ${args.join(' ')}: ${signal ?? `status ${status}`}\n${stdout}${stderr}`);
  }
  return stdout;
}
