/**
 * Functions that printed code calls where JavaScript has no operator: 64-bit shifts and divisions, bit counts, packed
 * bytes of SIMD operations. (Those on lanes are in lanes.ts.)
 */

/** Where bits become floats and back, and where a second result is left (int32 1). */
const scratch = new ArrayBuffer(16);
const si = new Int32Array(scratch);
const sf = new Float32Array(scratch);
const sd = new Float64Array(scratch);
const sb = new Uint8Array(scratch);
/** A vector whose bytes are picked. */
const pickBytes = new Uint8Array(16);
const pickWords = new Int32Array(pickBytes.buffer);
const { imul, clz32: clz, fround, sqrt, floor, ceil, trunc, abs, min, max } = Math;

// --- integers ---------------------------------------------------------------------------------------------------------

function ctz(a: number): number {
  return a === 0 ? 32 : 31 - clz(a & -a);
}

function popcnt(a: number): number {
  a -= (a >>> 1) & 0x55555555;
  a = (a & 0x33333333) + ((a >>> 2) & 0x33333333);
  return imul((a + (a >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** Upper half of the unsigned product. */
function mulhu(a: number, b: number): number {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const low = (imul(a1, b0) + (imul(a0, b0) >>> 16)) | 0;
  const middle = (imul(a0, b1) + (low & 0xffff)) | 0;
  return (imul(a1, b1) + (low >>> 16) + (middle >>> 16)) | 0;
}

/** Halves of 64-bit shifts by a count modulo 64. */
function shll(l: number, n: number): number {
  return n & 32 ? 0 : l << n;
}

function shlh(l: number, h: number, n: number): number {
  return n & 32 ? l << n : (n & 31) === 0 ? h : (h << n) | (l >>> -n);
}

function shrl(l: number, h: number, n: number): number {
  return n & 32 ? (h >>> n) | 0 : (n & 31) === 0 ? l : (l >>> n) | (h << -n);
}

function shrh(h: number, n: number): number {
  return n & 32 ? 0 : (h >>> n) | 0;
}

function sarl(l: number, h: number, n: number): number {
  return n & 32 ? h >> n : (n & 31) === 0 ? l : (l >>> n) | (h << -n);
}

function sarh(h: number, n: number): number {
  return n & 32 ? h >> 31 : h >> n;
}

/** One half of a 64-bit rotation: that of `x`, whose other half is `y`. */
function rotl(x: number, y: number, n: number): number {
  if (n & 32) [x, y] = [y, x];
  return (n & 31) === 0 ? x : (x << n) | (y >>> -n);
}

const TWO32 = 4294967296;
let remainderLow = 0;
let remainderHigh = 0;

/** Unsigned division: quotient's low half, the high one in si[1]; leaves the remainder. */
function divide(al: number, ah: number, bl: number, bh: number): number {
  if (ah >>> 21 === 0 && bh >>> 21 === 0) {
    // Doubles are exact.
    const a = (ah >>> 0) * TWO32 + (al >>> 0);
    const b = (bh >>> 0) * TWO32 + (bl >>> 0);
    const quotient = floor(a / b);
    const remainder = a - quotient * b;
    remainderLow = remainder | 0;
    remainderHigh = (remainder / TWO32) | 0;
    si[1] = (quotient / TWO32) | 0;
    return quotient | 0;
  }
  // Bit by bit: rare.
  let ql = 0;
  let qh = 0;
  let rl = 0;
  let rh = 0;
  for (let i = 0; i < 64; i++) {
    const carry = rh >>> 31;
    rh = (rh << 1) | (rl >>> 31);
    rl = (rl << 1) | (ah >>> 31);
    ah = (ah << 1) | (al >>> 31);
    al <<= 1;
    qh = (qh << 1) | (ql >>> 31);
    ql <<= 1;
    if (carry || rh >>> 0 > bh >>> 0 || (rh === bh && rl >>> 0 >= bl >>> 0)) {
      rh = (rh - bh - (rl >>> 0 < bl >>> 0 ? 1 : 0)) | 0;
      rl = (rl - bl) | 0;
      ql |= 1;
    }
  }
  remainderLow = rl;
  remainderHigh = rh;
  si[1] = qh;
  return ql;
}

function negatedHigh(l: number, h: number): number {
  return (~h + (l === 0 ? 1 : 0)) | 0;
}

function divu(al: number, ah: number, bl: number, bh: number): number {
  return divide(al, ah, bl, bh);
}

function remu(al: number, ah: number, bl: number, bh: number): number {
  divide(al, ah, bl, bh);
  si[1] = remainderHigh;
  return remainderLow;
}

/** Divides the magnitudes. */
function divideSigned(al: number, ah: number, bl: number, bh: number): number {
  const l = ah < 0 ? -al | 0 : al;
  const h = ah < 0 ? negatedHigh(al, ah) : ah;
  return divide(l, h, bh < 0 ? -bl | 0 : bl, bh < 0 ? negatedHigh(bl, bh) : bh);
}

function divs(al: number, ah: number, bl: number, bh: number): number {
  const low = divideSigned(al, ah, bl, bh);
  if ((ah ^ bh) >= 0) return low;
  si[1] = negatedHigh(low, si[1]);
  return -low | 0;
}

function rems(al: number, ah: number, bl: number, bh: number): number {
  divideSigned(al, ah, bl, bh);
  si[1] = ah < 0 ? negatedHigh(remainderLow, remainderHigh) : remainderHigh;
  return ah < 0 ? -remainderLow | 0 : remainderLow;
}

// --- floats -----------------------------------------------------------------------------------------------------------

/** Rounds to the nearest integer, to even when halfway. */
function nearest(x: number): number {
  if (!(abs(x) < 4503599627370496)) return x;
  const rounded = x < 0 ? x - 4503599627370496 + 4503599627370496 : x + 4503599627370496 - 4503599627370496;
  return rounded === 0 && (x < 0 || 1 / x < 0) ? -0 : rounded;
}

function fromI64(l: number, h: number): number {
  return h * TWO32 + (l >>> 0);
}

/** As a single: beyond 53 bits what a double would round off is kept as one sticky bit. */
function singleFromI64(l: number, h: number): number {
  if (h >> 20 !== 0 && h >> 20 !== -1 && l & 0x7ff) l = (l & ~0x7ff) | 0x400;
  return fround(h * TWO32 + (l >>> 0));
}

/** Upper half of an integral double as int64; the lower is `x | 0`. */
function highOf(x: number): number {
  return floor(x / TWO32) | 0;
}

/** Saturates a double that a conversion to int32 truncates; NaN is 0. */
function truncSat(x: number): number {
  return x >= 2147483647 ? 0x7fffffff : x <= -2147483648 ? -0x80000000 : x | 0;
}

// --- vectors ----------------------------------------------------------------------------------------------------------

/** Notes the vector that pick() takes bytes of. */
function picked(a: number, b: number, c: number, d: number): number {
  pickWords[0] = a;
  pickWords[1] = b;
  pickWords[2] = c;
  pickWords[3] = d;
  return 0;
}

/** Four bytes of the noted vector by their numbers; zero for those beyond 15. */
function pick(index: number): number {
  sb[0] = byteAt(index & 0xff);
  sb[1] = byteAt((index >>> 8) & 0xff);
  sb[2] = byteAt((index >>> 16) & 0xff);
  sb[3] = byteAt(index >>> 24);
  return si[0];
}

function byteAt(n: number): number {
  return n < 16 ? pickBytes[n] : 0;
}

/** All that printed code may name. */
export const LIBRARY = {
  si,
  sf,
  sd,
  imul,
  clz,
  fround,
  sqrt,
  floor,
  ceil,
  trunc,
  abs,
  min,
  max,
  ctz,
  popcnt,
  mulhu,
  shll,
  shlh,
  shrl,
  shrh,
  sarl,
  sarh,
  rotl,
  divu,
  divs,
  remu,
  rems,
  nearest,
  fromI64,
  singleFromI64,
  highOf,
  truncSat,
  picked,
  pick,
};

/** The names of {@link LIBRARY}, for the head of generated code. */
export const LIBRARY_NAMES = Object.keys(LIBRARY).join(',');
