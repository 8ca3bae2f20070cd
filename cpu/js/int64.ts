/** 64-bit operations on pairs of int32 parts (low, high). */
import * as op from '../ir/ops.ts';
import * as w from './int32.ts';
import { constant, type Part, unsigned, ZERO } from './value.ts';

type Pair = readonly [Part, Part];

/** Puts a part in a variable unless it is a name or number already, so that it can be printed more than once. */
export type Keep = (part: Part) => Part;

function add(keep: Keep, [al, ah]: Pair, [bl, bh]: Pair): Pair {
  if (al.constant !== undefined)
    return bl.constant === undefined ? add(keep, [bl, bh], [al, ah]) : fold(al, ah, bl, bh);
  if (bl.constant === 0) return [al, w.add(ah, bh)];
  const a = keep(al);
  if (bl.constant !== undefined && bl.constant < 0 && bh.constant === -1) {
    // A small number is taken away.
    const small = -bl.constant;
    return [w.add(a, bl), w.int(`(${ah.text}-(${unsigned(a)}<${small}|0)|0)`, ah, a)];
  }
  const b = keep(bl);
  const low = keep(w.add(a, b));
  const carry = `(${unsigned(low)}<${unsigned(b)}|0)`;
  const high = w.add(ah, bh);
  if (high.constant === 0) return [low, w.int(carry, low, b)];
  return [low, w.int(`(${high.text}+${carry}|0)`, high, low, b)];
}

function fold(al: Part, ah: Part, bl: Part, bh: Part): Pair {
  const low = w.add(al, bl);
  const carry = low.constant! >>> 0 < al.constant! >>> 0 ? 1 : 0;
  return [low, w.add(w.add(ah, bh), constant(carry))];
}

function sub(keep: Keep, [al, ah]: Pair, [bl, bh]: Pair): Pair {
  if (bl.constant === 0) return [al, w.sub(ah, bh)];
  const a = keep(al);
  const b = keep(bl);
  const high = w.sub(ah, bh);
  return [w.sub(a, b), w.int(`(${high.text}-(${unsigned(a)}<${unsigned(b)}|0)|0)`, high, a, b)];
}

function mul(keep: Keep, [al, ah]: Pair, [bl, bh]: Pair): Pair {
  const a = keep(al);
  const b = keep(bl);
  const cross = w.add(w.mul(ah, b), w.mul(a, bh));
  return [w.mul(a, b), w.add(w.int(`mulhu(${a.text},${b.text})`, a, b), cross)];
}

/** Division by a function of the run-time library, which leaves the upper half in the scratch memory. */
function divide(keep: Keep, functionName: string, [al, ah]: Pair, [bl, bh]: Pair): Pair {
  const low = keep(w.int(`${functionName}(${al.text},${ah.text},${bl.text},${bh.text})`, al, ah, bl, bh));
  return [low, keep({ ...w.int('si[1]'), memory: true })];
}

export function shl(keep: Keep, [al, ah]: Pair, n: Part): Pair {
  if (n.constant === undefined) {
    const [l, count] = [keep(al), keep(n)];
    return [
      w.int(`shll(${l.text},${count.text})`, l, count),
      w.int(`shlh(${l.text},${ah.text},${count.text})`, l, ah, count),
    ];
  }
  const count = n.constant & 63;
  if (count === 0) return [al, ah];
  if (count >= 32) return [ZERO, w.shl(al, constant(count - 32))];
  const l = keep(al);
  return [w.shl(l, n), w.or(w.shl(ah, n), w.shrU(l, constant(32 - count)))];
}

export function shrU(keep: Keep, [al, ah]: Pair, n: Part): Pair {
  if (n.constant === undefined) {
    const [h, count] = [keep(ah), keep(n)];
    return [
      w.int(`shrl(${al.text},${h.text},${count.text})`, al, h, count),
      w.int(`shrh(${h.text},${count.text})`, h, count),
    ];
  }
  const count = n.constant & 63;
  if (count === 0) return [al, ah];
  if (count >= 32) return [w.shrU(ah, constant(count - 32)), ZERO];
  const h = keep(ah);
  return [w.or(w.shrU(al, n), w.shl(h, constant(32 - count))), w.shrU(h, n)];
}

