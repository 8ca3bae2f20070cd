/** The load generators wrk, ab and redis-benchmark: how they are called, and what their output says. */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';

/** Debian packages that bring them. */
const PACKAGES = { wrk: 'wrk', ab: 'apache2-utils', 'redis-benchmark': 'redis-tools' };
export type LoadProgram = keyof typeof PACKAGES;

/** @returns what is missing, for a note; empty: it is there */
export function missing(program: LoadProgram): string {
  const found = spawnSync(program, [program === 'ab' ? '-V' : '-v'], { stdio: 'ignore' }).error === undefined;
  return found ? '' : `${program} is not installed (Debian: ${PACKAGES[program]})`;
}

export interface WebLoad {
  readonly requestsPerSecond: number;
  /** Of bodies and headers, 10^6 bytes. */
  readonly megabytesPerSecond: number;
  /** Requests that failed, or were answered otherwise than by 2xx or 3xx. */
  readonly failed: number;
}

const number = (text: string, pattern: RegExp) => {
  const found = pattern.exec(text)?.[1];
  return found === undefined ? undefined : Number(found);
};

const must = (text: string, pattern: RegExp) => {
  const value = number(text, pattern);
  if (value === undefined) throw new Error(`no ${pattern.source} in: ${text}`);
  return value;
};

const BINARY_UNITS: Record<string, number> = { B: 1, KB: 2 ** 10, MB: 2 ** 20, GB: 2 ** 30 };

/** @param text what wrk printed. @throws Error when it is not a report */
export function parseWrk(text: string): WebLoad {
  const transfer = /Transfer\/sec:\s+([\d.]+)(\wB|B)/.exec(text);
  if (transfer === null) throw new Error(`no report of wrk: ${text}`);
  const socketErrors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text);
  const errors = (socketErrors?.slice(1) ?? []).reduce((sum, count) => sum + Number(count), 0);
  return {
    requestsPerSecond: must(text, /Requests\/sec:\s+([\d.]+)/),
    megabytesPerSecond: (Number(transfer[1]) * BINARY_UNITS[transfer[2]]) / 1e6,
    failed: errors + (number(text, /Non-2xx or 3xx responses: (\d+)/) ?? 0),
  };
}

/** @param text what ab printed. @throws Error when it is not a report */
export function parseAb(text: string): WebLoad {
  return {
    requestsPerSecond: must(text, /Requests per second:\s+([\d.]+)/),
    megabytesPerSecond: (must(text, /Transfer rate:\s+([\d.]+) \[Kbytes\/sec\]/) * 1024) / 1e6,
    failed: must(text, /Failed requests:\s+(\d+)/) + (number(text, /Non-2xx responses:\s+(\d+)/) ?? 0),
  };
}

/** @param text what `redis-benchmark --csv` printed. @returns requests per second by test */
export function parseRedisBenchmark(text: string): Map<string, number> {
  const rows = [...text.matchAll(/^"(\w+)[^"]*","([\d.]+)"/gm)];
  if (rows.length === 0) throw new Error(`no report of redis-benchmark: ${text}`);
  return new Map(rows.map(([, test, rate]) => [test, Number(rate)]));
}

async function output(command: LoadProgram, args: readonly string[]): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (data) => {
      text += data;
    });
  }
  const [status] = await once(child, 'close');
  if (status !== 0) throw new Error(`${command} ended with ${status}: ${text.trim()}`);
  return text;
}

/** Keeps `connections` alive for a time. */
export async function wrk(url: string, connections: number, seconds: number): Promise<WebLoad> {
  return parseWrk(await output('wrk', ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', url]));
}

/** A connection for each request. */
export async function ab(url: string, requests: number, connections: number): Promise<WebLoad> {
  const args = ['-q', '-l', '-n', String(requests), '-c', String(connections), '-s', '10', url];
  return parseAb(await output('ab', args));
}

export async function redisBenchmark(
  host: string,
  port: number,
  tests: string,
  requests: number,
  pipeline: number,
): Promise<Map<string, number>> {
  const args = ['-h', host, '-p', String(port), '-t', tests, '-n', String(requests), '-c', '16'];
  return parseRedisBenchmark(await output('redis-benchmark', [...args, '-P', String(pipeline), '--csv']));
}
