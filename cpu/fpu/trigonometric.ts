/**
 * FSIN, FCOS, FPTAN: reduction by the x87's own π of 66 bits, so that results agree with the hardware far from zero, then
 * power series in fixed point (SDM vol. 1, 8.3.8 and 8.3.10). Arguments are `FINITE` with exponent below 63.
 */
import { copy, FINITE, normalize, shiftRightJam, Unpacked } from './float.ts';
import {
  divideSmall,
  fromWide,
  mulWide,
  oneMinus,
  reciprocal,
  setSignificand,
  setWide,
  shiftRight,
  type Wide,
  wide,
} from './wide.ts';

/** π/2 of the hardware's 66-bit π: hi:lo:ext with exponent 0. */
const HALF_PI_HI = 0xc90fdaa2;
const HALF_PI_LO = 0x2168c234;
const HALF_PI_EXT = 0xc0000000;

/** The argument less the nearest multiple of π/2, exactly, in all 96 bits. */
const reduced = new Unpacked();

/** Fills `reduced`. @returns the multiple taken off, modulo 4. */
function reduce(a: Unpacked): number {
  copy(reduced, a);
  if (a.exp < -1) return 0;
  let low = 0;
  let exp = a.exp;
  let hi = a.hi >>> 0;
  let lo = a.lo >>> 0;
  let ext = 0;
  let over = 0;
  if (exp < 0) {
    shiftRightJam(reduced, 1);
    hi = reduced.hi >>> 0;
    lo = reduced.lo >>> 0;
    ext = reduced.ext >>> 0;
    exp = 0;
  }
  for (; ; exp--) {
    low <<= 1;
    if (over || notLess(hi, lo, ext)) {
      low |= 1;
      const diff0 = ext - HALF_PI_EXT;
      const diff1 = lo - HALF_PI_LO - (diff0 < 0 ? 1 : 0);
      const diff2 = hi - HALF_PI_HI - (diff1 < 0 ? 1 : 0);
      ext = diff0 >>> 0;
      lo = diff1 >>> 0;
      hi = diff2 >>> 0;
    }
    if (exp === 0) break;
    over = hi >>> 31;
    hi = ((hi << 1) | (lo >>> 31)) >>> 0;
    lo = ((lo << 1) | (ext >>> 31)) >>> 0;
    ext = (ext << 1) >>> 0;
  }
  // Beyond the middle the next multiple is nearer.
  const doubledHi = ((hi << 1) | (lo >>> 31)) >>> 0;
  const doubledLo = ((lo << 1) | (ext >>> 31)) >>> 0;
  if (hi >>> 31 || notLess(doubledHi, doubledLo, (ext << 1) >>> 0)) {
    low++;
    const diff0 = HALF_PI_EXT - ext;
    const diff1 = HALF_PI_LO - lo - (diff0 < 0 ? 1 : 0);
    const diff2 = HALF_PI_HI - hi - (diff1 < 0 ? 1 : 0);
    ext = diff0;
    lo = diff1;
    hi = diff2;
    reduced.sign ^= 1;
  }
  reduced.kind = FINITE;
  reduced.exp = 0;
  reduced.hi = hi | 0;
  reduced.lo = lo | 0;
  reduced.ext = ext | 0;
  normalize(reduced);
  return (a.sign ? -low : low) & 3;
}

/** Is hi:lo:ext ≥ π/2? */
function notLess(hi: number, lo: number, ext: number): boolean {
  if (hi !== HALF_PI_HI) return hi > HALF_PI_HI;
  return lo === HALF_PI_LO ? ext >= HALF_PI_EXT : lo > HALF_PI_LO;
}

/** Terms that bring r^(2k)/(2k)! below 2^-144 for r ≤ π/4. */
const TERMS = 17;

/** Below this exponent r³/3 is less than 2^-80 of r: nothing but a sticky bit. */
const STICKY_CUBE = -40;

const square = wide();
const significand = wide();
const sine = wide();
const cosine = wide();

/** Sets `significand` and `square` for the reduced argument. */
function prepare(): void {
  setSignificand(significand, reduced);
  mulWide(square, significand, significand);
  shiftRight(square, -2 * reduced.exp);
}

/** z = sin(r)/r (`first` = 2) or cos(r) (`first` = 1): 1 − r²/(first (first+1)) (1 − r²/((first+2) (first+3)) (1 − … */
function series(z: Wide, first: number): Wide {
  setWide(z, 1);
  for (let k = TERMS - 1; k >= 0; k--) {
    const n = first + 2 * k;
    mulWide(z, z, square);
    oneMinus(divideSmall(z, n * (n + 1)));
  }
  return z;
}

/** z = sin(r) or, for odd `quadrant`s, cos(r), with the sign of the quadrant. */
function sineOfQuadrant(z: Unpacked, quadrant: number): Unpacked {
  const negative = (quadrant >> 1) & 1;
  if (quadrant & 1) return fromWide(z, series(cosine, 1), 0, negative);
  mulWide(sine, series(sine, 2), significand);
  return fromWide(z, sine, reduced.exp, reduced.sign ^ negative);
}

/** z = sin(a), inexact. */
export function sin(z: Unpacked, a: Unpacked): Unpacked {
  const quadrant = reduce(a);
  prepare();
  return sineOfQuadrant(z, quadrant);
}

/** z = cos(a), inexact. */
export function cos(z: Unpacked, a: Unpacked): Unpacked {
  const quadrant = reduce(a);
  prepare();
  return sineOfQuadrant(z, quadrant + 1);
}

/** z = tan(a), inexact. */
export function tan(z: Unpacked, a: Unpacked): Unpacked {
  const quadrant = reduce(a);
  prepare();
  mulWide(sine, series(sine, 2), significand);
  series(cosine, 1);
  if ((quadrant & 1) === 0) {
    // tan r is above r, but by so little that our own error (downwards) could hide it: let the sticky bit say so.
    if (reduced.exp < STICKY_CUBE) return fromWide(z, significand, reduced.exp, reduced.sign);
    // tan r = r (sin r / r) / cos r
    mulWide(sine, sine, reciprocal(square, cosine));
    return fromWide(z, sine, reduced.exp, reduced.sign);
  }
  // −cot r: sin r here is between 0.9 and 2, times a power of two.
  mulWide(cosine, cosine, reciprocal(square, sine));
  return fromWide(z, cosine, -reduced.exp, reduced.sign ^ 1);
}
