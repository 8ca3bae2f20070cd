/**
 * The x87 instruction set: opcodes D8…DF as the grid of the manual's opcode map (SDM vol. 2, A.5), and how the CPU runs one.
 *
 * An instruction with a memory operand is run so that its page faults come before any change of state:
 *   1. `x87Form(opcode, modrm)` tells what it is (undefined: #UD), and how many bytes it loads or stores;
 *   2. if it waits and `pending(x)`: #MF (CR0.NE) or FERR#/IRQ 13, by the CPU;
 *   3. a load: the CPU puts the operand's bytes into `x.operand` (`operand32`, `operand16`);
 *   4. `execute(x, opcode, modrm)`;
 *   5. a store: `x.storeBytes` bytes of `x.operand` go to memory (0: an unmasked exception forbids), and only when that
 *      has succeeded `retire(x, opcode, modrm)`. Until then the state block is as it was.
 * Before `execute` the CPU sets `x.ipLo` … `x.ds`, `x.eflags` for FCMOVcc and `x.environment` for FLDENV and its kin;
 * after FCOMI and its kin CF, PF, ZF are `x.eflags`. FNSTSW AX is a store of two bytes like the one to memory.
 * Where the manuals leave freedom and processors differ, this does as AMD's Zen does.
 */
import { add, mul, sub } from './arith.ts';
import { div, sqrt } from './divide.ts';
import { compareFlags, compareMemory, compareRegister, examine, test } from './x87-compare.ts';
import {
  clearExceptions,
  clearPointers,
  environmentBytes,
  initialize,
  loadControl,
  loadEnvironment,
  restoreState,
  saveState,
  stateBytes,
  storeControl,
  storeEnvironment,
  storeStatus,
} from './x87-control.ts';
import {
  arithmeticMemory,
  arithmeticTo0,
  arithmeticToI,
  changeSign,
  conditionalMove,
  exchange,
  extractParts,
  free,
  type Handler,
  load,
  loadConstant,
  loadExtended,
  loadRegister,
  m16int,
  m32fp,
  m32int,
  m64fp,
  m64int,
  m80bcd,
  moveTop,
  partialRemainder,
  reversed,
  roundInteger,
  type Source,
  scaleBy,
  store,
  storeBcd,
  storeExtended,
  storeInteger,
  storeRegister,
  storeRegisterQuietly,
  unary,
} from './x87-operations.ts';
import type { X87State } from './x87-state.ts';
import { f2xm1, fcos, fpatan, fptan, fsin, fsincos, fyl2x, fyl2xp1 } from './x87-transcendental.ts';

/** What one cell of the grid is. */
export class X87Form {
  readonly name: string;
  readonly handler: Handler;
  /** Bytes of memory operand read, or written; `ENVIRONMENT` and `WHOLE_STATE` depend on the mode (x87-control.ts). */
  loads = 0;
  stores = 0;
  /** Control instructions leave FIP, FDP, FOP and C1 alone. */
  control = false;
  /** FNOP, FCMOVcc, FCOMI and the like keep C1 unless the stack faults. */
  keepsC1 = false;
  /** Does it wait: report a pending exception before it starts? */
  waits = true;

  constructor(name: string, handler: Handler) {
    this.name = name;
    this.handler = handler;
  }
}
export const ENVIRONMENT = -1;
export const WHOLE_STATE = -2;

// All forms are objects of one hidden class: nothing in the way of an instruction depends on which one it is.
type Properties = Partial<Omit<X87Form, 'name' | 'handler'>>;
const form = (name: string, handler: Handler, properties: Properties = {}): X87Form =>
  Object.assign(new X87Form(name, handler), properties);
const keeping = (name: string, handler: Handler): X87Form => form(name, handler, { keepsC1: true });
const loading = (name: string, loads: number, handler: Handler): X87Form => form(name, handler, { loads });
const storing = (name: string, stores: number, handler: Handler): X87Form => form(name, handler, { stores });
const control = (cell: X87Form): X87Form => Object.assign(cell, { control: true });
const noWait = (cell: X87Form): X87Form => Object.assign(control(cell), { waits: false });

