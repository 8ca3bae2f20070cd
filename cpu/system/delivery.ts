/**
 * Delivery of exceptions and interrupts through the IDT (Intel SDM vol. 3A ch. 6): real mode, protected mode with stack
 * switch, long mode with IST; double and triple fault.
 */
import type { Cpu } from '../cpu.ts';
import { SEG_CS, SEG_SS } from '../decode/insn.ts';
import {
  GuestFault,
  NO_ERROR_CODE,
  raise,
  VECTOR_DB,
  VECTOR_DE,
  VECTOR_DF,
  VECTOR_GP,
  VECTOR_NMI,
  VECTOR_NP,
  VECTOR_PF,
  VECTOR_TS,
} from '../fault.ts';
import { setRflags } from '../helpers/flags.ts';
import { MISS } from '../mmu/mmu.ts';
import { ACCESS_READ, ACCESS_WRITE } from '../mmu/walk.ts';
import { MODE_PROTECTED } from '../mode.ts';
import {
  gprOffset,
  S_CR2,
  S_IDTR,
  S_MODE,
  S_RIP,
  SEGMENT_ATTR,
  SEGMENT_BASE,
  SEGMENT_SELECTOR,
  SEGMENT_TR,
  segmentOffset,
} from '../state.ts';
import {
  baseOf,
  cacheSegment,
  checkStackSegment,
  descriptor,
  dplOf,
  isLong,
  loadNullStack,
  readDescriptor,
  setDescriptorBits,
  TYPE_ACCESSED,
  TYPE_CODE,
  TYPE_CONFORMING,
} from './descriptors.ts';
import { ATTR_DB, ATTR_L, ATTR_PRESENT, ATTR_S, currentPrivilegeLevel, updateMode } from './mode-word.ts';
import { StackCursor } from './stack.ts';
import { switchTask, TASK_CALL } from './task-switch.ts';
import { innerStack, readInnerStack, readInterruptStack, TSS_WIDE } from './tss.ts';

const RFLAGS_TF = 0x100;
const RFLAGS_IF = 0x200;
const RFLAGS_NT = 0x4000;
const RFLAGS_RF = 0x10000;
const RFLAGS_VM = 0x20000;

const GATE_TASK = 5;
const GATE_INT16 = 6;
const GATE_TRAP16 = 7;
const GATE_INT32 = 14;
const GATE_TRAP32 = 15;

/** What raised an event: decides the gate's DPL check and the error code's EXT bit. */
const SOURCE_EXTERNAL = 0;
export const SOURCE_SOFTWARE = 1;

/** Bytes of a 64-bit frame, with its error code. */
const LONG_FRAME = 48;

const RSP = gprOffset(4);
const stack = new StackCursor();

/** Delivers an external interrupt. Faults on the way are delivered in turn. */
export function deliverInterrupt(cpu: Cpu, vector: number): void {
  attempt(cpu, vector, NO_ERROR_CODE, SOURCE_EXTERNAL);
}

export function deliverNmi(cpu: Cpu): void {
  cpu.nmiBlocked = true;
  attempt(cpu, VECTOR_NMI, NO_ERROR_CODE, SOURCE_EXTERNAL);
}

/** A software interrupt (INT n, INT3, INTO, INT1) whose return address RIP already holds. Throws GuestFault. */
export function softwareInterrupt(cpu: Cpu, vector: number): void {
  deliver(cpu, vector, NO_ERROR_CODE, SOURCE_SOFTWARE);
}

const first = new GuestFault();

/** Delivers a guest's exception, RIP being that of the faulting instruction. @returns false on a triple fault. */
export function deliverException(cpu: Cpu, fault: GuestFault): boolean {
  first.vector = fault.vector;
  first.errorCode = fault.errorCode;
  if (fault.vector === VECTOR_PF) setCr2(cpu, fault);
  return attempt(cpu, first.vector, first.errorCode, SOURCE_EXTERNAL);
}

function setCr2(cpu: Cpu, fault: GuestFault): void {
  cpu.i32[S_CR2 >> 2] = fault.addressLow;
  cpu.i32[(S_CR2 + 4) >> 2] = fault.addressHigh;
}

/** Delivers; a fault on the way is delivered instead, or becomes a double fault, or a shutdown (table 6-5). */
function attempt(cpu: Cpu, vector: number, errorCode: number, source: number): boolean {
  for (;;) {
    try {
      deliver(cpu, vector, errorCode, source);
      return true;
    } catch (error) {
      cpu.mmu.caught(error);
      const next = cpu.mmu.fault;
      if (vector === VECTOR_DF) {
        cpu.shutdown = true;
        return false;
      }
      const external = source === SOURCE_EXTERNAL && !isException(vector);
      if (!external && escalates(vector, next.vector)) {
        if (next.vector === VECTOR_PF) setCr2(cpu, next);
        vector = VECTOR_DF;
        errorCode = 0;
      } else {
        if (next.vector === VECTOR_PF) setCr2(cpu, next);
        vector = next.vector;
        errorCode = next.errorCode;
      }
      source = SOURCE_EXTERNAL;
    }
  }
}

