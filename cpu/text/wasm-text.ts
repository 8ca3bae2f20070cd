/** The WebAssembly of a region as text (`-d out_asm`), close to the specification's text format (§6). */

import type { RegionBody } from '../core.ts';
import * as op from '../ir/ops.ts';
import { REGION_HELPERS } from '../jit/region-state.ts';
import { CodeReader, isLaneAccess } from '../js/reader.ts';
import { CORE_TYPES, TYPE_REGION } from '../wasm/core-types.ts';
import * as wasm from '../wasm/encoder.ts';
import { hex64 } from './disassembler.ts';
import { fieldName, operationName } from './op-names.ts';

const TYPES: Readonly<Record<number, string>> = { 127: 'i32', 126: 'i64', 125: 'f32', 124: 'f64', 123: 'v128' };
/** Below, offsets of loads and stores are those of fields of the state block. */
const STATE_SIZE = 0x10000;
const I8X16_SHUFFLE = 0x0d;

const CONTROL: Readonly<Record<number, string>> = {
  [wasm.UNREACHABLE]: 'unreachable',
  [wasm.BLOCK]: 'block',
  [wasm.LOOP]: 'loop',
  [wasm.IF]: 'if',
  [wasm.ELSE]: 'else',
  [wasm.END]: 'end',
  [wasm.BR]: 'br',
  [wasm.BR_IF]: 'br_if',
  [wasm.BR_TABLE]: 'br_table',
  [wasm.RETURN]: 'return',
  [wasm.CALL]: 'call',
  [wasm.CALL_INDIRECT]: 'call_indirect',
  [wasm.RETURN_CALL]: 'return_call',
  [wasm.RETURN_CALL_INDIRECT]: 'return_call_indirect',
  [wasm.DROP]: 'drop',
  [wasm.SELECT_OP]: 'select',
  [wasm.LOCAL_GET]: 'local.get',
  [wasm.LOCAL_SET]: 'local.set',
  [wasm.LOCAL_TEE]: 'local.tee',
};

function memoryArgument(code: CodeReader): string {
  code.u32();
  const offset = code.u32();
  const field = offset < STATE_SIZE ? fieldName(offset) : undefined;
  return `offset=0x${offset.toString(16)}${field === undefined ? '' : ` ;; ${field}`}`;
}

function vectorInstruction(code: CodeReader): string {
  const sub = code.u32();
  const name = operationName(op.SIMD | sub);
  if (sub === wasm.V128_LOAD) return `v128.load ${memoryArgument(code)}`;
  if (sub === wasm.V128_STORE) return `v128.store ${memoryArgument(code)}`;
  // Other loads: of a part, of a lane spread over all.
  if (sub < wasm.V128_STORE) return `${name} ${memoryArgument(code)}`;
  if (sub === wasm.V128_CONST) return `v128.const 0x${Buffer.from(code.raw(16).toReversed()).toString('hex')}`;
  if (sub === I8X16_SHUFFLE) return `${name} ${code.raw(16).join(' ')}`;
  return isLaneAccess(sub) ? `${name} ${code.byte()}` : name;
}

/** Reads the immediates of the instruction `opcode`. @returns its text */
function instruction(code: CodeReader, opcode: number): string {
  const control = CONTROL[opcode];
  switch (opcode) {
    case wasm.BLOCK:
    case wasm.LOOP:
    case wasm.IF: {
      const type = code.byte();
      return type === wasm.VOID ? control : `${control} (result ${TYPES[type]})`;
    }
    case wasm.CALL: {
      const index = code.u32();
      return `${control} ${REGION_HELPERS[index]?.name ?? index}`;
    }
    case wasm.BR:
    case wasm.BR_IF:
    case wasm.RETURN_CALL:
    case wasm.LOCAL_GET:
    case wasm.LOCAL_SET:
    case wasm.LOCAL_TEE:
      return `${control} ${code.u32()}`;
    case wasm.BR_TABLE:
      return `${control} ${Array.from({ length: code.u32() + 1 }, () => code.u32()).join(' ')}`;
    case wasm.CALL_INDIRECT:
    case wasm.RETURN_CALL_INDIRECT: {
      const type = code.u32();
      return `${control} ${code.u32()} (type ${type})`;
    }
    case wasm.I32_CONST:
      return `i32.const 0x${(code.s32() >>> 0).toString(16)}`;
    case wasm.I64_CONST: {
      const low = code.s64();
      return `i64.const 0x${hex64(low, code.high)}`;
    }
    case wasm.BULK_PREFIX: {
      const isCopy = code.u32() === wasm.MEMORY_COPY;
      code.raw(isCopy ? 2 : 1);
      return isCopy ? 'memory.copy' : 'memory.fill';
    }
    case wasm.VECTOR_PREFIX:
      return vectorInstruction(code);
  }
  if (opcode >= wasm.I32_LOAD && opcode <= wasm.I64_STORE32) return `${operationName(opcode)} ${memoryArgument(code)}`;
  return control ?? operationName(opcode);
}

/** One line for each instruction, indented by the constructs around it; branch hints are remarks. */
export function wasmLines({ code: body, hints }: RegionBody): string[] {
  const code = new CodeReader(body);
  const lines: string[] = [];
  let local = CORE_TYPES[TYPE_REGION].parameters.length;
  for (let runs = code.u32(); runs > 0; runs--) {
    const count = code.u32();
    lines.push(`(local ${count === 1 ? local : `${local}…${local + count - 1}`} ${TYPES[code.byte()]})`);
    local += count;
  }
  const hintAt = new Map<number, string>();
  for (let i = 0; i < hints.length; i += 2) hintAt.set(hints[i], hints[i + 1] === 0 ? 'unlikely' : 'likely');
  let depth = 0;
  while (code.position < body.length) {
    const hint = hintAt.get(code.position);
    const opcode = code.byte();
    if (opcode === wasm.END || opcode === wasm.ELSE) depth--;
    const text = instruction(code, opcode);
    lines.push(`${'  '.repeat(Math.max(depth, 0))}${text}${hint === undefined ? '' : ` ;; ${hint}`}`);
    if (opcode === wasm.BLOCK || opcode === wasm.LOOP || opcode === wasm.IF || opcode === wasm.ELSE) depth++;
  }
  return lines;
}
