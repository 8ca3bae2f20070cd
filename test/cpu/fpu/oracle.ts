/**
 * Runs instructions on the host CPU (native/oracle.c, built into build/ on first use) and makes operands worth running:
 * random ones, and the edges where floating-point implementations go wrong. Needs an x86-64 host with a C compiler.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const source = join(import.meta.dirname, 'native/oracle.c');
const binary = fileURLToPath(new URL('../../../build/fpu-oracle', import.meta.url));

/** Can this machine be asked? The tests that need it say so when they are skipped. */
export const ORACLE_AVAILABLE = process.arch === 'x64' && process.platform === 'linux';

function build(): void {
  if (existsSync(binary) && statSync(binary).mtimeMs > statSync(source).mtimeMs) return;
  mkdirSync(dirname(binary), { recursive: true });
  // Test files run side by side: each builds its own and puts it in place whole.
  const own = `${binary}.${process.pid}`;
  execFileSync('cc', ['-O1', '-Wall', '-Wextra', '-o', own, source], { stdio: 'inherit' });
  renameSync(own, binary);
}

/** Bytes of memory operand in a record: room for an FXSAVE image, which FXSAVE wants 16-aligned, as it is. */
export const MEMORY = 512;
const X87_RECORD = 32 + 112 + MEMORY;
const SSE_RECORD = 48 + 32 + MEMORY;

/** A batch of records for one run of the oracle; `bytes` are the inputs, `run` gives the outputs in the same layout. */
class Batch {
  readonly kind: 'x87' | 'sse';
  readonly stride: number;
  readonly count: number;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;

  constructor(kind: 'x87' | 'sse', count: number, bytes?: Uint8Array) {
    this.kind = kind;
    this.stride = kind === 'x87' ? X87_RECORD : SSE_RECORD;
    this.count = count;
    this.bytes = bytes ?? new Uint8Array(count * this.stride);
    this.words = new Int32Array(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length / 4);
  }

  /** Word index of a byte offset within a record. */
  word(index: number, offset: number): number {
    return (index * this.stride + offset) / 4;
  }

  setCode(index: number, code: readonly number[]): void {
    this.bytes[index * this.stride] = code.length;
    this.bytes.set(code, index * this.stride + 1);
  }

  run(): Batch {
    build();
    const { status, stdout, error } = spawnSync(binary, [this.kind], { input: this.bytes, maxBuffer: 1 << 30 });
    if (error || status !== 0) throw new Error(`oracle failed: ${error ?? status}`);
    const aligned = new Uint8Array(stdout.length);
    aligned.set(stdout);
    if (aligned.length !== this.bytes.length) throw new Error('oracle stopped early');
    return new Batch(this.kind, this.count, aligned);
  }
}

export const batch = (kind: 'x87' | 'sse', count: number): Batch => new Batch(kind, count);
export type { Batch };

/** Offsets of fields in a record, as in native/oracle.c. */
export const RAX = 16;
export const EFLAGS = 24;
export const X87_IMAGE = 32;
export const X87_MEMORY = 144;
export const MXCSR = 32;
export const FAULTED = 36;
export const XMM0 = 48;
export const XMM1 = 64;

/** A reproducible source of random words (xorshift128). */
export class Random {
  #state: Int32Array;

  constructor(seed: number) {
    this.#state = Int32Array.of(seed, 0x9e3779b9, 0x243f6a88, 0xb7e15162);
    for (let i = 0; i < 20; i++) this.word();
  }

  /** A random int32. */
  word(): number {
    const s = this.#state;
    let t = s[3];
    s[3] = s[2];
    s[2] = s[1];
    s[1] = s[0];
    t ^= t << 11;
    t ^= t >>> 8;
    return (s[0] = t ^ s[0] ^ (s[0] >>> 19));
  }

  below(limit: number): number {
    return Math.floor(((this.word() >>> 0) / 0x100000000) * limit);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }

  chance(probability: number): boolean {
    return this.below(1 << 20) < probability * (1 << 20);
  }
}

/** A significand of `bits` bits (≤ 64, top bit included but not forced) as a BigInt: random, sparse, or a run of ones. */
function significand(random: Random, bits: number): bigint {
  const raw = (BigInt(random.word() >>> 0) << 32n) | BigInt(random.word() >>> 0);
  const all = (1n << BigInt(bits)) - 1n;
  switch (random.below(6)) {
    case 0: // few bits
      return ((1n << BigInt(random.below(bits))) | (1n << BigInt(random.below(bits)))) & all;
    case 1: // all ones but a few
      return all ^ (1n << BigInt(random.below(bits)));
    case 2: // a short number on the left
      return raw & all & ~(all >> BigInt(random.below(bits)));
    case 3: // ones, then zeros; or its complement
      return random.chance(0.5) ? all >> BigInt(random.below(bits)) : all & ~(all >> BigInt(random.below(bits)));
    default:
      return raw & all;
  }
}

/** Bits of an interesting number with `exponentBits`, and `fraction` bits below the (implicit) integer bit. */
function interesting(random: Random, exponentBits: number, fraction: number): bigint {
  const sign = BigInt(random.below(2));
  const special = (1 << exponentBits) - 1;
  const bias = special >> 1;
  let exponent: number;
  switch (random.below(12)) {
    case 0:
      exponent = 0;
      break;
    case 1:
      exponent = special;
      break;
    case 2:
      exponent = 1 + random.below(fraction + 4);
      break;
    case 3:
      exponent = special - 1 - random.below(3);
      break;
    case 4:
      exponent = (bias >> 1) + random.below(5) - 2 + (random.chance(0.5) ? bias : 0);
      break;
    case 5:
      exponent = random.below(special);
      break;
    default:
      exponent = bias + random.below(140) - 70;
  }
  exponent = Math.max(0, Math.min(special, exponent));
  const rest = random.chance(0.12) ? 0n : significand(random, fraction);
  return (((sign << BigInt(exponentBits)) | BigInt(exponent)) << BigInt(fraction)) | rest;
}

export function single(random: Random): number {
  return Number(interesting(random, 8, 23)) | 0;
}

/** Fills two words with an interesting binary64. */
export function double(random: Random, words: Int32Array, at: number): void {
  const bits = interesting(random, 11, 52);
  words[at] = Number(bits & 0xffffffffn) | 0;
  words[at + 1] = Number(bits >> 32n) | 0;
}

/** Fills ten bytes with an interesting 80-bit value; now and then the integer bit is not what it should be. */
export function extended(random: Random, bytes: Uint8Array, at: number): void {
  const bits = interesting(random, 15, 63);
  const signExp = bits >> 63n;
  let integerBit = (signExp & 0x7fffn) === 0n ? 0n : 1n;
  if (random.chance(0.03)) integerBit ^= 1n;
  let value = (signExp << 64n) | (integerBit << 63n) | (bits & 0x7fffffffffffffffn);
  for (let i = 0; i < 10; i++, value >>= 8n) bytes[at + i] = Number(value & 0xffn);
}

export function hex(bytes: Uint8Array, at: number, count: number): string {
  let text = '';
  for (let i = at + count - 1; i >= at; i--) text += bytes[i].toString(16).padStart(2, '0');
  return text;
}
