/**
 * Fixed-point numbers of 24 integer and 144 fraction bits, unsigned: what the transcendental functions are computed in, so
 * that 64-bit results come out right in nearly every last bit. Seven limbs of 24 bits in a Float64Array: products of limbs
 * and sums of them are exact in a double, so no BigInt is needed. Results are truncated, off by a few units of 2^-144.
 */
import { FINITE, normalize, type Unpacked } from './float.ts';

export type Wide = Float64Array;

const LIMBS = 7;
const LIMB_BITS = 24;
const BASE = 2 ** LIMB_BITS;

export function wide(): Wide {
  return new Float64Array(LIMBS);
}

/** @param hex an integer part, a point, and 36 hexadecimal digits. */
export function wideConstant(hex: string): Wide {
  const [whole, fraction] = hex.split('.');
  const z = wide();
  z[0] = Number.parseInt(whole, 16);
  for (let i = 1; i < LIMBS; i++) z[i] = Number.parseInt(fraction.slice(6 * i - 6, 6 * i), 16);
  return z;
}

/** z = a small integer. */
export function setWide(z: Wide, value: number): Wide {
  z.fill(0);
  z[0] = value;
  return z;
}

export function copyWide(z: Wide, a: Wide): Wide {
  z.set(a);
  return z;
}

/** z = the significand of `a`, hi:lo:ext as a number in [1, 2). */
export function setSignificand(z: Wide, a: Unpacked): Wide {
  z.fill(0);
  // 96 bits are four limbs; the first of them has to be brought down to one bit.
  z[0] = a.hi >>> 8;
  z[1] = ((a.hi & 0xff) << 16) | (a.lo >>> 16);
  z[2] = ((a.lo & 0xffff) << 8) | (a.ext >>> 24);
  z[3] = a.ext & 0xffffff;
  return shiftRight(z, LIMB_BITS - 1);
}

/** z >>= count ≥ 0. */
export function shiftRight(z: Wide, count: number): Wide {
  const limbs = Math.min(LIMBS, Math.floor(count / LIMB_BITS));
  const bits = count % LIMB_BITS;
  const up = LIMB_BITS - bits;
  for (let i = LIMBS - 1; i >= 0; i--) {
    const here = i >= limbs ? z[i - limbs] : 0;
    const above = i > limbs ? z[i - limbs - 1] : 0;
    z[i] = (here >>> bits) | ((above << up) & (BASE - 1));
  }
  return z;
}

/** z = a + b. `z` may be an operand. */
export function addWide(z: Wide, a: Wide, b: Wide): Wide {
  let carry = 0;
  for (let i = LIMBS - 1; i >= 0; i--) {
    const sum = a[i] + b[i] + carry;
    carry = sum >= BASE ? 1 : 0;
    z[i] = sum - carry * BASE;
  }
  return z;
}

/** z = a − b ≥ 0. `z` may be an operand. */
export function subWide(z: Wide, a: Wide, b: Wide): Wide {
  let borrow = 0;
  for (let i = LIMBS - 1; i >= 0; i--) {
    const difference = a[i] - b[i] - borrow;
    borrow = difference < 0 ? 1 : 0;
    z[i] = difference + borrow * BASE;
  }
  return z;
}

/** z = |a − b|. @returns whether a < b. */
export function differenceWide(z: Wide, a: Wide, b: Wide): boolean {
  let i = 0;
  while (i < LIMBS - 1 && a[i] === b[i]) i++;
  const less = a[i] < b[i];
  if (less) subWide(z, b, a);
  else subWide(z, a, b);
  return less;
}

const columns = new Float64Array(2 * LIMBS - 1);

/** z = a × b. `z` may be an operand. */
export function mulWide(z: Wide, a: Wide, b: Wide): Wide {
  columns.fill(0);
  for (let i = 0; i < LIMBS; i++) {
    if (a[i] !== 0) for (let j = 0; j < LIMBS; j++) columns[i + j] += a[i] * b[j];
  }
  let carry = 0;
  for (let i = 2 * LIMBS - 2; i >= 0; i--) {
    const sum = columns[i] + carry;
    carry = Math.floor(sum / BASE);
    if (i < LIMBS) z[i] = sum - carry * BASE;
  }
  return z;
}

/** z /= a small integer. */
export function divideSmall(z: Wide, divisor: number): Wide {
  let rest = 0;
  for (let i = 0; i < LIMBS; i++) {
    const part = rest * BASE + z[i];
    z[i] = Math.floor(part / divisor);
    rest = part - z[i] * divisor;
  }
  return z;
}

const product = wide();
const two = setWide(wide(), 2);
/** More than the reciprocal can be too large by. */
const margin = wideConstant(`0.${'0'.repeat(35)}f`);

/** z = 1 / d, a little too small, for d in [1/2, 16). `z` is not `d`. */
export function reciprocal(z: Wide, d: Wide): Wide {
  // Newton: from a double's 50 bits to 100 and to all.
  const estimate = 1 / (d[0] + d[1] / BASE + d[2] / BASE ** 2);
  let rest = estimate;
  z.fill(0);
  for (let i = 0; i < 4; i++) {
    z[i] = Math.floor(rest);
    rest = (rest - z[i]) * BASE;
  }
  for (let i = 0; i < 2; i++) {
    mulWide(product, z, d);
    subWide(product, two, product);
    mulWide(z, z, product);
  }
  return subWide(z, z, margin);
}

const ulp = wideConstant(`0.${'0'.repeat(35)}1`);

/** z = 1 + z, and a unit in the last place for what is no longer visible of z > 0. */
export function onePlus(z: Wide): Wide {
  z[0] += 1;
  return addWide(z, z, ulp);
}

const one = setWide(wide(), 1);

/** z = 1 − z (z < 1), less a unit in the last place for what is no longer visible of z > 0. */
export function oneMinus(z: Wide): Wide {
  subWide(z, one, z);
  return subWide(z, z, ulp);
}

/** z = a × 2^exp with a sign, inexact, ready to be rounded. */
export function fromWide(z: Unpacked, a: Wide, exp: number, sign: number): Unpacked {
  let first = 0;
  while (a[first] === 0) first++;
  // Five limbs from the first that is not zero are 97 bits and more.
  const l0 = a[first];
  const l1 = first + 1 < LIMBS ? a[first + 1] : 0;
  const l2 = first + 2 < LIMBS ? a[first + 2] : 0;
  const l3 = first + 3 < LIMBS ? a[first + 3] : 0;
  const l4 = first + 4 < LIMBS ? a[first + 4] : 0;
  z.kind = FINITE;
  z.sign = sign;
  z.denormal = 0;
  z.hi = (l0 << 8) | (l1 >>> 16);
  z.lo = (l1 << 16) | (l2 >>> 8);
  z.ext = (l2 << 24) | l3;
  z.exp = exp + LIMB_BITS - 1 - LIMB_BITS * first;
  const missing = Math.clz32(z.hi);
  normalize(z);
  z.ext |= missing > 0 ? l4 >>> (LIMB_BITS - missing) : 0;
  z.ext |= 1;
  return z;
}
