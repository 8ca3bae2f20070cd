/**
 * ELF executables as kernels (System V ABI, chapters 4 and 5): headers, loadable segments, notes.
 *
 * The file is untrusted: every offset and size in it is checked against the file and against guest RAM.
 */

import { BootError, type MemoryWrite, memoryWrite } from './boot-state.ts';
import { alignUp, readU64, viewOf } from './bytes.ts';

export const EM_386 = 3;
export const EM_X86_64 = 62;
const PT_LOAD = 1;
const PT_NOTE = 4;
const PF_X = 1;

const ELF_MAGIC = 0x464c457f;
const ELFCLASS32 = 1;
const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;
const EHDR_SIZE = { 32: 52, 64: 64 };
const PHDR_SIZE = { 32: 32, 64: 56 };
const NHDR_SIZE = 12;

export interface ElfSegment {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly vaddr: number;
  readonly paddr: number;
  readonly filesz: number;
  readonly memsz: number;
  readonly align: number;
}

export interface Elf {
  readonly bits: 32 | 64;
  /** EM_386 or EM_X86_64. */
  readonly machine: number;
  /** e_entry: a virtual address. */
  readonly entry: number;
  readonly segments: readonly ElfSegment[];
  readonly bytes: Uint8Array;
}

/** A kernel's segments, ready for RAM. */
export interface ElfImage {
  readonly writes: readonly MemoryWrite[];
  /** Lowest and one past the highest physical address. */
  readonly low: number;
  readonly high: number;
  /** Physical entry point. */
  readonly entry: number;
}

export function isElf(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && viewOf(bytes).getUint32(0, true) === ELF_MAGIC;
}

/**
 * Parses headers; file contents are not copied.
 * @throws BootError when the file is not a complete little-endian x86 ELF.
 */
export function parseElf(bytes: Uint8Array): Elf {
  if (!isElf(bytes) || bytes.length < EHDR_SIZE[32]) {
    throw new BootError('not an ELF file');
  }
  const view = viewOf(bytes);
  const elfClass = bytes[4];
  if (elfClass !== ELFCLASS32 && elfClass !== ELFCLASS64) {
    throw new BootError(`ELF class ${elfClass} is unknown`);
  }
  const bits = elfClass === ELFCLASS32 ? 32 : 64;
  if (bytes.length < EHDR_SIZE[bits]) {
    throw new BootError('ELF file is truncated in its header');
  }
  const machine = view.getUint16(18, true);
  if (bytes[5] !== ELFDATA2LSB || (machine !== EM_386 && machine !== EM_X86_64)) {
    throw new BootError(`ELF file is for another machine (e_machine ${machine}), not x86`);
  }
  const wide = bits === 64;
  const entry = wide ? readU64(view, 24) : view.getUint32(24, true);
  const phoff = wide ? readU64(view, 32) : view.getUint32(28, true);
  const phentsize = view.getUint16(wide ? 54 : 42, true);
  const phnum = view.getUint16(wide ? 56 : 44, true);
  if (phnum > 0 && phentsize !== PHDR_SIZE[bits]) {
    throw new BootError(`ELF program headers have ${phentsize} bytes instead of ${PHDR_SIZE[bits]}`);
  }
  if (phoff + phnum * phentsize > bytes.length) {
    throw new BootError('ELF file is truncated in its program headers');
  }
  const segments: ElfSegment[] = [];
  for (let index = 0; index < phnum; index++) {
    segments.push(readSegment(view, phoff + index * phentsize, wide));
  }
  return { bits, machine, entry, segments, bytes };
}

function readSegment(view: DataView, at: number, wide: boolean): ElfSegment {
  if (wide) {
    return {
      type: view.getUint32(at, true),
      flags: view.getUint32(at + 4, true),
      offset: readU64(view, at + 8),
      vaddr: readU64(view, at + 16),
      paddr: readU64(view, at + 24),
      filesz: readU64(view, at + 32),
      memsz: readU64(view, at + 40),
      align: readU64(view, at + 48),
    };
  }
  return {
    type: view.getUint32(at, true),
    offset: view.getUint32(at + 4, true),
    vaddr: view.getUint32(at + 8, true),
    paddr: view.getUint32(at + 12, true),
    filesz: view.getUint32(at + 16, true),
    memsz: view.getUint32(at + 20, true),
    flags: view.getUint32(at + 24, true),
    align: view.getUint32(at + 28, true),
  };
}

