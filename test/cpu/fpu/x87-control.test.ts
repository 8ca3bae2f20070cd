/** State images and MMX aliasing against the host CPU, and the contract of stores and pending exceptions. */
import { describe, expect, test } from 'vitest';
import { bytesInMode, execute, retire } from '../../../cpu/fpu/x87.ts';
import {
  ENV_PROTECTED_16,
  ENV_PROTECTED_32,
  ENV_REAL_16,
  ENV_REAL_32,
  enterMmx,
  fxrstor,
  fxsave,
  leaveMmx,
  markMmxWrite,
} from '../../../cpu/fpu/x87-control.ts';
import { OPERATION, STORES, x87Form } from '../../../cpu/fpu/x87-forms.ts';
import { S_FCS, S_FDP, S_FIP, S_FOP, S_FPU_OPERAND, S_FSW, S_FTW, S_X87 } from '../../../cpu/state.ts';
import { host } from '../../isa/vendors.ts';
import {
  type Batch,
  batch,
  EFLAGS,
  extended,
  MEMORY,
  ORACLE_AVAILABLE,
  RAX,
  Random,
  X87_IMAGE,
  X87_MEMORY,
} from './oracle.ts';
import { IMAGE_BYTES, restore, save, x } from './x87-machine.ts';

const CASES = 500;

interface Form {
  name: string;
  code: number[];
  /** What the model does between restore and save, on the record's memory operand. */
  run(memory: Uint8Array, rax: Int32Array): void;
  /** Byte ranges of the memory operand to compare. */
  memory: [number, number][];
  /** Where FCS and FDS are in it, if it is stored. */
  selectors?: [number, number];
  /** Fills the memory operand. */
  fill?: (random: Random, memory: Uint8Array) => void;
}

/** Runs an x87 memory instruction in an environment layout. */
const inLayout = (environment: number, opcode: number, modrm: number) => (memory: Uint8Array) => {
  x.environment = environment;
  const form = x87Form(opcode, modrm);
  if (!(form & STORES)) x.operand.set(memory.subarray(0, bytesInMode(x, form)));
  execute(x, opcode, modrm);
  memory.set(x.operand.subarray(0, x.storeBytes));
  if (form & STORES) retire(x, opcode, modrm);
  x.environment = ENV_PROTECTED_32;
};

/** A loadable FXSAVE image: masked exceptions, MXCSR without reserved bits. */
function fillFxsave(random: Random, memory: Uint8Array): void {
  memory[0] |= 0x3f;
  memory.set([0x80, 0x1f, 0, 0], 24);
  for (let i = 0; i < 8; i++) extended(random, memory, 32 + 16 * i);
}

/** FCW to FTW, and the registers; AMD stores the pointers only while an exception is pending. */
const FXSAVE_COMPARED: [number, number][] = [
  [0, 5],
  [32, 160],
];

