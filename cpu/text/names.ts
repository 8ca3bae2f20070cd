/** What the offsets of the state block, the IR's operations and WebAssembly's instructions are called in listings. */
import * as op from '../ir/ops.ts';
import * as simd from '../ir/simd.ts';
import * as state from '../state.ts';

const GPR = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15'.split(' ');

const SEGMENTS = 'es cs ss ds fs gs ldtr tr'.split(' ');

/** Places by offset. */
const fields = new Map<number, string>();
for (const [name, value] of Object.entries(state))
  if (name.startsWith('S_') && !name.endsWith('_END') && typeof value === 'number')
    fields.set(value, name.slice(2).toLowerCase());
for (const [n, name] of GPR.entries()) {
  fields.set(state.gprOffset(n), name);
  fields.set(state.gprOffset(n) + 1, `${name}+1`);
}
for (let n = 0; n < 16; n++) fields.set(state.S_XMM + n * 16, `xmm${n}`);
for (const [n, name] of SEGMENTS.entries()) fields.set(state.segmentOffset(n) + state.SEGMENT_BASE, `${name}.base`);

/** Name of the place at an offset of the machine's memory. */
export function place(offset: number): string {
  if (offset >= state.RAM_BASE) return offset === state.RAM_BASE ? 'ram' : `ram+${offset - state.RAM_BASE}`;
  if (offset >= state.S_JUMP_TARGETS) return `jump_targets+${offset - state.S_JUMP_TARGETS}`;
  if (offset >= state.S_SITES) return `sites+${offset - state.S_SITES}`;
  return fields.get(offset) ?? `0x${offset.toString(16)}`;
}

/** `I64_EXTEND_I32_U` → `i64.extend_i32_u`. */
const spelt = (name: string) => name.toLowerCase().replace('_', '.');

const instructions = new Map<number, string>();
for (const [name, value] of [...Object.entries(op), ...Object.entries(simd)])
  if (typeof value === 'number' && /^([IF]\d+(X\d+)?|V128)_/.test(name)) instructions.set(value, spelt(name));

/** Name of a numeric instruction, or of a SIMD one (SIMD | sub-opcode). */
export function instruction(opcode: number): string {
  return instructions.get(opcode) ?? `op_0x${opcode.toString(16)}`;
}

const irOperations = new Map<number, string>();
for (const [name, value] of Object.entries(op))
  if (typeof value === 'number' && value >= 0x200 && value < 0x300 && name === name.toUpperCase())
    irOperations.set(value, name);

/** Name of an IR operation that is none of WebAssembly's instructions. */
export function irOperation(opcode: number): string {
  return irOperations.get(opcode) ?? `op_0x${opcode.toString(16)}`;
}

/** Name of a kind of lazy flags. */
export function flagKind(kind: number): string {
  const name = Object.entries(state).find(([key, value]) => key.startsWith('CC_') && value === kind)?.[0];
  return name?.slice(3) ?? String(kind);
}

export const CONDITIONS = 'o no b nb z nz be nbe s ns p np l nl le nle'.split(' ');

/** A number as people read it. */
export function number(value: number | bigint): string {
  if (value > -1024 && value < 1024) return String(value);
  return value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}

export function integer64(low: number, high: number): string {
  return number((BigInt(high) << 32n) | BigInt(low >>> 0));
}

export function hexBytes(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
}