function isException(vector: number): boolean {
  return vector < 32 && vector !== VECTOR_NMI;
}

/** Contributory exceptions and page faults on top of each other make a double fault. */
function escalates(vector: number, next: number): boolean {
  if (vector === VECTOR_PF) return next === VECTOR_PF || contributory(next);
  return contributory(vector) && contributory(next);
}

function contributory(vector: number): boolean {
  return vector === VECTOR_DE || (vector >= VECTOR_TS && vector <= VECTOR_GP);
}

function deliver(cpu: Cpu, vector: number, errorCode: number, source: number): void {
  cpu.observer?.delivering(vector, errorCode, source === SOURCE_SOFTWARE);
  const mode = cpu.i32[S_MODE >> 2];
  if (!(mode & MODE_PROTECTED)) deliverReal(cpu, vector);
  else if (isLong(cpu)) deliverLong(cpu, vector, errorCode, source);
  else deliverProtected(cpu, vector, errorCode, source);
}

/** Error code for a fault about IDT entry `vector`. */
function idtError(vector: number, source: number): number {
  return (vector << 3) | 2 | (source === SOURCE_SOFTWARE ? 0 : 1);
}

/** RF in the pushed image: set for faults, so that the restarted instruction skips its breakpoint. */
function flagsImage(cpu: Cpu, vector: number, source: number): number {
  const fault = source !== SOURCE_SOFTWARE && isException(vector) && vector !== VECTOR_DB && vector !== VECTOR_DF;
  return cpu.rflags | (fault ? RFLAGS_RF : 0);
}

/** Real-address mode: the vector table of far pointers (SDM vol. 3A 20.1.4). */
function deliverReal(cpu: Cpu, vector: number): void {
  const { i32 } = cpu;
  if (vector * 4 + 3 > i32[(S_IDTR + 8) >> 2] >>> 0) raise(vector === VECTOR_GP ? VECTOR_DF : VECTOR_GP);
  const entry = cpu.mmu.readSystem((i32[S_IDTR >> 2] + vector * 4) | 0, 0, 4);
  const cs = segmentOffset(SEG_CS);
  stack.current(cpu);
  stack.push(2, cpu.rflags);
  stack.push(2, cpu.u16[(cs + SEGMENT_SELECTOR) >> 1]);
  stack.push(2, i32[S_RIP >> 2]);
  stack.commit();
  setRflags(cpu, cpu.rflags & ~(RFLAGS_IF | RFLAGS_TF | 0x40000));
  const selector = entry >>> 16;
  cpu.u16[(cs + SEGMENT_SELECTOR) >> 1] = selector;
  i32[(cs + SEGMENT_BASE) >> 2] = selector << 4;
  i32[S_RIP >> 2] = entry & 0xffff;
  i32[(S_RIP + 4) >> 2] = 0;
  updateMode(cpu);
  cpu.codeSegmentChanged();
}

