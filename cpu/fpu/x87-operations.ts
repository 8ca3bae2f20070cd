/**
 * x87 data movement and arithmetic: makers of the handlers in the opcode grid (x87.ts). A handler gets the state and the
 * `i` of ST(i); memory operands are in `x.operand`. Exceptions and stack faults as in SDM vol. 1, 8.5.
 */
import { integer, packBcd, roundToIntegral, toInteger, unpackBcd } from './convert.ts';
import {
  BINARY32,
  BINARY64,
  copy,
  EXTENDED,
  FINITE,
  fp,
  IE,
  INFINITE,
  NAN,
  noteDenormals,
  OE,
  PE,
  PRE_COMPUTATION,
  propagateNan,
  RC_ZERO,
  setDefaultNan,
  UE,
  Unpacked,
  ZERO,
} from './float.ts';
import { extract, quotient, remainder, scale } from './remainder.ts';
import { round, roundConstant } from './round.ts';
import {
  pack32,
  pack64Hi,
  pack64Lo,
  pack80Hi,
  pack80SignExp,
  unpack32,
  unpack64,
  unpackInt32,
  unpackInt64,
} from './unpack.ts';
import { setConditions } from './x87-compare.ts';
import { SW_C0, SW_C1, SW_C2, SW_C3, type X87State } from './x87-state.ts';

export type Handler = (x: X87State, i: number) => void;
/** An operation on unpacked numbers: z = a op b. */
export type Operation = (z: Unpacked, a: Unpacked, b: Unpacked) => Unpacked;
/** Unpacks the memory operand. */
export type Source = (z: Unpacked, x: X87State) => void;

const a = new Unpacked();
const b = new Unpacked();
const z = new Unpacked();

export const m32fp: Source = (z, x) => unpack32(z, x.operand32[0]);
export const m64fp: Source = (z, x) => unpack64(z, x.operand32[0], x.operand32[1]);
export const m16int: Source = (z, x) => unpackInt32(z, (x.operand16[0] << 16) >> 16);
export const m32int: Source = (z, x) => unpackInt32(z, x.operand32[0]);
export const m64int: Source = (z, x) => unpackInt64(z, x.operand32[0], x.operand32[1]);
export const m80bcd: Source = (z, x) => unpackBcd(z, x.operand, 0);

export const reversed =
  (operation: Operation): Operation =>
  (z, a, b) =>
    operation(z, b, a);

/** ST(0) = ST(0) op memory. */
export const arithmeticMemory =
  (operation: Operation, source: Source): Handler =>
  (x) => {
    if (x.isEmpty(0)) return x.underflowTo(0, 0);
    source(b, x);
    x.finish(operation(z, x.read(a, 0), b), 0, 0, x.format);
  };

/** ST(0) = ST(0) op ST(i). */
export const arithmeticTo0 =
  (operation: Operation): Handler =>
  (x, i) => {
    if (x.isEmpty(0) || x.isEmpty(i)) return x.underflowTo(0, 0);
    x.finish(operation(z, x.read(a, 0), x.read(b, i)), 0, 0, x.format);
  };

/** ST(i) = ST(i) op ST(0), then `pops` pops. */
export const arithmeticToI =
  (operation: Operation, pops: number): Handler =>
  (x, i) => {
    if (x.isEmpty(0) || x.isEmpty(i)) return x.underflowTo(i, pops);
    x.finish(operation(z, x.read(a, i), x.read(b, 0)), i, pops, x.format);
  };

/** FLD, FILD, FBLD. @param converts whether the load converts a format, and so may signal. */
export const load =
  (source: Source, converts: boolean): Handler =>
  (x) => {
    if (!x.canPush()) return;
    source(z, x);
    if (converts && z.kind === NAN) propagateNan(z, z, z);
    else if (converts) noteDenormals(z, z);
    // A denormal is loaded even if that is an unmasked exception.
    if (!fp.unmasked(IE)) x.push(z);
  };

/** FLD m80: every bit as it is, unsupported formats included. */
export const loadExtended: Handler = (x) => {
  if (!x.canPush()) return;
  x.top--;
  const at = x.wordOf(0);
  x.i32[at] = x.operand32[0];
  x.i32[at + 1] = x.operand32[1];
  x.u16[(at + 2) << 1] = x.operand16[4];
  x.setValid(0);
};

