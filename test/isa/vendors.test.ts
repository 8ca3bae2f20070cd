/** What vendors do differently: of the other vendor's result exactly that is accepted, by neither vendor's more. */
import { describe, expect, it } from 'vitest';
import { rows } from '../../cpu/isa/table.ts';
import { RCX, RDI, RSI } from './builder.ts';
import {
  type CaseResult,
  type CpuState,
  FX_FSW,
  FX_FTW,
  FX_ST0,
  FX_XMM0,
  initialState,
  type MemoryWord,
  RSP,
  TRAP_NONE,
} from './case.ts';
import { differences } from './compare.ts';
import { Emulator } from './emulator.ts';
import { decodedRow } from './encode.ts';
import type { GeneratedCase } from './generate.ts';
import { CODE, CS32, DATA, DS, STACK, UNMAPPED } from './layout.ts';
import type { Vendor } from './vendors.ts';

const emulator = new Emulator();
const TOP = STACK.address + 0x800;
const BOUND_RANGE = 5;
const PROTECTION = 13;
const PAGE_FAULT = 14;
const ALIGNMENT = 17;
const AC = 0x40000;

function makeCase(hex: string, change: (state: CpuState) => void, memory: readonly MemoryWord[] = []): GeneratedCase {
  const bytes = Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
  const state = initialState();
  state.gpr[RSP] = BigInt(TOP);
  change(state);
  const row = rows[decodedRow(bytes, state.mode64).row];
  return { name: hex, state, codeAddress: CODE.address, code: bytes, memory, instructions: [{ row, bytes }] };
}

const in32 = (state: CpuState) => state.segments.set([DS, CS32, DS, DS, DS, DS]);

/** How a result is altered: its registers, or more. */
type Alter = (state: CpuState, result: CaseResult) => Partial<CaseResult> | undefined;

function altered(result: CaseResult, alter: Alter): CaseResult {
  const state = result.state.clone();
  return { ...result, state, ...alter(state, result) };
}

/** Name, vendor that does it, code, its state, what that vendor's CPU has differently. */
const accepted: [string, Vendor, string, (state: CpuState) => void, Alter, MemoryWord[]?][] = [
  [
    'the flags of REPNE SCASB that faults midway',
    'AMD',
    'f2 ae',
    ({ gpr }) => {
      gpr[RCX] = 100n;
      gpr[RDI] = BigInt(STACK.address + STACK.length - 4);
      gpr[0] = 0x11n;
    },
    (state) => void (state.rflags ^= 0x81),
  ],
  [
    'the base of GS after a null selector',
    'AMD',
    '8e e9',
    (state) => void (state.gsBase = 0x1234n),
    (state) => void (state.gsBase = 0x1234n),
  ],
  [
    'MXCSR.MM in the MXCSR_MASK of FXSAVE',
    'AMD',
    '0f ae 07',
    ({ gpr }) => void (gpr[RDI] = BigInt(DATA.address)),
    (_, { memory }) => ({
      memory: memory.map((word) =>
        word.address === DATA.address + 24 ? { ...word, value: word.value | (1n << 49n) } : word,
      ),
    }),
  ],
  [
    'the upper half of what PUSH ES pushes',
    'Intel',
    '06',
    in32,
    () => ({ memory: [{ address: TOP - 8, value: 0xabcd_002b_0000_0000n }] }),
    [{ address: TOP - 8, value: 0xabcd_1234_0000_0000n }],
  ],
  [
    'the return address of a CALL that faults',
    'Intel',
    'ff d1',
    ({ gpr }) => void (gpr[RCX] = 1n << 62n),
    () => ({ memory: [{ address: TOP - 8, value: 0x2000_0002n }] }),
  ],
  [
    'CR2 of MASKMOVDQU',
    'Intel',
    '66 0f f7 c0',
    ({ gpr }) => void (gpr[RDI] = BigInt(UNMAPPED)),
    () => ({ cr2: BigInt(UNMAPPED + 8) }),
  ],
  [
    'the upper halves of RCX and RDI in 67 REP STOSB that faults at once',
    'Intel',
    '67 f3 aa',
    ({ gpr }) => {
      gpr[RCX] = 0x5_0000_0005n;
      gpr[RDI] = 0x5_0000_0000n | BigInt(UNMAPPED);
    },
    ({ gpr }) => {
      gpr[RCX] &= 0xffff_ffffn;
      gpr[RDI] &= 0xffff_ffffn;
      return undefined;
    },
  ],
  [
    'what FSTP m80 stored before the end of a page',
    'Intel',
    'db 3f',
    (state) => {
      state.gpr[RDI] = BigInt(DATA.address + DATA.length - 8);
      state.fxsave[FX_FTW] = 0xff;
    },
    () => ({ memory: [{ address: DATA.address + DATA.length - 8, value: 0x1234n }] }),
  ],
  [
    'TOP after an MMX store that faults',
    'Intel',
    '0f 7f 07',
    (state) => {
      state.gpr[RDI] = BigInt(UNMAPPED);
      state.fxsave[FX_FSW + 1] = 3 << 3;
      for (let i = 0; i < 8; i++) state.fxsave[FX_ST0 + 16 * i] = i;
    },
    (state) => {
      state.fxsave[FX_FSW + 1] = 0;
      for (let i = 0; i < 8; i++) state.fxsave[FX_ST0 + 16 * i] = (i - 3) & 7;
      return undefined;
    },
  ],
  [
    '#AC of XRSTOR',
    'Intel',
    '0f ae 2f',
    (state) => {
      state.gpr[RDI] = BigInt(DATA.address + 1);
      state.rflags |= AC;
    },
    () => ({ trap: ALIGNMENT }),
  ],
  [
    '#BR of BOUND whose upper bound is absent',
    'Intel',
    '62 07',
    (state) => {
      in32(state);
      state.gpr[RDI] = BigInt(DATA.address + DATA.length - 4);
    },
    () => ({ trap: BOUND_RANGE, error: 0, cr2: 0n }),
  ],
  [
    '#GP of RETF to another ring',
    'Intel',
    'cb',
    (state) => {
      in32(state);
      state.gpr[RSP] = BigInt(STACK.address + STACK.length - 8);
    },
    () => ({ trap: PROTECTION, error: 0x10, cr2: 0n }),
    [{ address: STACK.address + STACK.length - 8, value: 0x10n << 32n }],
  ],
  [
    'which NaN DPPS has where',
    'Intel',
    '66 0f 3a 40 c1 ff',
    ({ fxsave }) => new DataView(fxsave.buffer, fxsave.byteOffset).setUint32(FX_XMM0, 0x7fc00001, true),
    ({ fxsave }) => void new DataView(fxsave.buffer, fxsave.byteOffset).setUint32(FX_XMM0 + 4, 0xffc00002, true),
  ],
];

