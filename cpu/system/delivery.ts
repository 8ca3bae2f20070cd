/**
 * Delivery of exceptions and interrupts through the IDT (Intel SDM vol. 3A ch. 6): real mode, protected mode with stack
 * switch, long mode (gate-long.ts); double and triple fault.
 */
import type { Cpu } from '../cpu.ts';
import { SEG_CS, SEG_SS } from '../decode/insn.ts';
import {
  NO_ERROR_CODE,
  raise,
  VECTOR_DE,
  VECTOR_DF,
  VECTOR_GP,
  VECTOR_NMI,
  VECTOR_NP,
  VECTOR_PF,
  VECTOR_TS,
} from '../fault.ts';
import { RFLAGS_AC, RFLAGS_IF, RFLAGS_TF, setRflags } from '../helpers/flags.ts';
import type { NotedFault } from '../mmu/noted-fault.ts';
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
  setDescriptorBits,
  TYPE_ACCESSED,
  TYPE_CONFORMING,
} from './descriptors.ts';
import {
  checkHandlerCode,
  enterHandler,
  flagsImage,
  GATE_INT16,
  GATE_INT32,
  GATE_TASK,
  GATE_TRAP16,
  GATE_TRAP32,
  idtError,
  isException,
  SOURCE_EXTERNAL,
  SOURCE_SOFTWARE,
} from './gate.ts';
import { deliverLong } from './gate-long.ts';
import { ATTR_DB, ATTR_PRESENT, currentPrivilegeLevel, updateMode } from './mode-word.ts';
import { StackCursor } from './stack.ts';
import { switchTask, TASK_CALL } from './task-switch.ts';
import { innerStack, readInnerStack, TSS_WIDE } from './tss.ts';

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

/** A software interrupt (INT n, INT3, INTO, INT1) with its return address. @throws GuestFault */
export function softwareInterrupt(cpu: Cpu, vector: number, ripLow: number, ripHigh: number): void {
  deliver(cpu, vector, NO_ERROR_CODE, SOURCE_SOFTWARE, ripLow, ripHigh);
}

/** Delivers a guest's exception, RIP being that of the faulting instruction. @returns false on a triple fault. */
export function deliverException(cpu: Cpu, fault: NotedFault): boolean {
  const { vector, errorCode } = fault;
  if (vector === VECTOR_PF) setCr2(cpu, fault);
  return attempt(cpu, vector, errorCode, SOURCE_EXTERNAL);
}

/** The address of a page fault is for the guest to see. Compiled ahead of time too (aot/compile.ts). */
export function setCr2(cpu: Cpu, fault: NotedFault): void {
  cpu.i32[S_CR2 >> 2] = fault.addressLow;
  cpu.i32[(S_CR2 + 4) >> 2] = fault.addressHigh;
}

/** Delivers; a fault on the way is delivered instead, or becomes a double fault, or a shutdown (table 6-5). */
function attempt(cpu: Cpu, vector: number, errorCode: number, source: number): boolean {
  for (;;) {
    try {
      deliver(cpu, vector, errorCode, source, cpu.i32[S_RIP >> 2], cpu.i32[(S_RIP + 4) >> 2]);
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

/** Contributory exceptions and page faults on top of each other make a double fault. */
function escalates(vector: number, next: number): boolean {
  if (vector === VECTOR_PF) return next === VECTOR_PF || contributory(next);
  return contributory(vector) && contributory(next);
}

function contributory(vector: number): boolean {
  return vector === VECTOR_DE || (vector >= VECTOR_TS && vector <= VECTOR_GP);
}

function deliver(cpu: Cpu, vector: number, errorCode: number, source: number, ripLow: number, ripHigh: number): void {
  cpu.observer?.delivering(vector, errorCode, source === SOURCE_SOFTWARE);
  const mode = cpu.i32[S_MODE >> 2];
  if (!(mode & MODE_PROTECTED)) deliverReal(cpu, vector, ripLow);
  else if (isLong(cpu)) deliverLong(cpu, vector, errorCode, source, ripLow, ripHigh);
  else deliverProtected(cpu, vector, errorCode, source, ripLow);
}

/** Real-address mode: the vector table of far pointers (SDM vol. 3A 20.1.4). */
function deliverReal(cpu: Cpu, vector: number, rip: number): void {
  const { i32 } = cpu;
  if (vector * 4 + 3 > i32[(S_IDTR + 8) >> 2] >>> 0) raise(vector === VECTOR_GP ? VECTOR_DF : VECTOR_GP);
  const entry = cpu.mmu.readSystem((i32[S_IDTR >> 2] + vector * 4) | 0, 0, 4);
  const cs = segmentOffset(SEG_CS);
  stack.current(cpu);
  stack.push(2, cpu.rflags);
  stack.push(2, cpu.u16[(cs + SEGMENT_SELECTOR) >> 1]);
  stack.push(2, rip);
  stack.commit();
  setRflags(cpu, cpu.rflags & ~(RFLAGS_IF | RFLAGS_TF | RFLAGS_AC));
  const selector = entry >>> 16;
  cpu.u16[(cs + SEGMENT_SELECTOR) >> 1] = selector;
  i32[(cs + SEGMENT_BASE) >> 2] = selector << 4;
  i32[S_RIP >> 2] = entry & 0xffff;
  i32[(S_RIP + 4) >> 2] = 0;
  updateMode(cpu);
  cpu.codeSegmentChanged();
}

/** Protected mode (SDM vol. 3A 6.12.1). */
function deliverProtected(cpu: Cpu, vector: number, errorCode: number, source: number, rip: number): void {
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
    switchTask(cpu, low >>> 16, TASK_CALL, rip, ext);
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
  enterHandler(cpu, selector, newCpl, codeLow, codeHigh, offset, 0, type === GATE_INT16 || type === GATE_INT32);
}

function pushFrame(size: number, flags: number, cs: number, rip: number, errorCode: number): void {
  stack.push(size, flags);
  stack.push(size, cs);
  stack.push(size, rip);
  if (errorCode !== NO_ERROR_CODE) stack.push(size, errorCode);
}