/** FLD ST(i). */
export const loadRegister: Handler = (x, i) => {
  if (x.isEmpty(i)) {
    if (!x.stackUnderflow()) return;
    x.top--;
    x.write(setDefaultNan(z), 0);
    return;
  }
  if (!x.canPush()) return;
  x.top--;
  copyRegister(x, i + 1, 0);
};

/** ST(to) = ST(from), bit for bit. */
function copyRegister(x: X87State, from: number, to: number): void {
  const source = x.wordOf(from);
  const target = x.wordOf(to);
  x.i32[target] = x.i32[source];
  x.i32[target + 1] = x.i32[source + 1];
  x.u16[(target + 2) << 1] = x.u16[(source + 2) << 1];
  x.setValid(to);
}

/** FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ: rounded by RC from 66 or more bits, without raising PE. */
export const loadConstant = (exp: number, hi: number, lo: number, ext: number): Handler => {
  const value = new Unpacked();
  value.kind = hi === 0 ? ZERO : FINITE;
  value.exp = exp;
  value.hi = hi | 0;
  value.lo = lo | 0;
  value.ext = ext | 0;
  return (x) => {
    if (x.canPush()) x.push(roundConstant(copy(z, value)));
  };
};

/** z = ST(0), or the default NaN if that is empty. @returns false if that is an unmasked exception: nothing to store. */
function readToStore(x: X87State, z: Unpacked): boolean {
  if (!x.isEmpty(0)) x.read(z, 0);
  else if (x.stackUnderflow()) setDefaultNan(z);
  else x.storeBytes = 0;
  return x.storeBytes !== 0;
}

/** FST and FSTP to m32 or m64. */
export const store =
  (double: boolean, pops: number): Handler =>
  (x) => {
    if (!readToStore(x, z)) return;
    if (z.kind >= NAN) propagateNan(z, z, z);
    else round(z, double ? BINARY64 : BINARY32);
    if (fp.unmasked(IE | OE | UE)) {
      // Nothing is stored, so nothing was rounded.
      fp.flags &= ~PE;
      fp.roundedUp = 0;
      x.storeBytes = 0;
      return;
    }
    if (double) {
      x.operand32[0] = pack64Lo(z);
      x.operand32[1] = pack64Hi(z);
    } else {
      x.operand32[0] = pack32(z);
    }
    if (pops) x.pop();
  };

/** FSTP m80: every bit as it is. */
export const storeExtended: Handler = (x) => {
  if (!x.isEmpty(0)) {
    const at = x.wordOf(0);
    x.operand32[0] = x.i32[at];
    x.operand32[1] = x.i32[at + 1];
    x.operand16[4] = x.u16[(at + 2) << 1];
  } else if (x.stackUnderflow()) {
    setDefaultNan(z);
    x.operand32[0] = z.lo;
    x.operand32[1] = pack80Hi(z);
    x.operand16[4] = pack80SignExp(z);
  } else {
    x.storeBytes = 0;
    return;
  }
  x.pop();
};

/** FIST, FISTP, FISTTP. @param width 16, 32 or 64. */
export const storeInteger =
  (width: number, truncate: boolean, pops: number): Handler =>
  (x) => {
    // An empty register converts as the NaN it is taken for: to the integer indefinite.
    if (!readToStore(x, a)) return;
    toInteger(a, width, truncate ? RC_ZERO : fp.rc);
    if (fp.unmasked(IE)) {
      x.storeBytes = 0;
      return;
    }
    x.operand32[0] = integer.lo;
    x.operand32[1] = integer.hi;
    if (pops) x.pop();
  };

/** FBSTP. */
export const storeBcd: Handler = (x) => {
  if (!readToStore(x, a)) return;
  packBcd(a, x.operand, 0);
  if (fp.unmasked(IE)) x.storeBytes = 0;
  else x.pop();
};

/** FST and FSTP to ST(i). */
export const storeRegister =
  (pops: number): Handler =>
  (x, i) => {
    if (x.isEmpty(0)) return x.underflowTo(i, pops);
    copyRegister(x, 0, i);
    if (pops) x.pop();
  };

/** The FSTP ST(i) of opcode D9: an empty ST(0) is no fault, there is only nothing to copy. */
export const storeRegisterQuietly: Handler = (x, i) => {
  if (!x.isEmpty(0)) copyRegister(x, 0, i);
  x.pop();
};

