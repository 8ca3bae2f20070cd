/**
 * PVH, Xen's direct boot of an ELF kernel that names its 32-bit entry in a note (xen/include/public/arch-x86/hvm/
 * start_info.h; docs/misc/pvh.pandoc): flat protected mode, EBX = hvm_start_info.
 */

import { ACPI_RSDP, CMDLINE_MAX, PVH_CMDLINE, PVH_MEMMAP, PVH_MODLIST, PVH_START_INFO } from '../vmm/layout.ts';
import { BootError, type BootState, type MemoryWrite, memoryWrite } from './boot-state.ts';
import { cString, Struct, viewOf } from './bytes.ts';
import { e820Map } from './e820.ts';
import { type Elf, findNote, loadElf } from './elf.ts';
import { placeInitrd } from './initrd.ts';
import { FLAT, protectedModeEntry } from './protected-mode.ts';

const XEN_OWNER = 'Xen';
const XEN_ELFNOTE_PHYS32_ENTRY = 18;
const XEN_HVM_START_MAGIC_VALUE = 0x336ec578;
/** Version 1 added the memory map. */
const START_INFO_VERSION = 1;

// struct hvm_start_info
const START_INFO_SIZE = 56;
const MAGIC = 0;
const START_INFO_VERSION_OFFSET = 4;
const NR_MODULES = 12;
const MODLIST_PADDR = 16;
const CMDLINE_PADDR = 24;
const RSDP_PADDR = 32;
const MEMMAP_PADDR = 40;
const MEMMAP_ENTRIES = 48;

/** struct hvm_memmap_table_entry: address u64, size u64, type u32, reserved u32. */
const MEMMAP_ENTRY_SIZE = 24;
/** struct hvm_modlist_entry: address, size, command line, reserved; u64 each. */
const MODLIST_ENTRY_SIZE = 32;

export interface PvhOptions {
  readonly ramSize: number;
  readonly commandLine: string;
  readonly initrd?: Uint8Array | undefined;
}

/** @returns the physical entry point from the XEN_ELFNOTE_PHYS32_ENTRY note, undefined without one. */
export function findPvhEntry(elf: Elf): number | undefined {
  const descriptor = findNote(elf, XEN_OWNER, XEN_ELFNOTE_PHYS32_ENTRY);
  return descriptor && descriptor.length >= 4 ? viewOf(descriptor).getUint32(0, true) : undefined;
}

/** @throws BootError when the kernel, command line or initrd do not fit. */
export function loadPvh(elf: Elf, entry: number, options: PvhOptions): BootState {
  const image = loadElf(elf, options.ramSize);
  const commandLine = cString(options.commandLine);
  if (commandLine.length > CMDLINE_MAX) {
    throw new BootError(`kernel command line of ${commandLine.length} bytes is longer than ${CMDLINE_MAX}`);
  }
  const map = e820Map(options.ramSize);
  const memmap = new Struct(map.length * MEMMAP_ENTRY_SIZE);
  for (const [index, { address, length, type }] of map.entries()) {
    const at = index * MEMMAP_ENTRY_SIZE;
    memmap
      .u64(at, address)
      .u64(at + 8, length)
      .u32(at + 16, type);
  }
  const startInfo = new Struct(START_INFO_SIZE)
    .u32(MAGIC, XEN_HVM_START_MAGIC_VALUE)
    .u32(START_INFO_VERSION_OFFSET, START_INFO_VERSION)
    .u64(CMDLINE_PADDR, PVH_CMDLINE)
    .u64(RSDP_PADDR, ACPI_RSDP)
    .u64(MEMMAP_PADDR, PVH_MEMMAP)
    .u32(MEMMAP_ENTRIES, map.length);
  const writes: MemoryWrite[] = [
    memoryWrite(PVH_START_INFO, startInfo.bytes),
    memoryWrite(PVH_MEMMAP, memmap.bytes),
    memoryWrite(PVH_CMDLINE, commandLine),
    ...image.writes,
  ];
  if (options.initrd) {
    const { length } = options.initrd;
    const address = placeInitrd(length, options.ramSize, 0xffffffff, image.high);
    startInfo.u32(NR_MODULES, 1).u64(MODLIST_PADDR, PVH_MODLIST);
    const module = new Struct(MODLIST_ENTRY_SIZE).u64(0, address).u64(8, length);
    writes.push(memoryWrite(PVH_MODLIST, module.bytes), memoryWrite(address, options.initrd));
  }
  return protectedModeEntry('pvh', FLAT.multiboot, entry, { rbx: PVH_START_INFO, rcx: entry }, writes);
}