const forms: Form[] = [
  {
    name: 'FNSTENV 16',
    code: [0x66, 0xd9, 0x36],
    run: inLayout(ENV_PROTECTED_16, 0xd9, 0x36),
    memory: [[0, MEMORY]],
    selectors: [8, 12],
  },
  {
    name: 'FNSAVE 16',
    code: [0x66, 0xdd, 0x36],
    run: inLayout(ENV_PROTECTED_16, 0xdd, 0x36),
    memory: [[0, MEMORY]],
    selectors: [8, 12],
  },
  {
    name: 'FNSTENV 32',
    code: [0xd9, 0x36],
    run: inLayout(ENV_PROTECTED_32, 0xd9, 0x36),
    memory: [[0, MEMORY]],
    selectors: [16, 24],
  },
  {
    name: 'FNSAVE 32',
    code: [0xdd, 0x36],
    run: inLayout(ENV_PROTECTED_32, 0xdd, 0x36),
    memory: [[0, MEMORY]],
    selectors: [16, 24],
  },
  {
    name: 'FLDENV 16',
    code: [0x66, 0xd9, 0x26],
    run: inLayout(ENV_PROTECTED_16, 0xd9, 0x26),
    memory: [],
  },
  { name: 'FRSTOR 16', code: [0x66, 0xdd, 0x26], run: inLayout(ENV_PROTECTED_16, 0xdd, 0x26), memory: [] },
  { name: 'FLDENV 32', code: [0xd9, 0x26], run: inLayout(ENV_PROTECTED_32, 0xd9, 0x26), memory: [] },
  { name: 'FRSTOR 32', code: [0xdd, 0x26], run: inLayout(ENV_PROTECTED_32, 0xdd, 0x26), memory: [] },
  {
    name: 'FXSAVE',
    code: [0x0f, 0xae, 0x06],
    run: (memory) => {
      fxsave(x, false);
      memory.set(x.operand);
    },
    memory: FXSAVE_COMPARED,
  },
  {
    name: 'FXRSTOR',
    code: [0x0f, 0xae, 0x0e],
    fill: fillFxsave,
    run: (memory) => {
      x.operand.set(memory);
      fxrstor(x, false);
    },
    memory: FXSAVE_COMPARED,
  },
  {
    name: 'FXRSTOR64, FXSAVE64',
    code: [0x48, 0x0f, 0xae, 0x0e, 0x48, 0x0f, 0xae, 0x06],
    fill: fillFxsave,
    run: (memory) => {
      x.operand.set(memory);
      fxrstor(x, true);
      fxsave(x, true);
      memory.set(x.operand);
    },
    memory: FXSAVE_COMPARED,
  },
  {
    name: 'MOVQ MM3, RAX',
    code: [0x48, 0x0f, 0x6e, 0xd8],
    run: (_memory, rax) => {
      enterMmx(x);
      x.i32[(S_X87 >> 2) + 12] = rax[0];
      x.i32[(S_X87 >> 2) + 13] = rax[1];
      markMmxWrite(x, 3);
    },
    memory: [],
  },
  { name: 'EMMS', code: [0x0f, 0x77], run: () => leaveMmx(x), memory: [] },
];

function fill(random: Random, input: Batch, index: number): void {
  const words = new Int32Array(input.bytes.buffer, index * input.stride, input.stride / 4);
  for (let i = RAX / 4; i < input.stride / 4; i++) words[i] = random.word();
  words[EFLAGS / 4] = 0x202;
  words[EFLAGS / 4 + 1] = 0;
  // Nothing unmasked may be pending.
  words[X87_IMAGE / 4] |= 0x3f;
  words[X87_MEMORY / 4] |= 0x3f;
  const at = index * input.stride;
  for (let i = 0; i < 8; i++) extended(random, input.bytes, at + X87_IMAGE + 28 + 10 * i);
}

describe.skipIf(!ORACLE_AVAILABLE)('x87 state images equal those of the host CPU', () => {
  test.each(forms)('$name', (form) => {
    const random = new Random(form.code.reduce((hash, byte) => hash * 31 + byte, 5));
    const input = batch('x87', CASES);
    for (let i = 0; i < CASES; i++) {
      input.setCode(i, form.code);
      fill(random, input, i);
      const memory = i * input.stride + X87_MEMORY;
      form.fill?.(random, input.bytes.subarray(memory, memory + MEMORY));
    }
    const output = input.run();
    const part = (bytes: Uint8Array, from: number, to: number): string =>
      Buffer.from(bytes.subarray(from, to)).toString('hex');
    for (let i = 0; i < CASES; i++) {
      const record = input.bytes.slice(i * input.stride, (i + 1) * input.stride);
      const native = output.bytes.subarray(i * input.stride, (i + 1) * input.stride);
      const image = record.subarray(X87_IMAGE, X87_IMAGE + IMAGE_BYTES);
      restore(image);
      form.run(record.subarray(X87_MEMORY), new Int32Array(record.buffer, RAX, 2));
      save(image);
      for (const [from, to] of [
        [0, 12],
        [28, IMAGE_BYTES],
      ]) {
        expect(part(record, X87_IMAGE + from, X87_IMAGE + to)).toBe(part(native, X87_IMAGE + from, X87_IMAGE + to));
      }
      // Intel's CPUs store them as 0 (CPUID.7.EBX[13]); ours does not tell so.
      if (host === 'Intel') for (const at of form.selectors ?? []) record.fill(0, X87_MEMORY + at, X87_MEMORY + at + 2);
      for (const [from, to] of form.memory) {
        expect(part(record, X87_MEMORY + from, X87_MEMORY + to)).toBe(part(native, X87_MEMORY + from, X87_MEMORY + to));
      }
    }
  });
});

