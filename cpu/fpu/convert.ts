/**
 * Comparison, and conversion between floating point and integers (binary and packed BCD) and to integral values
 * (SDM vol. 1, 4.8.4.2 and the instruction pages of FCOM, FIST, FBSTP, CVTSD2SI, ROUNDSD).
 * Integer results stand in the module's `integer`, two words that the caller reads at once.
 */
import {
  copy,
  FINITE,
  fp,
  IE,
  INFINITE,
  isSignaling,
  NAN,
  normalize,
  noteDenormals,
  PE,
  propagateNan,
  setZero,
  Unpacked,
  ZERO,
} from './float.ts';
import { roundToInteger } from './round.ts';
import { unpackInt64 } from './unpack.ts';

export const LESS = 0;
export const EQUAL = 1;
export const GREATER = 2;
export const UNORDERED = 3;
/** CF, PF and ZF by relation, for COMISx, UCOMISx, FCOMI and FUCOMI. */
export const COMPARE_EFLAGS = Uint8Array.of(0x01, 0x40, 0x00, 0x45);

/**
 * @param quiet whether a quiet NaN is no invalid operation (FUCOM, UCOMISD, CMPEQPD, …); a signaling one always is.
 * @returns `LESS`, `EQUAL`, `GREATER` or `UNORDERED`.
 */
export function compare(a: Unpacked, b: Unpacked, quiet: boolean): number {
  if (a.kind >= NAN || b.kind >= NAN) {
    if (!quiet || a.kind > NAN || b.kind > NAN || isSignaling(a) || isSignaling(b)) fp.flags |= IE;
    return UNORDERED;
  }
  noteDenormals(a, b);
  if (a.kind === ZERO && b.kind === ZERO) return EQUAL;
  if (a.kind === ZERO) return b.sign ? GREATER : LESS;
  if (b.kind === ZERO || a.sign !== b.sign) return a.sign ? LESS : GREATER;
  const magnitude = compareMagnitude(a, b);
  return a.sign ? GREATER - magnitude : magnitude;
}

/** Neither is zero or NaN. */
function compareMagnitude(a: Unpacked, b: Unpacked): number {
  if (a.kind !== b.kind) return a.kind === INFINITE ? GREATER : LESS;
  if (a.kind === INFINITE) return EQUAL;
  if (a.exp !== b.exp) return a.exp < b.exp ? LESS : GREATER;
  if (a.hi !== b.hi) return a.hi >>> 0 < b.hi >>> 0 ? LESS : GREATER;
  if (a.lo !== b.lo) return a.lo >>> 0 < b.lo >>> 0 ? LESS : GREATER;
  return EQUAL;
}

/** Where `toInteger` leaves its result. */
export const integer = { lo: 0, hi: 0 };

const work = new Unpacked();

/**
 * Converts to a signed integer of `width` bits (16, 32 or 64) into `integer`, sign-extended, rounding by `rc`. What does
 * not fit (NaN included) gives IE alone and the integer indefinite, -2^(width-1).
 */
export function toInteger(a: Unpacked, width: number, rc: number): void {
  fp.roundedUp = 0;
  integer.lo = integer.hi = 0;
  if (a.kind === ZERO) return;
  copy(work, a);
  const finite = a.kind === FINITE && a.exp <= 63;
  const inexact = finite && roundToInteger(work, rc);
  if (!finite || !fitsSigned(work, width)) {
    fp.flags |= IE;
    fp.roundedUp = 0;
    integer.lo = width === 64 ? 0 : -1 << (width - 1);
    integer.hi = width === 64 ? 0x80000000 | 0 : -1;
    return;
  }
  if (inexact) fp.flags |= PE;
  integer.lo = work.sign ? -work.lo | 0 : work.lo;
  integer.hi = work.sign ? (~work.hi + (work.lo === 0 ? 1 : 0)) | 0 : work.hi;
}

/** Does the plain magnitude `hi:lo` fit a signed integer? The most negative one is one further from zero. */
function fitsSigned(z: Unpacked, width: number): boolean {
  if (width === 64) return z.hi >= 0 || (z.sign !== 0 && z.hi === (0x80000000 | 0) && z.lo === 0);
  const limit = ((1 << (width - 1)) - 1 + z.sign) >>> 0;
  return z.hi === 0 && z.lo >>> 0 <= limit;
}

/** z = a rounded to an integral value by `rc`; PE if that is another value (the caller may drop it). */
export function roundToIntegral(z: Unpacked, a: Unpacked, rc: number): Unpacked {
  fp.roundedUp = 0;
  if (a.kind >= NAN) return propagateNan(z, a, a);
  noteDenormals(a, a);
  copy(z, a);
  if (a.kind !== FINITE || a.exp >= 63) return z;
  z.denormal = 0;
  if (roundToInteger(z, rc)) fp.flags |= PE;
  if ((z.hi | z.lo) === 0) setZero(z, a.sign);
  else normalize(z);
  return z;
}

/** Bytes of a packed BCD operand: 18 digits, then the sign byte. */
const BCD_DIGIT_BYTES = 9;
/** 10^18, the first integer too long for 18 digits. */
const BCD_LIMIT_HI = 0x0de0b6b3;
const BCD_LIMIT_LO = 0xa7640000;

/** z = the packed BCD integer of 10 bytes at `bytes[at]`. Nibbles above 9 count as their value, as on hardware. */
export function unpackBcd(z: Unpacked, bytes: Uint8Array, at: number): void {
  let lo = 0;
  let hi = 0;
  for (let i = BCD_DIGIT_BYTES - 1; i >= 0; i--) {
    const pair = (bytes[at + i] >>> 4) * 10 + (bytes[at + i] & 15);
    const next = lo * 100 + pair;
    lo = next >>> 0;
    hi = (Math.imul(hi, 100) + Math.floor(next / 0x100000000)) | 0;
  }
  unpackInt64(z, lo, hi);
  z.sign = bytes[at + BCD_DIGIT_BYTES] >>> 7;
}

/** Stores `a` rounded to 18 BCD digits at `bytes[at]`; what does not fit gives IE and the BCD indefinite. */
export function packBcd(a: Unpacked, bytes: Uint8Array, at: number): void {
  toInteger(a, 64, fp.rc);
  let lo = integer.lo >>> 0;
  let hi = integer.hi;
  if (hi < 0) {
    lo = -lo >>> 0;
    hi = (~hi + (lo === 0 ? 1 : 0)) | 0;
  }
  const tooLong = hi < 0 || hi > BCD_LIMIT_HI || (hi === BCD_LIMIT_HI && lo >= BCD_LIMIT_LO);
  if (fp.flags & IE || tooLong) {
    // Too long for BCD is invalid, and then nothing was rounded.
    fp.flags = (fp.flags & ~PE) | IE;
    fp.roundedUp = 0;
    bytes.fill(0, at, at + 7);
    bytes[at + 7] = 0xc0;
    bytes[at + 8] = bytes[at + 9] = 0xff;
    return;
  }
  for (let i = 0; i < BCD_DIGIT_BYTES; i++) {
    const hiQuotient = Math.floor(hi / 100);
    const rest = (hi - hiQuotient * 100) * 0x100000000 + lo;
    hi = hiQuotient;
    lo = Math.floor(rest / 100);
    const pair = rest - lo * 100;
    bytes[at + i] = (Math.floor(pair / 10) << 4) | (pair % 10);
  }
  bytes[at + BCD_DIGIT_BYTES] = a.sign << 7;
}
