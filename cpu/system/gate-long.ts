/**
 * Interrupt gates of long mode (Intel SDM vol. 3A 6.14): 64-bit handlers, frames of 64-bit values on an aligned stack, which
 * may be one of the TSS (IST). Compiled ahead of time too (aot/compile.ts): TypeScript then does only what faults on the
 * way, and stacks that are not plain memory within a page.
 */
import type { Cpu } from '../cpu.ts';
import { SEG_CS, SEG_SS } from '../decode/insn.ts';
import { NO_ERROR_CODE, raise, VECTOR_GP, VECTOR_NP } from '../fault.ts';
import { isCanonical } from '../helpers/operands.ts';
import { MISS } from '../mmu/mmu.ts';
import { ACCESS_IMPLICIT, ACCESS_WRITE } from '../mmu/walk.ts';
import { gprOffset, S_IDTR, SEGMENT_SELECTOR, segmentOffset } from '../state.ts';
import { descriptor, dplOf, loadNullStack, TYPE_CONFORMING } from './descriptors.ts';
import {
  checkHandlerCode,
  enterHandler,
  flagsImage,
  GATE_INT32,
  GATE_TRAP32,
  idtError,
  SOURCE_SOFTWARE,
} from './gate.ts';
import { ATTR_PRESENT, currentPrivilegeLevel } from './mode-word.ts';
import { StackCursor, setStackPointer } from './stack.ts';
import { innerStack, readInterruptStack, readLongInnerStack } from './tss.ts';

/** Bytes of a gate, and of its part that means something. */
const GATE_SIZE = 16;
const GATE_BYTES = 12;
/** Bytes of a frame, with its error code. */
const FRAME = 48;

const RSP = gprOffset(4);
const stack = new StackCursor();

/** RSP of the handler. */
const pointer = { low: 0, high: 0 };

/** Pushes the frame of a 64-bit handler to a stack whose new pointer becomes `pointer`. */
function pushFrame(
  cpu: Cpu,
  low: number,
  high: number,
  flags: number,
  errorCode: number,
  ripLow: number,
  ripHigh: number,
): void {
  const { i32, u16, mmu } = cpu;
  const ss = u16[(segmentOffset(SEG_SS) + SEGMENT_SELECTOR) >> 1];
  const cs = u16[(segmentOffset(SEG_CS) + SEGMENT_SELECTOR) >> 1];
  const bottom = (low - FRAME) | 0;
  const at = low >>> 0 < FRAME ? MISS : mmu.span(bottom, high, FRAME, ACCESS_WRITE | ACCESS_IMPLICIT);
  if (at === MISS) {
    pushPieces(cpu, low, high, flags, errorCode, ripLow, ripHigh);
    return;
  }
  if (errorCode !== NO_ERROR_CODE) {
    i32[at >>> 2] = errorCode;
    i32[(at + 4) >>> 2] = 0;
  }
  i32[(at + 8) >>> 2] = ripLow;
  i32[(at + 12) >>> 2] = ripHigh;
  i32[(at + 16) >>> 2] = cs;
  i32[(at + 20) >>> 2] = 0;
  i32[(at + 24) >>> 2] = flags;
  i32[(at + 28) >>> 2] = 0;
  i32[(at + 32) >>> 2] = i32[RSP >> 2];
  i32[(at + 36) >>> 2] = i32[(RSP + 4) >> 2];
  i32[(at + 40) >>> 2] = ss;
  i32[(at + 44) >>> 2] = 0;
  pointer.low = errorCode !== NO_ERROR_CODE ? bottom : (bottom + 8) | 0;
  pointer.high = high;
}

/** The same, one value after the other. TypeScript only. */
function pushPieces(
  cpu: Cpu,
  low: number,
  high: number,
  flags: number,
  errorCode: number,
  ripLow: number,
  ripHigh: number,
): void {
  stack.other(cpu, 0, 8, low, high);
  stack.push(8, cpu.u16[(segmentOffset(SEG_SS) + SEGMENT_SELECTOR) >> 1]);
  stack.push(8, cpu.i32[RSP >> 2], cpu.i32[(RSP + 4) >> 2]);
  stack.push(8, flags);
  stack.push(8, cpu.u16[(segmentOffset(SEG_CS) + SEGMENT_SELECTOR) >> 1]);
  stack.push(8, ripLow, ripHigh);
  if (errorCode !== NO_ERROR_CODE) stack.push(8, errorCode);
  pointer.low = stack.low;
  pointer.high = stack.high;
}

/** Goes through the gate of `vector`; `ripLow`, `ripHigh` is where the handler is to return to. Nothing changes if it faults. */
export function deliverLong(
  cpu: Cpu,
  vector: number,
  errorCode: number,
  source: number,
  ripLow: number,
  ripHigh: number,
): void {
  const { i32 } = cpu;
  const ext = source === SOURCE_SOFTWARE ? 0 : 1;
  if (vector * GATE_SIZE + GATE_SIZE - 1 > i32[(S_IDTR + 8) >> 2] >>> 0) raise(VECTOR_GP, idtError(vector, source));
  const gate = (i32[S_IDTR >> 2] + vector * GATE_SIZE) | 0;
  const gateHigh = (i32[(S_IDTR + 4) >> 2] + (gate >>> 0 < i32[S_IDTR >> 2] >>> 0 ? 1 : 0)) | 0;
  const at = cpu.mmu.systemBytes(gate, gateHigh, GATE_BYTES);
  const low = i32[at >>> 2];
  const high = i32[(at + 4) >>> 2];
  const offsetHigh = i32[(at + 8) >>> 2];
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
  innerStack.low = i32[RSP >> 2];
  innerStack.high = i32[(RSP + 4) >> 2];
  if (ist !== 0) readInterruptStack(cpu, ist, ext);
  else if (newCpl < cpl) readLongInnerStack(cpu, newCpl, ext);
  if (!isCanonical(offsetHigh)) raise(VECTOR_GP, ext);
  const flags = flagsImage(cpu, vector, source);
  pushFrame(cpu, innerStack.low & -16, innerStack.high, flags, errorCode, ripLow, ripHigh);
  if (newCpl < cpl) loadNullStack(cpu, newCpl);
  setStackPointer(cpu, 8, pointer.low, pointer.high);
  const offset = (low & 0xffff) | (high & 0xffff0000);
  enterHandler(cpu, selector, newCpl, codeLow, codeHigh, offset, offsetHigh, type === GATE_INT32);
}
