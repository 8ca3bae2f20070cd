/**
 * The long mode in which the Linux 64-bit protocol enters a kernel: paging on with the first GiB mapped 1:1 in 2 MiB
 * pages, flat segments, interrupts off; tables where Firecracker puts them
 * (Documentation/arch/x86/boot.rst, "64-bit boot protocol").
 */

import {
  LINUX64_GDT,
  LINUX64_IDT,
  LINUX64_PD,
  LINUX64_PDPT,
  LINUX64_PML4,
  LINUX64_STACK,
  MIB,
  PAGE_SIZE,
} from '../vmm/layout.ts';
import { type BootState, type GeneralRegister, type MemoryWrite, memoryWrite } from './boot-state.ts';
import { Struct } from './bytes.ts';
import {
  CODE64_ACCESSED,
  DATA32_ACCESSED,
  packDescriptors,
  RESET_LDTR,
  RESET_TR,
  segmentState,
  TSS_BUSY,
} from './descriptors.ts';
import { RFLAGS_RESERVED } from './protected-mode.ts';

const CR0_PE = 1;
const CR0_ET = 0x10;
const CR0_PG = 0x80000000;
const CR4_PAE = 0x20;
const EFER_LME = 0x100;
const EFER_LMA = 0x400;

const PAGE_PRESENT_WRITABLE = 0x03;
const PAGE_PRESENT_WRITABLE_LARGE = 0x83;
const ENTRIES = 512;

export const LONG = {
  /** __BOOT_CS = 0x10, __BOOT_DS = 0x18, as the protocol asks of a bzImage's loader. */
  linux: { gdt: [0n, 0n, CODE64_ACCESSED, DATA32_ACCESSED], code: 0x10, data: 0x18, tr: RESET_TR },
  /** Firecracker's table. */
  firecracker: {
    gdt: [0n, CODE64_ACCESSED, DATA32_ACCESSED, TSS_BUSY],
    code: 0x08,
    data: 0x10,
    tr: segmentState(TSS_BUSY, 0x18),
  },
};

export function longModeEntry(
  protocol: string,
  table: (typeof LONG)[keyof typeof LONG],
  entry: number,
  registers: Partial<Record<GeneralRegister, number>>,
  writes: readonly MemoryWrite[],
): BootState {
  const gdt = packDescriptors(table.gdt);
  return {
    protocol,
    rip: entry,
    rflags: RFLAGS_RESERVED,
    registers: { rsp: LINUX64_STACK, rbp: LINUX64_STACK, ...registers },
    cs: segmentState(CODE64_ACCESSED, table.code),
    data: segmentState(DATA32_ACCESSED, table.data),
    tr: table.tr,
    ldtr: RESET_LDTR,
    gdtr: { base: LINUX64_GDT, limit: gdt.length - 1 },
    idtr: { base: LINUX64_IDT, limit: 7 },
    cr0: (CR0_PG | CR0_ET | CR0_PE) >>> 0,
    cr3: LINUX64_PML4,
    cr4: CR4_PAE,
    efer: EFER_LME | EFER_LMA,
    writes: [
      memoryWrite(LINUX64_GDT, gdt),
      memoryWrite(LINUX64_IDT, new Uint8Array(8)),
      ...identityPageTables(),
      ...writes,
    ],
  };
}

function identityPageTables(): MemoryWrite[] {
  const directory = new Struct(PAGE_SIZE);
  for (let index = 0; index < ENTRIES; index++) {
    directory.u64(index * 8, index * 2 * MIB + PAGE_PRESENT_WRITABLE_LARGE);
  }
  const pml4 = new Struct(PAGE_SIZE).u64(0, LINUX64_PDPT | PAGE_PRESENT_WRITABLE);
  const pdpt = new Struct(PAGE_SIZE).u64(0, LINUX64_PD | PAGE_PRESENT_WRITABLE);
  return [
    memoryWrite(LINUX64_PML4, pml4.bytes),
    memoryWrite(LINUX64_PDPT, pdpt.bytes),
    memoryWrite(LINUX64_PD, directory.bytes),
  ];
}
