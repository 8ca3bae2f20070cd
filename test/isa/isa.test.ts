/**
 * The CPU against the host's: every instruction form that can be tested, undefined forms, and sequences with branches and
 * loops, interpreted and translated; whether the host's is Intel's or AMD's is a matter of vendors.ts. `TSVMM_LONG` runs
 * twenty times as many cases; `ISA_SEED` chooses others.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type OpcodeRow, rows } from '../../cpu/isa/table.ts';
import { testCore } from '../cpu/core.ts';
import type { Executor } from './case.ts';
import { compare, report, shrink } from './compare.ts';
import { implemented, rowName, testable, untested } from './coverage.ts';
import { Emulator } from './emulator.ts';
import { type GeneratedCase, sequence, single, undefinedForm } from './generate.ts';
import { NativeOracle } from './native/oracle.ts';
import { host, met } from './vendors.ts';

const SCALE = process.env.TSVMM_LONG ? 20 : 1;
const SEED = Number(process.env.ISA_SEED ?? 1);
/** Ways to run guest code may be slow by intent. */
const TIMEOUT = SCALE * (process.env.TSVMM_ACCEL === undefined ? 120_000 : 600_000);

const SINGLES_PER_ROW = 32 * SCALE;
const UNDEFINED_PER_ROW = 2 * SCALE;
const SEQUENCES = 4000 * SCALE;
/** Of those that are translated: each takes a WebAssembly module of its own or more. */
const TRANSLATED = 2000;
/** Cases compared at a time. */
const BATCH = 2000;
/** Mismatches that are shrunk and shown. */
const SHOWN = 3;

let oracle: NativeOracle;
const interpreter = new Emulator('interpreter');
/** Translates every block that has been executed once. */
const translator = new Emulator('translator', { core: testCore('wasm'), hotThreshold: 1, batch: 1 });

beforeAll(() => {
  oracle = new NativeOracle();
});
afterAll(() => {
  oracle.close();
  const times = [...met].map(([what, count]) => `${count} × ${what}`);
  console.log(`An ${host} CPU and ours differ, as they may:\n${times.join('\n')}`);
});

/** Compares `cases`; expects no mismatch. @returns how many there were. */
async function check(subject: Executor, cases: Iterable<GeneratedCase>): Promise<number> {
  let count = 0;
  let batch: GeneratedCase[] = [];
  const run = async () => {
    const mismatches = await compare(oracle, subject, batch);
    const shown: string[] = [];
    for (const mismatch of mismatches.slice(0, SHOWN))
      shown.push(report(await shrink(oracle, subject, mismatch), oracle.name, subject.name));
    expect(shown.join('\n\n'), `${mismatches.length} of ${batch.length} cases`).toBe('');
    count += batch.length;
    batch = [];
  };
  for (const testCase of cases) if (batch.push(testCase) === BATCH) await run();
  await run();
  return count;
}

/** Calls `generate` with `times` seeds of its own for each of `from`; leaves out what it does not give. */
function* each<T>(
  from: readonly T[],
  times: number,
  generate: (item: T, seed: number) => GeneratedCase | undefined,
): Generator<GeneratedCase> {
  for (const [k, item] of from.entries())
    for (let i = 0; i < times; i++) {
      const testCase = generate(item, SEED * 0x1000000 + i * 4096 + k);
      if (testCase) yield testCase;
    }
}

/** Sequences of one to sixteen instructions. */
const sequences = (mode64: boolean, count: number): Generator<GeneratedCase> =>
  each([...Array(16).keys()], count / 16, (length, seed) => sequence(mode64, seed, length + 1));

/** Rows met in either mode. */
const exercised = new Set<OpcodeRow>();

describe.each([true, false])('equals the host CPU (64-bit: %s)', (mode64) => {
  const width = mode64 ? 64 : 32;

  it(
    'in single instructions',
    async () => {
      const subjects = testable(mode64).filter(implemented);
      const count = await check(
        interpreter,
        each(subjects, SINGLES_PER_ROW, (row, seed) => {
          const testCase = single(row, mode64, seed);
          if (testCase) exercised.add(row);
          return testCase;
        }),
      );
      console.log(`${count} cases of ${subjects.length} rows in ${width}-bit mode`);
      expect(count).toBeGreaterThan(subjects.length * SINGLES_PER_ROW * 0.98);
    },
    TIMEOUT,
  );

  it(
    'in undefined forms',
    async () => {
      const count = await check(
        interpreter,
        each(rows.slice(1), UNDEFINED_PER_ROW, (row, seed) => undefinedForm(row, mode64, seed)),
      );
      expect(count).toBeGreaterThan(700 * SCALE);
    },
    TIMEOUT,
  );

  it(
    'in sequences',
    async () => {
      expect(await check(interpreter, sequences(mode64, SEQUENCES))).toBe(SEQUENCES);
    },
    TIMEOUT,
  );
});

it(
  'equals the host CPU in translated sequences',
  async () => {
    const { counters } = translator.cpu.regions!;
    expect(await check(translator, sequences(true, TRANSLATED))).toBe(TRANSLATED);
    expect(counters.regions).toBeGreaterThan(TRANSLATED / 4);
  },
  TIMEOUT,
);

it('leaves out only rows with a reason', () => {
  const reasons = untested();
  const missing = rows.slice(1).filter((row) => !implemented(row));
  const left = rows.slice(1).filter((row) => !exercised.has(row));
  console.log(`${exercised.size} of ${rows.length - 1} rows exercised. Not:\n${reasons.join('\n')}`);
  expect(missing.map(rowName)).toEqual([]);
  expect(left.map(rowName).filter((name) => !reasons.some((reason) => reason.startsWith(`${name}:`)))).toEqual([]);
});
