/**
 * Far control transfers: JMP, CALL and RET to another segment, through call gates to an inner ring and back to an outer
 * one, or to another task (Intel SDM vol. 2; vol. 3A 5.8).
 */
import type { Cpu } from '../cpu.ts';
import { SEG_CS, SEG_ES, SEG_GS, SEG_SS } from '../decode/insn.ts';
import { HELPER_JUMP } from '../exits.ts';
import { raise, VECTOR_GP, VECTOR_NP } from '../fault.ts';
import { MODE_PROTECTED } from '../mode.ts';
import { R_IMM2 } from '../record.ts';
import {
  S_MODE,
  S_RIP,
  SEGMENT_ATTR,
  SEGMENT_BASE,
  SEGMENT_CHECKED,
  SEGMENT_LIMIT,
  SEGMENT_SELECTOR,
  segmentOffset,
} from '../state.ts';
import {
  baseOf,
  cacheSegment,
  checkStackSegment,
  descriptor,
  dplOf,
  isLong,
  limitOf,
  loadNullStack,
  readDescriptor,
  readUpperDescriptor,
  setDescriptorBits,
  TYPE_ACCESSED,
  TYPE_CODE,
  TYPE_CONFORMING,
} from '../system/descriptors.ts';
import { ATTR_DB, ATTR_L, ATTR_PRESENT, ATTR_S, currentPrivilegeLevel, updateMode } from '../system/mode-word.ts';
import { StackCursor, setStackPointer } from '../system/stack.ts';
import { isAvailableTss, switchTask, TASK_CALL, TASK_JUMP } from '../system/task-switch.ts';
import { innerStack, readInnerStack } from '../system/tss.ts';
import {
  add64,
  high,
  immediate,
  isCanonical,
  isMemory,
  linearAddress,
  loadMemory,
  low,
  nextRip,
  operandSize,
  rowOf,
  set64,
} from './operands.ts';
import { defineHelpers } from './registry.ts';

const GATE_CALL16 = 4;
const GATE_TASK = 5;
const GATE_CALL = 12;

const stack = new StackCursor();
const inner = new StackCursor();

/** Where a transfer goes: set by {@link readTarget}, and by a gate. */
const target = { selector: 0, low: 0, high: 0 };
/** The code segment to go to, once checked. */
const code = { low: 0, high: 0 };

/** The far pointer of Ap (immediate) or Mp (memory). */
function readTarget(cpu: Cpu, op: number): void {
  if (!isMemory(cpu, op)) {
    target.selector = cpu.u16[(op + R_IMM2) >> 1];
    target.low = immediate(cpu, op);
    target.high = 0;
    return;
  }
  const size = operandSize(cpu, op);
  linearAddress(cpu, op);
  const addressLow = low;
  const addressHigh = high;
  loadMemory(cpu, low, high, size);
  target.low = low;
  target.high = high;
  set64(addressLow, addressHigh);
  add64(size, 0);
  loadMemory(cpu, low, high, 2);
  target.selector = low;
}

/** Checks the offset of `target` against the code segment in `code`: canonical in 64-bit code, else within the limit. */
function checkOffset(cpu: Cpu): void {
  if (isLong(cpu) && code.high & ATTR_L) {
    if (!isCanonical(target.high)) raise(VECTOR_GP, 0);
  } else {
    target.high = 0;
    if (target.low >>> 0 > limitOf(code.low, code.high) >>> 0) raise(VECTOR_GP, 0);
  }
}

/** Takes the descriptor just read as the code segment to go to; it is marked accessed. */
function takeCode(cpu: Cpu, selector: number): void {
  const error = selector & 0xfffc;
  if (!(descriptor.high & ATTR_PRESENT)) raise(VECTOR_NP, error);
  if (isLong(cpu) && descriptor.high & ATTR_L && descriptor.high & ATTR_DB) raise(VECTOR_GP, error);
  setDescriptorBits(cpu, TYPE_ACCESSED);
  code.low = descriptor.low;
  code.high = descriptor.high;
}

function isCode(dword: number): boolean {
  return (dword & ATTR_S) !== 0 && (dword & TYPE_CODE) !== 0;
}

