/**
 * The Linux boot protocol (Documentation/arch/x86/boot.rst and zero-page.rst): bzImages entered at their 64-bit or
 * 32-bit entry point, and 64-bit ELF kernels entered as Firecracker enters them.
 */

import {
  ACPI_RSDP,
  CMDLINE_MAX,
  HIGH_MEMORY,
  KIB,
  LINUX_CMDLINE,
  LINUX_KERNEL,
  LINUX_SETUP,
  LINUX64_ZERO_PAGE,
  PAGE_SIZE,
} from '../vmm/layout.ts';
import { BootError, type BootState, type MemoryWrite, memoryWrite } from './boot-state.ts';
import { cString, readU64, Struct, viewOf } from './bytes.ts';
import { e820Map, packE820, usableRamEnd } from './e820.ts';
import { loadElf, parseElf } from './elf.ts';
import { placeInitrd } from './initrd.ts';
import { LONG, longModeEntry } from './long-mode.ts';
import { FLAT, protectedModeEntry } from './protected-mode.ts';

/** `HdrS` at 0x202 of the file. */
const HDRS_MAGIC = 0x53726448;
const BOOT_FLAG = 0xaa55;

// Offsets in the setup header; the same in the file and in the zero page.
const SETUP_SECTS = 0x1f1;
const VID_MODE = 0x1fa;
const BOOT_FLAG_OFFSET = 0x1fe;
/** Displacement of the jump over the header: the header ends at 0x202 + this byte. */
const JUMP_DISPLACEMENT = 0x201;
const HEADER = 0x202;
const VERSION = 0x206;
const TYPE_OF_LOADER = 0x210;
const LOADFLAGS = 0x211;
const CODE32_START = 0x214;
const RAMDISK_IMAGE = 0x218;
const RAMDISK_SIZE = 0x21c;
const HEAP_END_PTR = 0x224;
const CMD_LINE_PTR = 0x228;
const INITRD_ADDR_MAX = 0x22c;
const KERNEL_ALIGNMENT = 0x230;
const XLOADFLAGS = 0x236;
const CMDLINE_SIZE = 0x238;
const PREF_ADDRESS = 0x258;
const INIT_SIZE = 0x260;

const LOADED_HIGH = 0x01;
const CAN_USE_HEAP = 0x80;
const XLF_KERNEL_64 = 0x01;
const XLF_CAN_BE_LOADED_ABOVE_4G = 0x02;

/** QEMU's loader id. */
const LOADER_QEMU = 0xb0;
const LOADER_UNDEFINED = 0xff;

// Zero page (struct boot_params) outside the setup header.
const SCREEN_INFO = 0x000;
const EXT_MEM_K = 0x002;
const ACPI_RSDP_ADDR = 0x070;
const ALT_MEM_K = 0x1e0;
const E820_ENTRIES = 0x1e8;
const E820_TABLE = 0x2d0;
const E820_ENTRY_SIZE = 20;

/** Where startup_64 stands in the protected-mode kernel. */
const ENTRY64_OFFSET = 0x200;

export interface LinuxOptions {
  readonly ramSize: number;
  readonly commandLine: string;
  readonly initrd?: Uint8Array | undefined;
  /** Is there a VGA card in text mode? Told to the kernel in screen_info. */
  readonly vga: boolean;
}

export function isLinux(kernel: Uint8Array): boolean {
  return kernel.length >= HEADER + 4 && viewOf(kernel).getUint32(HEADER, true) === HDRS_MAGIC;
}

/** Boots a bzImage. @throws BootError for kernels before protocol 2.02 or zImages, or when RAM does not suffice. */
export function loadBzImage(kernel: Uint8Array, options: LinuxOptions): BootState {
  if (kernel.length < INIT_SIZE + 4) {
    throw new BootError('Linux kernel is truncated in its setup header');
  }
  const header = viewOf(kernel);
  const version = header.getUint16(VERSION, true);
  const loadflags = kernel[LOADFLAGS];
  if (header.getUint16(BOOT_FLAG_OFFSET, true) !== BOOT_FLAG) {
    throw new BootError('Linux kernel has no boot flag 0xAA55 in its setup header');
  }
  if (version < 0x202 || !(loadflags & LOADED_HIGH)) {
    throw new BootError(
      `Linux boot protocol ${version >> 8}.${version & 0xff} is too old; a bzImage of protocol 2.02 or later is needed`,
    );
  }
  const setupSize = ((kernel[SETUP_SECTS] || 4) + 1) * 512;
  if (setupSize >= kernel.length) {
    throw new BootError('Linux kernel is truncated: nothing follows its setup code');
  }
  const code = kernel.subarray(setupSize);
  const kernelEnd = checkRoom(header, version, code.length, options.ramSize);
  const xloadflags = version >= 0x20c ? header.getUint16(XLOADFLAGS, true) : 0;

  const headerEnd = Math.min(HEADER + kernel[JUMP_DISPLACEMENT], E820_TABLE);
  const zeroPage = newZeroPage(options)
    .set(SETUP_SECTS, kernel.subarray(SETUP_SECTS, headerEnd))
    .u8(TYPE_OF_LOADER, LOADER_QEMU)
    .u8(LOADFLAGS, loadflags | CAN_USE_HEAP)
    .u16(HEAP_END_PTR, LINUX_CMDLINE - LINUX_SETUP - 0x200)
    .u32(CODE32_START, LINUX_KERNEL);
  const videoMode = parseVideoMode(options.commandLine);
  if (videoMode !== undefined) {
    zeroPage.u16(VID_MODE, videoMode);
  }
  const highest =
    xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G
      ? 0xffffffff
      : version >= 0x203
        ? header.getUint32(INITRD_ADDR_MAX, true)
        : 0x37ffffff;
  const writes = [
    memoryWrite(LINUX_KERNEL, code),
    ...addCommandLineAndInitrd(zeroPage, options, highest, kernelEnd),
    memoryWrite(LINUX_SETUP, zeroPage.bytes),
  ];
  return xloadflags & XLF_KERNEL_64
    ? longModeEntry('linux64', LONG.linux, LINUX_KERNEL + ENTRY64_OFFSET, { rsi: LINUX_SETUP }, writes)
    : protectedModeEntry('linux', FLAT.linux, LINUX_KERNEL, { rsi: LINUX_SETUP }, writes);
}

