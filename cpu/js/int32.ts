/** Expressions of int32 parts; constants fold. */
import { CONDITION, constant, expression, INTEGER, integer, type Part, unsigned, ZERO } from './value.ts';

/** An int32 expression by its text. */
export function int(text: string, ...operands: Part[]): Part {
  return expression(text, INTEGER, ...operands);
}

export function condition(text: string, ...operands: Part[]): Part {
  return expression(text, CONDITION, ...operands);
}

function truth(value: boolean): Part {
  return constant(value ? 1 : 0);
}

export function add(a: Part, b: Part): Part {
  if (a.constant !== undefined) {
    if (b.constant !== undefined) return constant((a.constant + b.constant) | 0);
    return add(b, a);
  }
  if (b.constant === 0) return a;
  if (b.constant !== undefined && b.constant < 0) return int(`(${a.text}-${-b.constant}|0)`, a);
  return int(`(${a.text}+${b.text}|0)`, a, b);
}

export function sub(a: Part, b: Part): Part {
  if (b.constant !== undefined) return add(a, constant(-b.constant | 0));
  return int(`(${a.text}-${b.text}|0)`, a, b);
}

export function mul(a: Part, b: Part): Part {
  if (a.constant === 0 || b.constant === 0) return ZERO;
  if (a.constant === 1) return b;
  if (b.constant === 1) return a;
  return int(`imul(${a.text},${b.text})`, a, b);
}

export function and(a: Part, b: Part): Part {
  if (a.kind === CONDITION && b.kind === CONDITION) return condition(`(${a.text}&&${b.text})`, a, b);
  if (a.kind === CONDITION && b.constant === 1) return a;
  if (b.kind === CONDITION && a.constant === 1) return b;
  a = integer(a);
  b = integer(b);
  if (a.constant !== undefined) {
    if (b.constant !== undefined) return constant(a.constant & b.constant);
    return and(b, a);
  }
  if (b.constant === 0) return ZERO;
  if (b.constant === -1) return a;
  return int(`(${a.text}&${b.text})`, a, b);
}

export function or(a: Part, b: Part): Part {
  if (a.kind === CONDITION && b.kind === CONDITION) return condition(`(${a.text}||${b.text})`, a, b);
  if (a.constant === 0) return b;
  if (b.constant === 0) return a;
  a = integer(a);
  b = integer(b);
  if (a.constant !== undefined && b.constant !== undefined) return constant(a.constant | b.constant);
  return int(`(${a.text}|${b.text})`, a, b);
}

export function xor(a: Part, b: Part): Part {
  if (a.kind === CONDITION && b.kind === CONDITION) return condition(`(${a.text}!==${b.text})`, a, b);
  if (a.constant === 0) return b;
  if (b.constant === 0) return a;
  if (a.kind === CONDITION && b.constant === 1) return isZero(a);
  a = integer(a);
  b = integer(b);
  if (a.constant !== undefined && b.constant !== undefined) return constant(a.constant ^ b.constant);
  return int(`(${a.text}^${b.text})`, a, b);
}

export function not(a: Part): Part {
  return a.constant === undefined ? int(`(~${a.text})`, a) : constant(~a.constant);
}

export function shl(a: Part, n: Part): Part {
  if (n.constant === undefined) return int(`(${a.text}<<${n.text})`, a, n);
  const count = n.constant & 31;
  if (count === 0) return a;
  return a.constant === undefined ? int(`(${a.text}<<${count})`, a) : constant(a.constant << count);
}

export function shrS(a: Part, n: Part): Part {
  if (n.constant === undefined) return int(`(${a.text}>>${n.text})`, a, n);
  const count = n.constant & 31;
  if (count === 0) return a;
  return a.constant === undefined ? int(`(${a.text}>>${count})`, a) : constant(a.constant >> count);
}

export function shrU(a: Part, n: Part): Part {
  if (n.constant === undefined) return int(`(${a.text}>>>${n.text}|0)`, a, n);
  const count = n.constant & 31;
  if (count === 0) return a;
  return a.constant === undefined ? int(`(${a.text}>>>${count})`, a) : constant(a.constant >>> count);
}

/** `a` is printed twice. JavaScript takes shift counts modulo 32, so -n stands for 32 - n. */
export function rotl(a: Part, n: Part): Part {
  if (n.constant === undefined) return int(`(${a.text}<<${n.text}|${a.text}>>>-${n.text})`, a, n);
  const count = n.constant & 31;
  return count === 0 ? a : int(`(${a.text}<<${count}|${a.text}>>>${32 - count})`, a);
}

export function rotr(a: Part, n: Part): Part {
  if (n.constant === undefined) return int(`(${a.text}>>>${n.text}|${a.text}<<-${n.text})`, a, n);
  return rotl(a, constant(-n.constant & 31));
}

export function extend(a: Part, bits: number): Part {
  const shift = constant(32 - bits);
  return shrS(shl(a, shift), shift);
}

export function isZero(a: Part): Part {
  if (a.constant !== undefined) return truth(a.constant === 0);
  return a.kind === CONDITION ? condition(`(!${a.text})`, a) : condition(`(${a.text}===0)`, a);
}

export function equal(a: Part, b: Part): Part {
  if (a.constant !== undefined && b.constant !== undefined) return truth(a.constant === b.constant);
  return condition(`(${a.text}===${b.text})`, a, b);
}

export function notEqual(a: Part, b: Part): Part {
  if (a.constant !== undefined && b.constant !== undefined) return truth(a.constant !== b.constant);
  return condition(`(${a.text}!==${b.text})`, a, b);
}

/** `operator`: < > <= >=. */
export function lessS(operator: string, a: Part, b: Part): Part {
  return condition(`(${a.text}${operator}${b.text})`, a, b);
}

export function lessU(operator: string, a: Part, b: Part): Part {
  if (b.constant === 0 && operator === '<') return truth(false);
  return condition(`(${unsigned(a)}${operator}${unsigned(b)})`, a, b);
}

/** `condition` (a condition or an int32) chooses between parts of one kind. */
export function choose(chooser: Part, a: Part, b: Part): Part {
  if (chooser.constant !== undefined) return chooser.constant !== 0 ? a : b;
  if (a.text === b.text) return a;
  if (a.kind !== b.kind) {
    a = integer(a);
    b = integer(b);
  }
  return expression(`(${chooser.text}?${a.text}:${b.text})`, a.kind, chooser, a, b);
}
