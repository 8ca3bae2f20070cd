/**
 * The transcendental instructions against the host CPU. Special operands, stack faults and status have to be equal bit
 * for bit; values may differ by one unit in the last place, since hardware does not round them correctly everywhere and
 * AMD's, Intel's and older processors' microcode differ. How often they are equal is printed.
 */
import { describe, expect, test } from 'vitest';
import {
  type Batch,
  batch,
  EFLAGS,
  extended,
  MEMORY,
  ORACLE_AVAILABLE,
  Random,
  X87_IMAGE,
  X87_MEMORY,
} from './oracle.ts';
import { describeState, run } from './x87-machine.ts';

const CASES = Number(process.env.FPU_CASES ?? 3000);

/** Exponent ranges (unbiased) of ST(0) and ST(1) in which results are defined. */
interface Form {
  name: string;
  modrm: number;
  st0: [number, number];
  st1?: [number, number];
  positive?: boolean;
  /** ST(0) is near 1 in half of the cases. */
  nearOne?: boolean;
  /** Below this exponent any ST(0) has a defined result. */
  below?: number;
}
const forms: Form[] = [
  { name: 'F2XM1', modrm: 0xf0, st0: [-70, -1], below: 0 },
  { name: 'FYL2X', modrm: 0xf1, st0: [-40, 40], st1: [-30, 30], positive: true, nearOne: true },
  { name: 'FPTAN', modrm: 0xf2, st0: [-40, 62] },
  { name: 'FPATAN', modrm: 0xf3, st0: [-20, 20], st1: [-20, 20] },
  { name: 'FYL2XP1', modrm: 0xf9, st0: [-70, -3], st1: [-30, 30], below: -2 },
  { name: 'FSINCOS', modrm: 0xfb, st0: [-40, 62] },
  { name: 'FSIN', modrm: 0xfe, st0: [-40, 62] },
  { name: 'FCOS', modrm: 0xff, st0: [-40, 62] },
];

/** Ten bytes of ST(i) in a record. */
const register = (input: Batch, index: number, i: number): number => index * input.stride + X87_IMAGE + 28 + 10 * i;

/** Sets the exponent of the value at `at` to one of the range. */
function setExponent(random: Random, bytes: Uint8Array, at: number, [from, to]: [number, number]): void {
  const biased = 16383 + from + random.below(to - from + 1);
  bytes[at + 8] = biased & 0xff;
  bytes[at + 9] = (bytes[at + 9] & 0x80) | (biased >> 8);
  bytes[at + 7] |= 0x80;
}

function fill(random: Random, input: Batch, index: number, form: Form, special: boolean): void {
  const word = input.word(index, X87_IMAGE);
  const masks = special && random.chance(0.4) ? random.below(64) : 0x3f;
  input.words[word] = 0xffff0340 | (random.below(4) << 10) | masks;
  const top = random.below(8);
  input.words[word + 1] = 0xffff0000 | (top << 11) | (random.word() & 0x4700);
  let tags = 3 << (2 * ((top + 7) & 7));
  if (special && random.chance(0.2)) tags = random.word() & 0xffff;
  input.words[word + 2] = 0xffff0000 | tags;
  for (let i = 0; i < 8; i++) extended(random, input.bytes, register(input, index, i));
  if (special) return;
  const st0 = register(input, index, 0);
  if (form.positive) input.bytes[st0 + 9] &= 0x7f;
  const exponent = (((input.bytes[st0 + 9] & 0x7f) << 8) | input.bytes[st0 + 8]) - 16383;
  if (exponent < (form.below ?? 16384) && random.chance(0.3)) return;
  setExponent(random, input.bytes, st0, form.st0);
  if (form.nearOne && random.chance(0.5)) setExponent(random, input.bytes, st0, [-1, 0]);
  if (form.st1) setExponent(random, input.bytes, register(input, index, 1), form.st1);
}

/** An 80-bit value as an integer that grows by one per unit in the last place. */
function ordinal(bytes: Uint8Array, at: number): bigint {
  let value = 0n;
  for (let i = 9; i >= 0; i--) value = (value << 8n) | BigInt(bytes[at + i]);
  const magnitude = (((value >> 64n) & 0x7fffn) << 63n) | (value & 0x7fffffffffffffffn);
  return value >> 79n ? -magnitude : magnitude;
}

/** Is the operand one with a value defined by the manual rather than by an algorithm? */
function isSpecial(bytes: Uint8Array, at: number): boolean {
  const exponent = ((bytes[at + 9] & 0x7f) << 8) | bytes[at + 8];
  const zero = bytes.subarray(at, at + 8).every((byte) => byte === 0);
  return exponent === 0x7fff || (exponent === 0 && zero) || (exponent !== 0 && bytes[at + 7] < 0x80);
}

