/**
 * Division and square root of unpacked numbers, digit by digit: 64 bits of result and a sticky remainder in `ext`.
 * Special operands as IEEE 754-2019, 7.2 and 7.3.
 */
import {
  copy,
  FINITE,
  fp,
  INFINITE,
  invalid,
  NAN,
  noteDenormals,
  propagateNan,
  setInfinity,
  setZero,
  type Unpacked,
  ZE,
  ZERO,
} from './float.ts';

/** z = a / b. `z` may be an operand. */
export function div(z: Unpacked, a: Unpacked, b: Unpacked): Unpacked {
  if (a.kind >= NAN || b.kind >= NAN) return propagateNan(z, a, b);
  const sign = a.sign ^ b.sign;
  if (a.kind === b.kind && a.kind !== FINITE) return invalid(z);
  if (b.kind === ZERO && a.kind === FINITE) {
    fp.flags |= ZE;
    return setInfinity(z, sign);
  }
  noteDenormals(a, b);
  if (a.kind === INFINITE || b.kind === ZERO) return setInfinity(z, sign);
  if (a.kind === ZERO || b.kind === INFINITE) return setZero(z, sign);
  divideSignificands(z, a, b);
  z.kind = FINITE;
  z.sign = sign;
  z.denormal = 0;
  return z;
}

function divideSignificands(z: Unpacked, a: Unpacked, b: Unpacked): void {
  const divisorHi = b.hi >>> 0;
  const divisorLo = b.lo >>> 0;
  let remHi = a.hi >>> 0;
  let remLo = a.lo >>> 0;
  let exp = a.exp - b.exp;
  // Before each step remainder < 2 × divisor; `over` is its 65th bit.
  let over = 0;
  if (remHi < divisorHi || (remHi === divisorHi && remLo < divisorLo)) {
    over = remHi >>> 31;
    remHi = ((remHi << 1) | (remLo >>> 31)) >>> 0;
    remLo = (remLo << 1) >>> 0;
    exp--;
  }
  let quotientHi = 0;
  let quotientLo = 0;
  for (let i = 0; i < 64; i++) {
    let bit = 0;
    if (over || remHi > divisorHi || (remHi === divisorHi && remLo >= divisorLo)) {
      bit = 1;
      const borrow = remLo < divisorLo ? 1 : 0;
      remLo = (remLo - divisorLo) >>> 0;
      remHi = (remHi - divisorHi - borrow) >>> 0;
    }
    quotientHi = (quotientHi << 1) | (quotientLo >>> 31);
    quotientLo = (quotientLo << 1) | bit;
    over = remHi >>> 31;
    remHi = ((remHi << 1) | (remLo >>> 31)) >>> 0;
    remLo = (remLo << 1) >>> 0;
  }
  // The remainder stands doubled: against the divisor it tells less than, exactly or more than half a unit.
  let ext = over || remHi > divisorHi || (remHi === divisorHi && remLo >= divisorLo) ? 0x80000000 | 0 : 0;
  const half = !over && remHi === divisorHi && remLo === divisorLo;
  if (!half && (over | remHi | remLo) !== 0) ext |= 1;
  z.exp = exp;
  z.hi = quotientHi | 0;
  z.lo = quotientLo | 0;
  z.ext = ext;
}

/** z = √a. `z` may be the operand. */
export function sqrt(z: Unpacked, a: Unpacked): Unpacked {
  if (a.kind >= NAN) return propagateNan(z, a, a);
  if (a.kind === ZERO) return copy(z, a);
  if (a.sign) return invalid(z);
  noteDenormals(a, a);
  if (a.kind === INFINITE) return copy(z, a);
  squareRootSignificand(z, a);
  z.kind = FINITE;
  z.sign = 0;
  z.denormal = 0;
  return z;
}

/** Two bits of the radicand, one of the root a step; remainder ≤ 2 × root, so it needs a third word for its top bits. */
function squareRootSignificand(z: Unpacked, a: Unpacked): void {
  // The radicand is the significand in [1, 4): with an odd exponent shifted left by one.
  const odd = a.exp & 1;
  let radHi = odd ? a.hi : a.hi >>> 1;
  let radLo = odd ? a.lo : (a.lo >>> 1) | (a.hi << 31);
  let radExt = odd ? 0 : a.lo << 31;
  let rem2 = 0;
  let rem1 = 0;
  let rem0 = 0;
  let rootHi = 0;
  let rootLo = 0;
  for (let i = 0; i < 64; i++) {
    rem2 = (rem2 << 2) | (rem1 >>> 30);
    rem1 = (rem1 << 2) | (rem0 >>> 30);
    rem0 = (rem0 << 2) | (radHi >>> 30);
    radHi = (radHi << 2) | (radLo >>> 30);
    radLo = (radLo << 2) | (radExt >>> 30);
    radExt <<= 2;
    // Trial subtrahend 4 × root + 1.
    const sub2 = rootHi >>> 30;
    const sub1 = (rootHi << 2) | (rootLo >>> 30);
    const sub0 = (rootLo << 2) | 1;
    const borrow0 = rem0 >>> 0 < sub0 >>> 0 ? 1 : 0;
    const borrow1 = rem1 >>> 0 < sub1 >>> 0 || (rem1 === sub1 && borrow0 !== 0) ? 1 : 0;
    const diff2 = rem2 - sub2 - borrow1;
    rootHi = (rootHi << 1) | (rootLo >>> 31);
    rootLo <<= 1;
    if (diff2 >= 0) {
      rem2 = diff2;
      rem1 = (rem1 - sub1 - borrow0) | 0;
      rem0 = (rem0 - sub0) | 0;
      rootLo |= 1;
    }
  }
  // A root is never exactly half way; the remainder is more than half a unit when it exceeds the root.
  const above = rem2 > 0 || (rem1 === rootHi ? rem0 >>> 0 > rootLo >>> 0 : rem1 >>> 0 > rootHi >>> 0);
  z.exp = a.exp >> 1;
  z.hi = rootHi;
  z.lo = rootLo;
  z.ext = above ? 0x80000001 | 0 : (rem2 | rem1 | rem0) !== 0 ? 1 : 0;
}
