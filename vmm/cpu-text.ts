/** The CPU's state for people: `info registers`, and what an internal error shows. */

import type { Cpu } from '../cpu/cpu.ts';
import {
  gprOffset,
  S_CR0,
  S_CR2,
  S_CR3,
  S_CR4,
  S_EFER,
  S_GDTR,
  S_IDTR,
  S_RIP,
  SEGMENT_ATTR,
  SEGMENT_BASE,
  SEGMENT_LIMIT,
  SEGMENT_SELECTOR,
  segmentOffset,
} from '../cpu/state.ts';
import type { PagingState } from './monitor/page-tables.ts';

const REGISTERS = ['RAX', 'RCX', 'RDX', 'RBX', 'RSP', 'RBP', 'RSI', 'RDI'];
const SEGMENTS = ['ES ', 'CS ', 'SS ', 'DS ', 'FS ', 'GS ', 'LDT', 'TR '];
/** QEMU prints them in this order. */
const PRINT_ORDER = [0, 3, 1, 2, 6, 7, 5, 4];

/** In the form of QEMU's `info registers`. */
export function describeCpu(cpu: Cpu): string {
  const word = (offset: number) => hex(cpu.i32[offset >> 2], 8);
  const quad = (offset: number) => word(offset + 4) + word(offset);
  const registers = [...PRINT_ORDER, 8, 9, 10, 11, 12, 13, 14, 15].map(
    (n) => `${REGISTERS[n] ?? `R${n}`.padEnd(3)}=${quad(gprOffset(n))}`,
  );
  const lines: string[] = [];
  for (let index = 0; index < registers.length; index += 4) {
    lines.push(registers.slice(index, index + 4).join(' '));
  }
  lines.push(`RIP=${quad(S_RIP)} RFL=${hex(cpu.rflags, 8)} HLT=${cpu.halted ? 1 : 0}`);
  for (const [n, name] of SEGMENTS.entries()) {
    const at = segmentOffset(n);
    const selector = hex(cpu.u16[(at + SEGMENT_SELECTOR) >> 1], 4);
    lines.push(`${name}=${selector} ${quad(at + SEGMENT_BASE)} ${word(at + SEGMENT_LIMIT)} ${word(at + SEGMENT_ATTR)}`);
  }
  lines.push(`GDT=     ${quad(S_GDTR)} ${word(S_GDTR + 8)}`, `IDT=     ${quad(S_IDTR)} ${word(S_IDTR + 8)}`);
  lines.push(`CR0=${word(S_CR0)} CR2=${quad(S_CR2)} CR3=${quad(S_CR3)} CR4=${word(S_CR4)}`, `EFER=${quad(S_EFER)}`);
  return `${lines.join('\n')}\n`;
}

export function instructionPointer(cpu: Cpu): string {
  return `0x${hex(cpu.i32[(S_RIP + 4) >> 2], 8)}${hex(cpu.i32[S_RIP >> 2], 8)}`;
}

/** The registers that paging depends on. */
export function pagingOf(cpu: Cpu): PagingState {
  const word = (offset: number) => cpu.i32[offset >> 2];
  const cr3 = (word(S_CR3 + 4) >>> 0) * 2 ** 32 + (word(S_CR3) >>> 0);
  return { cr0: word(S_CR0), cr3, cr4: word(S_CR4), efer: word(S_EFER) };
}

function hex(value: number, digits: number): string {
  return (value >>> 0).toString(16).padStart(digits, '0');
}
