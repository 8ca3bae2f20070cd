/** Regions against the host CPU: random sequences with branches, loops and faults, every block translated at once. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testCore } from '../cpu/core.ts';
import { compare, report } from './compare.ts';
import { Emulator } from './emulator.ts';
import { type GeneratedCase, sequence } from './generate.ts';
import { NativeOracle } from './native/oracle.ts';

const CASES = Number(process.env.JIT_CASES ?? 1500);
const LENGTH = 10;

let oracle: NativeOracle;
beforeAll(() => {
  oracle = new NativeOracle();
});
afterAll(() => oracle.close());

describe.each([
  ['wasm', CASES],
  // Each takes V8's parser.
  ['js', Math.ceil(CASES / 5)],
])('regions as %s', (form, count) => {
  it(`leave the same state as the host CPU after ${count} random sequences`, async () => {
    const emulator = new Emulator('region', { hotThreshold: 1, batch: 1, core: testCore(form) });
    const cases: GeneratedCase[] = Array.from({ length: count }, (_, i) => sequence(true, 0x5eed + i * 7919, LENGTH));
    const mismatches = await compare(oracle, emulator, cases);
    expect(mismatches.slice(0, 3).map((mismatch) => report(mismatch, 'native', 'region'))).toEqual([]);
    // The comparison would be empty if nothing had been translated.
    expect(emulator.cpu.regions!.counters.regions).toBeGreaterThan(count);
  }, 300_000);
});