const subr = reversed(sub);
const divr = reversed(div);
const none = null;
type Row = readonly (X87Form | null)[];

/** D8 and DC, DA and DE with memory: the eight operations on ST(0) and one source. */
const arithmeticRow = (letter: string, suffix: string, bytes: number, source: Source): Row => [
  loading(`${letter}ADD ${suffix}`, bytes, arithmeticMemory(add, source)),
  loading(`${letter}MUL ${suffix}`, bytes, arithmeticMemory(mul, source)),
  loading(`${letter}COM ${suffix}`, bytes, compareMemory(source, 0)),
  loading(`${letter}COMP ${suffix}`, bytes, compareMemory(source, 1)),
  loading(`${letter}SUB ${suffix}`, bytes, arithmeticMemory(sub, source)),
  loading(`${letter}SUBR ${suffix}`, bytes, arithmeticMemory(subr, source)),
  loading(`${letter}DIV ${suffix}`, bytes, arithmeticMemory(div, source)),
  loading(`${letter}DIVR ${suffix}`, bytes, arithmeticMemory(divr, source)),
];

/** Memory forms: a row an opcode, a column a value of ModRM.reg. */
// biome-ignore format: a grid, as in the manual
const MEMORY: readonly Row[] = [
  /* D8 */ arithmeticRow('F', 'm32fp', 4, m32fp),
  /* D9 */ [
    loading('FLD m32fp', 4, load(m32fp, true)),
    none,
    storing('FST m32fp', 4, store(false, 0)),
    storing('FSTP m32fp', 4, store(false, 1)),
    control(loading('FLDENV', ENVIRONMENT, (x) => loadEnvironment(x, x.environment))),
    control(loading('FLDCW', 2, loadControl)),
    noWait(storing('FNSTENV', ENVIRONMENT, (x) => storeEnvironment(x, x.environment))),
    noWait(storing('FNSTCW', 2, storeControl)),
  ],
  /* DA */ arithmeticRow('FI', 'm32int', 4, m32int),
  /* DB */ [
    loading('FILD m32int', 4, load(m32int, false)),
    storing('FISTTP m32int', 4, storeInteger(32, true, 1)),
    storing('FIST m32int', 4, storeInteger(32, false, 0)),
    storing('FISTP m32int', 4, storeInteger(32, false, 1)),
    none,
    loading('FLD m80fp', 10, loadExtended),
    none,
    storing('FSTP m80fp', 10, storeExtended),
  ],
  /* DC */ arithmeticRow('F', 'm64fp', 8, m64fp),
  /* DD */ [
    loading('FLD m64fp', 8, load(m64fp, true)),
    storing('FISTTP m64int', 8, storeInteger(64, true, 1)),
    storing('FST m64fp', 8, store(true, 0)),
    storing('FSTP m64fp', 8, store(true, 1)),
    control(loading('FRSTOR', WHOLE_STATE, (x) => restoreState(x, x.environment))),
    none,
    noWait(storing('FNSAVE', WHOLE_STATE, (x) => saveState(x, x.environment))),
    noWait(storing('FNSTSW m16', 2, storeStatus)),
  ],
  /* DE */ arithmeticRow('FI', 'm16int', 2, m16int),
  /* DF */ [
    loading('FILD m16int', 2, load(m16int, false)),
    storing('FISTTP m16int', 2, storeInteger(16, true, 1)),
    storing('FIST m16int', 2, storeInteger(16, false, 0)),
    storing('FISTP m16int', 2, storeInteger(16, false, 1)),
    loading('FBLD m80bcd', 10, load(m80bcd, false)),
    loading('FILD m64int', 8, load(m64int, false)),
    storing('FBSTP m80bcd', 10, storeBcd),
    storing('FISTP m64int', 8, storeInteger(64, false, 1)),
  ],
];

const CF = 0x01;
const PF = 0x04;
const ZF = 0x40;

/** A column whose eight values of ModRM.rm are different instructions. */
const each = (...cells: Row): Row => cells;

