/**
 * Values while code is printed. WebAssembly's become one or more *parts*: an i32 is one int32, an i64 two (low, high), a
 * v128 four, a float one number. A part is an expression that has not been printed yet.
 */
import { T_I32, T_V128 } from '../ir/ops.ts';

/** What a part evaluates to: an int32; a condition (a boolean, for 0 or 1); a float. */
export const INTEGER = 0;
export const CONDITION = 1;
export const NUMBER = 2;

export interface Part {
  /** The expression: an atom, a call, or in parentheses. */
  readonly text: string;
  readonly kind: number;
  /** Its value, if that is known (INTEGER). */
  readonly constant: number | undefined;
  /** A name or a number: may be printed more than once. */
  readonly atom: boolean;
  /** Locals of the function whose change would change it. */
  readonly locals: readonly number[];
  /** Does it read memory? */
  readonly memory: boolean;
}

export interface Value {
  /** T_*. */
  readonly type: number;
  readonly parts: readonly Part[];
  /** Of a float: its bits as int32 parts, where they are known. */
  readonly bits?: readonly Part[];
}

/** Parts of a value of each type T_*. */
export const PARTS = [0, 1, 2, 1, 1, 4];

const NONE: readonly number[] = [];

export function constant(value: number): Part {
  // Behind another minus a bare one would be a decrement.
  const text = value < 0 ? `(${value})` : `${value}`;
  return { text, kind: INTEGER, constant: value, atom: true, locals: NONE, memory: false };
}

export const ZERO = constant(0);

export function name(text: string, kind: number, local?: number): Part {
  const locals = local === undefined ? NONE : [local];
  return { text, kind, constant: undefined, atom: true, locals, memory: false };
}

/** An expression made of `operands`. */
export function expression(text: string, kind: number, ...operands: Part[]): Part {
  let locals = NONE;
  let memory = false;
  for (const operand of operands) {
    if (operand.locals.length > 0) locals = locals.length === 0 ? operand.locals : [...locals, ...operand.locals];
    memory ||= operand.memory;
  }
  return { text, kind, constant: undefined, atom: false, locals, memory };
}

/** A read of memory whose address is made of `operands`. */
export function memoryRead(text: string, ...operands: Part[]): Part {
  return { ...expression(text, INTEGER, ...operands), memory: true };
}

/** A part as an int32. (V8 makes no branch of `|0`, other than of `?1:0`.) */
export function integer(part: Part): Part {
  return part.kind === CONDITION ? expression(`(${part.text}|0)`, INTEGER, part) : part;
}

/** The int32 as an unsigned number, for comparisons and divisions. */
export function unsigned(part: Part): string {
  return part.constant === undefined ? `${part.text}>>>0` : `${part.constant >>> 0}`;
}

export function i32(part: Part): Value {
  return { type: T_I32, parts: [part] };
}

export function vector(parts: readonly Part[]): Value {
  return { type: T_V128, parts };
}