/** CS:RIP and the privilege level of the transfer. */
function enter(cpu: Cpu, selector: number, cpl: number): void {
  cacheSegment(cpu, SEG_CS, (selector & 0xfffc) | cpl, code.low, code.high);
  cpu.i32[S_RIP >> 2] = target.low;
  cpu.i32[(S_RIP + 4) >> 2] = target.high;
  updateMode(cpu, cpl);
  cpu.codeSegmentChanged();
}

/** Real-address mode: the selector is the base; limit and attributes stay. */
function enterReal(cpu: Cpu): void {
  const at = segmentOffset(SEG_CS);
  if (target.low >>> 0 > cpu.i32[(at + SEGMENT_LIMIT) >> 2] >>> 0) raise(VECTOR_GP);
  cpu.u16[(at + SEGMENT_SELECTOR) >> 1] = target.selector;
  cpu.i32[(at + SEGMENT_BASE) >> 2] = target.selector << 4;
  cpu.i32[S_RIP >> 2] = target.low;
  cpu.i32[(S_RIP + 4) >> 2] = 0;
  cpu.codeSegmentChanged();
}

function pushReturn(cpu: Cpu, op: number, to: StackCursor, size: number): void {
  nextRip(cpu, op);
  const returnLow = low;
  const returnHigh = high;
  to.push(size, cpu.u16[(segmentOffset(SEG_CS) + SEGMENT_SELECTOR) >> 1]);
  to.push(size, returnLow, returnHigh);
}

/** JMP and CALL to `target`. */
function transfer(cpu: Cpu, op: number, call: boolean): number {
  readTarget(cpu, op);
  const size = operandSize(cpu, op);
  if (!(cpu.i32[S_MODE >> 2] & MODE_PROTECTED)) {
    if (call) {
      stack.current(cpu);
      pushReturn(cpu, op, stack, size);
    }
    enterReal(cpu);
    if (call) stack.commit();
    return HELPER_JUMP;
  }
  const { selector } = target;
  const error = selector & 0xfffc;
  if (error === 0) raise(VECTOR_GP, 0);
  readDescriptor(cpu, selector);
  const dword = descriptor.high;
  const cpl = currentPrivilegeLevel(cpu);
  if (!isCode(dword)) {
    const type = (dword >> 8) & 0x1f;
    if (!isLong(cpu) && (type === GATE_TASK || isAvailableTss(dword))) {
      toTask(cpu, op, call, type === GATE_TASK);
      return HELPER_JUMP;
    }
    if (type !== GATE_CALL && (type !== GATE_CALL16 || isLong(cpu))) raise(VECTOR_GP, error);
    throughGate(cpu, op, call, type === GATE_CALL);
    return HELPER_JUMP;
  }
  const dpl = dplOf(dword);
  if (dword & TYPE_CONFORMING ? dpl > cpl : (selector & 3) > cpl || dpl !== cpl) raise(VECTOR_GP, error);
  takeCode(cpu, selector);
  checkOffset(cpu);
  if (call) {
    stack.current(cpu);
    pushReturn(cpu, op, stack, size);
    stack.commit();
  }
  enter(cpu, selector, cpl);
  return HELPER_JUMP;
}

/** JMP and CALL to the TSS in `descriptor`, or through the task gate there. */
function toTask(cpu: Cpu, op: number, call: boolean, gate: boolean): void {
  const cpl = currentPrivilegeLevel(cpu);
  const { selector } = target;
  const error = selector & 0xfffc;
  const dpl = dplOf(descriptor.high);
  if (dpl < cpl || dpl < (selector & 3)) raise(VECTOR_GP, error);
  if (gate && !(descriptor.high & ATTR_PRESENT)) raise(VECTOR_NP, error);
  nextRip(cpu, op);
  switchTask(cpu, gate ? descriptor.low >>> 16 : selector, call ? TASK_CALL : TASK_JUMP, low);
}

