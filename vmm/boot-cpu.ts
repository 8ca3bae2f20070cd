/** Gives a boot protocol's register state to the CPU. */

import type { Cpu } from '../cpu/cpu.ts';
import { SEG_CS } from '../cpu/decode/insn.ts';
import {
  gprOffset,
  S_CR0,
  S_CR3,
  S_CR4,
  S_EFER,
  S_GDTR,
  S_GPR,
  S_IDTR,
  S_RFLAGS,
  S_RIP,
  SEGMENT_LDTR,
  SEGMENT_TR,
} from '../cpu/state.ts';
import { updateChecked } from '../cpu/system/descriptors.ts';
import { updateMode } from '../cpu/system/mode-word.ts';
import { setSegment } from '../cpu/system/reset.ts';
import type { BootState, GeneralRegister, SegmentState, TableRegister } from '../firmware/boot-state.ts';

/** Encoding order of the registers that boot protocols use. */
const REGISTER_NUMBERS: Readonly<Record<GeneralRegister, number>> = {
  rax: 0,
  rcx: 1,
  rdx: 2,
  rbx: 3,
  rsp: 4,
  rbp: 5,
  rsi: 6,
  rdi: 7,
};

/** Offset of the limit within GDTR and IDTR. */
const TABLE_LIMIT = 8;

/** `cpu` was reset just now; guest RAM holds the boot image already. */
export function enterKernel(cpu: Cpu, state: BootState): void {
  const { i32 } = cpu;
  const set64 = (offset: number, value: number) => {
    i32[offset >> 2] = value | 0;
    i32[(offset + 4) >> 2] = Math.floor(value / 2 ** 32);
  };
  const setTable = (offset: number, { base, limit }: TableRegister) => {
    set64(offset, base);
    i32[(offset + TABLE_LIMIT) >> 2] = limit;
  };
  const load = (n: number, { selector, base, limit, access }: SegmentState) => {
    setSegment(cpu, n, selector, base, limit, access << 8);
    updateChecked(cpu, n);
  };
  i32.fill(0, S_GPR >> 2, gprOffset(16) >> 2);
  for (const [register, value] of Object.entries(state.registers)) {
    set64(gprOffset(REGISTER_NUMBERS[register as GeneralRegister]), value);
  }
  set64(S_RIP, state.rip);
  i32[S_RFLAGS >> 2] = state.rflags;
  set64(S_CR0, state.cr0);
  set64(S_CR3, state.cr3);
  set64(S_CR4, state.cr4);
  set64(S_EFER, state.efer);
  setTable(S_GDTR, state.gdtr);
  setTable(S_IDTR, state.idtr);
  for (let n = 0; n < 6; n++) {
    load(n, n === SEG_CS ? state.cs : state.data);
  }
  load(SEGMENT_LDTR, state.ldtr);
  load(SEGMENT_TR, state.tr);
  cpu.mmu.flush();
  cpu.codeSegmentChanged();
  updateMode(cpu, 0);
}
