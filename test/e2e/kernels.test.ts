/** The bare-metal kernels of test/guests/kernels: each checks one part of the machine and says PASS or FAIL. */

import { readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ACCEL, guest, ROOT, run } from './tsvmm.ts';

/** isa-debug-exit's status for EXIT_PASS (test/guests/common/guest.h). */
const STATUS_PASS = 33;

/** These have no checks, or their own test elsewhere. */
const OTHERS = ['hello'];

/** These hold the guest's clocks to each other within 3 %, which a host that was busy elsewhere meanwhile can spoil. */
const TIMED = ['interrupts', 'time'];

const kernels = readdirSync(`${ROOT}test/guests/kernels`)
  .map((file) => basename(file, '.c'))
  .filter((name) => !OTHERS.includes(name));

const ACCELERATORS: Record<string, readonly string[]> =
  ACCEL === undefined
    ? {
        default: [],
        JavaScript: ['-accel', 'tcg,jit=js'],
        interpreter: ['-accel', 'tcg,jit=off'],
      }
    : { [ACCEL]: [] };

describe.each(Object.entries(ACCELERATORS))('%s', (_, accelerator) => {
  test.each(kernels.filter((name) => !TIMED.includes(name)))('%s', { timeout: 120_000 }, passes);
  test.each(TIMED)('%s', { timeout: 120_000, retry: 3 }, passes);

  async function passes(name: string): Promise<void> {
    const { status, stdout, stderr } = await run(
      [
        ...['-kernel', guest(`${name}.elf`), '-m', '64M', '-nographic', '-nic', 'none'],
        ...['-device', 'isa-debug-exit,iobase=0x501,iosize=2', ...accelerator],
      ],
      { timeout: 100_000 },
    );
    const lines = stdout.split(/\r?\n/);
    expect(lines.filter((line) => line.startsWith('FAIL') || line.startsWith('panic'))).toEqual([]);
    expect(stderr).toBe('');
    const done = lines.map((line) => /^DONE (\d+) passed, 0 failed$/.exec(line)).find((match) => match);
    expect(done, stdout).toBeTruthy();
    expect(lines.filter((line) => line.startsWith('PASS')).length).toBeGreaterThanOrEqual(Number(done?.[1]));
    expect(status).toBe(STATUS_PASS);
  }
});

test('jit=js needs no WebAssembly', async () => {
  // A Node without a compiler has no WebAssembly either.
  const node = [process.execPath, '--jitless'];
  const args = ['-accel', 'tcg,jit=js', '-kernel', guest('hello.elf'), '-m', '64M', '-nographic'];
  const { status, stdout } = await run(args, { via: node });
  expect({ status, greeted: stdout.startsWith('Hello from a bare-metal guest') }).toEqual({ status: 0, greeted: true });
});

test('hello: what the loader hands over', async () => {
  const args = ['-kernel', guest('hello.elf'), '-m', '268M', '-nographic', '-append', 'one "two  three"'];
  const { status, stdout, stderr } = await run(args);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout.replaceAll('\r', '')).toBe(
    `Hello from a bare-metal guest\ncommand line: one "two  three"\nmemory: ${268 * 1024 - 128} KiB\n`,
  );
});