/** @returns one past the memory that the kernel occupies until it finds out about the initrd. */
function checkRoom(header: DataView, version: number, codeSize: number, ramSize: number): number {
  const loaded = LINUX_KERNEL + codeSize;
  // It decompresses itself into init_size bytes at pref_address (2.10+).
  const end = version >= 0x20a ? readU64(header, PREF_ADDRESS) + header.getUint32(INIT_SIZE, true) : 0;
  const need = Math.max(loaded, end);
  if (need > usableRamEnd(ramSize)) {
    throw new BootError(
      `the kernel needs memory up to ${Math.ceil(need / 2 ** 20)} MiB, but the guest has ${ramSize / 2 ** 20} MiB; give it more with -m`,
    );
  }
  return loaded;
}

/** The `vga=` argument is the loader's to interpret. */
function parseVideoMode(commandLine: string): number | undefined {
  const match = /vga=([^ ]*)/.exec(commandLine);
  if (!match) {
    return undefined;
  }
  const named = { normal: 0xffff, ext: 0xfffe, ask: 0xfffd }[match[1]];
  const mode = named ?? Number(match[1] || Number.NaN);
  if (!Number.isInteger(mode) || mode < 0 || mode > 0xffff) {
    throw new BootError("invalid 'vga=' kernel parameter");
  }
  return mode;
}

/**
 * Boots a 64-bit ELF kernel by the Linux 64-bit protocol, as Firecracker does.
 * @throws BootError when it is no such file or RAM does not suffice.
 */
export function loadLinuxElf(kernel: Uint8Array, options: LinuxOptions): BootState {
  const image = loadElf(parseElf(kernel), options.ramSize);
  const zeroPage = newZeroPage(options)
    .u16(BOOT_FLAG_OFFSET, BOOT_FLAG)
    .u32(HEADER, HDRS_MAGIC)
    .u8(TYPE_OF_LOADER, LOADER_UNDEFINED)
    .u32(KERNEL_ALIGNMENT, 0x01000000);
  const writes = [
    ...image.writes,
    ...addCommandLineAndInitrd(zeroPage, options, 0xffffffff, image.high),
    memoryWrite(LINUX64_ZERO_PAGE, zeroPage.bytes),
  ];
  return longModeEntry('linux64', LONG.firecracker, image.entry, { rsi: LINUX64_ZERO_PAGE }, writes);
}

function newZeroPage({ ramSize, vga }: LinuxOptions): Struct {
  const extended = (usableRamEnd(ramSize) - HIGH_MEMORY) / KIB;
  const map = e820Map(ramSize);
  const zeroPage = new Struct(PAGE_SIZE)
    .u16(EXT_MEM_K, Math.min(extended, 0xffff))
    .u64(ACPI_RSDP_ADDR, ACPI_RSDP)
    .u32(ALT_MEM_K, extended)
    .u8(E820_ENTRIES, map.length)
    .set(E820_TABLE, packE820(map, E820_ENTRY_SIZE));
  if (vga) {
    // struct screen_info: orig_video_mode, orig_video_cols, orig_video_lines, orig_video_isVGA, orig_video_points.
    zeroPage
      .u8(SCREEN_INFO + 0x06, 3)
      .u8(SCREEN_INFO + 0x07, 80)
      .u8(SCREEN_INFO + 0x0e, 25)
      .u8(SCREEN_INFO + 0x0f, 1)
      .u16(SCREEN_INFO + 0x10, 16);
  }
  return zeroPage;
}

function addCommandLineAndInitrd(
  zeroPage: Struct,
  options: LinuxOptions,
  highest: number,
  kernelEnd: number,
): MemoryWrite[] {
  const commandLine = cString(options.commandLine);
  if (commandLine.length > CMDLINE_MAX) {
    throw new BootError(`kernel command line of ${commandLine.length} bytes is longer than ${CMDLINE_MAX}`);
  }
  zeroPage.u32(CMD_LINE_PTR, LINUX_CMDLINE);
  if (viewOf(zeroPage.bytes).getUint32(CMDLINE_SIZE, true) === 0) {
    zeroPage.u32(CMDLINE_SIZE, commandLine.length);
  }
  const writes = [memoryWrite(LINUX_CMDLINE, commandLine)];
  if (options.initrd) {
    const address = placeInitrd(options.initrd.length, options.ramSize, highest, kernelEnd);
    zeroPage.u32(RAMDISK_IMAGE, address).u32(RAMDISK_SIZE, options.initrd.length);
    writes.push(memoryWrite(address, options.initrd));
  }
  return writes;
}
