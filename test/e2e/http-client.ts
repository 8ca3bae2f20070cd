/** curl against the HTTP guest (test/guests/http), from this process' network or from inside a network namespace. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { output } from './tsvmm.ts';

const PATTERN_PERIOD = 65521;

/** The stream of /big, a period of it and a whole number of its bytes behind: see pattern_init() of httpd.c. */
const pattern = Buffer.alloc(2 * PATTERN_PERIOD);
for (let i = 0, x = 1; i < PATTERN_PERIOD; i++) {
  x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
  pattern[i] = pattern[i + PATTERN_PERIOD] = x >>> 24;
}

export class HttpClient {
  private readonly via: readonly string[];
  private readonly url: string;

  /** @param via words before `curl`, such as `ip netns exec NAME` */
  constructor(url: string, via: readonly string[] = []) {
    this.url = url;
    this.via = via;
  }

  private words(path: string, options: readonly string[], timeout: number): [string, ...string[]] {
    const [command, ...rest] = [...this.via, 'curl'];
    return [command, ...rest, '--silent', '--show-error', '--max-time', String(timeout), ...options, this.url + path];
  }

  /** @returns status line, headers and body */
  get(path: string, ...options: string[]): Promise<string> {
    return output(...this.words(path, ['--include', ...options], 20));
  }

  async stats(): Promise<Record<string, number | string>> {
    return JSON.parse(await output(...this.words('/stats', [], 20)));
  }

  /**
   * GETs the page `count` times, `parallel` of them at once.
   * @returns how often each `status bytes` came
   */
  async many(count: number, parallel: number, ...options: string[]): Promise<Record<string, number>> {
    const format = ['--write-out', '%{http_code} %{size_download}\\n', '--output', '/dev/null'];
    const all = ['--parallel', '--parallel-immediate', '--parallel-max', String(parallel), ...format, ...options];
    // A fragment is not sent; it only makes the URLs many.
    const text = await output(...this.words(`/#[1-${count}]`, all, 120));
    const seen: Record<string, number> = {};
    for (const line of text.trimEnd().split('\n')) {
      seen[line] = (seen[line] ?? 0) + 1;
    }
    return seen;
  }

  /** Receives `bytes` of /big. @returns how many came before the first that is wrong */
  async download(bytes: number, timeout: number): Promise<number> {
    const [command, ...words] = this.words(`/big?n=${bytes}`, ['--fail'], timeout);
    const child = spawn(command, words, { stdio: ['ignore', 'pipe', 'inherit'] });
    let received = 0;
    let right = true;
    child.stdout.on('data', (chunk: Buffer) => {
      for (let at = 0; right && at < chunk.length; ) {
        const from = received % PATTERN_PERIOD;
        const length = Math.min(PATTERN_PERIOD, chunk.length - at);
        right = chunk.compare(pattern, from, from + length, at, at + length) === 0;
        at += length;
        received += right ? length : 0;
      }
    });
    const [status] = await once(child, 'close');
    if (status !== 0) {
      throw new Error(`curl: status ${status} after ${received} bytes`);
    }
    return received;
  }

  /** Sends `bytes` to /sink. @returns the guest's answer, and what it should be */
  async upload(bytes: number, timeout: number): Promise<{ readonly answer: string; readonly expected: string }> {
    const path = join(tmpdir(), `tsvmm-upload-${process.pid}`);
    try {
      const file = openSync(path, 'w');
      let crc = 0;
      for (let left = bytes; left > 0; ) {
        const piece = pattern.subarray(0, Math.min(left, PATTERN_PERIOD));
        crc = crc32(piece, crc);
        left -= writeSync(file, piece);
      }
      const options = ['--request', 'POST', '--upload-file', path];
      const answer = await output(...this.words('/sink', options, timeout));
      return { answer, expected: `${bytes} ${crc.toString(16).padStart(8, '0')}\n` };
    } finally {
      rmSync(path, { force: true });
    }
  }
}
