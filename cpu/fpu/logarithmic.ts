/**
 * F2XM1, FYL2X, FYL2XP1 and FPATAN in fixed point (SDM vol. 1, 8.3.9, and the special operands of their pages in vol. 2).
 * Each takes any operands and gives a result to be rounded. Where hardware's last bit differs (about 2 % of random cases),
 * a sample checked in 100-digit arithmetic found these to be the correctly rounded ones.
 */
import { mul } from './arith.ts';
import {
  copy,
  EXTENDED,
  eminOf,
  FINITE,
  fp,
  INFINITE,
  invalid,
  NAN,
  normalize,
  noteDenormals,
  PE,
  PRE_COMPUTATION,
  propagateNan,
  setInfinity,
  setZero,
  significandLess,
  UE,
  Unpacked,
  ZE,
  ZERO,
} from './float.ts';
import { unpackInt32 } from './unpack.ts';
import {
  addWide,
  copyWide,
  differenceWide,
  divideSmall,
  fromWide,
  mulWide,
  oneMinus,
  onePlus,
  reciprocal,
  setSignificand,
  setWide,
  shiftRight,
  subWide,
  type Wide,
  wide,
  wideConstant,
} from './wide.ts';

const LN2 = wideConstant('0.b17217f7d1cf79abc9e3b39803f2f6af40f3');
const TWO_OVER_LN2 = wideConstant('2.e2a8eca5705fc2eefa1ffb41a474fa23ad5d');
const PI = wideConstant('3.243f6a8885a308d313198a2e03707344a409');
const HALF_PI = wideConstant('1.921fb54442d18469898cc51701b839a25204');

/** Terms that bring 1/n! below 2^-144 (and ln 2 to the n-th with it). */
const EXPONENTIAL_TERMS = 32;

const argument = wide();
const factor = wide();
const sum = wide();
const square = wide();

/** z = 2^a − 1 for |a| ≤ 1; beyond, hardware's answer is undefined, and `a` is what we give. */
export function exponentialMinus1(z: Unpacked, a: Unpacked): Unpacked {
  if (a.kind >= NAN) return propagateNan(z, a, a);
  noteDenormals(a, a);
  copy(z, a);
  if (a.kind === INFINITE && a.sign) {
    unpackInt32(z, -1);
    return z;
  }
  if (a.kind !== FINITE || a.exp > 0) return z;
  if (a.exp === 0) {
    // 2^1 − 1 = 1 and 2^-1 − 1 = −1/2 are exact.
    const isOne = a.hi << 1 === 0 && a.lo === 0;
    if (isOne && a.sign) z.exp = -1;
    return z;
  }
  // y = a ln 2; e^y − 1 = y (1 + y/2 (1 + y/3 (1 + …
  setSignificand(argument, a);
  mulWide(argument, argument, LN2);
  copyWide(factor, argument);
  shiftRight(factor, -a.exp);
  setWide(sum, 1);
  for (let n = EXPONENTIAL_TERMS; n >= 2; n--) {
    divideSmall(mulWide(sum, sum, factor), n);
    if (a.sign) oneMinus(sum);
    else onePlus(sum);
  }
  mulWide(sum, sum, argument);
  return fromWide(z, sum, a.exp, a.sign);
}

/** Terms of artanh for t² ≤ 0.0295, and of arctan for t² ≤ 1/64. */
const LOGARITHM_TERMS = 29;
const ARCTANGENT_TERMS = 25;

/** 1, 1/3, 1/5, … */
const ODD_RECIPROCALS: readonly Wide[] = Array.from({ length: LOGARITHM_TERMS + 1 }, (_, k) =>
  divideSmall(setWide(wide(), 1), 2 * k + 1),
);

/** z = Σ square^k / (2k + 1) (artanh t / t), square = t². */
function artanhSeries(z: Wide): void {
  copyWide(z, ODD_RECIPROCALS[LOGARITHM_TERMS]);
  for (let k = LOGARITHM_TERMS - 1; k >= 0; k--) {
    mulWide(z, z, square);
    addWide(z, z, ODD_RECIPROCALS[k]);
  }
}

/** z = Σ (−square)^k / (2k + 1) (arctan t / t), square = t². */
function arctanSeries(z: Wide): void {
  copyWide(z, ODD_RECIPROCALS[ARCTANGENT_TERMS]);
  for (let k = ARCTANGENT_TERMS - 1; k > 0; k--) {
    mulWide(z, z, square);
    subWide(z, ODD_RECIPROCALS[k], z);
  }
  oneMinus(mulWide(z, z, square));
}

