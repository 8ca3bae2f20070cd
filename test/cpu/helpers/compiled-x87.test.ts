/**
 * x87 instructions as they are compiled ahead of time against the same in TypeScript, which runs everything while somebody
 * watches: every form, on random states and operands, some of which fault.
 */
import { describe, expect, test } from 'vitest';
import * as f from '../../../cpu/fpu/x87-forms.ts';
import { setRflags } from '../../../cpu/helpers/flags.ts';
import {
  S_COMPILED_CALLS,
  S_CR0,
  S_CR2,
  S_FCS,
  S_FCW,
  S_FDP,
  S_FDS,
  S_FIP,
  S_FOP,
  S_FSW,
  S_FTW,
  S_GPR,
  S_RFLAGS,
  S_RIP,
  S_X87,
} from '../../../cpu/state.ts';
import { updateMode } from '../../../cpu/system/mode-word.ts';
import { double, extended, Random, single } from '../fpu/oracle.ts';
import { BareCpu, CODE, DATA, KERNEL_STACK, PT, RAX, RBX, RSP } from '../system/bare-cpu.ts';

const CASES = process.env.TSVMM_LONG ? 2000 : 40;
const PAGE = 0x1000;
const CR0 = 0x80050033 | 0;
const EM = 1 << 2;
const TS = 1 << 3;
const NE = 1 << 5;
const ALIGNMENT_CHECK = 1 << 18;
/** What an instruction may write; the stack is where an exception's frame goes. */
const PAGES = [DATA, DATA + PAGE, KERNEL_STACK - PAGE, CODE];

/** Operands' places: aligned, not, across pages, on the page of the code (whose writes are watched for). */
const ADDRESSES = [DATA, DATA + 8, DATA + 0x10, DATA + 3, DATA + PAGE - 1, DATA + PAGE - 4, CODE + 0x800];
/** Low bits of the page table's entries: mapped, read-only, absent. */
const ENTRIES = [7, 7, 7, 7, 7, 5, 6];

interface Case {
  registers: Uint8Array;
  control: number;
  status: number;
  tags: number;
  flags: number;
  rax: number;
  address: number;
  operand: Uint8Array;
  entries: [number, number];
  cr0: number;
}

function randomCase(random: Random, form: number): Case {
  const registers = new Uint8Array(128);
  for (let i = 0; i < 8; i++) {
    extended(random, registers, 16 * i);
    // Relatives of another, for sums that cancel and comparisons of equals.
    if (i > 0 && random.chance(0.3)) {
      registers.copyWithin(16 * i, 16 * (i - 1), 16 * i);
      registers[16 * i] ^= random.below(2);
      if (random.chance(0.5)) registers[16 * i + 9] ^= 0x80;
    }
  }
  const masks = random.chance(0.6) ? 0x3f : random.below(64);
  const top = random.below(8);
  const raised = random.chance(0.9) ? 0 : random.below(128);
  const pending = raised & ~masks & 0x3f ? 0x8080 : 0;
  const room = (form & f.OPERATION) === f.FLD || (form & f.OPERATION) === f.FLDCONST ? 1 << ((top + 7) & 7) : 0;
  const operand = new Uint8Array(16);
  const words = new Int32Array(operand.buffer);
  for (let i = 0; i < 4; i++) words[i] = random.word() >> (random.chance(0.3) ? random.below(32) : 0);
  if ((form & f.OPERAND) === f.M32FP) words[0] = single(random);
  if ((form & f.OPERAND) === f.M64FP) double(random, words, 0);
  if ((form & f.OPERAND) === f.M80FP) extended(random, operand, 0);
  return {
    registers,
    control: 0x40 | masks | (random.below(4) << 10) | (random.pick([0, 1, 2, 3, 3]) << 8),
    status: raised | pending | (random.word() & 0x4700) | (top << 11),
    tags: (random.chance(0.7) ? 0xff : random.below(256)) & ~(random.chance(0.9) ? room : 0),
    flags: (random.word() & (0x8d5 | ALIGNMENT_CHECK)) | 2,
    rax: random.word(),
    address: random.pick(ADDRESSES),
    operand,
    entries: [random.pick(ENTRIES), random.pick(ENTRIES)],
    cr0: random.chance(0.95) ? CR0 : CR0 ^ random.pick([EM, TS, NE]),
  };
}

