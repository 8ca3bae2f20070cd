/** Writes WebAssembly binary code (core specification §5) into one growing buffer. */

/** Value types (§5.3.1), indexed by the IR's T_*. */
export const VALUE_TYPE = [0x40, 0x7f, 0x7e, 0x7d, 0x7c, 0x7b];

export const UNREACHABLE = 0x00;
export const BLOCK = 0x02;
export const LOOP = 0x03;
export const IF = 0x04;
export const ELSE = 0x05;
export const END = 0x0b;
export const BR = 0x0c;
export const BR_IF = 0x0d;
export const BR_TABLE = 0x0e;
export const RETURN = 0x0f;
export const CALL = 0x10;
export const CALL_INDIRECT = 0x11;
export const RETURN_CALL = 0x12;
export const RETURN_CALL_INDIRECT = 0x13;
export const DROP = 0x1a;
export const SELECT_OP = 0x1b;
export const LOCAL_GET = 0x20;
export const LOCAL_SET = 0x21;
export const LOCAL_TEE = 0x22;
export const I32_LOAD = 0x28;
export const I64_LOAD = 0x29;
export const I32_LOAD8_U = 0x2d;
export const I32_LOAD16_U = 0x2f;
export const I64_LOAD32_U = 0x35;
export const I32_STORE = 0x36;
export const I64_STORE = 0x37;
export const I32_STORE8 = 0x3a;
export const I32_STORE16 = 0x3b;
export const I64_STORE32 = 0x3e;
export const I32_CONST = 0x41;
export const I64_CONST = 0x42;
/** Precedes the sub-opcodes of memory.copy and memory.fill. */
export const BULK_PREFIX = 0xfc;
export const MEMORY_COPY = 10;
export const MEMORY_FILL = 11;
/** Precedes the sub-opcode of a SIMD instruction. */
export const VECTOR_PREFIX = 0xfd;
/** SIMD sub-opcodes of v128.load, v128.store, v128.const. */
export const V128_LOAD = 0x00;
export const V128_STORE = 0x0b;
export const V128_CONST = 0x0c;
export const VOID = 0x40;
/** Limits of a shared memory (threads proposal §5.3.8). */
const LIMITS_SHARED = 3;

/** Bytes of a constant of i32ConstToFill. */
const FILLED_SIZE = 4;

/** Writes such a constant: signed LEB128 in all of the bytes that it has. @param value from 0 to 2^27 */
export function fillIn(bytes: Uint8Array, at: number, value: number): void {
  for (let i = 0; i < FILLED_SIZE - 1; i++) bytes[at + i] = ((value >>> (7 * i)) & 0x7f) | 0x80;
  bytes[at + FILLED_SIZE - 1] = value >>> (7 * (FILLED_SIZE - 1));
}

export class Encoder {
  bytes = new Uint8Array(1024);
  length = 0;

  reset(): void {
    this.length = 0;
  }

  /** The bytes written so far (a view). */
  written(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }

  byte(value: number): void {
    if (this.length + 16 > this.bytes.length) this.grow(16);
    this.bytes[this.length++] = value;
  }

  raw(source: Uint8Array): void {
    if (this.length + source.length + 16 > this.bytes.length) this.grow(source.length);
    this.bytes.set(source, this.length);
    this.length += source.length;
  }

  /** Unsigned LEB128 of a value below 2^32. */
  u32(value: number): void {
    value >>>= 0;
    while (value >= 0x80) {
      this.byte((value & 0x7f) | 0x80);
      value >>>= 7;
    }
    this.byte(value);
  }

  /** Signed LEB128 of an int32. */
  s32(value: number): void {
    for (;;) {
      const low = value & 0x7f;
      value >>= 7;
      if ((value === 0 && !(low & 0x40)) || (value === -1 && low & 0x40)) {
        this.byte(low);
        return;
      }
      this.byte(low | 0x80);
    }
  }

  /** Signed LEB128 of an int64 given as two int32. */
  s64(low: number, high: number): void {
    for (;;) {
      const bits = low & 0x7f;
      low = (low >>> 7) | (high << 25);
      high >>= 7;
      if ((low === 0 && high === 0 && !(bits & 0x40)) || (low === -1 && high === -1 && bits & 0x40)) {
        this.byte(bits);
        return;
      }
      this.byte(bits | 0x80);
    }
  }

