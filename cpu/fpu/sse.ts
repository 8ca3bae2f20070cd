/**
 * SSE floating-point semantics on lanes in memory: what the CPU's exact path calls when native arithmetic will not do
 * (MXCSR not at its default, or its flags wanted). SDM vol. 1, 11.5; instruction pages in vol. 2.
 *
 * An instruction is `beginSse(mxcsr)`, then the function of its kind, which does all lanes, writes the destination and
 * returns the exceptions raised. If one of them is unmasked (`fp.unmasked(0x3f)`) the destination was *not* written;
 * the caller ORs the flags into MXCSR and delivers #XM. Operands are indices (in words) of lane 0 in an Int32Array;
 * source and destination may be the same.
 */
import { add, mul, sub } from './arith.ts';
import {
  COMPARE_EFLAGS,
  compare,
  EQUAL,
  GREATER,
  integer,
  LESS,
  roundToIntegral,
  toInteger,
  UNORDERED,
} from './convert.ts';
import { div, sqrt } from './divide.ts';
import {
  BINARY32,
  BINARY64,
  fp,
  NAN,
  noteDenormals,
  PE,
  PRE_COMPUTATION,
  propagateNan,
  RC_ZERO,
  Unpacked,
  ZERO,
} from './float.ts';
import { round } from './round.ts';
import { pack32, pack64Hi, pack64Lo, unpack32, unpack64, unpackInt32, unpackInt64 } from './unpack.ts';

const MXCSR_DAZ = 1 << 6;
const MXCSR_MASKS_SHIFT = 7;
const MXCSR_RC_SHIFT = 13;
const MXCSR_FTZ = 1 << 15;

/** Starts an instruction: environment from MXCSR, no exceptions yet. */
export function beginSse(mxcsr: number): void {
  fp.x87 = false;
  fp.flags = 0;
  fp.rc = (mxcsr >>> MXCSR_RC_SHIFT) & 3;
  fp.masks = (mxcsr >>> MXCSR_MASKS_SHIFT) & 0x3f;
  fp.daz = (mxcsr & MXCSR_DAZ) !== 0;
  fp.ftz = (mxcsr & MXCSR_FTZ) !== 0;
}

/** Operations of two operands, numbered as the opcodes 0F 58…5F. */
export const SSE_ADD = 0x58;
export const SSE_MUL = 0x59;
export const SSE_SUB = 0x5c;
export const SSE_MIN = 0x5d;
export const SSE_DIV = 0x5e;
export const SSE_MAX = 0x5f;

const a = new Unpacked();
const b = new Unpacked();
const z = new Unpacked();
/** Results wait here until no lane has raised an unmasked exception. */
const result = new Int32Array(4);

/** Rounds `z` unless an unmasked exception already forbids a result. */
function finish(double: boolean): void {
  if (!fp.unmasked(PRE_COMPUTATION)) round(z, double ? BINARY64 : BINARY32);
}

function load(x: Unpacked, mem: Int32Array, at: number, lane: number, double: boolean): void {
  if (double) unpack64(x, mem[at + 2 * lane], mem[at + 2 * lane + 1]);
  else unpack32(x, mem[at + lane]);
}

function storeResult(lane: number, double: boolean): void {
  if (double) {
    result[2 * lane] = pack64Lo(z);
    result[2 * lane + 1] = pack64Hi(z);
  } else {
    result[lane] = pack32(z);
  }
}

/**
 * An unmasked exception of one lane before computing keeps every lane from being computed (SDM vol. 1, 11.5.3).
 * @param earlier exceptions of steps that were computed before.
 */
function settle(earlier = 0): void {
  if (fp.unmasked(PRE_COMPUTATION)) fp.flags &= PRE_COMPUTATION | earlier;
}

/** Writes the first `words` of `result`, if no exception is unmasked. @returns the exceptions raised. */
function commit(mem: Int32Array, dst: number, words: number, earlier = 0): number {
  settle(earlier);
  if (!fp.unmasked(0x3f)) for (let i = 0; i < words; i++) mem[dst + i] = result[i];
  return fp.flags;
}

function operate(op: number): Unpacked {
  switch (op) {
    case SSE_ADD:
      return add(z, a, b);
    case SSE_MUL:
      return mul(z, a, b);
    case SSE_SUB:
      return sub(z, a, b);
    default:
      return div(z, a, b);
  }
}

/**
 * ADD, SUB, MUL, DIV, MIN, MAX (PS, PD, SS, SD): dst = first op second.
 * @param op `SSE_ADD` … `SSE_MAX`. @param lanes 1 for the scalar forms (upper lanes are left), else 4 or 2.
 */
export function sseArithmetic(
  op: number,
  double: boolean,
  lanes: number,
  mem: Int32Array,
  dst: number,
  first: number,
  second: number,
): number {
  for (let lane = 0; lane < lanes; lane++) {
    load(a, mem, first, lane, double);
    load(b, mem, second, lane, double);
    if (op === SSE_MIN || op === SSE_MAX) {
      selectExtreme(op, mem, lane, first, second, double);
    } else {
      operate(op);
      finish(double);
      storeResult(lane, double);
    }
  }
  return commit(mem, dst, lanes << (double ? 1 : 0));
}

