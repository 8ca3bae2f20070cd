/** Reads WebAssembly code (core specification §5): the LEB128 numbers and immediates of a function's body. */
import * as wasm from '../wasm/encoder.ts';

/** Is this SIMD instruction (sub-opcode) an access to one lane, which its immediate numbers? */
export function isLaneAccess(sub: number): boolean {
  return sub >= 0x15 && sub <= 0x22;
}

const I8X16_SHUFFLE = 0x0d;

export class CodeReader {
  private readonly bytes: Uint8Array;
  private at = 0;
  /** Upper half of the last s64. */
  high = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** Bytes read so far. */
  get position(): number {
    return this.at;
  }

  byte(): number {
    return this.bytes[this.at++];
  }

  u32(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  }

  s32(): number {
    let value = 0;
    for (let shift = 0; ; ) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      shift += 7;
      if (byte < 0x80) return byte & 0x40 && shift < 32 ? value | (-1 << shift) : value;
    }
  }

  /** @returns the lower half; {@link high} has the upper. */
  s64(): number {
    let low = 0;
    this.high = 0;
    for (let shift = 0; ; ) {
      const byte = this.byte();
      const bits = byte & 0x7f;
      if (shift < 32) low |= bits << shift;
      if (shift > 25) this.high |= shift < 32 ? bits >>> (32 - shift) : bits << (shift - 32);
      shift += 7;
      if (byte >= 0x80) continue;
      if (byte & 0x40 && shift < 64) {
        if (shift < 32) low |= -1 << shift;
        this.high |= shift <= 32 ? -1 : -1 << (shift - 32);
      }
      return low;
    }
  }

  /** Passes over the immediates of an instruction. */
  skipImmediates(opcode: number): void {
    switch (opcode) {
      case wasm.BLOCK:
      case wasm.LOOP:
      case wasm.IF:
        this.byte();
        return;
      case wasm.BR:
      case wasm.BR_IF:
      case wasm.CALL:
      case wasm.RETURN_CALL:
      case wasm.LOCAL_GET:
      case wasm.LOCAL_SET:
      case wasm.LOCAL_TEE:
        this.u32();
        return;
      case wasm.BR_TABLE:
        for (let targets = this.u32() + 1; targets > 0; targets--) this.u32();
        return;
      case wasm.CALL_INDIRECT:
      case wasm.RETURN_CALL_INDIRECT:
        this.u32();
        this.u32();
        return;
      case wasm.I32_CONST:
      case wasm.I64_CONST:
        this.s64();
        return;
      case wasm.BULK_PREFIX:
        this.raw(this.u32() === wasm.MEMORY_COPY ? 2 : 1);
        return;
      case wasm.VECTOR_PREFIX: {
        const sub = this.u32();
        if (sub <= wasm.V128_STORE) {
          this.u32();
          this.u32();
        } else if (sub === wasm.V128_CONST || sub === I8X16_SHUFFLE) this.raw(16);
        else if (isLaneAccess(sub)) this.byte();
        return;
      }
    }
    if (opcode >= wasm.I32_LOAD && opcode <= wasm.I64_STORE32) {
      this.u32();
      this.u32();
    }
  }

  raw(length: number): Uint8Array {
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
}
