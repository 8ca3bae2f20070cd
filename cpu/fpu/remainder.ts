/**
 * FPREM and FPREM1 (partial remainder, truncating and IEEE), FSCALE and FXTRACT (SDM vol. 2, their pages): what the x87
 * does with exponents and quotients rather than with rounding.
 */
import { sub } from './arith.ts';
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
  RC_ZERO,
  setInfinity,
  setZero,
  significandLess,
  Unpacked,
  ZE,
  ZERO,
} from './float.ts';
import { roundToInteger } from './round.ts';
import { unpackInt32 } from './unpack.ts';

/** What `remainder` tells besides the result: the quotient's low bits, and whether it only came part of the way. */
export const quotient = { low: 0, partial: false };

/** Exponent differences from here on are reduced in several executions. */
const FULL_REDUCTION_BELOW = 64;

/** z = a − b × q, q the quotient truncated (FPREM) or, if `nearest`, rounded to nearest even (FPREM1). Always exact. */
export function remainder(z: Unpacked, a: Unpacked, b: Unpacked, nearest: boolean): Unpacked {
  quotient.low = 0;
  quotient.partial = false;
  if (a.kind >= NAN || b.kind >= NAN) return propagateNan(z, a, b);
  if (a.kind === INFINITE || b.kind === ZERO) return invalid(z);
  noteDenormals(a, b);
  if (a.kind === ZERO || b.kind === INFINITE) return copy(z, a);
  const difference = a.exp - b.exp;
  if (difference >= FULL_REDUCTION_BELOW) {
    // As hardware: a difference that leaves a multiple of 32 for the executions to come.
    quotient.partial = true;
    const reduce = (difference & 31) | 32;
    truncatedRemainder(z, a, b, reduce, b.exp + difference - reduce);
    quotient.low = 0;
    return z;
  }
  if (difference < -1 || (difference < 0 && !nearest)) return copy(z, a);
  if (difference < 0) copy(z, a);
  else truncatedRemainder(z, a, b, difference, b.exp);
  z.denormal = 0;
  if (nearest && z.kind === FINITE && aboveHalf(z, b)) {
    quotient.low = (quotient.low + 1) & 7;
    const divisorSign = b.sign;
    b.sign = a.sign;
    sub(z, z, b);
    b.sign = divisorSign;
  }
  return z;
}

/** Is z more than b/2 in magnitude, or just that with an odd quotient? (z < b.) */
function aboveHalf(z: Unpacked, b: Unpacked): boolean {
  if (z.exp !== b.exp - 1) return z.exp === b.exp;
  if (z.hi === b.hi && z.lo === b.lo) return (quotient.low & 1) !== 0;
  return significandLess(b, z);
}

/** z = a mod (b's significand at exponent `exp`), a.exp = exp + steps; the quotient's three last bits to `quotient`. */
function truncatedRemainder(z: Unpacked, a: Unpacked, b: Unpacked, steps: number, exp: number): void {
  const divisorHi = b.hi >>> 0;
  const divisorLo = b.lo >>> 0;
  let remHi = a.hi >>> 0;
  let remLo = a.lo >>> 0;
  let over = 0;
  let low = 0;
  for (let i = 0; ; i++) {
    low <<= 1;
    if (over || remHi > divisorHi || (remHi === divisorHi && remLo >= divisorLo)) {
      low |= 1;
      const borrow = remLo < divisorLo ? 1 : 0;
      remLo = (remLo - divisorLo) >>> 0;
      remHi = (remHi - divisorHi - borrow) >>> 0;
    }
    if (i === steps) break;
    over = remHi >>> 31;
    remHi = ((remHi << 1) | (remLo >>> 31)) >>> 0;
    remLo = (remLo << 1) >>> 0;
  }
  quotient.low = low & 7;
  const sign = a.sign;
  setZero(z, sign);
  if ((remHi | remLo) === 0) return;
  z.kind = FINITE;
  z.exp = exp;
  z.hi = remHi | 0;
  z.lo = remLo | 0;
  normalize(z);
}

/** Beyond this every FSCALE over- or underflows, wrapped exponents included. */
const SCALE_LIMIT = 0x10000;

const truncated = new Unpacked();

/** z = a × 2^trunc(b) (FSCALE), to be rounded. */
export function scale(z: Unpacked, a: Unpacked, b: Unpacked): Unpacked {
  if (a.kind >= NAN || b.kind >= NAN) return propagateNan(z, a, b);
  if (b.kind === INFINITE) {
    if (a.kind === (b.sign ? INFINITE : ZERO)) return invalid(z);
    noteDenormals(a, b);
    return b.sign ? setZero(z, a.sign) : setInfinity(z, a.sign);
  }
  noteDenormals(a, b);
  copy(z, a);
  if (a.kind !== FINITE || b.kind === ZERO) return z;
  let by = SCALE_LIMIT;
  if (b.exp < 16) {
    copy(truncated, b);
    const rounded = fp.roundedUp;
    roundToInteger(truncated, RC_ZERO);
    fp.roundedUp = rounded;
    by = truncated.lo;
  }
  z.exp += b.sign ? -by : by;
  return z;
}

/** exponent, significand = the two parts of a (FXTRACT); both exact. */
export function extract(exponent: Unpacked, significand: Unpacked, a: Unpacked): void {
  if (a.kind >= NAN) {
    propagateNan(significand, a, a);
    copy(exponent, significand);
    return;
  }
  noteDenormals(a, a);
  copy(significand, a);
  if (a.kind === ZERO) {
    fp.flags |= ZE;
    setInfinity(exponent, 1);
  } else if (a.kind === INFINITE) {
    setInfinity(exponent, 0);
  } else {
    unpackInt32(exponent, a.exp);
    significand.exp = 0;
    significand.denormal = 0;
  }
}
