/**
 * Loads and stores as JavaScript. Fields of the state and the tables are aligned by their layout and go through typed
 * arrays; guest RAM (constant offsets from RAM_BASE on) is reached at any address, through a DataView.
 */
import { T_I32, T_I64 } from '../ir/ops.ts';
import { RAM_BASE } from '../state.ts';
import * as wasm from '../wasm/encoder.ts';
import type { Scope } from './scope.ts';
import { integer, memoryRead, type Part, type Value, vector, ZERO } from './value.ts';

/** Bytes of a load or store instruction. */
const SIZE: Record<number, number> = {
  [wasm.I32_LOAD]: 4,
  [wasm.I64_LOAD]: 8,
  [wasm.I32_LOAD8_U]: 1,
  [wasm.I32_LOAD16_U]: 2,
  [wasm.I64_LOAD32_U]: 4,
  [wasm.I32_STORE]: 4,
  [wasm.I64_STORE]: 8,
  [wasm.I32_STORE8]: 1,
  [wasm.I32_STORE16]: 2,
  [wasm.I64_STORE32]: 4,
};

export function isLoad(opcode: number): boolean {
  return opcode >= 0x28 && opcode <= 0x35;
}

export function isStore(opcode: number): boolean {
  return opcode >= 0x36 && opcode <= 0x3e;
}

/** Index of `bytes` at an address plus a constant in a typed array of elements of 2^shift bytes. */
function index(base: Part, offset: number, shift: number): string {
  if (base.constant !== undefined) return `${(base.constant + offset) >>> shift}`;
  const sum = offset === 0 ? base.text : `${base.text}+${offset}`;
  return shift === 0 ? sum : `${sum}>>${shift}`;
}

/** Offset in the DataView. */
function ram(base: Part, offset: number): string {
  return `${base.text}+${offset}>>>0`;
}

/** The int32 (zero-extended below 4 bytes) of `size` bytes. */
function piece(base: Part, offset: number, size: number): Part {
  if (size === 1)
    return memoryRead(offset < RAM_BASE ? `u8[${index(base, offset, 0)}]` : `u8[${ram(base, offset)}]`, base);
  if (offset >= RAM_BASE)
    return memoryRead(`ram.${size === 2 ? 'getUint16' : 'getInt32'}(${ram(base, offset)},true)`, base);
  return memoryRead(size === 2 ? `u16[${index(base, offset, 1)}]` : `i32[${index(base, offset, 2)}]`, base);
}

export function load(scope: Scope, opcode: number, address: Value, offset: number): Value {
  const [part] = address.parts;
  const size = SIZE[opcode];
  if (size < 8) {
    const value = piece(part, offset, size);
    return opcode === wasm.I64_LOAD32_U ? { type: T_I64, parts: [value, ZERO] } : { type: T_I32, parts: [value] };
  }
  const base = scope.keep(part);
  return { type: T_I64, parts: [piece(base, offset, 4), piece(base, offset + 4, 4)] };
}

export function loadVector(scope: Scope, address: Value, offset: number): Value {
  const base = scope.keep(address.parts[0]);
  return vector([0, 4, 8, 12].map((i) => piece(base, offset + i, 4)));
}

function put(scope: Scope, base: Part, offset: number, size: number, value: Part): void {
  const { text } = integer(value);
  if (size === 1) scope.emit(`u8[${offset < RAM_BASE ? index(base, offset, 0) : ram(base, offset)}]=${text};`);
  else if (offset >= RAM_BASE)
    scope.emit(`ram.${size === 2 ? 'setInt16' : 'setInt32'}(${ram(base, offset)},${text},true);`);
  else if (size === 2) scope.emit(`u16[${index(base, offset, 1)}]=${text};`);
  else scope.emit(`i32[${index(base, offset, 2)}]=${text};`);
}

/** Stores the low `size` bytes of a value, a part at a time. */
function store(scope: Scope, address: Value, offset: number, size: number, value: Value): void {
  scope.settleMemory();
  let { parts } = value;
  let [base] = address.parts;
  if (size > 4) {
    base = scope.keep(base);
    // Parts that read memory may read what the first store changes.
    parts = parts.map((part) => (part.memory ? scope.keep(part) : part));
  }
  for (let i = 0; i * 4 < size; i++) put(scope, base, offset + i * 4, Math.min(size - i * 4, 4), parts[i]);
}

export function storeScalar(scope: Scope, opcode: number, address: Value, offset: number, value: Value): void {
  store(scope, address, offset, SIZE[opcode], value);
}

export function storeVector(scope: Scope, address: Value, offset: number, value: Value): void {
  store(scope, address, offset, 16, value);
}
