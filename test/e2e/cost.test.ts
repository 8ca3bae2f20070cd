/** What a machine costs its host: time to start, CPU while its guest is idle, memory. */

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { guest, output, TSVMM, Tsvmm } from './tsvmm.ts';

let vm: Tsvmm | undefined;
afterEach(() => vm?.kill());

/** The least of several runs, ms: what else the machine does only ever adds to it. */
function leastTime(command: string, ...args: string[]): number {
  let least = Number.POSITIVE_INFINITY;
  for (let tries = 0; tries < 15; tries++) {
    const start = performance.now();
    expect(spawnSync(command, args, { env: { PATH: process.env.PATH } }).status).toBe(0);
    least = Math.min(least, performance.now() - start);
  }
  return least;
}

test('-version takes little more than a bare start of Node', () => {
  const bare = leastTime(process.execPath, '-e', '0');
  const ours = leastTime(TSVMM, '-version');
  expect(ours - bare).toBeLessThan(15);
});

test('an idle guest with a network card and a timer: under 2 % of a core, RSS under 150 MB', async () => {
  vm = new Tsvmm(['-kernel', guest('http.elf'), '-m', '64M', '-nographic', '-nic', 'user']);
  await vm.console(/Open/);
  // V8 goes on compiling for a while what the start made hot.
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const hertz = Number(await output('getconf', 'CLK_TCK'));
  const cpuSeconds = () => {
    // proc(5): utime and stime are fields 14 and 15; the name in field 2 has no blank here.
    const fields = readFileSync(`/proc/${vm?.process.pid}/stat`, 'utf8').split(' ');
    return (Number(fields[13]) + Number(fields[14])) / hertz;
  };
  const before = cpuSeconds();
  const start = performance.now();
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  const load = (cpuSeconds() - before) / ((performance.now() - start) / 1000);
  const status = readFileSync(`/proc/${vm.process.pid}/status`, 'utf8');
  const resident = Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1000;
  console.log(`idle: ${(load * 100).toFixed(2)} % of a core, RSS ${resident.toFixed(0)} MB`);
  expect(load).toBeLessThan(0.02);
  expect(resident).toBeLessThan(150);
});
