/** The IR of a translated region as text (`-d op`): one line for each node, under the guest instruction that it is of. */

import type { IrBuffer } from '../ir/builder.ts';
import * as op from '../ir/ops.ts';
import type { TranslatedRegion } from '../observer.ts';
import { hex64 } from './disassembler.ts';
import { fieldName, operationName } from './op-names.ts';

const TYPES = ['', 'i32', 'i64', 'f32', 'f64', 'v128'];
const CONDITIONS = 'o no b ae e ne be a s ns p np l ge le g'.split(' ');
/** CC_* of state.ts. */
const FLAG_KINDS = ['explicit', 'result', 'add', 'sub', 'logic'];
const HINTS = ['jump', 'call', 'return'];

/** A field of the state block: the upper byte of AX is `RAX+1`. */
function field(offset: number): string {
  return fieldName(offset) ?? (fieldName(offset - 1) ? `${fieldName(offset - 1)}+1` : `0x${offset.toString(16)}`);
}

/** What an operation says besides its operands. */
function immediates(ir: IrBuffer, n: number): string {
  const imm = ir.imm[n];
  const imm2 = ir.imm2[n];
  switch (ir.op[n]) {
    case op.CONST:
      return `0x${ir.type[n] === op.T_I64 ? hex64(imm, imm2) : (imm >>> 0).toString(16)}`;
    case op.CONST_V128:
      return `0x${Buffer.from(ir.vectors[imm].toReversed()).toString('hex')}`;
    case op.GPR_READ:
    case op.GPR_WRITE:
    case op.FIELD_WRITE:
      return `${field(imm)}:${imm2}`;
    case op.XMM_READ:
    case op.XMM_WRITE:
      return field(imm);
    case op.FIELD_READ:
      return `${field(imm + (imm2 >> 8))}:${imm2 & 0xff}`;
    case op.FLAGS_CONDITION:
      return CONDITIONS[imm];
    case op.FLAGS_READ:
    case op.FLAGS_MERGE:
      return `0x${imm.toString(16)}`;
    case op.FLAGS_WRITE:
      return FLAG_KINDS[imm];
    case op.LOAD:
    case op.STORE:
    case op.PORT_IN:
    case op.PORT_OUT:
      return `${imm2}`;
    case op.JUMP:
      return HINTS[imm];
    default:
      return ir.op[n] >= op.SIMD ? `${imm}` : '';
  }
}

function line(ir: IrBuffer, n: number): string {
  const words = [operationName(ir.op[n]), immediates(ir, n)].filter((word) => word !== '');
  for (const operand of [ir.a[n], ir.b[n], ir.c[n]]) if (operand !== 0) words.push(`%${operand}`);
  const type = TYPES[ir.type[n]];
  return type === '' ? `  ${words.join(' ')}` : `  %${n}:${type} = ${words.join(' ')}`;
}

export function irLines({ blocks, ir }: TranslatedRegion): string[] {
  const lines: string[] = [];
  for (const { block, starts, end, steps } of blocks) {
    const { context, loopHead, instructions, ripHigh } = block;
    const remarks = [...(loopHead ? ['loop'] : []), ...(context.depth > 0 ? [`inlined, depth ${context.depth}`] : [])];
    lines.push(`block ${block.order}${remarks.length > 0 ? ` (${remarks.join(', ')})` : ''}:`);
    for (const [i, low] of instructions.entries()) {
      lines.push(` ---- 0x${hex64(low, ripHigh)}${steps[i] !== 0 ? ' by its helper' : ''}`);
      const last = i + 1 < instructions.length ? starts[i + 1] : end;
      for (let n = starts[i]; n < last; n++) lines.push(line(ir, n));
    }
  }
  return lines;
}
