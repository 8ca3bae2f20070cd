/**
 * The 32-bit flat protected mode in which multiboot, PVH and the Linux 32-bit protocol enter a kernel: paging off,
 * interrupts off, segments flat.
 */

import { BOOT_GDT } from '../vmm/layout.ts';
import type { BootState, GeneralRegister, MemoryWrite } from './boot-state.ts';
import { memoryWrite } from './boot-state.ts';
import { CODE16, CODE32, DATA16, DATA32, packDescriptors, RESET_LDTR, RESET_TR, segmentState } from './descriptors.ts';

const CR0_PE = 1;
const CR0_ET = 0x10;
/** Bit 1 of EFLAGS always reads 1; IF and DF are clear. */
export const RFLAGS_RESERVED = 2;

/** The table of QEMU's multiboot option ROM. */
const MULTIBOOT_GDT = [0n, CODE32, DATA32, CODE16, DATA16];
/** Linux asks for __BOOT_CS = 0x10 and __BOOT_DS = 0x18 (Documentation/arch/x86/boot.rst, "32-bit boot protocol"). */
const LINUX_GDT = [0n, 0n, CODE32, DATA32];

/** Which table and selectors a protocol wants. */
export const FLAT = {
  multiboot: { gdt: MULTIBOOT_GDT, code: 0x08, data: 0x10 },
  linux: { gdt: LINUX_GDT, code: 0x10, data: 0x18 },
};

export function protectedModeEntry(
  protocol: string,
  flat: (typeof FLAT)[keyof typeof FLAT],
  entry: number,
  registers: Partial<Record<GeneralRegister, number>>,
  writes: readonly MemoryWrite[],
): BootState {
  const gdt = packDescriptors(flat.gdt);
  return {
    protocol,
    rip: entry,
    rflags: RFLAGS_RESERVED,
    registers,
    cs: segmentState(CODE32, flat.code),
    data: segmentState(DATA32, flat.data),
    tr: RESET_TR,
    ldtr: RESET_LDTR,
    gdtr: { base: BOOT_GDT, limit: gdt.length - 1 },
    // The real-mode vector table stays in force, as after QEMU's option ROM; any exception before LIDT is fatal.
    idtr: { base: 0, limit: 0x3ff },
    cr0: CR0_PE | CR0_ET,
    cr3: 0,
    cr4: 0,
    efer: 0,
    writes: [memoryWrite(BOOT_GDT, gdt), ...writes],
  };
}