export function shrS(keep: Keep, [al, ah]: Pair, n: Part): Pair {
  if (n.constant === undefined) {
    const [h, count] = [keep(ah), keep(n)];
    return [
      w.int(`sarl(${al.text},${h.text},${count.text})`, al, h, count),
      w.int(`sarh(${h.text},${count.text})`, h, count),
    ];
  }
  const count = n.constant & 63;
  if (count === 0) return [al, ah];
  const h = keep(ah);
  const sign = w.shrS(h, constant(31));
  if (count >= 32) return [w.shrS(h, constant(count - 32)), sign];
  return [w.or(w.shrU(al, n), w.shl(h, constant(32 - count))), w.shrS(h, n)];
}

function rotl(keep: Keep, [al, ah]: Pair, n: Part): Pair {
  const [l, h] = [keep(al), keep(ah)];
  if (n.constant === undefined) {
    const count = keep(n);
    const half = (x: Part, y: Part) => w.int(`rotl(${x.text},${y.text},${count.text})`, x, y, count);
    return [half(l, h), half(h, l)];
  }
  const count = n.constant & 31;
  const [x, y] = n.constant & 32 ? [h, l] : [l, h];
  if (count === 0) return [x, y];
  const half = (a: Part, b: Part) => w.or(w.shl(a, constant(count)), w.shrU(b, constant(32 - count)));
  return [half(x, y), half(y, x)];
}

function negated(n: Part): Part {
  return w.sub(ZERO, n);
}

const BINARY: Record<number, (keep: Keep, a: Pair, b: Pair) => Pair> = {
  [op.I64_ADD]: add,
  [op.I64_SUB]: sub,
  [op.I64_MUL]: mul,
  [op.I64_DIV_S]: (keep, a, b) => divide(keep, 'divs', a, b),
  [op.I64_DIV_U]: (keep, a, b) => divide(keep, 'divu', a, b),
  [op.I64_REM_S]: (keep, a, b) => divide(keep, 'rems', a, b),
  [op.I64_REM_U]: (keep, a, b) => divide(keep, 'remu', a, b),
  [op.I64_AND]: (_, a, b) => [w.and(a[0], b[0]), w.and(a[1], b[1])],
  [op.I64_OR]: (_, a, b) => [w.or(a[0], b[0]), w.or(a[1], b[1])],
  [op.I64_XOR]: (_, a, b) => [w.xor(a[0], b[0]), w.xor(a[1], b[1])],
  [op.I64_SHL]: (keep, a, [n]) => shl(keep, a, n),
  [op.I64_SHR_S]: (keep, a, [n]) => shrS(keep, a, n),
  [op.I64_SHR_U]: (keep, a, [n]) => shrU(keep, a, n),
  [op.I64_ROTL]: (keep, a, [n]) => rotl(keep, a, n),
  [op.I64_ROTR]: (keep, a, [n]) => rotl(keep, a, negated(n)),
};

const UNARY: Record<number, (keep: Keep, low: Part, high: Part) => Pair> = {
  [op.I64_CLZ]: (keep, l, h) => [countZeros(keep, 'clz', h, l), ZERO],
  [op.I64_CTZ]: (keep, l, h) => [countZeros(keep, 'ctz', l, h), ZERO],
  [op.I64_POPCNT]: (_, l, h) => [w.int(`(popcnt(${l.text})+popcnt(${h.text}))`, l, h), ZERO],
  [op.I64_EXTEND8_S]: (keep, l) => signed(keep(w.extend(l, 8))),
  [op.I64_EXTEND16_S]: (keep, l) => signed(keep(w.extend(l, 16))),
  [op.I64_EXTEND32_S]: (keep, l) => signed(keep(l)),
};