describe('x87 contract with the CPU', () => {
  /** FNINIT, and the pointers of the next instruction. */
  function start(): void {
    execute(x, 0xdb, 0xe3);
    Object.assign(x, { ipLo: 0x1234, ipHi: 0, cs: 0x8, dpLo: 0x56789, dpHi: 0, ds: 0x10 });
  }
  const status = (): number => x.u16[S_FSW >> 1];

  test('a store changes nothing until it is retired', () => {
    start();
    execute(x, 0xd9, 0xe8); // FLD1
    const state = x.u8.subarray(0, S_FPU_OPERAND);
    const before = state.slice();
    execute(x, 0xd9, 0x1e); // FSTP m32fp
    expect(state).toEqual(before);
    expect(x.storeBytes).toBe(4);
    expect(x.operand32[0]).toBe(0x3f800000);
    retire(x, 0xd9, 0x1e);
    expect(x.u8[S_FTW]).toBe(0);
  });

  test('an unmasked exception stores nothing and is pending afterwards', () => {
    start();
    x.operand16[0] = 0x37e; // IE unmasked
    execute(x, 0xd9, 0x2e); // FLDCW
    expect(x.pending).toBe(false);
    execute(x, 0xdb, 0x1e); // FISTP m32int of an empty register
    expect(x.storeBytes).toBe(0);
    retire(x, 0xdb, 0x1e);
    expect(x.pending).toBe(true);
    expect(status() & 0x80ff).toBe(0x80c1); // B, ES, SF, IE
    execute(x, 0xdb, 0xe2); // FNCLEX
    expect(x.pending).toBe(false);
  });

  test('arithmetic records the instruction, control instructions do not', () => {
    start();
    execute(x, 0xd9, 0xe8); // FLD1
    execute(x, 0xd8, 0x06); // FADD m32fp
    x.ipLo = 0x9999;
    x.operand16[0] = 0x37f;
    execute(x, 0xd9, 0x2e); // FLDCW
    expect(x.u16[S_FOP >> 1]).toBe(0x006);
    expect(x.i32[S_FIP >> 2]).toBe(0x1234);
    expect(x.i32[S_FDP >> 2]).toBe(0x56789);
  });

  test('real-mode environments hold linear addresses, and load back', () => {
    for (const [environment, bytes] of [
      [ENV_REAL_16, 14],
      [ENV_REAL_32, 28],
    ]) {
      start();
      Object.assign(x, { ipLo: 0x1234, cs: 0xf000, dpLo: 0x8765, ds: 0x2345 });
      x.operand32[0] = 0x3f800000;
      execute(x, 0xd9, 0x06); // FLD m32fp
      x.environment = environment;
      execute(x, 0xd9, 0x36); // FNSTENV
      expect(x.storeBytes).toBe(bytes);
      const words = bytes === 14 ? [3, 4, 5, 6] : [6, 8, 10, 12];
      const [ip, ipHigh, dp, dpHigh] = words.map((word) => x.operand16[word]);
      expect([ip, ipHigh & 0xf000, ipHigh & 0x7ff]).toEqual([0x1234, 0xf000, 0x106]);
      expect([dp, dpHigh & 0xf000]).toEqual([0xbbb5, 0x2000]);
      retire(x, 0xd9, 0x36);
      execute(x, 0xd9, 0x26); // FLDENV
      expect(x.i32[S_FIP >> 2]).toBe(0xf1234);
      expect(x.i32[S_FDP >> 2]).toBe(0x2bbb5);
      expect(x.u16[S_FCS >> 1]).toBe(0);
      x.environment = ENV_PROTECTED_32;
    }
  });

  test('undefined opcodes are undefined', () => {
    for (const [opcode, modrm] of [
      [0xd9, 0x08],
      [0xd9, 0xd1],
      [0xd9, 0xe2],
      [0xd9, 0xef],
      [0xda, 0xe8],
      [0xdb, 0x20],
      [0xdb, 0xe5],
      [0xdd, 0x28],
      [0xde, 0xd8],
      [0xdf, 0xe1],
    ]) {
      expect(x87Form(opcode, modrm) & OPERATION).toBe(0);
    }
  });
});
