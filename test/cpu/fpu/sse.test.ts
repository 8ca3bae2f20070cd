/** SSE floating point against the host CPU: results, exception flags and, unmasked, the fault, bit for bit. */
import { describe, expect, test } from 'vitest';
import { integer } from '../../../cpu/fpu/convert.ts';
import { fp } from '../../../cpu/fpu/float.ts';
import {
  beginSse,
  SSE_ADD,
  SSE_SUB,
  sseAddSub,
  sseArithmetic,
  sseCompare,
  sseCompareFlags,
  sseDotProduct,
  sseDoubleToSingle,
  sseFromInt32,
  sseFromInt64,
  sseHorizontal,
  sseRound,
  sseSingleToDouble,
  sseSqrt,
  sseToInt32,
  sseToInteger,
} from '../../../cpu/fpu/sse.ts';
import { host } from '../../isa/vendors.ts';
import {
  batch,
  double,
  EFLAGS,
  FAULTED,
  hex,
  MXCSR,
  ORACLE_AVAILABLE,
  RAX,
  Random,
  single,
  XMM0,
  XMM1,
} from './oracle.ts';

const CASES = Number(process.env.FPU_CASES ?? 4000);

/** What an operand lane is filled with. */
type Lane = 'single' | 'double' | 'int';

interface Form {
  name: string;
  code: number[];
  lane: Lane;
  /** Runs the model on XMM0 and XMM1 at words d and s of mem; returns flags. May set RAX (two words at r). */
  run(mem: Int32Array, d: number, s: number, rax: number): number;
  eflags?: boolean;
  /**
   * A dot product. AMD's microcoded DPPx reports underflow of a step beside the denormal operand whose unmasked exception
   * stops it, if underflow is masked; other steps and Intel's manual do not. Then only our flags must be among the host's.
   * On Intel's CPUs NaNs may be others than ours: where they go is implementation-dependent (SDM vol. 2A, DPPS).
   */
  sums?: boolean;
}

const forms: Form[] = [];

/** The four forms of an opcode by prefix: none PS, 66 PD, F3 SS, F2 SD. */
const PREFIXES = [
  { suffix: 'PS', prefix: [], double: false, lanes: 4 },
  { suffix: 'PD', prefix: [0x66], double: true, lanes: 2 },
  { suffix: 'SS', prefix: [0xf3], double: false, lanes: 1 },
  { suffix: 'SD', prefix: [0xf2], double: true, lanes: 1 },
];