/** ADDSUBPS, ADDSUBPD: even lanes subtract, odd lanes add. */
export function sseAddSub(double: boolean, mem: Int32Array, dst: number, first: number, second: number): number {
  const lanes = double ? 2 : 4;
  for (let lane = 0; lane < lanes; lane++) {
    load(a, mem, first, lane, double);
    load(b, mem, second, lane, double);
    operate(lane & 1 ? SSE_ADD : SSE_SUB);
    finish(double);
    storeResult(lane, double);
  }
  return commit(mem, dst, 4);
}

/** HADDPS/HADDPD, HSUBPS/HSUBPD: neighbours of the first operand, then of the second. @param op `SSE_ADD` or `SSE_SUB`. */
export function sseHorizontal(
  op: number,
  double: boolean,
  mem: Int32Array,
  dst: number,
  first: number,
  second: number,
): number {
  const half = double ? 1 : 2;
  for (let lane = 0; lane < 2 * half; lane++) {
    const source = lane < half ? first : second;
    const pair = 2 * (lane % half);
    load(a, mem, source, pair, double);
    load(b, mem, source, pair + 1, double);
    operate(op);
    finish(double);
    storeResult(lane, double);
  }
  return commit(mem, dst, 4);
}

/** MINxx/MAXxx: not commutative; a NaN or two zeros give the second operand as it is (zero, if DAZ made it one). */
function selectExtreme(
  op: number,
  mem: Int32Array,
  lane: number,
  first: number,
  second: number,
  double: boolean,
): void {
  const relation = compare(a, b, false);
  const takeFirst = relation === (op === SSE_MIN ? LESS : GREATER);
  const chosen = takeFirst ? a : b;
  const source = takeFirst ? first : second;
  const flushed = chosen.kind === ZERO;
  if (double) {
    const hi = mem[source + 2 * lane + 1];
    result[2 * lane] = flushed ? 0 : mem[source + 2 * lane];
    result[2 * lane + 1] = flushed ? hi & 0x80000000 : hi;
  } else {
    const bits = mem[source + lane];
    result[lane] = flushed ? bits & 0x80000000 : bits;
  }
}

/** SQRTPS, SQRTPD, SQRTSS, SQRTSD. */
export function sseSqrt(double: boolean, lanes: number, mem: Int32Array, dst: number, src: number): number {
  for (let lane = 0; lane < lanes; lane++) {
    load(a, mem, src, lane, double);
    sqrt(z, a);
    finish(double);
    storeResult(lane, double);
  }
  return commit(mem, dst, lanes << (double ? 1 : 0));
}

/** ROUNDPS, ROUNDPD, ROUNDSS, ROUNDSD. @param imm bits 1:0 rounding, bit 2 "use MXCSR.RC", bit 3 "suppress PE". */
export function sseRound(
  double: boolean,
  lanes: number,
  imm: number,
  mem: Int32Array,
  dst: number,
  src: number,
): number {
  const rc = imm & 4 ? fp.rc : imm & 3;
  for (let lane = 0; lane < lanes; lane++) {
    load(a, mem, src, lane, double);
    if (a.kind < NAN) a.denormal = 0;
    roundToIntegral(z, a, rc);
    if (imm & 8) fp.flags &= ~PE;
    storeResult(lane, double);
  }
  return commit(mem, dst, lanes << (double ? 1 : 0));
}

/** CMPPS, CMPPD, CMPSS, CMPSD: all ones where the predicate holds. @param predicate imm8 bits 2:0, EQ … ORD. */
export function sseCompare(
  predicate: number,
  double: boolean,
  lanes: number,
  mem: Int32Array,
  dst: number,
  first: number,
  second: number,
): number {
  for (let lane = 0; lane < lanes; lane++) {
    load(a, mem, first, lane, double);
    load(b, mem, second, lane, double);
    // LT, LE and their negations signal on quiet NaNs; EQ and UNORD and theirs do not.
    const base = predicate & 3;
    const relation = compare(a, b, base === 0 || base === 3);
    const holds =
      base === 0
        ? relation === EQUAL
        : base === 1
          ? relation === LESS
          : base === 2
            ? relation === LESS || relation === EQUAL
            : relation === UNORDERED;
    const mask = holds !== predicate >= 4 ? -1 : 0;
    if (double) result[2 * lane] = result[2 * lane + 1] = mask;
    else result[lane] = mask;
  }
  return commit(mem, dst, lanes << (double ? 1 : 0));
}

/** COMISS, COMISD and (quiet) UCOMISS, UCOMISD. @returns EFLAGS bits CF, PF, ZF; exceptions are in `fp.flags`. */
export function sseCompareFlags(
  quiet: boolean,
  double: boolean,
  mem: Int32Array,
  first: number,
  second: number,
): number {
  load(a, mem, first, 0, double);
  load(b, mem, second, 0, double);
  return COMPARE_EFLAGS[compare(a, b, quiet)];
}

