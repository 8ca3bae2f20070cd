/**
 * Multiboot 1 (Multiboot Specification 0.6.96), as QEMU 7.2's hw/i386/multiboot.c and its option ROM do it: same
 * addresses, same strings, same order of modules, so that guests cannot tell.
 */

import { EBDA_START, HIGH_MEMORY, KIB, MULTIBOOT_INFO, MULTIBOOT_MMAP, PAGE_SIZE } from '../vmm/layout.ts';
import { BootError, type BootState, type MemoryWrite, memoryWrite } from './boot-state.ts';
import { alignUp, cString, Struct, viewOf } from './bytes.ts';
import { e820Map, packE820, usableRamEnd } from './e820.ts';
import { EM_X86_64, isElf, loadElf, parseElf } from './elf.ts';
import { FLAT, protectedModeEntry } from './protected-mode.ts';

const MULTIBOOT_HEADER_MAGIC = 0x1badb002;
const MULTIBOOT_BOOTLOADER_MAGIC = 0x2badb002;
/** The header starts on 4 bytes and lies within the first 8 KiB. */
const MULTIBOOT_SEARCH = 8192;
const MULTIBOOT_HEADER_SIZE = 48;

/** Header flag: the address fields are valid (the "address kludge" for files that are not ELF32). */
const MULTIBOOT_HEADER_HAS_ADDR = 0x00010000;

// Multiboot information structure (§3.3): flags and offsets.
const MULTIBOOT_INFO_MEMORY = 1 << 0;
const MULTIBOOT_INFO_BOOTDEV = 1 << 1;
const MULTIBOOT_INFO_CMDLINE = 1 << 2;
const MULTIBOOT_INFO_MODS = 1 << 3;
const MULTIBOOT_INFO_MEM_MAP = 1 << 6;
const MULTIBOOT_INFO_BOOT_LOADER_NAME = 1 << 9;
const MBI_FLAGS = 0;
const MBI_MEM_LOWER = 4;
const MBI_MEM_UPPER = 8;
const MBI_BOOT_DEVICE = 12;
const MBI_CMDLINE = 16;
const MBI_MODS_COUNT = 20;
const MBI_MODS_ADDR = 24;
const MBI_MMAP_LENGTH = 44;
const MBI_MMAP_ADDR = 48;
const MBI_BOOT_LOADER_NAME = 64;
const MBI_SIZE = 88;

/** Module entry: start, end, command line, reserved. */
const MODULE_SIZE = 16;
/** Memory map entry: its own size (20), then an e820 entry. */
const MMAP_ENTRY_SIZE = 24;
/** First hard disk, no partitions. */
const BOOT_DEVICE = 0x8000ffff;
const BOOT_LOADER_NAME = 'qemu';

export interface MultibootModule {
  /** File name and arguments, as the guest sees them. */
  readonly commandLine: string;
  readonly bytes: Uint8Array;
}

export interface MultibootOptions {
  /** Bytes of RAM. */
  readonly ramSize: number;
  /** `<kernel path> <append>`. */
  readonly commandLine: string;
  readonly modules: readonly MultibootModule[];
}

/** @returns the offset of a valid multiboot header, undefined when the file has none. */
export function findMultibootHeader(kernel: Uint8Array): number | undefined {
  const view = viewOf(kernel);
  const end = Math.min(MULTIBOOT_SEARCH - MULTIBOOT_HEADER_SIZE, kernel.length - 11);
  for (let at = 0; at < end; at += 4) {
    if (view.getUint32(at, true) === MULTIBOOT_HEADER_MAGIC) {
      const sum = MULTIBOOT_HEADER_MAGIC + view.getUint32(at + 4, true) + view.getUint32(at + 8, true);
      if (sum % 2 ** 32 === 0) {
        return at;
      }
    }
  }
  return undefined;
}

interface LoadedKernel {
  readonly writes: readonly MemoryWrite[];
  readonly low: number;
  readonly high: number;
  readonly entry: number;
}

/** @throws BootError for a kernel that QEMU would not load either, or that does not fit into RAM. */
export function loadMultiboot(kernel: Uint8Array, options: MultibootOptions): BootState {
  const header = findMultibootHeader(kernel);
  if (header === undefined) {
    throw new BootError('no multiboot header');
  }
  const flags = viewOf(kernel).getUint32(header + 4, true);
  const loaded =
    flags & MULTIBOOT_HEADER_HAS_ADDR ? loadByAddresses(kernel, header) : loadByElf(kernel, options.ramSize);
  const info = layOutInfo(loaded, options);
  return protectedModeEntry(
    'multiboot',
    FLAT.multiboot,
    loaded.entry,
    { rax: MULTIBOOT_BOOTLOADER_MAGIC, rbx: MULTIBOOT_INFO, rcx: loaded.entry },
    // The information first: a kernel that lies over it wins, as in QEMU, whose option ROM reads the kernel last.
    [...info.low, ...loaded.writes, ...info.high],
  );
}