for (const { suffix, prefix, double: isDouble, lanes } of PREFIXES) {
  const lane = isDouble ? 'double' : 'single';
  for (const op of [0x58, 0x59, 0x5c, 0x5d, 0x5e, 0x5f]) {
    const name = { 88: 'ADD', 89: 'MUL', 92: 'SUB', 93: 'MIN', 94: 'DIV', 95: 'MAX' }[op];
    forms.push({
      name: name + suffix,
      code: [...prefix, 0x0f, op, 0xc1],
      lane,
      run: (mem, d, s) => sseArithmetic(op, isDouble, lanes, mem, d, d, s),
    });
  }
  forms.push({
    name: `SQRT${suffix}`,
    code: [...prefix, 0x0f, 0x51, 0xc1],
    lane,
    run: (mem, d, s) => sseSqrt(isDouble, lanes, mem, d, s),
  });
  for (let predicate = 0; predicate < 8; predicate++) {
    forms.push({
      name: `CMP${suffix} ${predicate}`,
      code: [...prefix, 0x0f, 0xc2, 0xc1, predicate],
      lane,
      run: (mem, d, s) => sseCompare(predicate, isDouble, lanes, mem, d, d, s),
    });
  }
  const round = { PS: 8, PD: 9, SS: 10, SD: 11 }[suffix]!;
  for (const imm of [0, 1, 2, 3, 4, 8, 12]) {
    forms.push({
      name: `ROUND${suffix} ${imm}`,
      code: [0x66, 0x0f, 0x3a, round, 0xc1, imm],
      lane,
      run: (mem, d, s) => sseRound(isDouble, lanes, imm, mem, d, s),
    });
  }
  if (lanes === 1) {
    for (const truncate of [false, true]) {
      for (const width of [32, 64]) {
        forms.push({
          name: `CVT${truncate ? 'T' : ''}${suffix}2SI ${width}`,
          code: [...prefix, ...(width === 64 ? [0x48] : []), 0x0f, truncate ? 0x2c : 0x2d, 0xc1],
          lane,
          run: (mem, _d, s, rax) => {
            const flags = sseToInteger(truncate, isDouble, width, mem, s);
            if (!fp.unmasked(0x3f)) {
              mem[rax] = integer.lo;
              mem[rax + 1] = width === 64 ? integer.hi : 0;
            }
            return flags;
          },
        });
      }
    }
    forms.push({
      name: `CVTSI2${suffix} 32`,
      code: [...prefix, 0x0f, 0x2a, 0xc0],
      lane: 'int',
      run: (mem, d, _s, rax) => sseFromInt32(isDouble, 1, mem, d, rax),
    });
    forms.push({
      name: `CVTSI2${suffix} 64`,
      code: [...prefix, 0x48, 0x0f, 0x2a, 0xc0],
      lane: 'int',
      run: (mem, d, _s, rax) => sseFromInt64(isDouble, mem, d, mem[rax], mem[rax + 1]),
    });
    for (const quiet of [false, true]) {
      forms.push({
        name: `${quiet ? 'U' : ''}COMI${suffix}`,
        code: [...(isDouble ? [0x66] : []), 0x0f, quiet ? 0x2e : 0x2f, 0xc1],
        lane,
        eflags: true,
        run: (mem, d, s, rax) => {
          const bits = sseCompareFlags(quiet, isDouble, mem, d, s);
          if (!fp.unmasked(0x3f)) mem[rax + 2] = (mem[rax + 2] & ~0x8d5) | bits;
          return fp.flags;
        },
      });
    }
  } else {
    const p = isDouble ? [0x66] : [0xf2];
    forms.push({
      name: `ADDSUB${suffix}`,
      code: [...p, 0x0f, 0xd0, 0xc1],
      lane,
      run: (mem, d, s) => sseAddSub(isDouble, mem, d, d, s),
    });
    for (const op of [SSE_ADD, SSE_SUB]) {
      forms.push({
        name: `H${op === SSE_ADD ? 'ADD' : 'SUB'}${suffix}`,
        code: [...p, 0x0f, op === SSE_ADD ? 0x7c : 0x7d, 0xc1],
        lane,
        run: (mem, d, s) => sseHorizontal(op, isDouble, mem, d, d, s),
      });
    }
    for (const imm of [0xff, 0x31, 0x7e, 0x92]) {
      forms.push({
        name: `DP${suffix} ${imm}`,
        code: [0x66, 0x0f, 0x3a, isDouble ? 0x41 : 0x40, 0xc1, imm],
        lane,
        sums: true,
        run: (mem, d, s) => sseDotProduct(isDouble, imm, mem, d, d, s),
      });
    }
  }
}

const simple = (name: string, code: number[], lane: Lane, run: Form['run']): void => {
  forms.push({ name, code, lane, run });
};
simple('CVTPS2PD', [0x0f, 0x5a, 0xc1], 'single', (m, d, s) => sseSingleToDouble(2, m, d, s));
simple('CVTSS2SD', [0xf3, 0x0f, 0x5a, 0xc1], 'single', (m, d, s) => sseSingleToDouble(1, m, d, s));
simple('CVTPD2PS', [0x66, 0x0f, 0x5a, 0xc1], 'double', (m, d, s) => sseDoubleToSingle(2, m, d, s));
simple('CVTSD2SS', [0xf2, 0x0f, 0x5a, 0xc1], 'double', (m, d, s) => sseDoubleToSingle(1, m, d, s));
simple('CVTDQ2PS', [0x0f, 0x5b, 0xc1], 'int', (m, d, s) => sseFromInt32(false, 4, m, d, s));
simple('CVTDQ2PD', [0xf3, 0x0f, 0xe6, 0xc1], 'int', (m, d, s) => sseFromInt32(true, 2, m, d, s));
simple('CVTPS2DQ', [0x66, 0x0f, 0x5b, 0xc1], 'single', (m, d, s) => sseToInt32(false, false, 4, 4, m, d, s));
simple('CVTTPS2DQ', [0xf3, 0x0f, 0x5b, 0xc1], 'single', (m, d, s) => sseToInt32(true, false, 4, 4, m, d, s));
simple('CVTPD2DQ', [0xf2, 0x0f, 0xe6, 0xc1], 'double', (m, d, s) => sseToInt32(false, true, 2, 4, m, d, s));
simple('CVTTPD2DQ', [0x66, 0x0f, 0xe6, 0xc1], 'double', (m, d, s) => sseToInt32(true, true, 2, 4, m, d, s));

function fillLanes(random: Random, words: Int32Array, at: number, lane: Lane): void {
  for (let i = 0; i < 4; i += lane === 'double' ? 2 : 1) {
    if (lane === 'single') words[at + i] = single(random);
    else if (lane === 'double') double(random, words, at + i);
    else words[at + i] = random.word() >> random.below(32);
  }
}

