/**
 * The vocabulary of the floating-point library: the unpacked number every operation works on, the formats a result can
 * be rounded to, and the floating-point environment (IEEE 754-2019; Intel SDM vol. 1 ch. 4.8, 8 and 11).
 *
 * How the parts meet: *unpack* an operand (unpack.ts) → *operate* (arith.ts, divide.ts, …: exact result, 64 significant
 * bits and 32 more whose last is sticky) → *round* (round.ts) to a format → *pack* (unpack.ts). Operations know no format
 * and rounding knows no operation. Each takes the `Unpacked` it fills first, and many return it.
 *
 * Nothing here allocates: operands and results are `Unpacked` objects made once at module scope whose fields always
 * hold int32 values (small integers to a 64-bit V8, never boxed). No BigInt, no 64-bit doubles as integers.
 *
 * What x87 instructions need that are common is compiled ahead of time as well (aot/compile.ts; there an `Unpacked` is an
 * address): it keeps to int32 sums and products, and a module's `Unpacked` keeps nothing from one instruction to the next.
 */

/** What an unpacked number is. Comparisons such as `kind >= NAN` rely on this order. */
export const ZERO = 0;
export const FINITE = 1;
export const INFINITE = 2;
export const NAN = 3;
/** x87 only: unnormal, pseudo-infinity or pseudo-NaN, which the 80387 and later refuse (SDM vol. 1, 8.2.2). */
export const UNSUPPORTED = 4;

/**
 * A number taken apart.
 * `FINITE`: (-1)^sign × 2^exp × hi:lo:ext / 2^95, with the top bit of `hi` set; `ext` is 0 in operands, and in results
 * bit 0 of it also stands for all bits beyond ("jammed"). Rounding may leave a denormal: top bit of `hi` clear.
 * `NAN`: `hi:lo` is the 80-bit format's significand (bit 62 = quiet), whatever format it came from.
 */
export class Unpacked {
  kind = ZERO;
  sign = 0;
  exp = 0;
  hi = 0;
  lo = 0;
  ext = 0;
  /** 1 if the operand was denormal (or pseudo-denormal) in its format. */
  denormal = 0;
}

/** A format that a result is rounded to, as one number: its bits of significand and its largest exponent. */
function format(precision: number, emax: number): number {
  return precision | (emax << 8);
}

/** Bits of significand. */
export function precisionOf(format: number): number {
  return format & 0xff;
}

/** Exponent of the largest normal number. */
export function emaxOf(format: number): number {
  return format >> 8;
}

/** Exponent of the smallest one (IEEE 754-2019, 3.3). */
export function eminOf(format: number): number {
  return 1 - emaxOf(format);
}

export const BINARY32 = format(24, 127);
export const BINARY64 = format(53, 1023);
/** x87 registers; the narrower two are what precision control selects: fewer bits, the same exponents. */
export const EXTENDED = format(64, 16383);
export const EXTENDED_53 = format(53, 16383);
export const EXTENDED_24 = format(24, 16383);

/** Exception flags; the bit positions of MXCSR, of FSW, and of the masks in FCW (MXCSR has its masks 7 bits higher). */
export const IE = 0x01;
export const DE = 0x02;
export const ZE = 0x04;
export const OE = 0x08;
export const UE = 0x10;
export const PE = 0x20;
/** Exceptions found before the operation is done: unmasked, they leave the destination alone. */
export const PRE_COMPUTATION = IE | DE | ZE;

/** Rounding control, the encoding of MXCSR.RC and FCW.RC. */
export const RC_NEAREST = 0;
export const RC_DOWN = 1;
export const RC_UP = 2;
export const RC_ZERO = 3;

/** The environment of the operation under way; `beginSse` and the x87 set it, operations add to `flags`. */
class Environment {
  rc = RC_NEAREST;
  /** Masked exceptions (bit set = masked). */
  masks = 0x3f;
  /** Exceptions raised since the begin. */
  flags = 0;
  /** 1 if the last rounding increased the magnitude (x87 C1). */
  roundedUp = 0;
  /** Are the NaN and wrapped-exponent rules those of the x87? Otherwise those of SSE. */
  x87 = false;
  /** MXCSR.DAZ: denormal operands are zeros. */
  daz = false;
  /** MXCSR.FTZ: tiny results are zeros (while underflow is masked). */
  ftz = false;