const numerator = new Unpacked();
const denominator = wide();

/**
 * sum = 2/ln 2 × artanh(t) / 2^numerator.exp for t = numerator / denominator: the base-2 logarithm of (1 + t)/(1 − t).
 */
function logarithmOfRatio(): void {
  setSignificand(argument, numerator);
  mulWide(argument, argument, reciprocal(factor, denominator));
  mulWide(square, argument, argument);
  shiftRight(square, -2 * numerator.exp);
  artanhSeries(sum);
  mulWide(sum, sum, argument);
  mulWide(sum, sum, TWO_OVER_LN2);
}

/** The significand of √2, by its upper word: where the range of the logarithm's argument is cut. */
const SQRT2_HI = 0xb504f333;

const mantissa = wide();
const wholeLogarithm = new Unpacked();

/** z = y × log2(x). */
export function yTimesLog2(z: Unpacked, y: Unpacked, x: Unpacked): Unpacked {
  if (x.kind >= NAN || y.kind >= NAN) return propagateNan(z, x, y);
  if (x.kind === ZERO) {
    if (y.kind === ZERO) return invalid(z);
    if (y.kind === FINITE) fp.flags |= ZE;
    return setInfinity(z, y.sign ^ 1);
  }
  if (x.sign) return invalid(z);
  if (x.kind === INFINITE) {
    if (y.kind === ZERO) return invalid(z);
    noteDenormals(y, y);
    return setInfinity(z, y.sign);
  }
  const isPower = x.hi << 1 === 0 && x.lo === 0;
  const sign = x.exp < 0 ? y.sign ^ 1 : y.sign;
  if (isPower && x.exp === 0) {
    if (y.kind === INFINITE) return invalid(z);
    noteDenormals(y, y);
    return setZero(z, sign);
  }
  noteDenormals(x, y);
  if (y.kind === INFINITE) return setInfinity(z, sign);
  if (y.kind === ZERO) return setZero(z, sign);
  if (isPower) {
    unpackInt32(wholeLogarithm, x.exp);
    mul(z, y, wholeLogarithm);
    // Hardware calls even this inexact, and so an underflow if it is tiny.
    if (!fp.unmasked(PRE_COMPUTATION)) fp.flags |= z.exp < eminOf(EXTENDED) ? UE | PE : PE;
    return z;
  }
  // x = m × 2^k, m in [√½, √2); log2 m = log2((1 + t)/(1 − t)), t = (m − 1)/(m + 1).
  const halved = x.hi >>> 0 > SQRT2_HI;
  const k = halved ? x.exp + 1 : x.exp;
  subtractOne(x, halved);
  setSignificand(mantissa, x);
  if (halved) shiftRight(mantissa, 1);
  mantissa[0] += 1;
  copyWide(denominator, mantissa);
  logarithmOfRatio();
  let exp = numerator.exp;
  let negative = numerator.sign;
  if (k !== 0) {
    shiftRight(sum, -exp);
    exp = 0;
    setWide(argument, Math.abs(k));
    if (k < 0 === (negative !== 0)) addWide(sum, argument, sum);
    else subWide(sum, argument, sum);
    negative = k < 0 ? 1 : 0;
  }
  return timesY(z, y, exp, negative);
}

/** numerator = m − 1, exactly, for m the significand of `x` or half of it. */
function subtractOne(x: Unpacked, halved: boolean): void {
  copy(numerator, x);
  numerator.denormal = 0;
  if (halved) {
    numerator.sign = 1;
    numerator.lo = -x.lo | 0;
    numerator.hi = (~x.hi + (numerator.lo === 0 ? 1 : 0)) | 0;
    numerator.exp = -1;
  } else {
    numerator.sign = 0;
    numerator.hi = x.hi & 0x7fffffff;
    numerator.exp = 0;
  }
  normalize(numerator);
}

/** z = y × sum × 2^exp, negated if `negative`. */
function timesY(z: Unpacked, y: Unpacked, exp: number, negative: number): Unpacked {
  setSignificand(argument, y);
  mulWide(sum, sum, argument);
  return fromWide(z, sum, y.exp + exp, y.sign ^ negative);
}