/** Related operands find what independent ones do not: cancellation, ties, equality. */
function relate(random: Random, words: Int32Array, a: number, b: number, lane: Lane): void {
  if (!random.chance(0.25)) return;
  for (let i = 0; i < 4; i += lane === 'double' ? 2 : 1) {
    const low = random.below(3) - 1;
    words[b + i] = words[a + i] + low;
    if (lane === 'double') words[b + i + 1] = words[a + i + 1];
    if (random.chance(0.5)) words[b + i + (lane === 'double' ? 1 : 0)] ^= 0x80000000;
  }
}

/** Makes NaNs of XMM0 those of the record at word `at` of `native`, where that has NaNs too. */
function takeNaNs(mem: Int32Array, native: Int32Array, at: number, lane: Lane): void {
  const words = lane === 'double' ? 2 : 1;
  const high = lane === 'double' ? 0x7ff00000 : 0x7f800000;
  const holdsNaN = (of: Int32Array, w: number) => (of[w] & high) === high && (of[w] & ~high & 0x7fffffff) !== 0;
  for (let w = XMM0 / 4; w < XMM0 / 4 + 4; w += words) {
    const top = w + words - 1;
    if (holdsNaN(mem, top) && holdsNaN(native, at + top)) for (let k = w; k <= top; k++) mem[k] = native[at + k];
  }
}

describe.skipIf(!ORACLE_AVAILABLE)('SSE floating point equals the host CPU', () => {
  test.each(forms.map((form) => [form.name, form] as const))('%s', (_name, form) => {
    const random = new Random(form.code.reduce((hash, byte) => hash * 31 + byte, 7));
    const input = batch('sse', CASES);
    for (let i = 0; i < CASES; i++) {
      input.setCode(i, form.code);
      const xmm0 = input.word(i, XMM0);
      const xmm1 = input.word(i, XMM1);
      fillLanes(random, input.words, xmm0, form.lane);
      fillLanes(random, input.words, xmm1, form.lane);
      relate(random, input.words, xmm0, xmm1, form.lane);
      const masks = random.chance(0.7) ? 0x3f : random.below(64);
      const flags = random.chance(0.9) ? 0 : random.below(64);
      const controls = (random.below(4) << 13) | (random.chance(0.3) ? 0x8000 : 0) | (random.chance(0.3) ? 0x40 : 0);
      input.words[input.word(i, MXCSR)] = controls | (masks << 7) | (flags & masks);
      input.words[input.word(i, EFLAGS)] = 0x202;
      input.words[input.word(i, RAX)] = random.word() >> random.below(32);
      input.words[input.word(i, RAX) + 1] = random.word() >> random.below(32);
    }
    const output = input.run();
    const mismatches: string[] = [];
    for (let i = 0; i < CASES && mismatches.length < 8; i++) {
      const mem = input.words.slice(input.word(i, 0), input.word(i + 1, 0));
      const mxcsr = mem[MXCSR / 4];
      beginSse(mxcsr);
      const flags = form.run(mem, XMM0 / 4, XMM1 / 4, RAX / 4);
      mem[MXCSR / 4] |= flags;
      mem[FAULTED / 4] = fp.unmasked(0x3f) ? 1 : 0;
      const bytes = new Uint8Array(mem.buffer);
      const start = i * input.stride;
      if (form.sums && mem[FAULTED / 4]) {
        const native = output.words[output.word(i, MXCSR)];
        if ((mem[MXCSR / 4] & ~native) === 0) mem[MXCSR / 4] = native;
      }
      if (form.sums && host === 'Intel') takeNaNs(mem, output.words, output.word(i, 0), form.lane);
      const same =
        Buffer.compare(bytes.subarray(RAX, EFLAGS), output.bytes.subarray(start + RAX, start + EFLAGS)) === 0 &&
        Buffer.compare(bytes.subarray(MXCSR, XMM1), output.bytes.subarray(start + MXCSR, start + XMM1)) === 0 &&
        (!form.eflags || ((bytes[EFLAGS] ^ output.bytes[start + EFLAGS]) & 0xd5) === 0);
      if (same) continue;
      const show = (b: Uint8Array, at: number): string =>
        `xmm0 ${hex(b, at + XMM0, 16)} mxcsr ${hex(b, at + MXCSR, 4)} fault ${b[at + FAULTED]} rax ${hex(b, at + RAX, 8)} fl ${hex(b, at + EFLAGS, 1)}`;
      mismatches.push(
        `in:     ${show(input.bytes, start)} xmm1 ${hex(input.bytes, start + XMM1, 16)}\nnative: ${show(output.bytes, start)}\nours:   ${show(bytes, 0)}`,
      );
    }
    expect(mismatches.join('\n')).toBe('');
  });
});
