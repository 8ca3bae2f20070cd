/** IRET in real, protected and long mode, to the same or an outer ring (Intel SDM vol. 2A). */
import type { Cpu } from '../cpu.ts';
import { CANNOT, EXIT_EVENT } from '../exits.ts';
import { raise, VECTOR_GP } from '../fault.ts';
import { MISS } from '../mmu/mmu.ts';
import { ACCESS_READ } from '../mmu/walk.ts';
import { codeSize, MODE_PROTECTED } from '../mode.ts';
import { gprOffset, S_MODE, S_RFLAGS, SEGMENT_BASE, SEGMENT_TR, segmentOffset } from '../state.ts';
import { isLong } from '../system/descriptors.ts';
import { currentPrivilegeLevel, updateMode } from '../system/mode-word.ts';
import { StackCursor } from '../system/stack.ts';
import { switchTask, TASK_RETURN } from '../system/task-switch.ts';
import { returnOffset, returnReal, returnTo, takeReturnCode } from './far.ts';
import { RFLAGS_AC, RFLAGS_IOPL, RFLAGS_NT, RFLAGS_TF, RFLAGS_VM, restoreFlags } from './flags.ts';
import { low, nextRip, operandSize } from './operands.ts';
import { defineHelpers } from './registry.ts';

const stack = new StackCursor();
/** What the mode word follows of RFLAGS. */
const MODE_FLAGS = RFLAGS_TF | RFLAGS_IOPL | RFLAGS_AC;

/** Bytes of IRETQ's frame. */
const FRAME = 40;
const RSP = gprOffset(4);

const outer = { low: 0, high: 0 };

/** From a nested task to the one that its TSS links to. */
function taskReturn(cpu: Cpu, op: number): number {
  if (isLong(cpu)) raise(VECTOR_GP, 0);
  const tss = cpu.i32[(segmentOffset(SEGMENT_TR) + SEGMENT_BASE) >> 2];
  const link = cpu.mmu.readSystem(tss, 0, 2);
  nextRip(cpu, op);
  switchTask(cpu, link, TASK_RETURN, low);
  cpu.nmiBlocked = false;
  return EXIT_EVENT;
}

/**
 * IRETQ of 64-bit code, if its frame can be read at once; what faults changes nothing. Compiled ahead of time too
 * (aot/compile.ts). @returns CANNOT if the frame must be read piece by piece, or as helpers do
 */
export function longReturn(cpu: Cpu): number {
  const { i32, mmu } = cpu;
  if (mmu.aligning || i32[S_RFLAGS >> 2] & RFLAGS_NT) return CANNOT;
  const at = mmu.span(i32[RSP >> 2], i32[(RSP + 4) >> 2], FRAME, ACCESS_READ | mmu.user);
  if (at === MISS) return CANNOT;
  const ripLow = i32[at >>> 2];
  const ripHigh = i32[(at + 4) >>> 2];
  const selector = i32[(at + 8) >>> 2] & 0xffff;
  const flags = i32[(at + 16) >>> 2];
  const stackLow = i32[(at + 24) >>> 2];
  const stackHigh = i32[(at + 28) >>> 2];
  const ss = i32[(at + 32) >>> 2] & 0xffff;
  const cpl = currentPrivilegeLevel(cpu);
  const newCpl = takeReturnCode(cpu, selector);
  returnOffset(cpu, ripLow, ripHigh);
  returnTo(cpu, selector, newCpl, ss, stackLow, stackHigh);
  return flagsRestored(cpu, flags, 8, cpl);
}

/** The end of an IRET in protected mode, `cpl` being the level that it left. */
function flagsRestored(cpu: Cpu, flags: number, size: number, cpl: number): number {
  const before = cpu.i32[S_RFLAGS >> 2];
  restoreFlags(cpu, flags, size, cpl, cpu.mmu.watching);
  cpu.nmiBlocked = false;
  // The mode word was made with the new segments and the flags as they were before.
  if ((before ^ cpu.i32[S_RFLAGS >> 2]) & MODE_FLAGS) updateMode(cpu);
  return cpu.jumped();
}

function interruptReturn(cpu: Cpu, op: number): number {
  const mode = cpu.i32[S_MODE >> 2];
  const size = operandSize(cpu, op);
  const mode64 = codeSize(mode) === 8;
  const cpl = currentPrivilegeLevel(cpu);
  if (mode & MODE_PROTECTED && cpu.i32[S_RFLAGS >> 2] & RFLAGS_NT) return taskReturn(cpu, op);
  if (mode64 && size === 8) {
    const result = longReturn(cpu);
    if (result !== CANNOT) return result;
  }
  stack.current(cpu);
  stack.expect(2 * size, size);
  const offsetLow = stack.pop(size);
  const offsetHigh = stack.upper;
  const selector = stack.pop(size) & 0xffff;
  const flags = stack.pop(size);
  if (!(mode & MODE_PROTECTED)) {
    returnReal(cpu, selector, offsetLow);
    stack.commit();
    return flagsRestored(cpu, flags, size, 0);
  }
  // Virtual-8086 mode is not modelled.
  if (size === 4 && !mode64 && cpl === 0 && flags & RFLAGS_VM) raise(VECTOR_GP, 0);
  // 64-bit mode always finds a stack pointer; it is read before anything is checked.
  const switches = mode64 || (selector & 3) !== cpl;
  let ss = -1;
  if (switches) {
    stack.expect(size, size);
    outer.low = stack.pop(size);
    outer.high = stack.upper;
    ss = stack.pop(size) & 0xffff;
  }
  const newCpl = takeReturnCode(cpu, selector);
  returnOffset(cpu, offsetLow, offsetHigh);
  if (!switches) stack.commit();
  returnTo(cpu, selector, newCpl, ss, outer.low, outer.high);
  return flagsRestored(cpu, flags, size, cpl);
}

defineHelpers({ IRET: interruptReturn });
