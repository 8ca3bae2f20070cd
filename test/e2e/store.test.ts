/** What was translated of a kernel is there in its next run (`-accel tcg,tb-store=`), whatever happened to the file meanwhile. */

import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { HttpClient } from './http-client.ts';
import { freePort, guest, run, Tsvmm } from './tsvmm.ts';

let directory: string;
const directories: string[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tsvmm-store-'));
  directories.push(directory);
});
afterAll(() => {
  for (const made of directories) rmSync(made, { recursive: true });
});

/** Runs kernels of the benchmark. @returns checksums by kernel, and how many regions were made, and restored */
async function kernels(accelerator = `tcg,tb-store=${directory}`) {
  const { status, stdout, stderr } = await run(
    [
      ...['-kernel', guest('bench64.elf'), '-m', '64M', '-nographic', '-nic', 'none', '-accel', accelerator],
      ...['-append', 'only=calls,indirect,bytecode,strings,syscalls scale=1 warm=20', '-d', 'stats'],
    ],
    { timeout: 100_000 },
  );
  expect(status).toBe(0);
  expect(stdout).toMatch(/^end\r?$/m);
  const found = /regions translated: (\d+) in .* of earlier runs: (\d+)/.exec(stderr)!;
  return {
    checksums: Object.fromEntries([...stdout.matchAll(/^done (\w+) (0x[0-9a-f]{8})/gm)].map((m) => [m[1], m[2]])),
    translated: Number(found[1]),
    restored: Number(found[2]),
  };
}

const file = () => join(directory, readdirSync(directory)[0]);

describe.each(['wasm', 'js'])('jit=%s', (jit) => {
  test('the next run translates hardly anything', async () => {
    const accelerator = `tcg,jit=${jit},tb-store=${directory}`;
    const first = await kernels(accelerator);
    expect(first.restored).toBe(0);
    expect(first.translated).toBeGreaterThan(10);
    let last = first;
    // V8's machine code comes with the second run, for the third.
    for (let i = 0; i < 3; i++) {
      last = await kernels(accelerator);
      expect(last.checksums).toEqual(first.checksums);
      expect(last.restored).toBeGreaterThan(first.translated / 3);
      expect(last.translated).toBeLessThan(first.translated / 3);
    }
  });
});

test('a file that is not whole is as none', async () => {
  const first = await kernels();
  const whole = readFileSync(file());
  truncateSync(file(), whole.length >> 1);
  expect(await kernels()).toMatchObject({ checksums: first.checksums, restored: 0 });
  const damaged = readFileSync(file());
  damaged[damaged.length >> 1] ^= 1;
  writeFileSync(file(), damaged);
  expect(await kernels()).toMatchObject({ checksums: first.checksums, restored: 0 });
  writeFileSync(file(), whole);
  expect((await kernels()).restored).toBeGreaterThan(0);
});

test('a server: the same bytes, before and after, also confined', async () => {
  let before = 0;
  for (let i = 0; i < 3; i++) {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const vm = new Tsvmm([
      ...['-kernel', guest('http.elf'), '-m', '64M', '-nographic', '-d', 'stats', '-append', `url=${url}/`],
      ...['-nic', `user,hostfwd=tcp:127.0.0.1:${port}-:80`, '-accel', `tcg,tb-store=${directory}`],
    ]);
    const client = new HttpClient(url);
    await vm.console(/listening|http/i);
    expect(await client.many(2000, 8)).toEqual({ '200 225': 2000 });
    vm.process.kill('SIGTERM');
    const { status, stderr } = await vm.ended;
    expect(status).toBe(0);
    const restored = Number(/of earlier runs: (\d+)/.exec(stderr)![1]);
    if (i > 0) expect(restored).toBeGreaterThan(10);
    expect(restored).toBeGreaterThanOrEqual(before);
    before = restored;
  }
}, 120_000);

test('off, or a directory that there is not', async () => {
  await kernels('tcg,tb-store=off');
  expect(readdirSync(directory)).toEqual([]);
  const { status, stderr } = await run([
    ...['-kernel', guest('hello.elf'), '-nographic', '-accel', `tcg,tb-store=${directory}/none`],
  ]);
  expect({ status, stderr }).toEqual({
    status: 1,
    stderr: `tsvmm: -accel tb-store=${directory}/none: no such file or directory\n`,
  });
});