/** What one instruction leaves behind. */
function outcome(machine: BareCpu, code: string, cpl: number, c: Case) {
  const { cpu, ram, view } = machine;
  const { i32, u16, u8 } = cpu;
  for (const page of [DATA, DATA + PAGE, KERNEL_STACK - PAGE]) ram.fill(0, page, page + PAGE);
  ram.fill(0, CODE + 0x800, CODE + 0x820);
  ram.set(c.operand, c.address);
  for (const [n, bits] of c.entries.entries())
    view.setInt32(PT + ((DATA >> 12) + n) * 8, (DATA + n * PAGE) | bits, true);
  machine.put(CODE, code);
  u8.set(c.registers, S_X87);
  u16[S_FCW >> 1] = c.control;
  u16[S_FSW >> 1] = c.status;
  u8[S_FTW] = c.tags;
  u16[S_FOP >> 1] = u16[S_FCS >> 1] = u16[S_FDS >> 1] = 0;
  i32.fill(0, S_FIP >> 2, (S_FIP + 8) >> 2);
  i32.fill(0, S_FDP >> 2, (S_FDP + 8) >> 2);
  for (let n = 0; n < 16; n++) machine.set(n, 0);
  machine.set(RAX, c.rax);
  machine.set(RBX, c.address);
  machine.set(RSP, KERNEL_STACK);
  i32[S_CR0 >> 2] = c.cr0;
  i32[S_CR2 >> 2] = 0;
  i32[S_RIP >> 2] = CODE;
  i32[(S_RIP + 4) >> 2] = 0;
  setRflags(cpu, c.flags);
  updateMode(cpu, cpl);
  cpu.mmu.flush();
  cpu.halted = false;
  const words = (from: number, bytes: number) => [...i32.subarray(from >> 2, (from + bytes) >> 2)];
  const stop = cpu.run(2);
  return {
    stop,
    general: words(S_GPR, 128),
    rip: words(S_RIP, 8),
    flags: cpu.rflags,
    system: i32[S_RFLAGS >> 2],
    cr2: words(S_CR2, 8),
    x87: words(S_X87, S_FDS + 4 - S_X87),
    memory: PAGES.map((page) => Buffer.from(ram.subarray(page, page + PAGE)).toString('latin1')),
    entries: Buffer.from(ram.subarray(PT, PT + PAGE)).toString('latin1'),
  };
}

const hex = (byte: number): string => byte.toString(16).padStart(2, '0');

/** Every form: [title, machine code, form]. A memory operand is at RBX, an instruction of two registers about ST(2). */
const forms: [string, string, number][] = [];
for (let opcode = 0xd8; opcode <= 0xdf; opcode++) {
  for (let modrm = 3; modrm <= 0xff; modrm += modrm < 0xc0 ? 8 : 1) {
    if (modrm >= 0x40 && modrm < 0xc0) modrm = 0xc0;
    const form = f.x87Form(opcode, modrm);
    const byIndex = modrm >= 0xc0 && f.x87Form(opcode, modrm & 0xf8) === f.x87Form(opcode, modrm | 7);
    // FNENI and its kin are taken for a NOP, which has no helper.
    if (form === (f.FNOP | f.CONTROL | f.NO_WAIT)) continue;
    if ((form & f.OPERATION) === 0 || (byIndex && (modrm & 7) > 2 && (form & f.OPERATION) !== f.FLDCONST)) continue;
    const code = `${hex(opcode)} ${hex(modrm)}`;
    forms.push([code, code, form]);
  }
}
forms.push(['FWAIT', '9b', f.FNOP]);

const compiled = new BareCpu();
const watched = new BareCpu({}, { observer: { delivering() {}, translated() {} } });
const hasCompiled = !process.env.TSVMM_ACCEL?.includes('jit=js');

/** Is there nothing about a case that compiled code leaves to TypeScript? */
function isPlain(c: Case, form: number, cpl: number): boolean {
  if (c.cr0 !== CR0 || c.status & 0x80 || (c.control & 0x3f) !== 0x3f) return false;
  if (f.operandSize(form) === 0 || (form & f.OPERAND) === f.AX) return true;
  const stores = (form & f.STORES) !== 0;
  if (cpl === 3 && c.flags & ALIGNMENT_CHECK) return false;
  if (c.address > CODE && c.address < CODE + PAGE) return !stores;
  const inPage = (c.address & (PAGE - 1)) + f.operandSize(form) <= PAGE;
  return inPage && (c.entries[0] === 7 || (c.entries[0] === 5 && !stores));
}

describe.each([0, 3])('x87 compiled ahead of time at CPL %i', (cpl) => {
  test.each(forms)('%s', (_, code, form) => {
    compiled.long(cpl);
    watched.long(cpl);
    const random = new Random(Number.parseInt(code.replace(' ', ''), 16) + cpl);
    const calls = () => compiled.cpu.i32[S_COMPILED_CALLS >> 2];
    const isRare = (form & f.OPERATION) >= f.FNINIT;
    // FBLD is compiled but for the operand, which a stack fault needs not.
    const isCommon = hasCompiled && !isRare && (form & f.OPERAND) !== f.M80BCD;
    let plain = 0;
    for (let i = 0; i < CASES; i++) {
      const c = randomCase(random, form);
      const before = calls();
      expect(outcome(compiled, code, cpl, c)).toEqual(outcome(watched, code, cpl, c));
      if (isRare) expect(calls()).toBe(before);
      else if (isCommon && isPlain(c, form, cpl)) {
        expect(calls()).toBe(before + 1);
        plain++;
      }
    }
    if (isCommon) expect(plain).toBeGreaterThan(0);
    expect(watched.cpu.i32[S_COMPILED_CALLS >> 2]).toBe(0);
  });
});
