/**
 * Hardware task switches of protected mode (Intel SDM vol. 3A ch. 8): JMP, CALL and interrupts to a TSS or a task gate, and
 * IRET back. Long mode has none. Up to the moment when TR changes, faults belong to the old task; after that to the new.
 */
import type { Cpu } from '../cpu.ts';
import { SEG_CS, SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_SS } from '../decode/insn.ts';
import { raise, VECTOR_DB, VECTOR_GP, VECTOR_NP, VECTOR_TS } from '../fault.ts';
import { RFLAGS_NT, RFLAGS_VM, setRflags } from '../helpers/flags.ts';
import {
  gprOffset,
  S_CR0,
  S_DR,
  S_RIP,
  SEGMENT_ATTR,
  SEGMENT_BASE,
  SEGMENT_LDTR,
  SEGMENT_LIMIT,
  SEGMENT_SELECTOR,
  SEGMENT_TR,
  segmentOffset,
} from '../state.ts';
import { writeCr3 } from './control.ts';
import { DR6_BT } from './debug.ts';
import {
  baseOf,
  cacheSegment,
  cacheSystemSegment,
  checkStackSegment,
  descriptor,
  dplOf,
  limitOf,
  loadNull,
  loadSegment,
  readDescriptor,
  setDescriptorBits,
  TYPE_ACCESSED,
  TYPE_CODE,
  TYPE_CONFORMING,
  tryReadDescriptor,
} from './descriptors.ts';
import { ATTR_PRESENT, ATTR_S, CR0_PG, CR0_TS, updateMode } from './mode-word.ts';
import { TSS_WIDE } from './tss.ts';

/** How the switch comes about. Interrupts nest as CALL does. */
export const TASK_JUMP = 0;
export const TASK_CALL = 1;
export const TASK_RETURN = 2;

/** System descriptor types, with the S bit. */
const TYPE_LDT = 2;
const TYPE_TSS16 = 1;
const TYPE_TSS = 9;
const TSS_BUSY = 1 << 9;

/** Layout of a TSS: offsets of its parts, whose fields are `size` bytes; selectors take two. */
const LAYOUT32 = { size: 4, limit: 0x67, eip: 0x20, flags: 0x24, registers: 0x28, segments: 0x48, count: 6, ldt: 0x60 };
const LAYOUT16 = { size: 2, limit: 0x2b, eip: 0x0e, flags: 0x10, registers: 0x12, segments: 0x22, count: 4, ldt: 0x2a };
const TSS_CR3 = 0x1c;
const TSS_TRAP = 0x64;

/** Is the type of a system descriptor that of a TSS which can be switched to? */
export function isAvailableTss(dword: number): boolean {
  const type = (dword >> 8) & 0x1f;
  return type === TYPE_TSS || type === TYPE_TSS16;
}

/**
 * Switches to the task whose TSS `selector` names; the old one goes on at `eip` one day. The caller has checked privilege.
 * @param ext bit 0 of error codes.
 */
export function switchTask(cpu: Cpu, selector: number, how: number, eip: number, ext = 0): void {
  const { i32, u16, mmu } = cpu;
  const error = (selector & 0xfffc) | ext;
  const invalid = how === TASK_RETURN ? VECTOR_TS : VECTOR_GP;
  if ((selector & 0xfffc) === 0 || selector & 4 || !tryReadDescriptor(cpu, selector)) raise(invalid, error);
  const busy = (descriptor.high & TSS_BUSY) !== 0;
  if (!isAvailableTss(descriptor.high & ~TSS_BUSY) || busy !== (how === TASK_RETURN)) raise(invalid, error);
  if (!(descriptor.high & ATTR_PRESENT)) raise(VECTOR_NP, error);
  const { low, high } = descriptor;
  const layout = high & TSS_WIDE ? LAYOUT32 : LAYOUT16;
  if (limitOf(low, high) >>> 0 < layout.limit) raise(VECTOR_TS, error);
  const base = baseOf(low, high);
  // All of the new TSS is read, and its link written, before anything else changes.
  const tr = segmentOffset(SEGMENT_TR);
  const oldSelector = u16[(tr + SEGMENT_SELECTOR) >> 1];
  const bytes: number[] = [];
  for (let at = 0; at <= layout.limit; at += 2) bytes[at] = mmu.readSystem((base + at) | 0, 0, 2);
  const field = (at: number) => (layout.size === 4 ? bytes[at] | (bytes[at + 2] << 16) : bytes[at]);
  if (how === TASK_CALL) mmu.writeSystem(base, 0, 2, oldSelector);
  saveTask(cpu, eip, how);
  if (how !== TASK_RETURN) setDescriptorBits(cpu, TSS_BUSY);
  if (how !== TASK_CALL) clearBusy(cpu, oldSelector);
  descriptor.low = low;
  descriptor.high = high | TSS_BUSY;
  descriptor.upper = 0;
  cacheSystemSegment(cpu, SEGMENT_TR, selector);

  i32[S_CR0 >> 2] |= CR0_TS;
  i32[S_RIP >> 2] = field(layout.eip);
  i32[(S_RIP + 4) >> 2] = 0;
  setRflags(cpu, (field(layout.flags) & ~RFLAGS_VM) | (how === TASK_CALL ? RFLAGS_NT : 0));
  for (let n = 0; n < 8; n++) {
    const value = field(layout.registers + n * layout.size);
    if (layout.size === 4) cpu.setGpr(n, value, 0);
    else u16[gprOffset(n) >> 1] = value;
  }
  if (layout.size === 4 && i32[S_CR0 >> 2] & CR0_PG) writeCr3(cpu, field(TSS_CR3), 0);
  const selectors: number[] = [];
  for (let n = 0; n < layout.count; n++) selectors.push(bytes[layout.segments + n * layout.size]);
  loadSegments(cpu, selectors, bytes[layout.ldt], ext);
  if (layout.size === 4 && bytes[TSS_TRAP] & 1) {
    i32[(S_DR + 6 * 8) >> 2] |= DR6_BT;
    raise(VECTOR_DB);
  }
}