describe.each(accepted)('%s', (_name, vendor, code, change, alter, memory) => {
  const testCase = makeCase(code, change, memory);
  const other: Vendor = vendor === 'Intel' ? 'AMD' : 'Intel';

  it('is accepted from the vendor that does it, and from no other', async () => {
    const [ours] = await emulator.run([testCase]);
    const native = altered(ours, alter);
    expect(differences(testCase, native, ours, vendor)).toEqual([]);
    expect(differences(testCase, native, ours, other)).not.toEqual([]);
  });

  it('hides nothing else', async () => {
    const [ours] = await emulator.run([testCase]);
    const native = altered(altered(ours, alter), ({ gpr }) => void (gpr[RSI] ^= 1n));
    expect(differences(testCase, native, ours, vendor).map(({ where }) => where)).toEqual(['rsi']);
  });
});

/** Name, code, its state, and what an Intel CPU does where ours faults. */
const incomparable: [string, string, (state: CpuState) => void, Partial<CaseResult>][] = [
  [
    'MOVUPS that is not aligned',
    '0f 10 07',
    (state) => {
      state.gpr[RDI] = BigInt(DATA.address + 1);
      state.rflags |= AC;
    },
    { trap: TRAP_NONE, error: 0 },
  ],
  [
    'POP FS where only two bytes are there',
    '0f a1',
    ({ gpr }) => void (gpr[RSP] = BigInt(STACK.address + STACK.length - 2)),
    { trap: PROTECTION, error: 0x10, cr2: 0n },
  ],
];

describe.each(incomparable)('%s', (_name, code, change, result) => {
  it('is a fault of ours that says nothing, on Intel CPUs', async () => {
    const testCase = makeCase(code, change);
    const [ours] = await emulator.run([testCase]);
    const native = { ...ours, ...result };
    expect(differences(testCase, native, ours, 'Intel')).toEqual([]);
    expect(differences(testCase, native, ours, 'AMD')).not.toEqual([]);
  });
});

it('POP FS of an absent slot is compared', async () => {
  const testCase = makeCase('0f a1', ({ gpr }) => void (gpr[RSP] = BigInt(STACK.address + STACK.length)));
  const [ours] = await emulator.run([testCase]);
  expect(ours.trap).toBe(PAGE_FAULT);
  expect(differences(testCase, { ...ours, trap: TRAP_NONE }, ours, 'Intel')).not.toEqual([]);
});