/** JMP and CALL through the call gate in `descriptor`. */
function throughGate(cpu: Cpu, op: number, call: boolean, wide: boolean): void {
  const cpl = currentPrivilegeLevel(cpu);
  const gateSelector = target.selector;
  const error = gateSelector & 0xfffc;
  const dpl = dplOf(descriptor.high);
  if (dpl < cpl || dpl < (gateSelector & 3)) raise(VECTOR_GP, error);
  if (!(descriptor.high & ATTR_PRESENT)) raise(VECTOR_NP, error);
  const long = isLong(cpu);
  if (long) readUpperDescriptor(cpu, gateSelector);
  const parameters = descriptor.high & 0x1f;
  const selector = descriptor.low >>> 16;
  target.selector = selector;
  target.low = (descriptor.low & 0xffff) | (wide ? descriptor.high & 0xffff0000 : 0);
  target.high = long ? descriptor.upper : 0;
  const codeError = selector & 0xfffc;
  if (codeError === 0) raise(VECTOR_GP, 0);
  readDescriptor(cpu, selector);
  const dword = descriptor.high;
  const codeDpl = dplOf(dword);
  if (!isCode(dword) || codeDpl > cpl) raise(VECTOR_GP, codeError);
  if (long && (!(dword & ATTR_L) || dword & ATTR_DB)) raise(VECTOR_GP, codeError);
  if (!call && !(dword & TYPE_CONFORMING) && codeDpl !== cpl) raise(VECTOR_GP, codeError);
  takeCode(cpu, selector);
  checkOffset(cpu);
  const size = long ? 8 : wide ? 4 : 2;
  if (!call) enter(cpu, selector, cpl);
  else if (!(dword & TYPE_CONFORMING) && codeDpl < cpl) {
    callInner(cpu, op, selector, codeDpl, size, long ? 0 : parameters);
  } else {
    stack.current(cpu);
    pushReturn(cpu, op, stack, size);
    stack.commit();
    enter(cpu, selector, cpl);
  }
}

/** CALL through a gate to ring `cpl`: the stack of the TSS gets the old stack pointer, the parameters and the return. */
function callInner(cpu: Cpu, op: number, selector: number, cpl: number, size: number, parameters: number): void {
  const long = isLong(cpu);
  readInnerStack(cpu, cpl, 0);
  const { selector: newSs } = innerStack;
  let ssLow = 0;
  let ssHigh = 0;
  if (long) inner.other(cpu, 0, 8, innerStack.low, innerStack.high);
  else {
    checkStackSegment(cpu, newSs, cpl);
    setDescriptorBits(cpu, TYPE_ACCESSED);
    ssLow = descriptor.low;
    ssHigh = descriptor.high;
    inner.other(cpu, baseOf(ssLow, ssHigh), ssHigh & ATTR_DB ? 4 : 2, innerStack.low, 0);
  }
  stack.current(cpu);
  inner.push(size, cpu.u16[(segmentOffset(SEG_SS) + SEGMENT_SELECTOR) >> 1]);
  inner.push(size, stack.low, stack.high);
  stack.move(parameters * size);
  for (let n = 0; n < parameters; n++) {
    stack.move(-size);
    inner.push(size, stack.pop(size));
    stack.move(-size);
  }
  pushReturn(cpu, op, inner, size);
  if (long) loadNullStack(cpu, cpl);
  else cacheSegment(cpu, SEG_SS, newSs, ssLow, ssHigh);
  inner.commit();
  enter(cpu, selector, cpl);
}

/** Checks the code segment that RETF and IRET return to, and takes it. @returns its privilege level. */
export function takeReturnCode(cpu: Cpu, selector: number): number {
  const error = selector & 0xfffc;
  if (error === 0) raise(VECTOR_GP, 0);
  readDescriptor(cpu, selector);
  const dword = descriptor.high;
  const rpl = selector & 3;
  if (!isCode(dword) || rpl < currentPrivilegeLevel(cpu)) raise(VECTOR_GP, error);
  if (dword & TYPE_CONFORMING ? dplOf(dword) > rpl : dplOf(dword) !== rpl) raise(VECTOR_GP, error);
  takeCode(cpu, selector);
  return rpl;
}

/**
 * Goes back to `selector`:`offset` at privilege level `cpl` (RETF, IRET), whose code segment was taken and whose stack is
 * given: `ss` −1 keeps the stack segment.
 */