const FNOP = keeping('FNOP', () => {});
const nop = (name: string): X87Form => noWait(form(name, () => {}));

const xch = form('FXCH ST(i)', exchange);
const com = form('FCOM ST(i)', compareRegister(false, 0));
const comp = form('FCOMP ST(i)', compareRegister(false, 1));
const stp = form('FSTP ST(i)', storeRegister(1));

/**
 * Register forms: a row an opcode, a column a value of ModRM.reg; a column that is itself a row goes by ModRM.rm. Cells
 * the manual leaves blank but every x87 has since the 287 (the second encodings of FCOM, FXCH, FSTP, and FFREEP) are here.
 */
// biome-ignore format: a grid, as in the manual
const REGISTER: readonly (readonly (X87Form | Row | null)[])[] = [
  /* D8 */ [
    form('FADD ST,ST(i)', arithmeticTo0(add)),
    form('FMUL ST,ST(i)', arithmeticTo0(mul)),
    com,
    comp,
    form('FSUB ST,ST(i)', arithmeticTo0(sub)),
    form('FSUBR ST,ST(i)', arithmeticTo0(subr)),
    form('FDIV ST,ST(i)', arithmeticTo0(div)),
    form('FDIVR ST,ST(i)', arithmeticTo0(divr)),
  ],
  /* D9 */ [
    form('FLD ST(i)', loadRegister),
    xch,
    each(FNOP),
    form('FSTP ST(i)', storeRegisterQuietly),
    each(
      form('FCHS', changeSign(false)),
      form('FABS', changeSign(true)),
      none,
      none,
      form('FTST', test),
      form('FXAM', examine),
    ),
    each(
      form('FLD1', loadConstant(0, 0x80000000, 0, 0)),
      form('FLDL2T', loadConstant(1, 0xd49a784b, 0xcd1b8afe, 0x492bf6ff)),
      form('FLDL2E', loadConstant(0, 0xb8aa3b29, 0x5c17f0bb, 0xbe87fed1)),
      form('FLDPI', loadConstant(1, 0xc90fdaa2, 0x2168c234, 0xc4c6628b)),
      form('FLDLG2', loadConstant(-2, 0x9a209a84, 0xfbcff798, 0x8f8959ad)),
      form('FLDLN2', loadConstant(-1, 0xb17217f7, 0xd1cf79ab, 0xc9e3b399)),
      form('FLDZ', loadConstant(0, 0, 0, 0)),
    ),
    each(
      form('F2XM1', f2xm1),
      form('FYL2X', fyl2x),
      form('FPTAN', fptan),
      form('FPATAN', fpatan),
      form('FXTRACT', extractParts),
      form('FPREM1', partialRemainder(true)),
      form('FDECSTP', moveTop(-1)),
      form('FINCSTP', moveTop(1)),
    ),
    each(
      form('FPREM', partialRemainder(false)),
      form('FYL2XP1', fyl2xp1),
      form('FSQRT', unary(sqrt)),
      form('FSINCOS', fsincos),
      form('FRNDINT', roundInteger),
      form('FSCALE', scaleBy),
      form('FSIN', fsin),
      form('FCOS', fcos),
    ),
  ],
  /* DA */ [
    keeping('FCMOVB', conditionalMove(CF, false)),
    keeping('FCMOVE', conditionalMove(ZF, false)),
    keeping('FCMOVBE', conditionalMove(CF | ZF, false)),
    keeping('FCMOVU', conditionalMove(PF, false)),
    none,
    each(none, form('FUCOMPP', compareRegister(true, 2))),
    none,
    none,
  ],
  /* DB */ [
    keeping('FCMOVNB', conditionalMove(CF, true)),
    keeping('FCMOVNE', conditionalMove(ZF, true)),
    keeping('FCMOVNBE', conditionalMove(CF | ZF, true)),
    keeping('FCMOVNU', conditionalMove(PF, true)),
    each(
      nop('FNENI'),
      nop('FNDISI'),
      noWait(form('FNCLEX', clearExceptions)),
      noWait(form('FNINIT', initialize)),
      nop('FNSETPM'),
    ),
    keeping('FUCOMI', compareFlags(true, 0)),
    keeping('FCOMI', compareFlags(false, 0)),
    none,
  ],
  /* DC */ [
    form('FADD ST(i),ST', arithmeticToI(add, 0)),
    form('FMUL ST(i),ST', arithmeticToI(mul, 0)),
    com,
    comp,
    form('FSUBR ST(i),ST', arithmeticToI(subr, 0)),
    form('FSUB ST(i),ST', arithmeticToI(sub, 0)),
    form('FDIVR ST(i),ST', arithmeticToI(divr, 0)),
    form('FDIV ST(i),ST', arithmeticToI(div, 0)),
  ],
  /* DD */ [
    form('FFREE', free(0)),
    xch,
    form('FST ST(i)', storeRegister(0)),
    stp,
    form('FUCOM', compareRegister(true, 0)),
    form('FUCOMP', compareRegister(true, 1)),
    none,
    none,
  ],
  /* DE */ [
    form('FADDP', arithmeticToI(add, 1)),
    form('FMULP', arithmeticToI(mul, 1)),
    comp,
    each(none, form('FCOMPP', compareRegister(false, 2))),
    form('FSUBRP', arithmeticToI(subr, 1)),
    form('FSUBP', arithmeticToI(sub, 1)),
    form('FDIVRP', arithmeticToI(divr, 1)),
    form('FDIVP', arithmeticToI(div, 1)),
  ],
  /* DF */ [
    form('FFREEP', free(1)),
    xch,
    stp,
    stp,
    each(noWait(storing('FNSTSW AX', 2, storeStatus))),
    keeping('FUCOMIP', compareFlags(true, 1)),
    keeping('FCOMIP', compareFlags(false, 1)),
    none,
  ],
];

