/**
 * The shapes of instructions: each row of the opcode table, operand size, register or memory operand, and stack or
 * address size where they matter, has one handler in the interpreter. Handlers are numbered in the order of enumeration.
 */
import { Insn } from '../decode/insn.ts';
import { byteColumn, column } from '../isa/columns.ts';
import {
  ATTR_D64,
  ATTR_F64,
  ATTR_I64,
  ATTR_MEM_ONLY,
  ATTR_O64,
  allRows,
  type OpcodeRow,
  ROW_COUNT,
} from '../isa/table.ts';
import { definitionOf } from '../lift/lift.ts';

/** Handlers that are not instructions. */
export const H_STALE = 0;
export const H_HEAD = 1;
export const H_FALL_THROUGH = 2;
export const H_HELPER = 3;
export const H_ADDRESS = 4;
export const FIRST_SHAPE = 5;

const VARIANTS = 18;

const STACK_ROWS = new Set(['PUSH', 'POP', 'CALL', 'RET', 'LEAVE', 'PUSHF', 'POPF']);
const ADDRESS_ROWS = new Set(['LOOP', 'LOOPE', 'LOOPNE', 'JCXZ', 'XLAT']);
const STRING_ROWS = new Set(['MOVS', 'CMPS', 'STOS', 'LODS', 'SCAS']);
const SIZES = [2, 4, 8];
const AUX = [8, 4, 2];

const NONE = 0;
const BY_OPERAND_SIZE = 1;
const BY_REX_W = 2;

function sizing(row: OpcodeRow): number {
  let kind = NONE;
  for (const { mode, type } of row.operands) {
    if (type === 'y') return BY_REX_W;
    if (mode === 'rAX' || mode === 'rAXz' || type === 'v' || type === 'z' || type === 'bs') kind = BY_OPERAND_SIZE;
  }
  if (STACK_ROWS.has(row.mnemonic) || row.mnemonic === 'CBW' || row.mnemonic === 'CWD') kind = BY_OPERAND_SIZE;
  return kind;
}

const sizingOf = byteColumn('shape.sizingOf', sizing);
const auxOf = byteColumn('shape.auxOf', (row) =>
  STACK_ROWS.has(row.mnemonic) ? 1 : ADDRESS_ROWS.has(row.mnemonic) ? 2 : 0,
);
const hasRmOperand = byteColumn('shape.hasRmOperand', (row) => row.operands.some(({ mode }) => 'EWQM'.includes(mode)));
/** BT and its kin with the bit number in a register: it moves the address, which wraps at the address size. */
const isBitString = byteColumn(
  'shape.isBitString',
  ({ mnemonic, operands }) => /^BT[SRC]?$/.test(mnemonic) && operands[1].mode === 'G',
);
const isString = byteColumn('shape.isString', (row) => STRING_ROWS.has(row.mnemonic));

/** Index of `insn`'s variant within its row. */
function variantOf(insn: Insn): number {
  const sizes = sizingOf[insn.row];
  let size = 1;
  if (sizes === BY_OPERAND_SIZE) size = insn.operandSize >> 2;
  else if (sizes === BY_REX_W) size = insn.rexW ? 2 : 1;
  const memory = hasRmOperand[insn.row] && insn.mod !== 3 ? 1 : 0;
  const aux = auxOf[insn.row] === 1 ? insn.stackSize : auxOf[insn.row] === 2 ? insn.addressSize : 8;
  return size + 3 * memory + 6 * (aux === 8 ? 0 : aux === 4 ? 1 : 2);
}

/** The handler of each row's variants, 0 where there is none. */
const handlers = column('shape.handlers', Uint16Array, () => {
  const numbers = new Uint16Array(ROW_COUNT * VARIANTS);
  for (const { handler, insn } of allShapes()) numbers[insn.row * VARIANTS + variantOf(insn)] = handler;
  return numbers;
});

/** The handler that executes `insn`; H_HELPER when it has no definition of its own. */
export function handlerOf(insn: Insn): number {
  if (isBitString[insn.row] && insn.mod !== 3 && insn.addressSize !== 8) return H_HELPER;
  if (isString[insn.row] && (insn.rep !== 0 || insn.addressSize !== 8)) return H_HELPER;
  return handlers[insn.row * VARIANTS + variantOf(insn)] || H_HELPER;
}

export interface Shape {
  handler: number;
  /** An instruction of this shape, as the dynamic lifter wants it. */
  insn: Insn;
}

/** Every shape, in the order of the handler numbers. */
export function allShapes(): Shape[] {
  const shapes: Shape[] = [];
  for (const row of allRows()) {
    if (definitionOf(row.index) === undefined) continue;
    for (let variant = 0; variant < VARIANTS; variant++) {
      const insn = shapeInsn(row, variant);
      if (insn !== undefined) shapes.push({ handler: FIRST_SHAPE + shapes.length, insn });
    }
  }
  return shapes;
}

function shapeInsn(row: OpcodeRow, variant: number): Insn | undefined {
  const size = SIZES[variant % 3];
  const memory = Math.floor(variant / 3) % 2 === 1;
  const aux = AUX[Math.floor(variant / 6)];
  const sizes = sizingOf[row.index];
  const { attributes } = row;
  if (sizes === NONE && size !== 4) return undefined;
  if (sizes === BY_REX_W && size === 2) return undefined;
  if (aux !== 8 && auxOf[row.index] === 0) return undefined;
  if (memory && !hasRmOperand[row.index]) return undefined;
  if (!memory && attributes & ATTR_MEM_ONLY) return undefined;
  if (memory && (row.modrmMask & 0xc0) === 0xc0) return undefined;
  const legacy = auxOf[row.index] === 1 && aux !== 8;
  if (legacy && attributes & ATTR_O64) return undefined;
  if (size === 8 && (legacy || attributes & ATTR_I64)) return undefined;
  if (auxOf[row.index] === 1 && !legacy) {
    if (attributes & ATTR_I64) return undefined;
    if (size === 4 || (size === 2 && attributes & ATTR_F64)) return undefined;
    if (!(attributes & (ATTR_D64 | ATTR_F64)) && sizes === BY_OPERAND_SIZE && size === 4) return undefined;
  }
  const insn = new Insn();
  insn.row = row.index;
  insn.opcode = row.opcode;
  insn.operandSize = size;
  insn.rexW = sizes === BY_REX_W && size === 8;
  insn.mod = memory ? 0 : 3;
  insn.stackSize = auxOf[row.index] === 1 ? aux : 8;
  insn.addressSize = auxOf[row.index] === 2 ? aux : 8;
  insn.mode64 = !legacy;
  return insn;
}