/** Zeros of the half that comes first, and of the other if that is zero. */
function countZeros(keep: Keep, functionName: string, first: Part, then: Part): Part {
  const a = keep(first);
  return w.int(`(${a.text}===0?32+${functionName}(${then.text}):${functionName}(${a.text}))`, a, then);
}

/** Sign-extends an atom. */
export function signed(low: Part): Pair {
  return [low, w.shrS(low, constant(31))];
}

/** An operation with an i64 result on i64 operands. */
export function operation(keep: Keep, opcode: number, a: Pair, b: Pair | undefined): Pair {
  return b === undefined ? UNARY[opcode](keep, a[0], a[1]) : BINARY[opcode](keep, a, b);
}

// --- comparisons ------------------------------------------------------------------------------------------------------

export function isZero([al, ah]: Pair): Part {
  return w.isZero(w.or(al, ah));
}

function difference([al, ah]: Pair, [bl, bh]: Pair): Part {
  return w.or(w.xor(al, bl), w.xor(ah, bh));
}

/** Is this the sign extension of an int32 constant? */
function isSmall([low, high]: Pair): boolean {
  return low.constant !== undefined && high.constant === low.constant >> 31;
}

/** `strict`: < or >; `last`: the operator for the low halves when the high ones are equal. */
function ordered(keep: Keep, strict: string, last: string, isSigned: boolean, a: Pair, b: Pair): Part {
  const [al, ah] = a;
  const [bl, bh] = b;
  if (ah.constant !== undefined && ah.constant === bh.constant) return w.lessU(last, al, bl);
  // The sign alone decides.
  if (isSigned && isSmall(b) && bl.constant === 0 && last === '<') return w.lessS('<', ah, ZERO);
  if (isSigned && isSmall(b) && bl.constant === 0 && last === '>=') return w.lessS('>=', ah, ZERO);
  if (!isSigned && bh.constant === 0 && strict === '>') return w.or(w.notEqual(ah, ZERO), w.lessU(last, al, bl));
  if (!isSigned && bh.constant === 0 && strict === '<') return w.and(w.equal(ah, ZERO), w.lessU(last, al, bl));
  const [x, y] = [keep(ah), keep(bh)];
  const high = isSigned ? w.lessS(strict, x, y) : w.lessU(strict, x, y);
  return w.or(high, w.and(w.equal(x, y), w.lessU(last, al, bl)));
}

const COMPARISONS: Record<number, (keep: Keep, a: Pair, b: Pair) => Part> = {
  [op.I64_EQ]: (_, a, b) => w.isZero(difference(a, b)),
  [op.I64_NE]: (_, a, b) => w.notEqual(difference(a, b), ZERO),
  [op.I64_LT_S]: (keep, a, b) => ordered(keep, '<', '<', true, a, b),
  [op.I64_LT_U]: (keep, a, b) => ordered(keep, '<', '<', false, a, b),
  [op.I64_GT_S]: (keep, a, b) => ordered(keep, '>', '>', true, a, b),
  [op.I64_GT_U]: (keep, a, b) => ordered(keep, '>', '>', false, a, b),
  [op.I64_LE_S]: (keep, a, b) => ordered(keep, '<', '<=', true, a, b),
  [op.I64_LE_U]: (keep, a, b) => ordered(keep, '<', '<=', false, a, b),
  [op.I64_GE_S]: (keep, a, b) => ordered(keep, '>', '>=', true, a, b),
  [op.I64_GE_U]: (keep, a, b) => ordered(keep, '>', '>=', false, a, b),
};

/** A comparison (I64_EQ … I64_GE_U) as a condition. */
export function compare(keep: Keep, opcode: number, a: Pair, b: Pair): Part {
  return COMPARISONS[opcode](keep, a, b);
}
