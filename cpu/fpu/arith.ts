/**
 * Addition, subtraction and multiplication of unpacked numbers, exact but for the jammed last bit of `ext`; round.ts
 * makes a result of them. Special operands as IEEE 754-2019, 6 and 7.2.
 */
import {
  copy,
  FINITE,
  fp,
  INFINITE,
  invalid,
  NAN,
  normalize,
  noteDenormals,
  propagateNan,
  RC_DOWN,
  setInfinity,
  setZero,
  shiftRightJam,
  Unpacked,
  ZERO,
} from './float.ts';

/** z = a + b. `z` may be an operand. */
export function add(z: Unpacked, a: Unpacked, b: Unpacked): Unpacked {
  return addSigned(z, a, b, b.sign);
}

/** z = a − b. `z` may be an operand. */
export function sub(z: Unpacked, a: Unpacked, b: Unpacked): Unpacked {
  return addSigned(z, a, b, b.sign ^ 1);
}

const small = new Unpacked();

/** z = a + b, taking `bSign` for the sign of `b` (a NaN keeps its own). */
function addSigned(z: Unpacked, a: Unpacked, b: Unpacked, bSign: number): Unpacked {
  if (a.kind >= NAN || b.kind >= NAN) return propagateNan(z, a, b);
  noteDenormals(a, b);
  if (a.kind === INFINITE || b.kind === INFINITE) {
    if (a.kind !== b.kind) return setInfinity(z, a.kind === INFINITE ? a.sign : bSign);
    return a.sign === bSign ? setInfinity(z, bSign) : invalid(z);
  }
  if (b.kind === ZERO) {
    if (a.kind === ZERO) setZero(z, a.sign === bSign ? bSign : zeroSign());
    else copy(z, a);
    return z;
  }
  if (a.kind === ZERO) {
    copy(z, b);
    z.sign = bSign;
    return z;
  }
  const subtract = a.sign !== bSign;
  const aSmaller = a.exp !== b.exp ? a.exp < b.exp : a.hi === b.hi ? a.lo >>> 0 < b.lo >>> 0 : a.hi >>> 0 < b.hi >>> 0;
  const sign = aSmaller ? bSign : a.sign;
  copy(small, aSmaller ? a : b);
  copy(z, aSmaller ? b : a);
  z.sign = sign;
  z.denormal = 0;
  shiftRightJam(small, z.exp - small.exp);
  if (subtract) subtractMagnitude(z);
  else addMagnitude(z);
  return z;
}

/** z += small, both aligned to z's exponent; z.ext is 0. */
function addMagnitude(z: Unpacked): void {
  z.ext = small.ext;
  const lo = (z.lo >>> 0) + (small.lo >>> 0);
  const hi = (z.hi >>> 0) + (small.hi >>> 0) + (lo > 0xffffffff ? 1 : 0);
  z.lo = lo | 0;
  z.hi = hi | 0;
  if (hi > 0xffffffff) {
    shiftRightJam(z, 1);
    z.hi |= 0x80000000;
    z.exp++;
  }
}

/** z −= small ≤ z. */
function subtractMagnitude(z: Unpacked): void {
  z.ext = -small.ext | 0;
  const lo = (z.lo >>> 0) - (small.lo >>> 0) - (small.ext !== 0 ? 1 : 0);
  z.hi = (z.hi - small.hi - (lo < 0 ? 1 : 0)) | 0;
  z.lo = lo | 0;
  if ((z.hi | z.lo | z.ext) === 0) setZero(z, zeroSign());
  else normalize(z);
}

/** The sign of an exact zero difference: + except when rounding down. */
function zeroSign(): number {
  return fp.rc === RC_DOWN ? 1 : 0;
}

/** @returns the upper 32 bits of the 64-bit product of two unsigned words. */
function mulHigh(a: number, b: number): number {
  const aLo = a & 0xffff;
  const aHi = a >>> 16;
  const bLo = b & 0xffff;
  const bHi = b >>> 16;
  const mid = aHi * bLo + (Math.imul(aLo, bLo) >>> 16);
  const mid2 = aLo * bHi + (mid & 0xffff);
  return (aHi * bHi + (mid >>> 16) + (mid2 >>> 16)) | 0;
}

/** z = a × b. `z` may be an operand. */
export function mul(z: Unpacked, a: Unpacked, b: Unpacked): Unpacked {
  if (a.kind >= NAN || b.kind >= NAN) return propagateNan(z, a, b);
  const sign = a.sign ^ b.sign;
  if (a.kind !== FINITE || b.kind !== FINITE) {
    const infinite = a.kind === INFINITE || b.kind === INFINITE;
    if (infinite && (a.kind === ZERO || b.kind === ZERO)) return invalid(z);
    noteDenormals(a, b);
    return infinite ? setInfinity(z, sign) : setZero(z, sign);
  }
  noteDenormals(a, b);
  multiplySignificands(z, a, b);
  z.kind = FINITE;
  z.sign = sign;
  z.denormal = 0;
  z.exp = a.exp + b.exp + 1;
  normalize(z);
  return z;
}

/** hi:lo:ext of `z` = the upper 96 bits of the product of two 64-bit significands, the rest jammed. */
function multiplySignificands(z: Unpacked, a: Unpacked, b: Unpacked): void {
  // Columns of 32 bits from the right; sums of a few words are exact in a double.
  const low = Math.imul(a.lo, b.lo);
  const column1 = (mulHigh(a.lo, b.lo) >>> 0) + (Math.imul(a.hi, b.lo) >>> 0) + (Math.imul(a.lo, b.hi) >>> 0);
  const column2 =
    (mulHigh(a.hi, b.lo) >>> 0) +
    (mulHigh(a.lo, b.hi) >>> 0) +
    (Math.imul(a.hi, b.hi) >>> 0) +
    Math.floor(column1 / 0x100000000);
  const column3 = (mulHigh(a.hi, b.hi) >>> 0) + Math.floor(column2 / 0x100000000);
  z.hi = column3 | 0;
  z.lo = column2 | 0;
  z.ext = column1 | (low !== 0 ? 1 : 0);
}