function loadByElf(kernel: Uint8Array, ramSize: number): LoadedKernel {
  if (!isElf(kernel)) {
    throw new BootError('multiboot kernel is neither ELF nor has the address fields in its header');
  }
  const elf = parseElf(kernel);
  if (elf.machine === EM_X86_64 || elf.bits === 64) {
    throw new BootError('cannot load an x86-64 multiboot image; give a 32-bit one (or set the address fields)');
  }
  return loadElf(elf, ramSize);
}

/** The address kludge, §3.1.3: a flat piece of the file, then bss. */
function loadByAddresses(kernel: Uint8Array, header: number): LoadedKernel {
  if (header + 32 > kernel.length) {
    throw new BootError('multiboot header is truncated');
  }
  const view = viewOf(kernel);
  const headerAddr = view.getUint32(header + 12, true);
  const loadAddr = view.getUint32(header + 16, true);
  const loadEndAddr = view.getUint32(header + 20, true);
  const bssEndAddr = view.getUint32(header + 24, true);
  const entry = view.getUint32(header + 28, true);
  const textOffset = header - (headerAddr - loadAddr);
  if (headerAddr < loadAddr || textOffset < 0) {
    throw new BootError('multiboot header: load_addr does not match header_addr');
  }
  const loadSize = loadEndAddr ? loadEndAddr - loadAddr : kernel.length - textOffset;
  if (loadSize < 0 || textOffset + loadSize > kernel.length) {
    throw new BootError('multiboot header: load_end_addr lies outside the file');
  }
  if (bssEndAddr && bssEndAddr < loadAddr + loadSize) {
    throw new BootError('multiboot header: bss_end_addr lies before load_end_addr');
  }
  const size = bssEndAddr ? bssEndAddr - loadAddr : loadSize;
  const bytes = kernel.subarray(textOffset, textOffset + loadSize);
  return { writes: [memoryWrite(loadAddr, bytes, size)], low: loadAddr, high: loadAddr + size, entry };
}

/**
 * Module list and strings follow the kernel on the next page, and the modules follow those, each page aligned; the
 * information structure and the memory map lie in low memory.
 */
function layOutInfo(kernel: LoadedKernel, options: MultibootOptions) {
  const { modules, ramSize } = options;
  const listAddress = kernel.low + alignUp(kernel.high - kernel.low, PAGE_SIZE);
  const strings = [...modules.map((module) => module.commandLine), options.commandLine, BOOT_LOADER_NAME].map(cString);
  const stringAddresses: number[] = [];
  let end = listAddress + modules.length * MODULE_SIZE;
  for (const string of strings) {
    stringAddresses.push(end);
    end += string.length;
  }
  const list = new Struct(end - listAddress);
  for (const [index, string] of strings.entries()) {
    list.set(stringAddresses[index] - listAddress, string);
  }
  const high: MemoryWrite[] = [memoryWrite(listAddress, list.bytes)];
  for (const [index, module] of modules.entries()) {
    const start = alignUp(end, PAGE_SIZE);
    end = start + module.bytes.length;
    const at = index * MODULE_SIZE;
    list
      .u32(at, start)
      .u32(at + 4, end)
      .u32(at + 8, stringAddresses[index]);
    high.push(memoryWrite(start, module.bytes));
  }
  if (end > ramSize) {
    throw new BootError(
      `kernel and modules need memory up to ${Math.ceil(end / 2 ** 20)} MiB, but the guest has ${ramSize / 2 ** 20} MiB; give it more with -m`,
    );
  }

  const mmap = packE820(e820Map(ramSize), MMAP_ENTRY_SIZE, 4);
  for (let at = 0; at < mmap.length; at += MMAP_ENTRY_SIZE) {
    mmap[at] = MMAP_ENTRY_SIZE - 4;
  }
  const info = new Struct(MBI_SIZE)
    .u32(
      MBI_FLAGS,
      MULTIBOOT_INFO_MEMORY |
        MULTIBOOT_INFO_BOOTDEV |
        MULTIBOOT_INFO_CMDLINE |
        MULTIBOOT_INFO_MODS |
        MULTIBOOT_INFO_MEM_MAP |
        MULTIBOOT_INFO_BOOT_LOADER_NAME,
    )
    .u32(MBI_MEM_LOWER, EBDA_START / KIB)
    .u32(MBI_MEM_UPPER, (usableRamEnd(ramSize) - HIGH_MEMORY) / KIB)
    .u32(MBI_BOOT_DEVICE, BOOT_DEVICE)
    .u32(MBI_CMDLINE, stringAddresses[modules.length])
    .u32(MBI_MODS_COUNT, modules.length)
    .u32(MBI_MODS_ADDR, listAddress)
    .u32(MBI_MMAP_LENGTH, mmap.length)
    .u32(MBI_MMAP_ADDR, MULTIBOOT_MMAP)
    .u32(MBI_BOOT_LOADER_NAME, stringAddresses[modules.length + 1]);
  return { low: [memoryWrite(MULTIBOOT_MMAP, mmap), memoryWrite(MULTIBOOT_INFO, info.bytes)], high };
}