/** z = y × log2(1 + x) for −(1 − √½) ≤ x ≤ √2 − 1; beyond, hardware's answer is undefined. */
export function yTimesLog2Plus1(z: Unpacked, y: Unpacked, x: Unpacked): Unpacked {
  if (x.kind >= NAN || y.kind >= NAN) return propagateNan(z, x, y);
  if ((x.kind === ZERO && y.kind === INFINITE) || (x.kind === INFINITE && (x.sign || y.kind === ZERO))) {
    return invalid(z);
  }
  noteDenormals(x, y);
  const sign = x.sign ^ y.sign;
  if (y.kind === INFINITE || x.kind === INFINITE) return setInfinity(z, sign);
  if (x.kind === ZERO || y.kind === ZERO) return setZero(z, sign);
  if (x.exp > 0) return copy(z, x);
  // 1 + x = (1 + t)/(1 − t) for t = x/(2 + x).
  copy(numerator, x);
  setSignificand(mantissa, x);
  shiftRight(mantissa, -x.exp);
  setWide(denominator, 2);
  if (x.sign) subWide(denominator, denominator, mantissa);
  else addWide(denominator, denominator, mantissa);
  logarithmOfRatio();
  return timesY(z, y, numerator.exp, x.sign);
}

/** arctan(i/8); made when it is first needed, which few programs do. */
let arctangents: readonly Wide[] | undefined;

function tabulateArctangents(): Wide[] {
  const table = [wide()];
  for (let i = 0; i < 8; i++) {
    // arctan((i+1)/8) − arctan(i/8) = arctan(8 / (64 + i (i+1)))
    const step = divideSmall(setWide(wide(), 8), 64 + i * (i + 1));
    mulWide(square, step, step);
    arctanSeries(sum);
    table.push(addWide(wide(), table[i], mulWide(sum, sum, step)));
  }
  return table;
}

const angle = wide();

/** z = the angle of the point (x, y), −π … π. */
export function arctangent(z: Unpacked, y: Unpacked, x: Unpacked): Unpacked {
  if (x.kind >= NAN || y.kind >= NAN) return propagateNan(z, x, y);
  noteDenormals(x, y);
  if (y.kind === ZERO || (x.kind === INFINITE && y.kind !== INFINITE)) {
    return x.sign ? fromWide(z, PI, 0, y.sign) : setZero(z, y.sign);
  }
  if (x.kind === ZERO || (y.kind === INFINITE && x.kind !== INFINITE)) return fromWide(z, HALF_PI, 0, y.sign);
  if (x.kind === INFINITE) {
    // π/4 or 3π/4
    shiftRight(copyWide(angle, HALF_PI), 1);
    if (x.sign) addWide(angle, HALF_PI, angle);
    return fromWide(z, angle, 0, y.sign);
  }
  const steep = x.exp === y.exp ? significandLess(x, y) : x.exp < y.exp;
  const exp = steep ? arctangentOfRatio(x, y) : arctangentOfRatio(y, x);
  if (!steep && !x.sign) return fromWide(z, angle, exp, y.sign);
  shiftRight(angle, -exp);
  const base = steep ? HALF_PI : PI;
  // Down from the y axis to the right of it, on to the left of it; down from the negative x axis.
  if (steep && x.sign) addWide(angle, base, angle);
  else subWide(angle, base, angle);
  return fromWide(z, angle, 0, y.sign);
}

/** angle = arctan(|n/d|) / 2^exp, n ≤ d in magnitude. @returns exp ≤ 0. */
function arctangentOfRatio(n: Unpacked, d: Unpacked): number {
  arctangents ??= tabulateArctangents();
  const exp = n.exp - d.exp;
  setSignificand(denominator, d);
  setSignificand(argument, n);
  mulWide(argument, argument, reciprocal(factor, denominator));
  copyWide(mantissa, argument);
  shiftRight(mantissa, -exp);
  const nearest = Math.round((mantissa[0] + mantissa[1] / 2 ** 24) * 8);
  if (nearest === 0) {
    mulWide(square, mantissa, mantissa);
    arctanSeries(sum);
    mulWide(angle, sum, argument);
    return exp;
  }
  // arctan q = arctan c + arctan((q − c)/(1 + q c)), c = nearest/8
  setWide(denominator, nearest);
  divideSmall(denominator, 8);
  const below = differenceWide(argument, mantissa, denominator);
  onePlus(mulWide(denominator, denominator, mantissa));
  mulWide(argument, argument, reciprocal(factor, denominator));
  mulWide(square, argument, argument);
  arctanSeries(sum);
  mulWide(sum, sum, argument);
  if (below) subWide(angle, arctangents[nearest], sum);
  else addWide(angle, arctangents[nearest], sum);
  return 0;
}
