/** Regions against the host CPU: random sequences with branches, loops and faults, every block translated at once. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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

describe('regions', () => {
  it(`leave the same state as the host CPU after ${CASES} random sequences`, async () => {
    const emulator = new Emulator('region', 1);
    const cases: GeneratedCase[] = Array.from({ length: CASES }, (_, i) => sequence(true, 0x5eed + i * 7919, LENGTH));
    const mismatches = await compare(oracle, emulator, cases);
    expect(mismatches.slice(0, 3).map((mismatch) => report(mismatch, 'native', 'region'))).toEqual([]);
    // The comparison would be empty if nothing had been translated.
    expect(emulator.cpu.regions!.counters.regions).toBeGreaterThan(CASES);
  }, 300_000);
});
