/** The benchmark's kernels compute the same with every way of running code, and in 32-bit code as in 64-bit code. */

import { crc32 } from 'node:zlib';
import { expect, test } from 'vitest';
import { guest, run } from './tsvmm.ts';

/** Checksums by kernel. */
async function checksums(image: string, ...accelerator: string[]): Promise<Record<string, string>> {
  const { status, stdout, stderr } = await run(
    ['-kernel', guest(image), '-m', '64M', '-nographic', '-nic', 'none', '-append', 'scale=1 warm=1', ...accelerator],
    { timeout: 100_000 },
  );
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout).toMatch(/^end\r?$/m);
  return Object.fromEntries([...stdout.matchAll(/^done (\w+) (0x[0-9a-f]{8}) \d+\r?$/gm)].map((m) => [m[1], m[2]]));
}

/** The text of bench/guests/digest.c: upper bytes of Numerical Recipes' generator. */
function digestText(): Buffer {
  const text = Buffer.alloc(16384);
  for (let i = 0, state = 11; i < text.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    text[i] = (state >>> 24) | (i === 0 ? 1 : 0);
  }
  return text;
}

test('the kernels give the same checksums', async () => {
  const translated = await checksums('bench64.elf');
  expect(Object.keys(translated).length).toBeGreaterThanOrEqual(12);
  expect(await checksums('bench64.elf', '-accel', 'tcg,jit=off')).toEqual(translated);
  expect(await checksums('bench32.elf', '-accel', 'tcg,jit=off')).toEqual(translated);
  // Those that can be known otherwise.
  expect(Number(translated.calls)).toBe(17711); // Fibonacci's number 22
  expect(Number(translated.crc32)).toBe(crc32(Buffer.concat(Array(8).fill(digestText()))));
}, 300_000);
