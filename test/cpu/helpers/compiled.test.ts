/** Compiled helpers against the same in TypeScript, which runs everything while somebody watches: on random tables and frames. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CANNOT } from '../../../cpu/exits.ts';
import { compiledFault, compiledHelper } from '../../../cpu/helpers/compiled.ts';
import { setRflags } from '../../../cpu/helpers/flags.ts';
import {
  S_COMPILED_CALLS,
  S_CR2,
  S_GPR,
  S_KERNEL_GS_BASE,
  S_MODE,
  S_OPS,
  S_RFLAGS,
  S_RIP,
  S_SEGMENTS,
  S_TLB_BASE,
} from '../../../cpu/state.ts';
import { updateMode } from '../../../cpu/system/mode-word.ts';
import {
  BareCpu,
  CODE,
  CODE64,
  DATA,
  FLAT,
  GDT,
  IDT,
  INNER_STACK,
  KERNEL_STACK,
  PML4,
  PT,
  RAX,
  RBX,
  RSP,
  SPARE,
  TSS,
  USER_CODE64,
  USER_DATA,
} from '../system/bare-cpu.ts';

const RUNS = process.env.TSVMM_LONG ? 20_000 : 400;

const CODES: Record<string, string> = {
  UD2: '0f 0b',
  INT3: 'cc',
  'INT 30h': 'cd 30',
  'DIV ECX': 'f7 f1',
  'MOV EAX,[RBX]': '8b 03',
  'MOV [RBX],AX': '66 89 03',
  IRETQ: '48 cf',
  'IRET 32': 'cf',
  'INVLPG [RBX]': '0f 01 3b',
  'MOV CR3,RAX': '0f 22 d8',
  'MOV RAX,CR3': '0f 20 d8',
  SWAPGS: '0f 01 f8',
};
/** Pages with tables and stacks, whose entries a case may change. */
const PAGES = [GDT, IDT, TSS, CODE, DATA, KERNEL_STACK - 0x1000, KERNEL_STACK, INNER_STACK - 0x1000];
const SELECTORS = [0, FLAT, CODE64, USER_DATA, USER_CODE64, SPARE, SPARE | 3, 0x08, 0x23, 0xfff8, 4];

interface Case {
  code: string;
  cpl: number;
  /** RSP as a distance from the top of its page; RBX. */
  distance: number;
  address: number;
  rflags: number;
  /** Gates: words that are changed, by the bits of a mask. */
  gate: { mask: number[]; bits: number[] } | undefined;
  spare: [number, number];
  ist: number;
  /** Low bits of an entry of the page table. */
  page: [number, number] | undefined;
  frame: { cs: number; ss: number; flags: number; rip: number; high: number; distance: number };
}

const word = fc.integer();
const selector = fc.constantFrom(...SELECTORS);
const aligned = fc.oneof(fc.constantFrom(0, 8, 16, 40, 48, 64, 0x800), fc.nat(0xfff));
const input: fc.Arbitrary<Case> = fc.record({
  code: fc.constantFrom(...Object.keys(CODES)),
  cpl: fc.constantFrom(0, 0, 3),
  distance: aligned,
  address: fc.constantFrom(DATA, DATA + 0xffe, 0x7f_f000, 0x90_0000),
  rflags: word.map((bits) => (bits & (0x8d5 | 0x7600 | 0x40000)) | 2),
  gate: fc.option(
    fc.record({
      mask: fc.tuple(fc.constantFrom(0, 0, 0xffff0000 | 0), fc.constantFrom(0, 0x7, 0xff00), fc.constantFrom(0, 0, -1)),
      bits: fc.tuple(
        selector.map((value) => value << 16),
        fc.constantFrom(0x8e00, 0x8f00, 0xee01, 0xee00, 0x0e00, 0x8e07, 0x8500, 0x8c00),
        fc.constantFrom(0, 0x7fff, 0x8000, -1),
      ),
    }),
    { nil: undefined },
  ),
  spare: fc.tuple(
    word,
    fc.oneof(word, fc.constantFrom(0xaf9b00, 0xaf9e00, 0xaffe00, 0xaffb00, 0xcf9300, 0xcff200, 0xef9b00, 0xaf1b00)),
  ),
  ist: fc.oneof(
    fc.constant(INNER_STACK - 0x100),
    fc.nat(0xfff).map((at) => INNER_STACK - at),
  ),
  page: fc.option(fc.tuple(fc.nat(PAGES.length - 1), fc.nat(7)), { nil: undefined }),
  frame: fc.record({
    cs: selector,
    ss: selector,
    flags: word.map((bits) => bits & ~0x100),
    rip: fc.constantFrom(CODE + 0x800, DATA),
    high: fc.constantFrom(0, 0, 0, 0x8000, -1),
    distance: aligned,
  }),
});

