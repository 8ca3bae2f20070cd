/** What a machine costs its host: time to start, CPU while its guest is idle, memory. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { guest, output, TSVMM, Tsvmm } from './tsvmm.ts';

/** What `-version` may take, as a multiple of the start of a Node program that does nothing. */
const VERSION_RATIO = 1.9;
/** Cores. */
const IDLE_LOAD = 0.02;
/** MB, with -m 64M. */
const RESIDENT = 150;

let vm: Tsvmm | undefined;
afterEach(() => vm?.kill());

/** ms */
function timeOf(command: string, ...args: string[]): number {
  const start = performance.now();
  expect(spawnSync(command, args, { env: { PATH: process.env.PATH } }).status).toBe(0);
  return performance.now() - start;
}

test('-version takes little more than a bare start of Node', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tsvmm-e2e-'));
  const nothing = join(folder, 'nothing.cjs');
  writeFileSync(nothing, '');
  // The least of several runs in turn: what else this machine does only ever adds.
  let bare = Number.POSITIVE_INFINITY;
  let ours = Number.POSITIVE_INFINITY;
  for (let tries = 0; tries < 15 || (tries < 100 && ours >= bare * VERSION_RATIO); tries++) {
    bare = Math.min(bare, timeOf(process.execPath, nothing));
    ours = Math.min(ours, timeOf(TSVMM, '-version'));
  }
  console.log(`-version: ${ours.toFixed(1)} ms, bare Node: ${bare.toFixed(1)} ms`);
  rmSync(folder, { recursive: true });
  expect(ours).toBeLessThan(bare * VERSION_RATIO);
});

test('an idle guest with a network card and a timer: under 2 % of a core, RSS under 150 MB', async () => {
  vm = new Tsvmm(['-kernel', guest('http.elf'), '-m', '64M', '-nographic', '-nic', 'user']);
  await vm.console(/Open/);
  const hertz = Number(await output('getconf', 'CLK_TCK'));
  const cpuSeconds = () => {
    // proc(5): utime and stime are fields 14 and 15; the name in field 2 has no blank here.
    const fields = readFileSync(`/proc/${vm?.process.pid}/stat`, 'utf8').split(' ');
    return (Number(fields[13]) + Number(fields[14])) / hertz;
  };
  // V8 goes on compiling for a while what the start made hot: a few windows of time, until one is idle.
  let load = 1;
  for (let windows = 0; windows < 5 && load >= IDLE_LOAD; windows++) {
    const before = cpuSeconds();
    const start = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 5000));
    load = (cpuSeconds() - before) / ((performance.now() - start) / 1000);
  }
  const status = readFileSync(`/proc/${vm.process.pid}/status`, 'utf8');
  const resident = Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1000;
  console.log(`idle: ${(load * 100).toFixed(2)} % of a core, RSS ${resident.toFixed(0)} MB`);
  expect(load).toBeLessThan(IDLE_LOAD);
  expect(resident).toBeLessThan(RESIDENT);
});
