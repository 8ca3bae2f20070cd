/** Makes small kernel files for the loaders' tests. */

import { Struct } from '../../firmware/bytes.ts';

export interface TestSegment {
  readonly type?: number;
  readonly flags?: number;
  readonly vaddr?: number;
  readonly paddr: number;
  readonly bytes: Uint8Array;
  readonly memsz?: number;
  readonly align?: number;
}

/** An ELF whose segments' bytes follow the program headers; `trailer` is room for a multiboot header in between. */
export function buildElf(
  bits: 32 | 64,
  machine: number,
  entry: number,
  segments: readonly TestSegment[],
  header: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const wide = bits === 64;
  const ehdrSize = wide ? 64 : 52;
  const phdrSize = wide ? 56 : 32;
  const headerAt = ehdrSize + phdrSize * segments.length;
  let at = headerAt + header.length;
  const file = new Struct(at + segments.reduce((sum, segment) => sum + segment.bytes.length, 0));
  file
    .u32(0, 0x464c457f)
    .u8(4, wide ? 2 : 1)
    .u8(5, 1)
    .u8(6, 1)
    .u16(16, 2)
    .u16(18, machine)
    .u32(20, 1);
  if (wide) {
    file.u64(24, entry).u64(32, ehdrSize).u16(52, ehdrSize).u16(54, phdrSize).u16(56, segments.length);
  } else {
    file.u32(24, entry).u32(28, ehdrSize).u16(40, ehdrSize).u16(42, phdrSize).u16(44, segments.length);
  }
  file.set(headerAt, header);
  for (const [index, segment] of segments.entries()) {
    const phdr = ehdrSize + index * phdrSize;
    const { type = 1, flags = 7, paddr, bytes, align = 4096 } = segment;
    const { vaddr = paddr, memsz = bytes.length } = segment;
    if (wide) {
      file
        .u32(phdr, type)
        .u32(phdr + 4, flags)
        .u64(phdr + 8, at)
        .u64(phdr + 16, vaddr)
        .u64(phdr + 24, paddr);
      file
        .u64(phdr + 32, bytes.length)
        .u64(phdr + 40, memsz)
        .u64(phdr + 48, align);
    } else {
      file
        .u32(phdr, type)
        .u32(phdr + 4, at)
        .u32(phdr + 8, vaddr)
        .u32(phdr + 12, paddr);
      file
        .u32(phdr + 16, bytes.length)
        .u32(phdr + 20, memsz)
        .u32(phdr + 24, flags)
        .u32(phdr + 28, align);
    }
    file.set(at, bytes);
    at += bytes.length;
  }
  return file.bytes;
}

/** A multiboot 1 header; `fields` are the address fields header_addr, load_addr, load_end_addr, bss_end_addr, entry. */
export function multibootHeader(flags: number, fields: readonly number[] = []): Uint8Array {
  const header = new Struct(12 + fields.length * 4);
  header
    .u32(0, 0x1badb002)
    .u32(4, flags)
    .u32(8, -(0x1badb002 + flags) >>> 0);
  for (const [index, field] of fields.entries()) {
    header.u32(12 + index * 4, field);
  }
  return header.bytes;
}

/** An ELF note segment's bytes. */
export function elfNote(owner: string, type: number, descriptor: Uint8Array): Uint8Array {
  const name = new TextEncoder().encode(`${owner}\0`);
  const descAt = 12 + Math.ceil(name.length / 4) * 4;
  return new Struct(descAt + Math.ceil(descriptor.length / 4) * 4)
    .u32(0, name.length)
    .u32(4, descriptor.length)
    .u32(8, type)
    .set(12, name)
    .set(descAt, descriptor).bytes;
}

export interface TestBzImage {
  readonly version?: number;
  readonly loadflags?: number;
  readonly xloadflags?: number;
  readonly initrdMax?: number;
  readonly initSize?: number;
  readonly code?: Uint8Array;
}

/** A bzImage of one setup sector beyond the first. */
export function buildBzImage(options: TestBzImage = {}): Uint8Array {
  const { version = 0x20f, loadflags = 1, xloadflags = 1, initrdMax = 0x7fffffff, initSize = 0x1000 } = options;
  const { code = new Uint8Array(0x400).fill(0x90) } = options;
  return new Struct(1024 + code.length)
    .u8(0x1f1, 1)
    .u16(0x1fe, 0xaa55)
    .u8(0x201, 0x268 - 0x202)
    .text(0x202, 'HdrS')
    .u16(0x206, version)
    .u8(0x211, loadflags)
    .u32(0x22c, initrdMax)
    .u16(0x236, xloadflags)
    .u32(0x238, 2047)
    .u64(0x258, 0x1000000)
    .u32(0x260, initSize)
    .set(1024, code).bytes;
}
