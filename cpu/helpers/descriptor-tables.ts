/**
 * Descriptor tables and the descriptors in them: LGDT LIDT SGDT SIDT, LLDT LTR SLDT STR, LAR LSL VERR VERW, ARPL (Intel SDM
 * vol. 2; vol. 3A 5.10).
 */
import type { Cpu } from '../cpu.ts';
import { HELPER_NEXT } from '../exits.ts';
import { raise, VECTOR_GP, VECTOR_NP, VECTOR_UD } from '../fault.ts';
import { FLAG_Z } from '../isa/table.ts';
import { MODE_PROTECTED } from '../mode.ts';
import {
  S_GDTR,
  S_IDTR,
  S_MODE,
  SEGMENT_ATTR,
  SEGMENT_LDTR,
  SEGMENT_SELECTOR,
  SEGMENT_TR,
  segmentOffset,
} from '../state.ts';
import {
  cacheSystemSegment,
  descriptor,
  dplOf,
  isLong,
  limitOf,
  readDescriptor,
  readUpperDescriptor,
  setDescriptorBits,
  TYPE_CODE,
  TYPE_CONFORMING,
  TYPE_READABLE,
  TYPE_WRITABLE,
  tryReadDescriptor,
} from '../system/descriptors.ts';
import { ATTR_PRESENT, ATTR_S, currentPrivilegeLevel } from '../system/mode-word.ts';
import { mergeStatusFlags } from './flags.ts';
import { requirePrivilege } from './interrupt.ts';
import {
  add64,
  high,
  isCanonical,
  isMemory,
  isMode64,
  linearAddress,
  loadMemory,
  low,
  operandSize,
  readRegister,
  readRm,
  regOffset,
  storeMemory,
  writeRegister,
  writeRm,
} from './operands.ts';
import { defineHelpers } from './registry.ts';

/** System descriptor types. */
const TYPE_TSS16 = 1;
const TYPE_LDT = 2;
const TYPE_TSS16_BUSY = 3;
const TYPE_CALL16 = 4;
const TYPE_TASK = 5;
const TYPE_TSS = 9;
const TYPE_TSS_BUSY = 11;
const TYPE_CALL = 12;
const TSS_BUSY = 1 << 9;

function typeOf(dword: number): number {
  return (dword >> 8) & 15;
}

/** LGDT, LIDT: a 16-bit limit, then a base of 24 (16-bit operands), 32 or 64 bits. */
function loadTable(cpu: Cpu, op: number, table: number): number {
  requirePrivilege(cpu);
  const wide = isMode64(cpu, op);
  linearAddress(cpu, op);
  const addressLow = low;
  const addressHigh = high;
  add64(2, 0);
  loadMemory(cpu, low, high, wide ? 8 : 4);
  const baseLow = !wide && operandSize(cpu, op) === 2 ? low & 0xffffff : low;
  const baseHigh = high;
  if (!isCanonical(baseHigh)) raise(VECTOR_GP, 0);
  loadMemory(cpu, addressLow, addressHigh, 2);
  cpu.i32[table >> 2] = baseLow;
  cpu.i32[(table + 4) >> 2] = baseHigh;
  cpu.i32[(table + 8) >> 2] = low;
  return HELPER_NEXT;
}

/** SGDT, SIDT: the limit and all bits of the base, whatever the operand size. */
function storeTable(cpu: Cpu, op: number, table: number): number {
  const size = isMode64(cpu, op) ? 8 : 4;
  linearAddress(cpu, op);
  const addressLow = low;
  const addressHigh = high;
  cpu.mmu.probe(addressLow, addressHigh, 2 + size, true);
  storeMemory(cpu, addressLow, addressHigh, 2, cpu.i32[(table + 8) >> 2]);
  linearAddress(cpu, op);
  add64(2, 0);
  storeMemory(cpu, low, high, size, cpu.i32[table >> 2], cpu.i32[(table + 4) >> 2]);
  return HELPER_NEXT;
}

function requireProtected(cpu: Cpu): void {
  if (!(cpu.i32[S_MODE >> 2] & MODE_PROTECTED)) raise(VECTOR_UD);
}

/** Reads the GDT's system descriptor of `selector` for LLDT or LTR; in long mode with its upper half. */
function readSystemDescriptor(cpu: Cpu, selector: number): void {
  const error = selector & 0xfffc;
  if (selector & 4) raise(VECTOR_GP, error);
  readDescriptor(cpu, selector);
  if (descriptor.high & ATTR_S) raise(VECTOR_GP, error);
  descriptor.upper = 0;
  if (!isLong(cpu)) return;
  readUpperDescriptor(cpu, selector);
}

/** SLDT, STR: 16 bits to memory, zero-extended to a register. */
function storeSelector(cpu: Cpu, op: number, n: number): number {
  requireProtected(cpu);
  const selector = cpu.u16[(segmentOffset(n) + SEGMENT_SELECTOR) >> 1];
  writeRm(cpu, op, isMemory(cpu, op) ? 2 : operandSize(cpu, op), selector);
  return HELPER_NEXT;
}

function setZero(cpu: Cpu, zero: boolean): void {
  mergeStatusFlags(cpu, FLAG_Z, zero ? FLAG_Z : 0);
}

/** The descriptor that LAR, LSL, VERR and VERW look at, in `descriptor`. @returns false when there is none. */
function find(cpu: Cpu, op: number): boolean {
  requireProtected(cpu);
  readRm(cpu, op, 2);
  return (low & 0xfffc) !== 0 && tryReadDescriptor(cpu, low);
}