describe.skipIf(!ORACLE_AVAILABLE)('x87 transcendental functions', () => {
  test.each(forms)('$name is within one unit in the last place', (form) => {
    const random = new Random(form.modrm);
    const input = batch('x87', CASES);
    for (let i = 0; i < CASES; i++) {
      input.setCode(i, [0xd9, form.modrm]);
      input.words[input.word(i, EFLAGS)] = 0x202;
      fill(random, input, i, form, false);
    }
    const output = input.run();
    let values = 0;
    let equal = 0;
    const failures: string[] = [];
    for (let i = 0; i < CASES; i++) {
      const start = i * input.stride;
      const record = input.bytes.slice(start, start + input.stride);
      run(record, new Int32Array(record.buffer), 0xd9, form.modrm);
      const native = output.bytes.subarray(start, start + input.stride);
      let worst = 0n;
      for (const st of form.name === 'FPTAN' || form.name === 'FSINCOS' ? [0, 1] : [0]) {
        const at = X87_IMAGE + 28 + 10 * st;
        const difference = ordinal(record, at) - ordinal(native, at);
        const distance = difference < 0n ? -difference : difference;
        // The 1 that FPTAN pushes is compared, but would flatter the count.
        if (form.name !== 'FPTAN' || st === 1) {
          values++;
          if (distance === 0n) equal++;
        }
        if (distance > worst) worst = distance;
      }
      // All of the status but C1, which tells of the rounding of a value that may differ.
      const status =
        (record[X87_IMAGE + 4] ^ native[X87_IMAGE + 4]) | ((record[X87_IMAGE + 5] ^ native[X87_IMAGE + 5]) & ~2);
      if (worst > 1n || status !== 0) {
        failures.push(
          `${worst} ulp\nin:     ${describeState(input.bytes, start)}\nnative: ${describeState(native, 0)}\nours:   ${describeState(record, 0)}`,
        );
      }
    }
    console.log(
      `${form.name}: ${((100 * equal) / values).toFixed(3)} % of ${values} values equal the host's to the last bit`,
    );
    expect(failures.slice(0, 4).join('\n')).toBe('');
  });

  test.each(forms)('$name treats special operands and stack faults as the host does', (form) => {
    const random = new Random(form.modrm + 1);
    const input = batch('x87', CASES);
    for (let i = 0; i < CASES; i++) {
      input.setCode(i, [0xd9, form.modrm]);
      input.words[input.word(i, EFLAGS)] = 0x202;
      fill(random, input, i, form, true);
    }
    const output = input.run();
    const failures: string[] = [];
    let compared = 0;
    for (let i = 0; i < CASES; i++) {
      const start = i * input.stride;
      const top = (input.words[input.word(i, X87_IMAGE) + 1] >> 11) & 7;
      const tags = input.words[input.word(i, X87_IMAGE) + 2];
      const empty = (st: number): boolean => ((tags >> (2 * ((top + st) & 7))) & 3) === 3;
      const special =
        isSpecial(input.bytes, register(input, i, 0)) || (form.st1 && isSpecial(input.bytes, register(input, i, 1)));
      const faults = empty(0) || (form.st1 && empty(1));
      if (!special && !faults) continue;
      compared++;
      const record = input.bytes.slice(start, start + input.stride);
      run(record, new Int32Array(record.buffer), 0xd9, form.modrm);
      const native = output.bytes.subarray(start, start + input.stride);
      const same = [0, 4, 8].every(
        (at) =>
          record[X87_IMAGE + at] === native[X87_IMAGE + at] &&
          record[X87_IMAGE + at + 1] === native[X87_IMAGE + at + 1],
      );
      const registers = Buffer.compare(
        record.subarray(X87_IMAGE + 28, X87_IMAGE + 108),
        native.subarray(X87_IMAGE + 28, X87_IMAGE + 108),
      );
      if (same && registers === 0) continue;
      failures.push(
        `in:     ${describeState(input.bytes, start)}\nnative: ${describeState(native, 0)}\nours:   ${describeState(record, 0)}`,
      );
    }
    expect(compared).toBeGreaterThan(CASES / 10);
    expect(failures.length === 0 ? '' : `${failures.length} failures\n${failures.slice(0, 12).join('\n')}`).toBe('');
  });
});

describe('rounding of tiny tangents and sines', () => {
  /** Result of D9 `modrm` on a positive number with the given exponent, in units in the last place away from it. */
  function distance(modrm: number, rc: number, exponent: number): bigint {
    const record = new Uint8Array(X87_MEMORY + MEMORY);
    const words = new Int32Array(record.buffer);
    words[X87_IMAGE / 4] = 0xffff037f | (rc << 10);
    words[X87_IMAGE / 4 + 2] = 3 << 14;
    const st0 = X87_IMAGE + 28;
    record.set([0x00, 0x08, 0, 0, 0, 0, 0x80, 0x80, (16383 + exponent) & 0xff, (16383 + exponent) >> 8], st0);
    const argument = ordinal(record, st0);
    run(record, words, 0xd9, modrm);
    return ordinal(record, st0 + (modrm === 0xf2 ? 10 : 0)) - argument;
  }

  test.each([-34, -39, -40, -41, -60, -70, -72, -73, -100, -5000])('exponent %i', (exponent) => {
    const FPTAN = 0xf2;
    const FSIN = 0xfe;
    // Nearest, down, up, to zero: tan x is a little above x, sin x a little below.
    expect([0, 1, 2, 3].map((rc) => distance(FPTAN, rc, exponent))).toEqual([0n, 0n, 1n, 0n]);
    expect([0, 1, 2, 3].map((rc) => distance(FSIN, rc, exponent))).toEqual([0n, -1n, 0n, -1n]);
  });
});