/** The grids by opcode (bits 10:8 = opcode − D8) and ModRM. */
const FORMS: readonly (X87Form | null)[] = Array.from({ length: 2048 }, (_, index) => {
  const row = index >> 8;
  const reg = (index >> 3) & 7;
  if ((index & 0xc0) !== 0xc0) return MEMORY[row][reg];
  const cell = REGISTER[row][reg];
  return cell && 'length' in cell ? (cell[index & 7] ?? null) : cell;
});

/** @param opcode 0xD8…0xDF. @returns the form, or null if it is undefined (#UD). */
export function x87Form(opcode: number, modrm: number): X87Form | null {
  return FORMS[((opcode & 7) << 8) | modrm];
}

/** @returns the bytes of memory operand for `size` = `loads` or `stores` of a form. */
export function operandBytes(x: X87State, size: number): number {
  if (size >= 0) return size;
  return size === ENVIRONMENT ? environmentBytes(x.environment) : stateBytes(x.environment);
}

/** Is an unmasked exception pending, which the next waiting x87 or MMX instruction has to report? */
export function pending(x: X87State): boolean {
  return x.pending;
}

/** Runs a defined instruction; a store takes effect on the state only with `retire`. */
export function execute(x: X87State, opcode: number, modrm: number): void {
  const instruction = FORMS[((opcode & 7) << 8) | modrm]!;
  x.fetch();
  x.storeBytes = operandBytes(x, instruction.stores);
  if (instruction.control) {
    instruction.handler(x, 0);
  } else {
    x.begin();
    instruction.handler(x, modrm & 7);
    x.end(instruction.keepsC1);
  }
  if (instruction.stores === 0) settle(x, instruction, opcode, modrm);
}

/** Completes a store after its bytes have reached memory (or none had to). */
export function retire(x: X87State, opcode: number, modrm: number): void {
  const instruction = FORMS[((opcode & 7) << 8) | modrm]!;
  settle(x, instruction, opcode, modrm);
  if (instruction.stores === WHOLE_STATE) clearPointers(x);
}

function settle(x: X87State, instruction: X87Form, opcode: number, modrm: number): void {
  if (!instruction.control) x.record(opcode, modrm);
  x.commit();
}