  /** A name or a byte vector: length, then bytes. */
  vector(source: Uint8Array): void {
    this.u32(source.length);
    this.raw(source);
  }

  name(text: string): void {
    this.vector(new TextEncoder().encode(text));
  }

  i32Const(value: number): void {
    this.byte(I32_CONST);
    this.s32(value);
  }

  /** An i32.const that takes as much room whatever its value is (from 0 to 2^27), to be filled in anew. @returns where that is */
  i32ConstToFill(value: number): number {
    this.byte(I32_CONST);
    const at = this.length;
    for (let i = 0; i < FILLED_SIZE; i++) this.byte(0);
    fillIn(this.bytes, at, value);
    return at;
  }

  i64Const(low: number, high: number): void {
    this.byte(I64_CONST);
    this.s64(low, high);
  }

  localGet(index: number): void {
    this.byte(LOCAL_GET);
    this.u32(index);
  }

  localSet(index: number): void {
    this.byte(LOCAL_SET);
    this.u32(index);
  }

  localTee(index: number): void {
    this.byte(LOCAL_TEE);
    this.u32(index);
  }

  branch(opcode: number, depth: number): void {
    this.byte(opcode);
    this.u32(depth);
  }

  call(index: number): void {
    this.byte(CALL);
    this.u32(index);
  }

  /** A load or store: opcode, no alignment promised, constant offset. */
  memory(opcode: number, offset: number): void {
    this.byte(opcode);
    this.byte(0);
    this.u32(offset);
  }

  /** A SIMD memory instruction. */
  memoryV128(sub: number, offset: number): void {
    this.byte(0xfd);
    this.u32(sub);
    this.byte(0);
    this.u32(offset);
  }

  /** Loads the `size`-byte state field at a constant offset: i32 up to 4 bytes, i64, v128. */
  loadField(offset: number, size: number): void {
    this.i32Const(0);
    this.loadSized(offset, size);
  }

  /** Loads `size` bytes at the address on the stack plus `offset`. */
  loadSized(offset: number, size: number): void {
    if (size === 16) this.memoryV128(V128_LOAD, offset);
    else this.memory(LOAD_OP[size], offset);
  }

  /** Stores the value on the stack (under it the address). */
  storeSized(offset: number, size: number): void {
    if (size === 16) this.memoryV128(V128_STORE, offset);
    else this.memory(STORE_OP[size], offset);
  }

  /** memory.copy: destination, source and length are on the stack. */
  memoryCopy(): void {
    this.byte(BULK_PREFIX);
    this.u32(MEMORY_COPY);
    this.byte(0);
    this.byte(0);
  }

  /** memory.fill: destination, byte and length are on the stack. */
  memoryFill(): void {
    this.byte(BULK_PREFIX);
    this.u32(MEMORY_FILL);
    this.byte(0);
  }

  private grow(more: number): void {
    const bigger = new Uint8Array(Math.max(this.bytes.length * 2, this.length + more + 16));
    bigger.set(this.bytes);
    this.bytes = bigger;
  }
}

const LOAD_OP = [0, I32_LOAD8_U, I32_LOAD16_U, 0, I32_LOAD, 0, 0, 0, I64_LOAD];
const STORE_OP = [0, I32_STORE8, I32_STORE16, 0, I32_STORE, 0, 0, 0, I64_STORE];

/** A function type: parameter and result value types as bytes. */
export interface FunctionType {
  parameters: number[];
  results: number[];
}

/** What a module needs besides its code. */
export interface ModuleParts {
  types: FunctionType[];
  /** Imported functions, in index order: module "e", the name, type index. */
  functionImports: { name: string; type: number }[];
  /** Pages of the imported memory "e"."m", which is shared. */
  memory: { initial: number; maximum: number };
  /** Size of the module's table of functions. */
  ownTable?: number;
  /** What the module's own table starts with: the functions (by index) from 0 on, or index and function for each. */
  elements?: number[];
  links?: readonly number[];
  /** Number of i32 variables, zero at first. */
  globals?: number;
  /** What the memory starts with. */
  data?: { offset: number; bytes: Uint8Array }[];
  /** Functions: type index and body (locals declaration and code, without the size). */
  functions: { type: number; body: Uint8Array; exportAs?: string; hints?: ArrayLike<number> }[];
}