/** Puts the registers into the current TSS. IRET leaves its NT behind. */
function saveTask(cpu: Cpu, eip: number, how: number): void {
  const { i32, u16, mmu } = cpu;
  const tr = segmentOffset(SEGMENT_TR);
  const layout = i32[(tr + SEGMENT_ATTR) >> 2] & TSS_WIDE ? LAYOUT32 : LAYOUT16;
  const base = i32[(tr + SEGMENT_BASE) >> 2];
  const size = layout.size as 2 | 4;
  if (i32[(tr + SEGMENT_LIMIT) >> 2] >>> 0 < layout.limit) raise(VECTOR_TS, u16[(tr + SEGMENT_SELECTOR) >> 1] & 0xfffc);
  const put = (at: number, value: number) => mmu.writeSystem((base + at) | 0, 0, size, value);
  put(layout.eip, eip);
  put(layout.flags, how === TASK_RETURN ? cpu.rflags & ~RFLAGS_NT : cpu.rflags);
  for (let n = 0; n < 8; n++) put(layout.registers + n * size, cpu.gprLow(n));
  for (let n = 0; n < layout.count; n++) {
    const selector = u16[(segmentOffset(n) + SEGMENT_SELECTOR) >> 1];
    mmu.writeSystem((base + layout.segments + n * size) | 0, 0, 2, selector);
  }
}

function clearBusy(cpu: Cpu, selector: number): void {
  readDescriptor(cpu, selector);
  const value = descriptor.high & ~TSS_BUSY;
  cpu.mmu.writeSystem((descriptor.address + 4) | 0, descriptor.addressHigh, 4, value);
}

/** Loads LDTR and the segment registers in the new task; all are null until each is found good. */
function loadSegments(cpu: Cpu, selectors: readonly number[], ldt: number, ext: number): void {
  for (let n = 0; n < 6; n++) loadNull(cpu, n, selectors[n] ?? 0);
  loadLdt(cpu, ldt, ext);
  const cs = selectors[SEG_CS];
  const cpl = cs & 3;
  loadCode(cpu, cs, ext);
  updateMode(cpu, cpl);
  checkStackSegment(cpu, selectors[SEG_SS], cpl);
  setDescriptorBits(cpu, TYPE_ACCESSED);
  cacheSegment(cpu, SEG_SS, selectors[SEG_SS], descriptor.low, descriptor.high);
  for (const n of [SEG_ES, SEG_DS, SEG_FS, SEG_GS]) loadSegment(cpu, n, selectors[n] ?? 0, VECTOR_TS);
  updateMode(cpu, cpl);
  cpu.codeSegmentChanged();
  const limit = cpu.i32[(segmentOffset(SEG_CS) + SEGMENT_LIMIT) >> 2];
  if (cpu.i32[S_RIP >> 2] >>> 0 > limit >>> 0) raise(VECTOR_GP, ext);
}

function loadLdt(cpu: Cpu, selector: number, ext: number): void {
  const error = (selector & 0xfffc) | ext;
  const at = segmentOffset(SEGMENT_LDTR);
  cpu.i32[(at + SEGMENT_ATTR) >> 2] = 0;
  cpu.u16[(at + SEGMENT_SELECTOR) >> 1] = selector;
  if ((selector & 0xfffc) === 0) return;
  if (selector & 4 || !tryReadDescriptor(cpu, selector)) raise(VECTOR_TS, error);
  if (((descriptor.high >> 8) & 0x1f) !== TYPE_LDT || !(descriptor.high & ATTR_PRESENT)) raise(VECTOR_TS, error);
  descriptor.upper = 0;
  cacheSystemSegment(cpu, SEGMENT_LDTR, selector);
}

function loadCode(cpu: Cpu, selector: number, ext: number): void {
  const error = (selector & 0xfffc) | ext;
  if ((selector & 0xfffc) === 0 || !tryReadDescriptor(cpu, selector)) raise(VECTOR_TS, error);
  const { high } = descriptor;
  const rpl = selector & 3;
  if (!(high & ATTR_S) || !(high & TYPE_CODE)) raise(VECTOR_TS, error);
  if (high & TYPE_CONFORMING ? dplOf(high) > rpl : dplOf(high) !== rpl) raise(VECTOR_TS, error);
  if (!(high & ATTR_PRESENT)) raise(VECTOR_NP, error);
  setDescriptorBits(cpu, TYPE_ACCESSED);
  cacheSegment(cpu, SEG_CS, selector, descriptor.low, descriptor.high);
}
