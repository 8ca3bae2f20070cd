/** Sources of JavaScript functions that share the machine's memory and the library. */
import { LANES_SOURCE } from './lanes.ts';
import { LIBRARY_NAMES } from './library.ts';
import { type PrintContext, printFunction } from './printer.ts';

export interface FunctionCode {
  readonly name: string;
  /** Index of its type. */
  readonly type: number;
  readonly body: Uint8Array;
}

/** Makes the names known that printed code uses; `buffer` and `library` must be in scope. */
export const PROLOGUE = [
  '"use strict";',
  'const i32=new Int32Array(buffer),u16=new Uint16Array(buffer),u8=new Uint8Array(buffer),ram=new DataView(buffer);',
  `const {${LIBRARY_NAMES}}=library;`,
  LANES_SOURCE,
].join('\n');

/** A function's declaration, with those of the functions that it calls. */
export function declaration(context: PrintContext, name: string, type: number, body: Uint8Array): string {
  const { text, tails } = printFunction(context, name, type, body);
  return tails + text;
}

/** Body of a function of (buffer, library, …) that returns the printed functions as an array. */
export function printSource(context: PrintContext, functions: readonly FunctionCode[], prologue = ''): string {
  return [
    PROLOGUE,
    prologue,
    ...functions.map(({ name, type, body }) => declaration(context, name, type, body)),
    `return [${functions.map(({ name }) => name)}];`,
  ].join('\n');
}
