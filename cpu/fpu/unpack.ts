/**
 * Between bits and unpacked numbers: binary32, binary64, the x87's 80-bit format and signed integers (SDM vol. 1, 4.2).
 * Packing takes what `round` left for the same format; NaNs lose the payload bits that do not fit.
 */
import {
  FINITE,
  fp,
  INFINITE,
  NAN,
  normalize,
  setInfinity,
  setZero,
  UNSUPPORTED,
  type Unpacked,
  ZERO,
} from './float.ts';

const INTEGER_BIT = 0x80000000 | 0;

/** Common to the IEEE formats: fields already separated, significand left-aligned below the integer bit. */
function unpackFields(
  z: Unpacked,
  sign: number,
  biased: number,
  hi: number,
  lo: number,
  special: number,
  bias: number,
): Unpacked {
  z.sign = sign;
  z.ext = 0;
  z.denormal = 0;
  z.hi = hi;
  z.lo = lo;
  if (biased === special) {
    if ((hi | lo) === 0) return setInfinity(z, sign);
    z.kind = NAN;
    z.hi = hi | INTEGER_BIT;
    z.exp = 0;
  } else if (biased !== 0) {
    z.kind = FINITE;
    z.exp = biased - bias;
    z.hi = hi | INTEGER_BIT;
  } else if ((hi | lo) === 0 || fp.daz) {
    setZero(z, sign);
  } else {
    z.kind = FINITE;
    z.exp = 1 - bias;
    normalize(z);
    z.denormal = 1;
  }
  return z;
}

/** Unpacks a binary32 given as its 32 bits; a denormal is normalised and marked, or a zero under DAZ. */
export function unpack32(z: Unpacked, bits: number): void {
  unpackFields(z, bits >>> 31, (bits >>> 23) & 0xff, (bits & 0x7fffff) << 8, 0, 0xff, 127);
}

/** Unpacks a binary64 given as two words. */
export function unpack64(z: Unpacked, lo: number, hi: number): void {
  unpackFields(z, hi >>> 31, (hi >>> 20) & 0x7ff, ((hi & 0xfffff) << 11) | (lo >>> 21), (lo << 11) | 0, 0x7ff, 1023);
}

/** Unpacks an 80-bit value: significand words and the 16 bits of sign and exponent. */
export function unpack80(z: Unpacked, lo: number, hi: number, signExp: number): void {
  const biased = signExp & 0x7fff;
  z.sign = (signExp >>> 15) & 1;
  z.ext = 0;
  z.denormal = 0;
  z.hi = hi | 0;
  z.lo = lo | 0;
  z.exp = biased - 16383;
  if (biased === 0x7fff) {
    if (hi >= 0) z.kind = UNSUPPORTED;
    else if (((hi << 1) | lo) === 0) setInfinity(z, z.sign);
    else z.kind = NAN;
  } else if (biased !== 0) {
    z.kind = hi < 0 ? FINITE : UNSUPPORTED;
  } else if ((hi | lo) === 0) {
    z.kind = ZERO;
  } else {
    z.kind = FINITE;
    z.exp = -16382;
    z.denormal = 1;
    normalize(z);
  }
}

/** Sets `z` to the signed 64-bit integer `hi:lo`, exactly. */
export function unpackInt64(z: Unpacked, lo: number, hi: number): Unpacked {
  if ((hi | lo) === 0) return setZero(z, 0);
  z.kind = FINITE;
  z.sign = hi >>> 31;
  z.exp = 63;
  z.ext = 0;
  z.denormal = 0;
  z.lo = z.sign ? -lo | 0 : lo | 0;
  z.hi = z.sign ? (~hi + (z.lo === 0 ? 1 : 0)) | 0 : hi | 0;
  normalize(z);
  return z;
}

/** Sets `z` to the signed 32-bit integer `value`, exactly. */
export function unpackInt32(z: Unpacked, value: number): void {
  unpackInt64(z, value, value >> 31);
}

/** @returns the 32 bits of `z`, which `round` has brought to `BINARY32`. */
export function pack32(z: Unpacked): number {
  const sign = z.sign << 31;
  switch (z.kind) {
    case ZERO:
      return sign;
    case INFINITE:
      return sign | 0x7f800000;
    case NAN:
      return sign | 0x7f800000 | ((z.hi >>> 8) & 0x7fffff);
    default: {
      const biased = z.hi < 0 ? z.exp + 127 : 0;
      return sign | (biased << 23) | ((z.hi >>> 8) & 0x7fffff);
    }
  }
}

/** @returns the high word of `z`, which `round` has brought to `BINARY64`. */
export function pack64Hi(z: Unpacked): number {
  const sign = z.sign << 31;
  switch (z.kind) {
    case ZERO:
      return sign;
    case INFINITE:
      return sign | 0x7ff00000;
    case NAN:
      return sign | 0x7ff00000 | ((z.hi >>> 11) & 0xfffff);
    default: {
      const biased = z.hi < 0 ? z.exp + 1023 : 0;
      return sign | (biased << 20) | ((z.hi >>> 11) & 0xfffff);
    }
  }
}

/** @returns the low word of `z`, which `round` has brought to `BINARY64`. */
export function pack64Lo(z: Unpacked): number {
  return z.kind === FINITE || z.kind === NAN ? (z.hi << 21) | (z.lo >>> 11) : 0;
}

/** @returns sign and exponent of the 80-bit format; `pack80Hi` and `z.lo` are the significand. */
export function pack80SignExp(z: Unpacked): number {
  const sign = z.sign << 15;
  switch (z.kind) {
    case ZERO:
      return sign;
    case FINITE:
      return sign | (z.hi < 0 ? z.exp + 16383 : 0);
    default:
      return sign | 0x7fff;
  }
}

/** @returns the high word of the 80-bit format's significand. */
export function pack80Hi(z: Unpacked): number {
  return z.kind === INFINITE ? INTEGER_BIT : z.hi;
}