/** Protected mode (SDM vol. 3A 6.12.1). */
function deliverProtected(cpu: Cpu, vector: number, errorCode: number, source: number): void {
  const { i32, u16 } = cpu;
  const ext = source === SOURCE_SOFTWARE ? 0 : 1;
  if (vector * 8 + 7 > i32[(S_IDTR + 8) >> 2] >>> 0) raise(VECTOR_GP, idtError(vector, source));
  const gate = (i32[S_IDTR >> 2] + vector * 8) | 0;
  const low = cpu.mmu.readSystem(gate, 0, 4) | 0;
  const high = cpu.mmu.readSystem((gate + 4) | 0, 0, 4) | 0;
  const type = (high >> 8) & 0x1f;
  if (type !== GATE_INT16 && type !== GATE_TRAP16 && type !== GATE_INT32 && type !== GATE_TRAP32 && type !== GATE_TASK)
    raise(VECTOR_GP, idtError(vector, source));
  const cpl = currentPrivilegeLevel(cpu);
  if (source === SOURCE_SOFTWARE && dplOf(high) < cpl) raise(VECTOR_GP, idtError(vector, source));
  if (!(high & ATTR_PRESENT)) raise(VECTOR_NP, idtError(vector, source));
  if (type === GATE_TASK) {
    switchTask(cpu, low >>> 16, TASK_CALL, i32[S_RIP >> 2], ext);
    if (errorCode !== NO_ERROR_CODE) {
      stack.current(cpu);
      stack.push(i32[(segmentOffset(SEGMENT_TR) + SEGMENT_ATTR) >> 2] & TSS_WIDE ? 4 : 2, errorCode);
      stack.commit();
    }
    return;
  }
  const wide = type === GATE_INT32 || type === GATE_TRAP32;
  const size = wide ? 4 : 2;
  const offset = wide ? (low & 0xffff) | (high & 0xffff0000) : low & 0xffff;
  const selector = low >>> 16;
  const dpl = checkHandlerCode(cpu, selector, cpl, ext);
  const codeLow = descriptor.low;
  const codeHigh = descriptor.high;
  const newCpl = codeHigh & TYPE_CONFORMING ? cpl : dpl;
  const ssSegment = segmentOffset(SEG_SS);
  const csSelector = u16[(segmentOffset(SEG_CS) + SEGMENT_SELECTOR) >> 1];
  const image = flagsImage(cpu, vector, source);
  const rip = i32[S_RIP >> 2];
  if (newCpl < cpl) {
    // The inner stack comes from the TSS.
    readInnerStack(cpu, newCpl, ext);
    const newSp = innerStack.low;
    const newSs = innerStack.selector;
    checkStackSegment(cpu, newSs, newCpl);
    const ssLow = descriptor.low;
    const ssHigh = descriptor.high;
    setDescriptorBits(cpu, TYPE_ACCESSED);
    stack.other(cpu, baseOf(ssLow, ssHigh), ssHigh & ATTR_DB ? 4 : 2, newSp, 0);
    stack.push(size, u16[(ssSegment + SEGMENT_SELECTOR) >> 1]);
    stack.push(size, i32[RSP >> 2]);
    pushFrame(size, image, csSelector, rip, errorCode);
    cacheSegment(cpu, SEG_SS, newSs, ssLow, ssHigh | TYPE_ACCESSED);
  } else {
    stack.current(cpu);
    pushFrame(size, image, csSelector, rip, errorCode);
  }
  stack.commit();
  enter(cpu, selector, newCpl, codeLow, codeHigh, offset, 0, type === GATE_INT16 || type === GATE_INT32);
}

function pushFrame(size: number, flags: number, cs: number, rip: number, errorCode: number): void {
  stack.push(size, flags);
  stack.push(size, cs);
  stack.push(size, rip);
  if (errorCode !== NO_ERROR_CODE) stack.push(size, errorCode);
}

/** Checks the handler's code segment, left in `descriptor`. @returns its DPL. */
function checkHandlerCode(cpu: Cpu, selector: number, cpl: number, ext: number): number {
  const error = (selector & 0xfffc) | ext;
  if ((selector & 0xfffc) === 0) raise(VECTOR_GP, ext);
  readDescriptor(cpu, selector);
  const { high } = descriptor;
  if (!(high & ATTR_S) || !(high & TYPE_CODE) || dplOf(high) > cpl) raise(VECTOR_GP, error);
  if (!(high & ATTR_PRESENT)) raise(VECTOR_NP, error);
  if (isLong(cpu) && (!(high & ATTR_L) || high & ATTR_DB)) raise(VECTOR_GP, error);
  return dplOf(high);
}

/** Goes to a handler: CS:RIP, flags, privilege. */
function enter(
  cpu: Cpu,
  selector: number,
  cpl: number,
  codeLow: number,
  codeHigh: number,
  offset: number,
  offsetHigh: number,
  interruptGate: boolean,
): void {
  cacheSegment(cpu, SEG_CS, (selector & 0xfffc) | cpl, codeLow, codeHigh);
  cpu.i32[S_RIP >> 2] = offset;
  cpu.i32[(S_RIP + 4) >> 2] = offsetHigh;
  let flags = cpu.rflags & ~(RFLAGS_TF | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM);
  if (interruptGate) flags &= ~RFLAGS_IF;
  setRflags(cpu, flags);
  updateMode(cpu, cpl);
  cpu.codeSegmentChanged();
}

const gateWords = { low: 0, high: 0, upper: 0 };

/** Reads a gate of 16 bytes, but for its last word. */
function readGate(cpu: Cpu, address: number, addressHigh: number): void {
  const { mmu, i32 } = cpu;
  const at = mmu.span(address, addressHigh, 16, ACCESS_READ);
  if (at !== MISS) {
    gateWords.low = i32[at >>> 2];
    gateWords.high = i32[(at >>> 2) + 1];
    gateWords.upper = i32[(at >>> 2) + 2];
  } else {
    gateWords.low = mmu.readSystem(address, addressHigh, 4) | 0;
    gateWords.high = mmu.readSystem((address + 4) | 0, addressHigh, 4) | 0;
    gateWords.upper = mmu.readSystem((address + 8) | 0, addressHigh, 4) | 0;
  }
}

