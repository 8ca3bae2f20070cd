/** Names of the operations of WebAssembly and of the IR, as the specification writes them: I32_ADD is `i32.add`. */

import * as ops from '../ir/ops.ts';
import * as simd from '../ir/simd.ts';
import * as state from '../state.ts';
import * as wasm from '../wasm/encoder.ts';

/** Operations of the IR that are not WebAssembly's own. */
const FIRST_IR = 0x200;
const LAST_IR = 0x2ff;

const names = new Map<number, string>();

function note(name: string, value: unknown): void {
  if (typeof value === 'number' && !names.has(value)) names.set(value, name);
}

for (const [name, value] of [...Object.entries(ops), ...Object.entries(simd), ...Object.entries(wasm)])
  if (/^([IF](32|64)|V128|[IF]\d+X\d+)_/.test(name)) note(name.toLowerCase().replace('_', '.'), value);
for (const [name, value] of Object.entries(ops))
  if (typeof value === 'number' && value >= FIRST_IR && value <= LAST_IR) note(name.toLowerCase(), value);

/** `ops.SIMD | sub-opcode` is a SIMD instruction. */
export function operationName(operation: number): string {
  return names.get(operation) ?? `0x${operation.toString(16)}`;
}

const fields = new Map<number, string>();
for (const [name, value] of Object.entries(state))
  if (name.startsWith('S_') && typeof value === 'number' && !fields.has(value)) fields.set(value, name);
for (let n = 0; n < 16; n++) {
  fields.set(state.gprOffset(n), 'RAX RCX RDX RBX RSP RBP RSI RDI R8 R9 R10 R11 R12 R13 R14 R15'.split(' ')[n]);
  fields.set(state.S_XMM + n * 16, `XMM${n}`);
}

/** Name of a field of the state block; undefined: none starts there. */
export function fieldName(offset: number): string | undefined {
  return fields.get(offset);
}
