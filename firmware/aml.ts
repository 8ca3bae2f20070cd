/**
 * ACPI Machine Language, as much of it as our DSDT needs: terms to bytes (ACPI 6.5 §20.2), resource descriptors
 * (§6.4).
 */

import { concatenate, Struct } from './bytes.ts';

const ZERO_OP = 0x00;
const ONE_OP = 0x01;
const NAME_OP = 0x08;
const BYTE_PREFIX = 0x0a;
const WORD_PREFIX = 0x0b;
const DWORD_PREFIX = 0x0c;
const SCOPE_OP = 0x10;
const BUFFER_OP = 0x11;
const PACKAGE_OP = 0x12;
const EXT_OP_PREFIX = 0x5b;
const DEVICE_OP = 0x82;
const DUAL_NAME_PREFIX = 0x2e;
const ROOT_CHAR = 0x5c;

export type Aml = Uint8Array;

/** @returns a NameString: `\` at the start for the root, segments joined by `.`, at most two of them. */
function nameString(path: string): Aml {
  const root = path.startsWith('\\');
  const segments = path.slice(root ? 1 : 0).split('.');
  const bytes: number[] = root ? [ROOT_CHAR] : [];
  if (segments.length === 2) {
    bytes.push(DUAL_NAME_PREFIX);
  }
  for (const segment of segments) {
    bytes.push(...new TextEncoder().encode(segment.padEnd(4, '_')));
  }
  return Uint8Array.from(bytes);
}

/** Prepends the PkgLength (§20.2.4), which counts itself. */
function withLength(body: Aml): Aml {
  let length = body.length + 1;
  if (length < 0x40) {
    return concatenate([Uint8Array.of(length), body]);
  }
  length = body.length + 2;
  if (length < 0x1000) {
    return concatenate([Uint8Array.of(0x40 | (length & 0xf), length >> 4), body]);
  }
  length = body.length + 3;
  return concatenate([Uint8Array.of(0x80 | (length & 0xf), (length >> 4) & 0xff, length >> 12), body]);
}

export function integer(value: number): Aml {
  if (value === 0) {
    return Uint8Array.of(ZERO_OP);
  }
  if (value === 1) {
    return Uint8Array.of(ONE_OP);
  }
  if (value <= 0xff) {
    return Uint8Array.of(BYTE_PREFIX, value);
  }
  if (value <= 0xffff) {
    return Uint8Array.of(WORD_PREFIX, value & 0xff, value >> 8);
  }
  return new Struct(5).u8(0, DWORD_PREFIX).u32(1, value).bytes;
}

/** @returns the compressed EISA id (§19.3.4) of e.g. `PNP0A03`, as an integer term. */
export function eisaId(id: string): Aml {
  const letter = (index: number) => id.charCodeAt(index) - 0x40;
  const product = Number.parseInt(id.slice(3), 16);
  const vendor = (letter(0) << 10) | (letter(1) << 5) | letter(2);
  return new Struct(5)
    .u8(0, DWORD_PREFIX)
    .u8(1, vendor >> 8)
    .u8(2, vendor & 0xff)
    .u8(3, product >> 8)
    .u8(4, product & 0xff).bytes;
}

export function name(path: string, value: Aml): Aml {
  return concatenate([Uint8Array.of(NAME_OP), nameString(path), value]);
}

export function pack(elements: readonly Aml[]): Aml {
  return concatenate([
    Uint8Array.of(PACKAGE_OP),
    withLength(concatenate([Uint8Array.of(elements.length), ...elements])),
  ]);
}

export function scope(path: string, terms: readonly Aml[]): Aml {
  return concatenate([Uint8Array.of(SCOPE_OP), withLength(concatenate([nameString(path), ...terms]))]);
}

export function device(path: string, terms: readonly Aml[]): Aml {
  return concatenate([Uint8Array.of(EXT_OP_PREFIX, DEVICE_OP), withLength(concatenate([nameString(path), ...terms]))]);
}

/** @returns a ResourceTemplate: the descriptors in a buffer, closed by an end tag without checksum. */
export function resources(descriptors: readonly Uint8Array[]): Aml {
  const bytes = concatenate([...descriptors, Uint8Array.of(0x79, 0)]);
  return concatenate([Uint8Array.of(BUFFER_OP), withLength(concatenate([integer(bytes.length), bytes]))]);
}

/** I/O port descriptor (§6.4.2.5), 16-bit decode, fixed. */
export function ioPorts(base: number, length: number): Uint8Array {
  return new Struct(8).u8(0, 0x47).u8(1, 1).u16(2, base).u16(4, base).u8(6, 1).u8(7, length).bytes;
}

/** IRQ descriptor without flags (§6.4.2.1): edge, active high. */
export function irq(number: number): Uint8Array {
  return new Struct(3).u8(0, 0x22).u16(1, 1 << number).bytes;
}

/** Word address space (§6.4.3.5.3), bus numbers. */
export function busNumbers(first: number, last: number): Uint8Array {
  return wordSpace(2, 0, first, last);
}

/** Word address space, a window of I/O ports that the bridge passes on. */
export function ioWindow(first: number, last: number): Uint8Array {
  return wordSpace(1, 3, first, last);
}

const PRODUCER_FIXED_POSITIVE = 0x0c;

function wordSpace(type: number, typeFlags: number, first: number, last: number): Uint8Array {
  return new Struct(16)
    .u8(0, 0x88)
    .u16(1, 13)
    .u8(3, type)
    .u8(4, PRODUCER_FIXED_POSITIVE)
    .u8(5, typeFlags)
    .u16(8, first)
    .u16(10, last)
    .u16(14, last - first + 1).bytes;
}

/** Double-word address space (§6.4.3.5.2), a window of memory that the bridge passes on, read/write. */
export function memoryWindow(first: number, last: number): Uint8Array {
  return new Struct(26)
    .u8(0, 0x87)
    .u16(1, 23)
    .u8(3, 0)
    .u8(4, PRODUCER_FIXED_POSITIVE)
    .u8(5, 1)
    .u32(10, first)
    .u32(14, last)
    .u32(22, last - first + 1).bytes;
}