/**
 * Lays the PT_LOAD segments out at their physical addresses.
 * @throws BootError when there is none, when one is not wholly in the file, or when together they do not fit into RAM.
 */
export function loadElf(elf: Elf, ramSize: number): ElfImage {
  const writes: MemoryWrite[] = [];
  let low = Number.POSITIVE_INFINITY;
  let high = 0;
  let total = 0;
  let entry = elf.entry;
  for (const segment of elf.segments) {
    if (segment.type !== PT_LOAD || segment.memsz === 0) {
      continue;
    }
    const { offset, vaddr, paddr, filesz, memsz } = segment;
    if (filesz > memsz || offset + filesz > elf.bytes.length) {
      throw new BootError('ELF file is truncated or damaged: a segment lies outside the file');
    }
    low = Math.min(low, paddr);
    high = Math.max(high, paddr + memsz);
    // The sum bounds the work that a file with thousands of overlapping segments could ask for.
    total += memsz;
    checkFits(high, total, ramSize);
    // As QEMU does: e_entry is virtual, so it moves with the text segment when that is linked elsewhere than loaded.
    if (vaddr !== paddr && elf.entry >= vaddr && elf.entry < vaddr + filesz && segment.flags & PF_X) {
      entry = elf.entry - vaddr + paddr;
    }
    writes.push(memoryWrite(paddr, elf.bytes.subarray(offset, offset + filesz), memsz));
  }
  if (writes.length === 0) {
    throw new BootError('ELF file has nothing to load');
  }
  return { writes, low, high, entry };
}

function checkFits(high: number, total: number, ramSize: number): void {
  if (!(high <= ramSize && total <= ramSize)) {
    const need = Math.ceil(Math.max(high, total) / 2 ** 20);
    throw new BootError(
      need < 2 ** 12
        ? `the kernel needs memory up to ${need} MiB, but the guest has ${ramSize / 2 ** 20} MiB; give it more with -m`
        : `the kernel wants to be loaded at a physical address (0x${high.toString(16)}) that no guest RAM can have`,
    );
  }
}

/**
 * Searches the PT_NOTE segments.
 * @returns the descriptor of the first note with this owner and type, undefined when there is none.
 */
export function findNote(elf: Elf, owner: string, type: number): Uint8Array | undefined {
  const { bytes } = elf;
  const view = viewOf(bytes);
  for (const segment of elf.segments) {
    if (segment.type !== PT_NOTE || segment.offset + segment.filesz > bytes.length) {
      continue;
    }
    const alignment = segment.align === 8 ? 8 : 4;
    const end = segment.offset + segment.filesz;
    let at = segment.offset;
    while (at + NHDR_SIZE <= end) {
      const nameStart = at + NHDR_SIZE;
      const nameSize = view.getUint32(at, true);
      const descStart = at + alignUp(NHDR_SIZE + nameSize, alignment);
      const descSize = view.getUint32(at + 4, true);
      if (descStart + descSize > end) {
        break;
      }
      if (view.getUint32(at + 8, true) === type && isName(bytes, nameStart, nameSize, owner)) {
        return bytes.subarray(descStart, descStart + descSize);
      }
      at = alignUp(descStart - segment.offset + descSize, alignment) + segment.offset;
    }
  }
  return undefined;
}

function isName(bytes: Uint8Array, start: number, size: number, owner: string): boolean {
  if (size !== owner.length + 1 || bytes[start + owner.length] !== 0) {
    return false;
  }
  for (let index = 0; index < owner.length; index++) {
    if (bytes[start + index] !== owner.charCodeAt(index)) {
      return false;
    }
  }
  return true;
}
