/** The source of a region's function, of the names that js/core.ts has in scope. */
import { REGION_HELPERS } from '../jit/region-helpers.ts';
import { CORE_TYPES, TYPE_REGION } from '../wasm/core-types.ts';
import { type PrintedFunction, printFunction } from './printer.ts';
import type { Part } from './value.ts';

/** A region calls helpers by number, and other regions by its module's table. */
const context = {
  types: CORE_TYPES,
  functionTypes: REGION_HELPERS.map(({ type }) => type),
  tableEntry: ({ text }: Part) => `links[${text}]`,
  hasTailCalls: false,
};

/** @param code body of the WebAssembly function that it is printed from */
function print(code: Uint8Array): PrintedFunction {
  return printFunction(context, 'region', TYPE_REGION, code);
}

/** An expression: the function. @param code as `print` */
export function regionSource(code: Uint8Array): string {
  const { text, tails } = print(code);
  // In brackets functions are compiled at once, and so read once only.
  return tails === '' ? `(${text})` : `(()=>{${tails}return (${text})})()`;
}

/** The function and those that it calls, to be read. @param code as `print` */
export function regionListing(code: Uint8Array): string {
  const { text, tails } = print(code);
  return text + tails;
}
