/**
 * Rounding of an exact result to a format, with the exceptions that follow the computation: overflow, underflow (tiny
 * *after* rounding, as x86 has it) and precision (SDM vol. 1, 4.8.4, 4.9.1.4–4.9.1.6).
 */
import {
  copy,
  emaxOf,
  eminOf,
  FINITE,
  fp,
  OE,
  PE,
  precisionOf,
  RC_DOWN,
  RC_NEAREST,
  RC_UP,
  RC_ZERO,
  setInfinity,
  setZero,
  shiftRightJam,
  UE,
  Unpacked,
} from './float.ts';

/**
 * What unmasked overflow and underflow of an x87 register result take from and add to the exponent (SDM vol. 1, 8.5.4,
 * 8.5.5). What is still out of range then (FSCALE can) becomes infinity or zero.
 */
const X87_WRAP = 24576;

/**
 * Does rounding add one unit in the last place? `fraction` is what stands below that unit, as a 32-bit fraction with a
 * sticky last bit; `odd` the unit itself.
 */
function roundsUp(rc: number, sign: number, odd: number, fraction: number): boolean {
  switch (rc) {
    case RC_NEAREST:
      return fraction < 0 && (odd !== 0 || fraction !== (0x80000000 | 0));
    case RC_DOWN:
      return sign !== 0 && fraction !== 0;
    case RC_UP:
      return sign === 0 && fraction !== 0;
    default:
      return false;
  }
}

/** Rounds the significand to its upper `precision` bits (24, 53 or 64). @returns whether that lost anything. */
function roundSignificand(z: Unpacked, precision: number): boolean {
  let { hi, lo } = z;
  let fraction = z.ext;
  let odd = lo & 1;
  let unitHi = 0;
  let unitLo = 1;
  const drop = 64 - precision;
  if (drop > 32) {
    fraction = (hi << (64 - drop)) | (lo >>> (drop - 32)) | ((lo << (64 - drop)) | z.ext ? 1 : 0);
    unitHi = 1 << (drop - 32);
    unitLo = 0;
    odd = hi & unitHi;
    hi &= -unitHi;
    lo = 0;
  } else if (drop > 0) {
    fraction = (lo << (32 - drop)) | (z.ext >>> drop) | (z.ext << (32 - drop) ? 1 : 0);
    unitLo = 1 << drop;
    odd = lo & unitLo;
    lo &= -unitLo;
  }
  fp.roundedUp = 0;
  if (roundsUp(fp.rc, z.sign, odd, fraction)) {
    fp.roundedUp = 1;
    const sum = (lo + unitLo) | 0;
    const carry = unitLo !== 0 && sum === 0 ? 1 : unitHi;
    const top = (hi + carry) | 0;
    // All ones became a power of two.
    if (hi < 0 && top >= 0) {
      hi = 0x80000000 | 0;
      z.exp++;
    } else {
      hi = top;
    }
    lo = sum;
  }
  z.hi = hi;
  z.lo = lo;
  z.ext = 0;
  return fraction !== 0;
}

const trial = new Unpacked();

/** With unbounded exponents, would `z` (just below the smallest normal number) round to less than that number? */
function staysTiny(z: Unpacked, f: number): boolean {
  if (z.exp < eminOf(f) - 1) return true;
  copy(trial, z);
  roundSignificand(trial, precisionOf(f));
  return trial.exp < eminOf(f);
}

/**
 * Rounds a `FINITE` result to `f` in place; anything else is exact already. The result is `FINITE` (normal, or denormal
 * with `exp` = emin), `ZERO` or `INFINITE`.
 *
 * @param wrap whether an unmasked overflow or underflow gives the result with its exponent wrapped (x87 registers);
 *   otherwise the result is then unusable (SSE and x87 stores leave the destination alone).
 */
export function round(z: Unpacked, f: number, wrap = false): Unpacked {
  fp.roundedUp = 0;
  if (z.kind !== FINITE) return z;
  if (z.exp < eminOf(f)) return roundTiny(z, f, wrap);
  const inexact = roundSignificand(z, precisionOf(f));
  if (inexact) fp.flags |= PE;
  if (z.exp > emaxOf(f)) overflow(z, f, wrap);
  return z;
}

function roundTiny(z: Unpacked, f: number, wrap: boolean): Unpacked {
  const tiny = staysTiny(z, f);
  if (tiny && !(fp.masks & UE)) {
    fp.flags |= UE;
    if (wrap) z.exp += X87_WRAP;
    if (roundSignificand(z, precisionOf(f))) fp.flags |= PE;
    if (wrap && z.exp < eminOf(f)) {
      fp.flags |= PE;
      fp.roundedUp = 0;
      setZero(z, z.sign);
    }
    return z;
  }
  if (tiny && fp.ftz) {
    fp.flags |= UE | PE;
    return setZero(z, z.sign);
  }
  shiftRightJam(z, eminOf(f) - z.exp);
  z.exp = eminOf(f);
  if (roundSignificand(z, precisionOf(f))) fp.flags |= tiny ? UE | PE : PE;
  if ((z.hi | z.lo) === 0) setZero(z, z.sign);
  return z;
}

function overflow(z: Unpacked, f: number, wrap: boolean): Unpacked {
  fp.flags |= OE;
  if (!(fp.masks & OE)) {
    if (wrap) z.exp -= X87_WRAP;
    if (wrap && z.exp > emaxOf(f)) {
      fp.flags |= PE;
      fp.roundedUp = 1;
      setInfinity(z, z.sign);
    }
    return z;
  }
  fp.flags |= PE;
  fp.roundedUp = fp.rc === RC_NEAREST || fp.rc === (z.sign ? RC_DOWN : RC_UP) ? 1 : 0;
  if (fp.roundedUp) return setInfinity(z, z.sign);
  z.exp = emaxOf(f);
  const precision = precisionOf(f);
  z.hi = precision >= 32 ? -1 : -1 << (32 - precision);
  z.lo = precision <= 32 ? 0 : precision === 64 ? -1 : -1 << (64 - precision);
  return z;
}

/**
 * Rounds the value to an integer by rounding control `rc`, which is left in `hi:lo` as a plain unsigned 64-bit number,
 * with `z.exp` = 63 as if normalised. `z` must be `FINITE` with exp ≤ 63. Flags are the caller's.
 * @returns whether anything was lost.
 */
export function roundToInteger(z: Unpacked, rc: number): boolean {
  shiftRightJam(z, 63 - z.exp);
  z.exp = 63;
  fp.roundedUp = 0;
  const fraction = z.ext;
  z.ext = 0;
  if (rc !== RC_ZERO && roundsUp(rc, z.sign, z.lo & 1, fraction)) {
    fp.roundedUp = 1;
    z.lo = (z.lo + 1) | 0;
    if (z.lo === 0) z.hi = (z.hi + 1) | 0;
  }
  return fraction !== 0;
}

/** Rounds a constant to 64 bits as rounding control says, raising nothing (FLDPI and its kin). */
export function roundConstant(z: Unpacked): Unpacked {
  if (z.kind === FINITE) roundSignificand(z, 64);
  fp.roundedUp = 0;
  return z;
}
