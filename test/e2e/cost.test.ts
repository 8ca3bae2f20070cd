/** What a machine costs its host: time to start, CPU while its guest is idle, memory. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { guest, TSVMM, Tsvmm } from './tsvmm.ts';

/** What `-version` may take, as a multiple of the start of a Node program that does nothing. */
const VERSION_RATIO = 1.9;
/** Cores. */
const IDLE_LOAD = 0.02;
/** Or, where waking up is dear (a host that takes a sleeping machine's memory away), so many times what Node needs for it. */
const IDLE_RATIO = 6;
/** ms between two ticks of the guest's timer: 65536 of the PIT's. */
const TICK = 55;
/** MB, with -m 64M. */
const RESIDENT = 150;

let vm: Tsvmm | undefined;
let ticking: ChildProcess | undefined;
afterEach(() => {
  vm?.kill();
  ticking?.kill();
});

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

/** CPU time that a process has used, by the scheduler's account: proc(5) counts it in whole ticks. */
function cpuSeconds(pid: number | undefined): number {
  return readdirSync(`/proc/${pid}/task`)
    .map((task) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]) / 1e9)
    .reduce((sum, seconds) => sum + seconds, 0);
}

const percent = (load: number) => `${(load * 100).toFixed(2)} %`;

test('an idle guest with a network card and a timer: little of a core, RSS under 150 MB', async () => {
  vm = new Tsvmm(['-kernel', guest('http.elf'), '-m', '64M', '-nographic', '-nic', 'user']);
  await vm.console(/Open/);
  ticking = spawn(process.execPath, ['-e', `console.log('ticks'); setInterval(() => {}, ${TICK})`]);
  await once(ticking.stdout!, 'data');
  const pids = [vm.process.pid, ticking.pid];
  // V8 goes on compiling for a while what the start made hot: a few windows of time, until one is idle.
  let load = 1;
  let bare = 0;
  const isIdle = () => load < Math.max(IDLE_LOAD, bare * IDLE_RATIO);
  for (let windows = 0; windows < 5 && !isIdle(); windows++) {
    const before = pids.map(cpuSeconds);
    const start = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 5000));
    const seconds = (performance.now() - start) / 1000;
    [load, bare] = pids.map((pid, i) => (cpuSeconds(pid) - before[i]) / seconds);
  }
  const status = readFileSync(`/proc/${vm.process.pid}/status`, 'utf8');
  const resident = Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1000;
  console.log(`idle: ${percent(load)} of a core (Node that ticks: ${percent(bare)}), RSS ${resident.toFixed(0)} MB`);
  expect(isIdle(), `${percent(load)} of a core; Node that ticks: ${percent(bare)}`).toBe(true);
  expect(resident).toBeLessThan(RESIDENT);
});