/** CVTPS2PD, CVTSS2SD. @param lanes 1 or 2. */
export function sseSingleToDouble(lanes: number, mem: Int32Array, dst: number, src: number): number {
  for (let lane = 0; lane < lanes; lane++) convertFormat(lane, mem, src, false);
  return commit(mem, dst, 2 * lanes);
}

/** CVTPD2PS (clears the upper half), CVTSD2SS. @param lanes 1 or 2. */
export function sseDoubleToSingle(lanes: number, mem: Int32Array, dst: number, src: number): number {
  result[2] = result[3] = 0;
  for (let lane = 0; lane < lanes; lane++) convertFormat(lane, mem, src, true);
  return commit(mem, dst, lanes === 1 ? 1 : 4);
}

function convertFormat(lane: number, mem: Int32Array, src: number, fromDouble: boolean): void {
  load(z, mem, src, lane, fromDouble);
  if (z.kind === NAN) propagateNan(z, z, z);
  else noteDenormals(z, z);
  finish(!fromDouble);
  storeResult(lane, !fromDouble);
}

/** CVTDQ2PS, CVTDQ2PD, CVTPI2PS, CVTPI2PD, CVTSI2SS, CVTSI2SD of 32-bit integers. */
export function sseFromInt32(double: boolean, lanes: number, mem: Int32Array, dst: number, src: number): number {
  for (let lane = 0; lane < lanes; lane++) {
    unpackInt32(z, mem[src + lane]);
    finish(double);
    storeResult(lane, double);
  }
  return commit(mem, dst, lanes << (double ? 1 : 0));
}

/** CVTSI2SS, CVTSI2SD of a 64-bit integer, given as words. */
export function sseFromInt64(double: boolean, mem: Int32Array, dst: number, lo: number, hi: number): number {
  unpackInt64(z, lo, hi);
  finish(double);
  storeResult(0, double);
  return commit(mem, dst, double ? 2 : 1);
}

/**
 * CVTPS2DQ, CVTTPS2DQ, CVTPS2PI, CVTTPS2PI, CVTPD2DQ, CVTTPD2DQ, CVTPD2PI, CVTTPD2PI.
 * @param words words of the destination to write; those past `lanes` are cleared (CVTPD2DQ: 4).
 */
export function sseToInt32(
  truncate: boolean,
  double: boolean,
  lanes: number,
  words: number,
  mem: Int32Array,
  dst: number,
  src: number,
): number {
  result[2] = result[3] = 0;
  for (let lane = 0; lane < lanes; lane++) {
    load(a, mem, src, lane, double);
    toInteger(a, 32, truncate ? RC_ZERO : fp.rc);
    result[lane] = integer.lo;
  }
  return commit(mem, dst, words);
}

/**
 * CVTSS2SI, CVTTSS2SI, CVTSD2SI, CVTTSD2SI. @param width 32 or 64.
 * @returns the exceptions; the result is `integer` of convert.ts, to be used if none is unmasked.
 */
export function sseToInteger(truncate: boolean, double: boolean, width: number, mem: Int32Array, src: number): number {
  load(a, mem, src, 0, double);
  toInteger(a, width, truncate ? RC_ZERO : fp.rc);
  return fp.flags;
}

const products = new Int32Array(4);

/**
 * DPPS, DPPD: products of the lanes chosen by imm8 bits 7:4, summed pairwise with rounding at every step, to the lanes
 * chosen by bits 3:0. An unmasked exception in one step ends it.
 */
export function sseDotProduct(
  double: boolean,
  imm: number,
  mem: Int32Array,
  dst: number,
  first: number,
  second: number,
): number {
  const lanes = double ? 2 : 4;
  result.fill(0);
  for (let lane = 0; lane < lanes; lane++) {
    if (!(imm & (0x10 << lane))) continue;
    load(a, mem, first, lane, double);
    load(b, mem, second, lane, double);
    mul(z, a, b);
    finish(double);
    storeResult(lane, double);
  }
  settle();
  if (fp.unmasked(0x3f)) return fp.flags;
  products.set(result);
  let earlier = fp.flags;
  addProducts(0, 1, double);
  if (!double) {
    addProducts(2, 3, double);
    settle(earlier);
    if (fp.unmasked(0x3f)) return fp.flags;
    earlier = fp.flags;
    addProducts(0, 2, double);
  }
  for (let i = 0; i < 4; i++) {
    const lane = double ? i >> 1 : i;
    result[i] = imm & (1 << lane) ? products[double ? i & 1 : 0] : 0;
  }
  return commit(mem, dst, 4, earlier);
}

/** products[i] += products[j], lanes. */
function addProducts(i: number, j: number, double: boolean): void {
  load(a, products, 0, i, double);
  load(b, products, 0, j, double);
  add(z, a, b);
  finish(double);
  if (double) {
    products[2 * i] = pack64Lo(z);
    products[2 * i + 1] = pack64Hi(z);
  } else {
    products[i] = pack32(z);
  }
}
