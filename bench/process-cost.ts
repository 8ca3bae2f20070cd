/** What a process costs, by proc(5). */

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { sleep } from './guest-process.ts';

const KIB = 1024;

export interface Memory {
  /** 10^6 bytes; PSS counts a page that several processes share in parts. */
  readonly rss: number;
  readonly pss: number;
}

export function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const megabytes = (name: string) => (Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(text)?.[1]) * KIB) / 1e6;
  return { rss: megabytes('Rss'), pss: megabytes('Pss') };
}

const hertz = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** @returns seconds of CPU, user and system, since the start */
function cpuSeconds(pid: number): number {
  // utime and stime are fields 14 and 15; the name in field 2 may hold blanks, and ends with the last bracket.
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / hertz;
}

/** @returns percent of one core that processes use together, over some seconds */
export async function loadOf(pids: readonly number[], seconds: number): Promise<number> {
  const total = () => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  const before = total();
  const start = performance.now();
  await sleep(seconds * 1000);
  return ((total() - before) / ((performance.now() - start) / 1000)) * 100;
}