export function returnTo(
  cpu: Cpu,
  selector: number,
  cpl: number,
  ss: number,
  pointerLow: number,
  pointerHigh: number,
): void {
  const to64 = isLong(cpu) && (code.high & ATTR_L) !== 0;
  if (ss >= 0) {
    if ((ss & 0xfffc) === 0 && to64 && cpl !== 3 && (ss & 3) === cpl) {
      loadNullStack(cpu, cpl);
      cpu.u16[(segmentOffset(SEG_SS) + SEGMENT_SELECTOR) >> 1] = ss;
    } else {
      checkStackSegment(cpu, ss, cpl, VECTOR_GP);
      setDescriptorBits(cpu, TYPE_ACCESSED);
      cacheSegment(cpu, SEG_SS, ss, descriptor.low, descriptor.high);
    }
    const ssWide = cpu.i32[(segmentOffset(SEG_SS) + SEGMENT_ATTR) >> 2] & ATTR_DB;
    setStackPointer(cpu, to64 ? 8 : ssWide ? 4 : 2, pointerLow, pointerHigh);
  }
  const outer = cpl > currentPrivilegeLevel(cpu);
  enter(cpu, selector, cpl);
  if (outer) dropInnerSegments(cpu, cpl);
}

/** Data segments that an outer ring may not use become null. */
function dropInnerSegments(cpu: Cpu, cpl: number): void {
  for (let n = SEG_ES; n <= SEG_GS; n++) {
    if (n === SEG_CS || n === SEG_SS) continue;
    const at = segmentOffset(n);
    const attributes = cpu.i32[(at + SEGMENT_ATTR) >> 2];
    const conforming = (attributes & TYPE_CODE) !== 0 && (attributes & TYPE_CONFORMING) !== 0;
    if (conforming || !(attributes & ATTR_PRESENT) || dplOf(attributes) >= cpl) continue;
    cpu.u16[(at + SEGMENT_SELECTOR) >> 1] = 0;
    cpu.i32[(at + SEGMENT_ATTR) >> 2] = 0;
    cpu.i32[(at + SEGMENT_LIMIT) >> 2] = 0;
    cpu.i32[(at + SEGMENT_CHECKED) >> 2] = 1;
  }
  updateMode(cpu);
}

/** Sets the offset that RETF and IRET return to, and checks it against the code segment taken. */
export function returnOffset(cpu: Cpu, offsetLow: number, offsetHigh: number): void {
  target.low = offsetLow;
  target.high = offsetHigh;
  checkOffset(cpu);
}

/** As {@link returnTo} in real-address mode. */
export function returnReal(cpu: Cpu, selector: number, offset: number): void {
  target.selector = selector;
  target.low = offset;
  enterReal(cpu);
}

function farReturn(cpu: Cpu, op: number): number {
  const size = operandSize(cpu, op);
  const release = rowOf(cpu, op).operands.length === 0 ? 0 : immediate(cpu, op) & 0xffff;
  stack.current(cpu);
  stack.expect(size, size);
  const offsetLow = stack.pop(size);
  const offsetHigh = stack.upper;
  const selector = stack.pop(size) & 0xffff;
  if (!(cpu.i32[S_MODE >> 2] & MODE_PROTECTED)) {
    returnReal(cpu, selector, offsetLow);
    stack.move(release);
    stack.commit();
    return HELPER_JUMP;
  }
  stack.move(release);
  if ((selector & 3) === currentPrivilegeLevel(cpu)) {
    const cpl = takeReturnCode(cpu, selector);
    returnOffset(cpu, offsetLow, offsetHigh);
    stack.commit();
    returnTo(cpu, selector, cpl, -1, 0, 0);
    return HELPER_JUMP;
  }
  // The outer stack is read first; the parameters are released there too.
  stack.expect(size, size);
  inner.other(cpu, 0, 8, stack.pop(size), stack.upper);
  const ss = stack.pop(size) & 0xffff;
  inner.move(release);
  const cpl = takeReturnCode(cpu, selector);
  returnOffset(cpu, offsetLow, offsetHigh);
  returnTo(cpu, selector, cpl, ss, inner.low, inner.high);
  return HELPER_JUMP;
}

defineHelpers({
  JMPF: (cpu, op) => transfer(cpu, op, false),
  CALLF: (cpu, op) => transfer(cpu, op, true),
  RETF: farReturn,
});
