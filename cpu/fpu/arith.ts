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

/** Carries out of the sums that `plus` made since this was last 0. */
let carry = 0;

/** @returns the sum of two unsigned words, cut to one. */
function plus(a: number, b: number): number {
  const sum = (a + b) | 0;
  if (sum >>> 0 < a >>> 0) carry++;
  return sum;
}

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
  carry = 0;
  z.lo = plus(z.lo, small.lo);
  const carried = carry;
  carry = 0;
  z.hi = plus(plus(z.hi, small.hi), carried);
  if (carry !== 0) {
    shiftRightJam(z, 1);
    z.hi |= 0x80000000;
    z.exp++;
  }
}

/** z −= small ≤ z. */
function subtractMagnitude(z: Unpacked): void {
  z.ext = -small.ext | 0;
  // What `ext` borrows comes on top of the subtrahend, where it may carry.
  carry = 0;
  const subtrahend = plus(small.lo, small.ext !== 0 ? 1 : 0);
  if (z.lo >>> 0 < subtrahend >>> 0) carry++;
  z.hi = (z.hi - small.hi - carry) | 0;
  z.lo = (z.lo - subtrahend) | 0;
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
  const mid = (Math.imul(aHi, bLo) + (Math.imul(aLo, bLo) >>> 16)) | 0;
  const mid2 = (Math.imul(aLo, bHi) + (mid & 0xffff)) | 0;
  return (Math.imul(aHi, bHi) + (mid >>> 16) + (mid2 >>> 16)) | 0;
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
  // Columns of 32 bits from the right.
  const low = Math.imul(a.lo, b.lo);
  carry = 0;
  const column1 = plus(plus(mulHigh(a.lo, b.lo), Math.imul(a.hi, b.lo)), Math.imul(a.lo, b.hi));
  const carried = carry;
  carry = 0;
  const crossed = plus(mulHigh(a.hi, b.lo), mulHigh(a.lo, b.hi));
  const column2 = plus(plus(crossed, Math.imul(a.hi, b.hi)), carried);
  z.hi = (mulHigh(a.hi, b.hi) + carry) | 0;
  z.lo = column2;
  z.ext = column1 | (low !== 0 ? 1 : 0);
}