/** Assembles a module. @returns the module's bytes (a fresh array). */
export function assembleModule(parts: ModuleParts): Uint8Array {
  const out = new Encoder();
  const section = new Encoder();
  const finish = (id: number) => {
    out.byte(id);
    out.vector(section.written());
    section.reset();
  };
  out.raw(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));

  section.u32(parts.types.length);
  for (const type of parts.types) {
    section.byte(0x60);
    section.vector(Uint8Array.from(type.parameters));
    section.vector(Uint8Array.from(type.results));
  }
  finish(1);

  section.u32(parts.functionImports.length + 1);
  for (const { name, type } of parts.functionImports) {
    section.name('e');
    section.name(name);
    section.byte(0);
    section.u32(type);
  }
  section.name('e');
  section.name('m');
  section.byte(2);
  section.byte(LIMITS_SHARED);
  section.u32(parts.memory.initial);
  section.u32(parts.memory.maximum);
  finish(2);

  section.u32(parts.functions.length);
  for (const { type } of parts.functions) section.u32(type);
  finish(3);

  if (parts.ownTable !== undefined) {
    section.u32(1);
    section.byte(0x70);
    section.byte(0);
    section.u32(parts.ownTable);
    finish(4);
  }

  if (parts.globals !== undefined) {
    section.u32(parts.globals);
    for (let n = 0; n < parts.globals; n++) {
      section.byte(VALUE_TYPE[1]);
      section.byte(1); // variable
      section.i32Const(0);
      section.byte(END);
    }
    finish(6);
  }

  const exported = parts.functions
    .map((f, i) => ({ name: f.exportAs, index: i + parts.functionImports.length }))
    .filter((f) => f.name !== undefined);
  section.u32(exported.length + (parts.ownTable === undefined ? 0 : 1));
  for (const { name, index } of exported) {
    section.name(name!);
    section.byte(0);
    section.u32(index);
  }
  if (parts.ownTable !== undefined) {
    section.name('table');
    section.byte(1);
    section.u32(0);
  }
  finish(7);

  if (parts.elements !== undefined) {
    section.u32(1);
    section.u32(0);
    section.i32Const(0);
    section.byte(END);
    section.u32(parts.elements.length);
    for (const index of parts.elements) section.u32(index);
    finish(9);
  } else if (parts.links !== undefined && parts.links.length > 0) {
    const { links } = parts;
    section.u32(links.length / 2);
    for (let i = 0; i < links.length; i += 2) {
      section.u32(0);
      section.i32Const(links[i]);
      section.byte(END);
      section.u32(1);
      section.u32(links[i + 1]);
    }
    finish(9);
  }

  if (parts.functions.some(({ hints }) => hints !== undefined)) {
    branchHints(section, parts);
    finish(0);
  }

  section.u32(parts.functions.length);
  for (const { body } of parts.functions) section.vector(body);
  finish(10);

  if (parts.data !== undefined) {
    section.u32(parts.data.length);
    for (const { offset, bytes } of parts.data) {
      section.u32(0);
      section.i32Const(offset);
      section.byte(END);
      section.vector(bytes);
    }
    finish(11);
  }
  return out.bytes.slice(0, out.length);
}

/** The custom section of branch hints (WebAssembly branch hinting proposal): engines that do not know it skip it. */
function branchHints(section: Encoder, parts: ModuleParts): void {
  section.name('metadata.code.branch_hint');
  section.u32(parts.functions.length);
  for (const [i, { hints = [] }] of parts.functions.entries()) {
    section.u32(i + parts.functionImports.length);
    section.u32(hints.length / 2);
    for (let at = 0; at < hints.length; at += 2) {
      section.u32(hints[at]);
      section.u32(1);
      section.byte(hints[at + 1]);
    }
  }
}