/** What one instruction leaves behind. */
function outcome(machine: BareCpu, c: Case) {
  const { view, cpu, ram } = machine;
  const { i32 } = cpu;
  for (const page of PAGES) ram.fill(0, page, page + 0x1000);
  machine.long(c.cpl);
  for (const vector of [0, 3, 6, 13, 14, 0x30]) {
    const { mask, bits } = c.gate ?? { mask: [0, 0, 0], bits: [0, 0, 0] };
    for (let n = 0; n < 3; n++) {
      const at = IDT + vector * 16 + n * 4;
      view.setInt32(at, (view.getInt32(at, true) & ~mask[n]) | (bits[n] & mask[n]), true);
    }
  }
  view.setInt32(GDT + SPARE, c.spare[0], true);
  view.setInt32(GDT + SPARE + 4, c.spare[1], true);
  for (let ist = 1; ist < 8; ist++) view.setInt32(TSS + 0x1c + ist * 8, c.ist, true);
  if (c.page !== undefined) view.setInt32(PT + (PAGES[c.page[0]] >> 12) * 8, PAGES[c.page[0]] | c.page[1], true);
  for (let n = 0; n < 16; n++) if (n !== RSP) machine.set(n, 0);
  machine.set(RAX, PML4);
  machine.set(RBX, c.address);
  i32[S_KERNEL_GS_BASE >> 2] = c.address;
  const top = KERNEL_STACK - c.distance;
  machine.set(RSP, top);
  [c.frame.rip, c.frame.cs, c.frame.flags, KERNEL_STACK - c.frame.distance, c.frame.ss].forEach((value, n) => {
    if (c.code.startsWith('IRET')) view.setInt32(top + n * 8, value, true);
  });
  view.setInt32(top + 4, c.code.startsWith('IRET') ? c.frame.high : 0, true);
  setRflags(cpu, c.rflags);
  updateMode(cpu);
  machine.put(CODE, CODES[c.code]);
  i32[S_RIP >> 2] = CODE;
  i32[(S_RIP + 4) >> 2] = 0;
  i32[S_CR2 >> 2] = 0;
  cpu.halted = false;
  const words = (from: number, bytes: number) => [...i32.subarray(from >> 2, (from + bytes) >> 2)];
  const stop = cpu.run(2);
  return {
    stop,
    halted: cpu.halted,
    registers: words(S_GPR, 16 * 8),
    rip: words(S_RIP, 8),
    flags: cpu.rflags,
    system: i32[S_RFLAGS >> 2],
    segments: words(S_SEGMENTS, 8 * 32),
    mode: i32[S_MODE >> 2],
    tlb: i32[S_TLB_BASE >> 2],
    cr2: words(S_CR2, 8),
    memory: PAGES.map((page) => Buffer.from(ram.subarray(page, page + 0x1000)).toString('latin1')),
    entries: Buffer.from(ram.subarray(PT, PT + 0x1000)).toString('latin1'),
  };
}

describe('compiled helpers', () => {
  const compiled = new BareCpu();
  const watched = new BareCpu({}, { observer: { delivering() {}, translated() {} } });

  test('leave the same behind', () => {
    fc.assert(
      fc.property(input, (c) => {
        expect(outcome(compiled, c)).toEqual(outcome(watched, c));
      }),
      { numRuns: RUNS },
    );
    expect(watched.cpu.i32[S_COMPILED_CALLS >> 2]).toBe(0);
    if (!process.env.TSVMM_ACCEL?.includes('jit=js'))
      expect(compiled.cpu.i32[S_COMPILED_CALLS >> 2]).toBeGreaterThan(RUNS / 8);
  });

  test('leave 32-bit code to TypeScript', () => {
    const { cpu } = new BareCpu().protected();
    expect(compiledHelper(cpu, S_OPS)).toBe(CANNOT);
    expect(compiledFault(cpu)).toBe(CANNOT);
  });
});
