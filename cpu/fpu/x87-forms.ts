/**
 * The x87 instruction set: opcodes D8…DF as the grid of the manual's opcode map (SDM vol. 2, A.5). What stands in a cell
 * is a *form*, a number: the operation, its operand, how often it pops, and what else the CPU has to know before it runs
 * it. What the operations do is in x87.ts.
 */
import { column } from '../isa/columns.ts';

/** Operations, by the manual's names without what the operand says (FIADD is FADD of an integer) and the pops. */
const UNDEFINED = 0;
export const FNOP = 1;
export const FADD = 2;
export const FMUL = 3;
export const FSUB = 4;
export const FSUBR = 5;
export const FDIV = 6;
export const FDIVR = 7;
export const FCOM = 8;
export const FUCOM = 9;
export const FCOMI = 10;
export const FUCOMI = 11;
export const FTST = 12;
export const FXAM = 13;
export const FLD = 14;
/** FLD1 and its kin, by ModRM.rm. */
export const FLDCONST = 15;
export const FST = 16;
/** The FSTP ST(i) of opcode D9. */
export const FSTPNCE = 17;
export const FIST = 18;
export const FISTT = 19;
export const FXCH = 20;
export const FCHS = 21;
export const FABS = 22;
export const FCMOVB = 23;
export const FCMOVE = 24;
export const FCMOVBE = 25;
export const FCMOVU = 26;
export const FCMOVNB = 27;
export const FCMOVNE = 28;
export const FCMOVNBE = 29;
export const FCMOVNU = 30;
export const FFREE = 31;
export const FDECSTP = 32;
export const FINCSTP = 33;
export const FSQRT = 34;
export const FRNDINT = 35;
export const FLDCW = 36;
export const FNSTCW = 37;
export const FNSTSW = 38;
export const FNCLEX = 39;
/** From here on they are rare. */
export const FNINIT = 40;
export const FLDENV = 41;
export const FNSTENV = 42;
export const FRSTOR = 43;
export const FNSAVE = 44;
export const FBSTP = 45;
export const F2XM1 = 46;
export const FYL2X = 47;
export const FPTAN = 48;
export const FPATAN = 49;
export const FXTRACT = 50;
export const FPREM1 = 51;
export const FPREM = 52;
export const FYL2XP1 = 53;
export const FSINCOS = 54;
export const FSCALE = 55;
export const FSIN = 56;
export const FCOS = 57;
export const OPERATION = 0x3f;

/** Operands. Those in registers: ST and ST(i), the first being the destination. */
const OPERAND_SHIFT = 6;
const ST_STI = 0 << OPERAND_SHIFT;
export const STI_ST = 1 << OPERAND_SHIFT;
/** The same with EFLAGS, which decide (FCMOVcc) or are the destination (FCOMI and its kin). */
export const BY_FLAGS = 2 << OPERAND_SHIFT;
export const TO_FLAGS = 3 << OPERAND_SHIFT;
export const AX = 4 << OPERAND_SHIFT;
/** Those in memory: control or status word, integers, floating point, packed BCD, and images, which the mode lays out. */
export const M16 = 5 << OPERAND_SHIFT;
export const M16INT = 6 << OPERAND_SHIFT;
export const M32INT = 7 << OPERAND_SHIFT;
export const M64INT = 8 << OPERAND_SHIFT;
export const M32FP = 9 << OPERAND_SHIFT;
export const M64FP = 10 << OPERAND_SHIFT;
export const M80FP = 11 << OPERAND_SHIFT;
export const M80BCD = 12 << OPERAND_SHIFT;
export const ENVIRONMENT = 13 << OPERAND_SHIFT;
export const WHOLE_STATE = 14 << OPERAND_SHIFT;
export const OPERAND = 15 << OPERAND_SHIFT;

/** How often the stack is popped at the end. */
const POPS_SHIFT = 10;
export const POP = 1 << POPS_SHIFT;
const POP2 = 2 << POPS_SHIFT;
/** FNOP, FCMOVcc, FCOMI and the like keep C1 unless the stack faults. */
export const KEEPS_C1 = 1 << 12;
/** Control instructions leave FIP, FDP, FOP and C1 alone. */
export const CONTROL = 1 << 13;
/** It does not wait: a pending exception is not reported before it starts. */
export const NO_WAIT = 1 << 14;
/** The operand is not read but written. */
export const STORES = 1 << 15;

/** Bytes of an operand by its number; an image has more. */
const OPERAND_SIZES = Uint8Array.of(0, 0, 0, 0, 2, 2, 2, 4, 8, 4, 8, 10, 10, 0, 0, 0);

/** Memory forms: eight rows of eight; then the register forms, eight rows of 64. */
const REGISTER_FORMS = 64;