/** FXCH: an empty register takes part as the default NaN. */
export const exchange: Handler = (x, i) => {
  if (x.isEmpty(0) || x.isEmpty(i)) {
    if (!x.stackUnderflow()) return;
    setDefaultNan(z);
    if (x.isEmpty(0)) x.write(z, 0);
    if (x.isEmpty(i)) x.write(z, i);
  }
  const first = x.wordOf(0);
  const second = x.wordOf(i);
  for (let word = 0; word < 3; word++) {
    const kept = x.i32[first + word];
    x.i32[first + word] = x.i32[second + word];
    x.i32[second + word] = kept;
  }
};

/** FCMOVcc: moves if any of the EFLAGS bits in `flags` is set, or (`negated`) none. */
export const conditionalMove =
  (flags: number, negated: boolean): Handler =>
  (x, i) => {
    if (x.isEmpty(0) || x.isEmpty(i)) return x.underflowTo(0, 0);
    if (((x.eflags & flags) !== 0) !== negated) copyRegister(x, i, 0);
  };

/** FCHS and FABS: the sign bit only, whatever the value. */
export const changeSign =
  (absolute: boolean): Handler =>
  (x) => {
    if (x.isEmpty(0)) return x.underflowTo(0, 0);
    const at = (x.wordOf(0) + 2) << 1;
    x.u16[at] = absolute ? x.u16[at] & 0x7fff : x.u16[at] ^ 0x8000;
  };

/** An operation on ST(0) alone. */
export const unary =
  (operation: (z: Unpacked, a: Unpacked) => Unpacked): Handler =>
  (x) => {
    if (x.isEmpty(0)) return x.underflowTo(0, 0);
    x.finish(operation(z, x.read(a, 0)), 0, 0, x.format);
  };

/** FRNDINT. */
export const roundInteger: Handler = (x) => {
  if (x.isEmpty(0)) return x.underflowTo(0, 0);
  roundToIntegral(z, x.read(a, 0), fp.rc);
  if (!fp.unmasked(PRE_COMPUTATION)) return x.write(z, 0);
  fp.flags &= ~PE;
  fp.roundedUp = 0;
};

/** FSCALE. */
export const scaleBy: Handler = (x) => {
  if (x.isEmpty(0) || x.isEmpty(1)) return x.underflowTo(0, 0);
  x.finish(scale(z, x.read(a, 0), x.read(b, 1)), 0, 0, EXTENDED);
};

/** FXTRACT: ST(0) = exponent, then push the significand. */
export const extractParts: Handler = (x) => {
  if (x.isEmpty(0) || !x.isEmpty(-1)) {
    const masked = x.stackUnderflow();
    if (!x.isEmpty(0)) fp.roundedUp = 1;
    if (!masked) return;
    x.write(setDefaultNan(z), 0);
    x.top--;
    x.write(z, 0);
    return;
  }
  extract(b, z, x.read(a, 0));
  if (fp.unmasked(PRE_COMPUTATION)) return;
  x.write(b, 0);
  x.top--;
  x.write(z, 0);
};

/** FPREM and FPREM1: the quotient's bits 2, 1, 0 to C0, C3, C1; C2 while only part of the way. */
export const partialRemainder =
  (nearest: boolean): Handler =>
  (x) => {
    x.sw &= ~SW_C2;
    if (x.isEmpty(0) || x.isEmpty(1)) return x.underflowTo(0, 0);
    remainder(z, x.read(a, 0), x.read(b, 1), nearest);
    // An infinite divisor leaves a denormal as it is, which is no underflow even if that is unmasked.
    if (b.kind === INFINITE) fp.masks |= UE;
    if (!x.finish(z, 0, 0, EXTENDED) || z.kind === NAN) return;
    const { low, partial } = quotient;
    setConditions(x, (low & 4 ? SW_C0 : 0) | (low & 2 ? SW_C3 : 0) | (partial ? SW_C2 : 0));
    fp.roundedUp = low & 1;
  };

/** FFREE ST(i), and with a pop the undocumented FFREEP. */
export const free =
  (pops: number): Handler =>
  (x, i) => {
    x.setEmpty(i);
    if (pops) x.pop();
  };

/** FINCSTP and FDECSTP. */
export const moveTop =
  (by: number): Handler =>
  (x) => {
    x.top += by;
    x.sw &= ~SW_C1;
  };
