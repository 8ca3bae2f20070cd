/** Power-on state of the vCPU (Intel SDM vol. 3A, table 10-1). */
import type { Cpu } from '../cpu.ts';
import {
  gprOffset,
  S_CR0,
  S_DR,
  S_FCW,
  S_GDTR,
  S_GPR,
  S_IDTR,
  S_MISC_ENABLE,
  S_MXCSR,
  S_PAT,
  S_RFLAGS,
  S_RIP,
  S_XCR0,
  SEGMENT_ATTR,
  SEGMENT_BASE,
  SEGMENT_LDTR,
  SEGMENT_LIMIT,
  SEGMENT_SELECTOR,
  SEGMENT_TR,
  segmentOffset,
} from '../state.ts';
import { SIGNATURE } from './cpu-model.ts';
import { updateChecked } from './descriptors.ts';
import { updateMode, updateSseFast } from './mode-word.ts';
import { resetMtrrs } from './msr.ts';

/** First offset of the state block and of the tables behind it. */
const STATE_END = 0x10000;

export function resetState(cpu: Cpu): void {
  const { i32, u16 } = cpu;
  i32.fill(0, S_GPR >> 2, STATE_END >> 2);
  cpu.mmu.flush();
  i32[gprOffset(2) >> 2] = SIGNATURE;
  i32[S_RFLAGS >> 2] = 2;
  i32[S_RIP >> 2] = 0xfff0;
  i32[S_CR0 >> 2] = 0x60000010;
  for (let n = 0; n < 6; n++)
    setSegment(cpu, n, n === 1 ? 0xf000 : 0, n === 1 ? 0xffff0000 : 0, 0xffff, n === 1 ? 0x9b00 : 0x9300);
  setSegment(cpu, SEGMENT_LDTR, 0, 0, 0xffff, 0x8200);
  setSegment(cpu, SEGMENT_TR, 0, 0, 0xffff, 0x8b00);
  i32[(S_GDTR + 8) >> 2] = 0xffff;
  i32[(S_IDTR + 8) >> 2] = 0xffff;
  i32[(S_DR + 6 * 8) >> 2] = 0xffff0ff0 | 0;
  i32[(S_DR + 7 * 8) >> 2] = 0x400;
  i32[S_PAT >> 2] = 0x00070406;
  i32[(S_PAT + 4) >> 2] = 0x00070406;
  i32[S_MISC_ENABLE >> 2] = 1;
  i32[S_XCR0 >> 2] = 1;
  resetMtrrs(cpu);
  i32[S_MXCSR >> 2] = 0x1f80;
  u16[S_FCW >> 1] = 0x40;
  updateMode(cpu, 0);
  updateSseFast(cpu);
}

/** Sets a segment register's hidden parts directly. `attributes`: bits 8…23 of a descriptor's second dword in place. */
export function setSegment(
  cpu: Cpu,
  n: number,
  selector: number,
  base: number,
  limit: number,
  attributes: number,
  baseHigh = 0,
): void {
  const at = segmentOffset(n);
  cpu.i32[(at + SEGMENT_BASE) >> 2] = base;
  cpu.i32[(at + SEGMENT_BASE + 4) >> 2] = baseHigh;
  cpu.i32[(at + SEGMENT_LIMIT) >> 2] = limit;
  cpu.i32[(at + SEGMENT_ATTR) >> 2] = attributes;
  cpu.u16[(at + SEGMENT_SELECTOR) >> 1] = selector;
  updateChecked(cpu, n);
}