/** The cells one after the other: 64 of the memory forms, 512 of the register forms. */
function cells(): Uint16Array {
  type Row = readonly number[];
  const none = UNDEFINED;
  /** D8 and DC, DA and DE with memory: the eight operations on ST(0) and one source. */
  const arithmetic = (source: number): Row =>
    [FADD, FMUL, FCOM, FCOM | POP, FSUB, FSUBR, FDIV, FDIVR].map((operation) => operation | source);
  const NO = CONTROL | NO_WAIT;

  /** Memory forms: a row an opcode, a column a value of ModRM.reg. */
  // biome-ignore format: a grid, as in the manual
  const memory: readonly Row[] = [
    /* D8 */ arithmetic(M32FP),
    /* D9 */ [
      FLD | M32FP, none, FST | M32FP | STORES, FST | M32FP | STORES | POP,
      FLDENV | ENVIRONMENT | CONTROL, FLDCW | M16 | CONTROL, FNSTENV | ENVIRONMENT | STORES | NO, FNSTCW | M16 | STORES | NO,
    ],
    /* DA */ arithmetic(M32INT),
    /* DB */ [
      FLD | M32INT, FISTT | M32INT | STORES | POP, FIST | M32INT | STORES, FIST | M32INT | STORES | POP,
      none, FLD | M80FP, none, FST | M80FP | STORES | POP,
    ],
    /* DC */ arithmetic(M64FP),
    /* DD */ [
      FLD | M64FP, FISTT | M64INT | STORES | POP, FST | M64FP | STORES, FST | M64FP | STORES | POP,
      FRSTOR | WHOLE_STATE | CONTROL, none, FNSAVE | WHOLE_STATE | STORES | NO, FNSTSW | M16 | STORES | NO,
    ],
    /* DE */ arithmetic(M16INT),
    /* DF */ [
      FLD | M16INT, FISTT | M16INT | STORES | POP, FIST | M16INT | STORES, FIST | M16INT | STORES | POP,
      FLD | M80BCD, FLD | M64INT, FBSTP | M80BCD | STORES | POP, FIST | M64INT | STORES | POP,
    ],
  ];

  /**
   * Register forms: a row an opcode, a column a value of ModRM.reg; a column that is itself a row goes by ModRM.rm. Cells
   * the manual leaves blank but every x87 has since the 287 (the second encodings of FCOM, FXCH, FSTP, and FFREEP) are here.
   */
  // biome-ignore format: a grid, as in the manual
  const register: readonly (readonly (number | Row)[])[] = [
    /* D8 */ arithmetic(ST_STI),
    /* D9 */ [
      FLD, FXCH, [FNOP | KEEPS_C1], FSTPNCE | POP,
      [FCHS, FABS, none, none, FTST, FXAM],
      Array(7).fill(FLDCONST),
      [F2XM1, FYL2X, FPTAN, FPATAN, FXTRACT, FPREM1, FDECSTP, FINCSTP],
      [FPREM, FYL2XP1, FSQRT, FSINCOS, FRNDINT, FSCALE, FSIN, FCOS],
    ],
    /* DA */ [
      ...[FCMOVB, FCMOVE, FCMOVBE, FCMOVU].map((move) => move | BY_FLAGS | KEEPS_C1),
      none, [none, FUCOM | POP2], none, none,
    ],
    /* DB */ [
      ...[FCMOVNB, FCMOVNE, FCMOVNBE, FCMOVNU].map((move) => move | BY_FLAGS | KEEPS_C1),
      /* FNENI, FNDISI, …, FNSETPM */ [FNOP | NO, FNOP | NO, FNCLEX | NO, FNINIT | NO, FNOP | NO],
      FUCOMI | TO_FLAGS | KEEPS_C1, FCOMI | TO_FLAGS | KEEPS_C1, none,
    ],
    /* DC */ [
      FADD | STI_ST, FMUL | STI_ST, FCOM, FCOM | POP,
      FSUBR | STI_ST, FSUB | STI_ST, FDIVR | STI_ST, FDIV | STI_ST,
    ],
    /* DD */ [FFREE, FXCH, FST | STI_ST, FST | STI_ST | POP, FUCOM, FUCOM | POP, none, none],
    /* DE */ [
      FADD | STI_ST | POP, FMUL | STI_ST | POP, FCOM | POP, [none, FCOM | POP2],
      FSUBR | STI_ST | POP, FSUB | STI_ST | POP, FDIVR | STI_ST | POP, FDIV | STI_ST | POP,
    ],
    /* DF */ [
      FFREE | POP, FXCH, FST | STI_ST | POP, FST | STI_ST | POP,
      [FNSTSW | AX | STORES | NO], FUCOMI | TO_FLAGS | KEEPS_C1 | POP, FCOMI | TO_FLAGS | KEEPS_C1 | POP, none,
    ],
  ];
  const column = (cell: number | Row): Row =>
    Array.from({ length: 8 }, (_, rm) => (typeof cell === 'number' ? cell : (cell[rm] ?? none)));
  return Uint16Array.from([...memory.flat(), ...register.flat().flatMap(column)]);
}

const forms = column('x87.forms', Uint16Array, cells);

/** @param opcode 0xD8…0xDF. @returns the form; its operation is 0 if it is undefined (#UD). */
export function x87Form(opcode: number, modrm: number): number {
  const row = opcode & 7;
  return forms[modrm < 0xc0 ? (row << 3) | ((modrm >> 3) & 7) : REGISTER_FORMS + ((row << 6) | (modrm & 0x3f))];
}

/** Bytes of the operand of a form that are loaded or stored; 0: none, or an image. */
export function operandSize(form: number): number {
  return OPERAND_SIZES[(form & OPERAND) >> OPERAND_SHIFT];
}

/** Is the operand an image, which the mode lays out (x87-control.ts)? */
export function isImage(form: number): boolean {
  return (form & OPERAND) >= ENVIRONMENT;
}

export function pops(form: number): number {
  return (form >> POPS_SHIFT) & 3;
}
