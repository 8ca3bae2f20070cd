/**
 * Memory operands of x87 and SSE helpers: between guest memory and S_FPU_OPERAND. The TLB answers here as it does
 * in generated code, since these operands are many; what it does not allow is the MMU's, and TypeScript's (the rest is
 * compiled ahead of time as well, for x87 instructions).
 */
import type { Cpu } from '../cpu.ts';
import { FOR_WRITE, MISS } from '../mmu/mmu.ts';
import {
  PAGE_SIZE,
  RAM_BASE,
  S_FPU_OPERAND,
  S_SLOW_ADDRESS,
  S_TLB_BASE,
  TLB_ADDEND,
  TLB_ENTRIES,
  TLB_READ,
  TLB_STRIDE,
  TLB_WRITE,
} from '../state.ts';

const PAGE_SHIFT = Math.log2(PAGE_SIZE);
const STRIDE_SHIFT = Math.log2(TLB_STRIDE);

/** Where in the memory the `size` bytes at a linear address are, if the TLB has their page (`tag`: TLB_READ or TLB_WRITE); else MISS. */
function inTlb(cpu: Cpu, low: number, high: number, size: number, tag: number): number {
  const { i32 } = cpu;
  const index = (low >>> (PAGE_SHIFT - STRIDE_SHIFT)) & ((TLB_ENTRIES - 1) * TLB_STRIDE);
  const entry = i32[S_TLB_BASE >> 2] + index;
  const at = (entry + tag) >> 2;
  // The page of the last byte: an operand that crosses into the next page finds another one.
  if (i32[at] !== ((low + size - 1) & -PAGE_SIZE) || i32[at + 1] !== high) return MISS;
  return ((low + i32[(entry + TLB_ADDEND) >> 2]) >>> 0) + RAM_BASE;
}

/** As `inTlb`, once the TLB has been asked to know the page. */
function hostAddress(cpu: Cpu, low: number, high: number, size: number, tag: number): number {
  const at = inTlb(cpu, low, high, size, tag);
  if (at !== MISS) return at;
  cpu.i32[S_SLOW_ADDRESS >> 2] = low;
  cpu.i32[(S_SLOW_ADDRESS + 4) >> 2] = high;
  const filled = cpu.mmu.fill(tag === TLB_WRITE ? size | FOR_WRITE : size);
  return filled ? inTlb(cpu, low, high, size, tag) : MISS;
}

/** What #AC asks of an operand (SDM vol. 3A, table 6-7): 10 bytes count as 8; environments and images by their fields. */
function alignmentOf(size: number): number {
  if (size === 10) return 8;
  if (size === 14 || size === 94) return 2;
  if (size === 28 || size === 108) return 4;
  return size;
}

/** TypeScript only. */
function loadSlowly(cpu: Cpu, low: number, high: number, size: number): void {
  cpu.mmu.checkAlignment(low, high, alignmentOf(size));
  cpu.mmu.copyIn(S_FPU_OPERAND, low, high, size);
}

/** TypeScript only. */
function storeSlowly(cpu: Cpu, low: number, high: number, size: number): void {
  cpu.mmu.checkAlignment(low, high, alignmentOf(size));
  cpu.mmu.copyOut(S_FPU_OPERAND, low, high, size);
}

/** Loads `size` bytes at a linear address into S_FPU_OPERAND. */
export function loadOperand(cpu: Cpu, low: number, high: number, size: number): void {
  const from = hostAddress(cpu, low, high, size, TLB_READ);
  if (from === MISS) {
    loadSlowly(cpu, low, high, size);
    return;
  }
  const { i32, u8 } = cpu;
  if ((from & 3) === 0 && (size & 3) === 0)
    for (let i = 0; i < size; i += 4) i32[(S_FPU_OPERAND + i) >> 2] = i32[(from + i) >>> 2];
  else for (let i = 0; i < size; i++) u8[S_FPU_OPERAND + i] = u8[from + i];
}

/** Stores `size` bytes of S_FPU_OPERAND at a linear address. */
export function storeOperand(cpu: Cpu, low: number, high: number, size: number): void {
  const to = hostAddress(cpu, low, high, size, TLB_WRITE);
  if (to === MISS) {
    storeSlowly(cpu, low, high, size);
    return;
  }
  const { i32, u8 } = cpu;
  if ((to & 3) === 0 && (size & 3) === 0)
    for (let i = 0; i < size; i += 4) i32[(to + i) >>> 2] = i32[(S_FPU_OPERAND + i) >> 2];
  else for (let i = 0; i < size; i++) u8[to + i] = u8[S_FPU_OPERAND + i];
}

/** Checks that `size` bytes at a linear address could be stored, for a store that does not take place. TypeScript only. */
export function probeStore(cpu: Cpu, low: number, high: number, size: number): void {
  cpu.mmu.checkAlignment(low, high, alignmentOf(size));
  cpu.mmu.probe(low, high, size, true);
}