/** May the descriptor of `selector` be seen from the current privilege level? */
function visible(cpu: Cpu, selector: number): boolean {
  const dword = descriptor.high;
  if (dword & ATTR_S && dword & TYPE_CODE && dword & TYPE_CONFORMING) return true;
  const dpl = dplOf(dword);
  return dpl >= currentPrivilegeLevel(cpu) && dpl >= (selector & 3);
}

/** Do LAR (with gates) or LSL know system descriptors of this type? */
function isKnown(cpu: Cpu, type: number, gates: boolean): boolean {
  switch (type) {
    case TYPE_LDT:
    case TYPE_TSS:
    case TYPE_TSS_BUSY:
      return true;
    case TYPE_TSS16:
    case TYPE_TSS16_BUSY:
      return !isLong(cpu);
    case TYPE_CALL:
      return gates;
    case TYPE_CALL16:
    case TYPE_TASK:
      return gates && !isLong(cpu);
    default:
      return false;
  }
}

/** LAR and LSL: ZF, and `value` of the descriptor into the register. */
function describe(cpu: Cpu, op: number, gates: boolean, value: () => number): number {
  const found = find(cpu, op);
  const selector = low;
  const known = found && (descriptor.high & ATTR_S || isKnown(cpu, typeOf(descriptor.high), gates));
  const ok = Boolean(known) && visible(cpu, selector);
  if (ok) writeRegister(cpu, regOffset(cpu, op), operandSize(cpu, op), value());
  setZero(cpu, ok);
  return HELPER_NEXT;
}

function verify(cpu: Cpu, op: number, write: boolean): number {
  const found = find(cpu, op);
  const dword = descriptor.high;
  const code = (dword & TYPE_CODE) !== 0;
  const allowed = write ? !code && dword & TYPE_WRITABLE : !code || dword & TYPE_READABLE;
  setZero(cpu, Boolean(found && dword & ATTR_S && allowed) && visible(cpu, low));
  return HELPER_NEXT;
}

defineHelpers({
  LGDT: (cpu, op) => loadTable(cpu, op, S_GDTR),
  LIDT: (cpu, op) => loadTable(cpu, op, S_IDTR),
  SGDT: (cpu, op) => storeTable(cpu, op, S_GDTR),
  SIDT: (cpu, op) => storeTable(cpu, op, S_IDTR),
  SLDT: (cpu, op) => storeSelector(cpu, op, SEGMENT_LDTR),
  STR: (cpu, op) => storeSelector(cpu, op, SEGMENT_TR),
  LLDT: (cpu, op) => {
    requireProtected(cpu);
    requirePrivilege(cpu);
    readRm(cpu, op, 2);
    const selector = low;
    if ((selector & 0xfffc) === 0) {
      // No LDT: every selector into it is beyond its limit.
      cpu.i32[(segmentOffset(SEGMENT_LDTR) + SEGMENT_ATTR) >> 2] = 0;
      cpu.u16[(segmentOffset(SEGMENT_LDTR) + SEGMENT_SELECTOR) >> 1] = selector;
      return HELPER_NEXT;
    }
    readSystemDescriptor(cpu, selector);
    if (typeOf(descriptor.high) !== TYPE_LDT) raise(VECTOR_GP, selector & 0xfffc);
    if (!(descriptor.high & ATTR_PRESENT)) raise(VECTOR_NP, selector & 0xfffc);
    if (!isCanonical(descriptor.upper)) raise(VECTOR_GP, selector & 0xfffc);
    cacheSystemSegment(cpu, SEGMENT_LDTR, selector);
    return HELPER_NEXT;
  },
  /** The descriptor becomes busy. */
  LTR: (cpu, op) => {
    requireProtected(cpu);
    requirePrivilege(cpu);
    readRm(cpu, op, 2);
    const selector = low;
    if ((selector & 0xfffc) === 0) raise(VECTOR_GP, 0);
    readSystemDescriptor(cpu, selector);
    const type = typeOf(descriptor.high);
    if (type !== TYPE_TSS && (type !== TYPE_TSS16 || isLong(cpu))) raise(VECTOR_GP, selector & 0xfffc);
    if (!(descriptor.high & ATTR_PRESENT)) raise(VECTOR_NP, selector & 0xfffc);
    if (!isCanonical(descriptor.upper)) raise(VECTOR_GP, selector & 0xfffc);
    setDescriptorBits(cpu, TSS_BUSY);
    cacheSystemSegment(cpu, SEGMENT_TR, selector);
    return HELPER_NEXT;
  },
  /** Access rights: the second dword without base and limit. */
  LAR: (cpu, op) => describe(cpu, op, true, () => descriptor.high & 0x00f0ff00),
  LSL: (cpu, op) => describe(cpu, op, false, () => limitOf(descriptor.low, descriptor.high)),
  VERR: (cpu, op) => verify(cpu, op, false),
  VERW: (cpu, op) => verify(cpu, op, true),
  /** Raises the RPL of the destination to that of the source. */
  ARPL: (cpu, op) => {
    requireProtected(cpu);
    readRm(cpu, op, 2);
    const selector = low;
    readRegister(cpu, regOffset(cpu, op), 2);
    const rpl = low & 3;
    const less = (selector & 3) < rpl;
    if (less) writeRm(cpu, op, 2, (selector & ~3) | rpl);
    setZero(cpu, less);
    return HELPER_NEXT;
  },
});