  /** Is an exception raised that is not masked, among those in `which`? */
  unmasked(which: number): boolean {
    return (this.flags & ~this.masks & which) !== 0;
  }
}
export const fp = new Environment();

export function isSignaling(x: Unpacked): boolean {
  return x.kind === NAN && (x.hi & 0x40000000) === 0;
}

export function copy(z: Unpacked, a: Unpacked): Unpacked {
  z.kind = a.kind;
  z.sign = a.sign;
  z.exp = a.exp;
  z.hi = a.hi;
  z.lo = a.lo;
  z.ext = a.ext;
  z.denormal = a.denormal;
  return z;
}

export function setZero(z: Unpacked, sign: number): Unpacked {
  z.kind = ZERO;
  z.sign = sign;
  z.exp = z.hi = z.lo = z.ext = z.denormal = 0;
  return z;
}

export function setInfinity(z: Unpacked, sign: number): Unpacked {
  setZero(z, sign);
  z.kind = INFINITE;
  return z;
}

/** The "real indefinite": the quiet NaN that answers an invalid operation. */
export function setDefaultNan(z: Unpacked): Unpacked {
  setZero(z, 1);
  z.kind = NAN;
  z.hi = 0xc0000000 | 0;
  return z;
}

/** An invalid operation: IE, and the default NaN as its masked response. */
export function invalid(z: Unpacked): Unpacked {
  fp.flags |= IE;
  setDefaultNan(z);
  return z;
}

/** @returns whether the significand of `a` is less than that of `b` (64 bits, unsigned). */
export function significandLess(a: Unpacked, b: Unpacked): boolean {
  return a.hi === b.hi ? a.lo >>> 0 < b.lo >>> 0 : a.hi >>> 0 < b.hi >>> 0;
}

/**
 * The result of an operation with a NaN (or unsupported) operand; operations of one operand pass it twice.
 * SSE: the first operand if it is a NaN, else the second (SDM vol. 1, table 4-7). x87: a quiet NaN rather than a
 * signaling one, else the one with the larger significand, else the positive one.
 */
export function propagateNan(z: Unpacked, a: Unpacked, b: Unpacked): Unpacked {
  if (a.kind === UNSUPPORTED || b.kind === UNSUPPORTED) return invalid(z);
  const aSignals = isSignaling(a);
  const bSignals = isSignaling(b);
  if (aSignals || bSignals) fp.flags |= IE;
  let first = a.kind === NAN;
  if (fp.x87 && first && b.kind === NAN) {
    if (aSignals !== bSignals) first = bSignals;
    else if (a.hi === b.hi && a.lo === b.lo) first = a.sign <= b.sign;
    else first = significandLess(b, a);
  }
  copy(z, first ? a : b);
  z.hi |= 0x40000000;
  return z;
}

/** For operands that are no NaNs: DE if one is denormal. */
export function noteDenormals(a: Unpacked, b: Unpacked): void {
  if (a.denormal | b.denormal) fp.flags |= DE;
}

/** Shifts `hi:lo:ext` right by `count` ≥ 0, jamming what falls out into bit 0 of `ext`. */
export function shiftRightJam(z: Unpacked, count: number): void {
  let { hi, lo, ext } = z;
  let lost = 0;
  if (count >= 96) {
    lost = hi | lo | ext;
    hi = lo = ext = 0;
  } else {
    for (; count >= 32; count -= 32) {
      lost |= ext;
      ext = lo;
      lo = hi;
      hi = 0;
    }
    if (count > 0) {
      const up = 32 - count;
      lost |= ext << up;
      ext = (ext >>> count) | (lo << up);
      lo = (lo >>> count) | (hi << up);
      hi >>>= count;
    }
  }
  z.hi = hi | 0;
  z.lo = lo;
  z.ext = ext | (lost !== 0 ? 1 : 0);
}

/** Shifts `hi:lo:ext` left until the top bit is set, lowering the exponent. The value must not be 0. */
export function normalize(z: Unpacked): void {
  while (z.hi === 0) {
    z.hi = z.lo;
    z.lo = z.ext;
    z.ext = 0;
    z.exp -= 32;
  }
  const count = Math.clz32(z.hi);
  if (count === 0) return;
  const down = 32 - count;
  z.hi = (z.hi << count) | (z.lo >>> down);
  z.lo = (z.lo << count) | (z.ext >>> down);
  z.ext <<= count;
  z.exp -= count;
}