/** Pushes the frame of a 64-bit handler to a stack that becomes `stack`; all at once where that is possible. */
function pushLongFrame(cpu: Cpu, low: number, high: number, flags: number, errorCode: number): void {
  const { i32, u16, mmu } = cpu;
  const ss = u16[(segmentOffset(SEG_SS) + SEGMENT_SELECTOR) >> 1];
  const cs = u16[(segmentOffset(SEG_CS) + SEGMENT_SELECTOR) >> 1];
  const bottom = (low - LONG_FRAME) | 0;
  const at = low >>> 0 < LONG_FRAME ? MISS : mmu.span(bottom, high, LONG_FRAME, ACCESS_WRITE);
  if (at === MISS) {
    stack.other(cpu, 0, 8, low, high);
    stack.push(8, ss);
    stack.push(8, i32[RSP >> 2], i32[(RSP + 4) >> 2]);
    stack.push(8, flags);
    stack.push(8, cs);
    stack.push(8, i32[S_RIP >> 2], i32[(S_RIP + 4) >> 2]);
    if (errorCode !== NO_ERROR_CODE) stack.push(8, errorCode);
    return;
  }
  const frame = at >>> 2;
  if (errorCode !== NO_ERROR_CODE) {
    i32[frame] = errorCode;
    i32[frame + 1] = 0;
  }
  i32[frame + 2] = i32[S_RIP >> 2];
  i32[frame + 3] = i32[(S_RIP + 4) >> 2];
  i32[frame + 4] = cs;
  i32[frame + 5] = 0;
  i32[frame + 6] = flags;
  i32[frame + 7] = 0;
  i32[frame + 8] = i32[RSP >> 2];
  i32[frame + 9] = i32[(RSP + 4) >> 2];
  i32[frame + 10] = ss;
  i32[frame + 11] = 0;
  stack.other(cpu, 0, 8, errorCode !== NO_ERROR_CODE ? bottom : (bottom + 8) | 0, high);
}

/** Long mode (SDM vol. 3A 6.14). */
function deliverLong(cpu: Cpu, vector: number, errorCode: number, source: number): void {
  const { i32 } = cpu;
  const ext = source === SOURCE_SOFTWARE ? 0 : 1;
  if (vector * 16 + 15 > i32[(S_IDTR + 8) >> 2] >>> 0) raise(VECTOR_GP, idtError(vector, source));
  const gateSum = (i32[S_IDTR >> 2] >>> 0) + vector * 16;
  const gate = gateSum | 0;
  const gateHigh = (i32[(S_IDTR + 4) >> 2] + (gateSum > 0xffffffff ? 1 : 0)) | 0;
  readGate(cpu, gate, gateHigh);
  const { low, high, upper } = gateWords;
  const type = (high >> 8) & 0x1f;
  if (type !== GATE_INT32 && type !== GATE_TRAP32) raise(VECTOR_GP, idtError(vector, source));
  const cpl = currentPrivilegeLevel(cpu);
  if (source === SOURCE_SOFTWARE && dplOf(high) < cpl) raise(VECTOR_GP, idtError(vector, source));
  if (!(high & ATTR_PRESENT)) raise(VECTOR_NP, idtError(vector, source));
  const selector = low >>> 16;
  const dpl = checkHandlerCode(cpu, selector, cpl, ext);
  const codeLow = descriptor.low;
  const codeHigh = descriptor.high;
  const newCpl = codeHigh & TYPE_CONFORMING ? cpl : dpl;
  const ist = high & 7;
  let pointerLow = i32[RSP >> 2];
  let pointerHigh = i32[(RSP + 4) >> 2];
  const changed = newCpl < cpl;
  if (ist !== 0 || changed) {
    if (ist !== 0) readInterruptStack(cpu, ist, ext);
    else readInnerStack(cpu, newCpl, ext);
    pointerLow = innerStack.low;
    pointerHigh = innerStack.high;
  }
  if (upper !== (upper << 16) >> 16) raise(VECTOR_GP, ext);
  pushLongFrame(cpu, pointerLow & ~15, pointerHigh, flagsImage(cpu, vector, source), errorCode);
  if (changed) loadNullStack(cpu, newCpl);
  stack.commit();
  const offset = (low & 0xffff) | (high & 0xffff0000);
  enter(cpu, selector, newCpl, codeLow, codeHigh, offset, upper, type === GATE_INT32);
}
