/**
 * x87 data movement and arithmetic: what the operations of the opcode grid (x87-forms.ts) do. They get the state, the form
 * where it makes a difference, and the `i` of ST(i); memory operands are in the state block at S_FPU_OPERAND. Exceptions
 * and stack faults as in SDM vol. 1, 8.5.
 */
import { S_FPU_OPERAND } from '../state.ts';
import { add, mul, sub } from './arith.ts';
import { integer, roundToIntegral, toInteger, unpackBcd } from './convert.ts';
import { div, sqrt } from './divide.ts';
import {
  BINARY32,
  BINARY64,
  FINITE,
  fp,
  IE,
  NAN,
  noteDenormals,
  OE,
  PE,
  PRE_COMPUTATION,
  propagateNan,
  setDefaultNan,
  setZero,
  UE,
  Unpacked,
} from './float.ts';
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
import {
  FADD,
  FCMOVB,
  FDIV,
  FDIVR,
  FMUL,
  FSUB,
  FSUBR,
  M16INT,
  M32FP,
  M32INT,
  M64FP,
  M64INT,
  M80FP,
  OPERAND,
  OPERATION,
  operandSize,
  pops,
  STI_ST,
} from './x87-forms.ts';
import { OPERAND_WORD, SW_C1, type X87State } from './x87-state.ts';

/** The memory operand, in `i32`. */
const LOW = S_FPU_OPERAND >> 2;
const HIGH = LOW + 1;

const a = new Unpacked();
const b = new Unpacked();
const z = new Unpacked();

/** z = the memory operand of a form. */
export function readOperand(x: X87State, z: Unpacked, form: number): void {
  const { i32 } = x;
  switch (form & OPERAND) {
    case M32FP:
      unpack32(z, i32[LOW]);
      break;
    case M64FP:
      unpack64(z, i32[LOW], i32[HIGH]);
      break;
    case M16INT:
      unpackInt32(z, (i32[LOW] << 16) >> 16);
      break;
    case M32INT:
      unpackInt32(z, i32[LOW]);
      break;
    case M64INT:
      unpackInt64(z, i32[LOW], i32[HIGH]);
      break;
    default:
      readBcd(x, z);
  }
}

function readBcd(x: X87State, z: Unpacked): void {
  unpackBcd(z, x.operand, 0);
}

/** z = a op b. */
function operate(operation: number): void {
  switch (operation) {
    case FADD:
      add(z, a, b);
      break;
    case FSUB:
      sub(z, a, b);
      break;
    case FSUBR:
      sub(z, b, a);
      break;
    case FMUL:
      mul(z, a, b);
      break;
    case FDIV:
      div(z, a, b);
      break;
    case FDIVR:
      div(z, b, a);
      break;
  }
}

/** ST(0) = ST(0) op memory, ST(0) = ST(0) op ST(i), or ST(i) = ST(i) op ST(0) and pops. */
export function arithmetic(x: X87State, form: number, i: number): void {
  const inMemory = operandSize(form) !== 0;
  const to = (form & OPERAND) === STI_ST ? i : 0;
  if (x.isEmpty(0) || (!inMemory && x.isEmpty(i))) {
    x.underflowTo(to, pops(form));
    return;
  }
  x.read(a, to);
  if (inMemory) readOperand(x, b, form);
  else x.read(b, i - to);
  operate(form & OPERATION);
  x.finish(z, to, pops(form), x.format);
}

/** FLD, FILD, FBLD. */
export function load(x: X87State, form: number, i: number): void {
  const operand = form & OPERAND;
  if (operandSize(form) === 0) loadRegister(x, i);
  else if (operand === M80FP) loadExtended(x);
  else if (x.canPush()) {
    readOperand(x, z, form);
    // Only where it converts a format may a load signal.
    if (operand === M32FP || operand === M64FP) {
      if (z.kind === NAN) propagateNan(z, z, z);
      else noteDenormals(z, z);
    }
    // A denormal is loaded even if that is an unmasked exception.
    if (!fp.unmasked(IE)) x.push(z);
  }
}

/** FLD m80: every bit as it is, unsupported formats included. */
function loadExtended(x: X87State): void {
  if (!x.canPush()) return;
  x.top--;
  const at = x.wordOf(0);
  x.i32[at] = x.i32[LOW];
  x.i32[at + 1] = x.i32[HIGH];
  x.u16[(at + 2) << 1] = x.u16[OPERAND_WORD + 4];
  x.setValid(0);
}

function loadRegister(x: X87State, i: number): void {
  if (x.isEmpty(i)) {
    if (!x.stackUnderflow()) return;
    x.top--;
    setDefaultNan(z);
    x.write(z, 0);
    return;
  }
  if (!x.canPush()) return;
  x.top--;
  copyRegister(x, i + 1, 0);
}

/** ST(to) = ST(from), bit for bit. */
function copyRegister(x: X87State, from: number, to: number): void {
  const source = x.wordOf(from);
  const target = x.wordOf(to);
  x.i32[target] = x.i32[source];
  x.i32[target + 1] = x.i32[source + 1];
  x.u16[(target + 2) << 1] = x.u16[(source + 2) << 1];
  x.setValid(to);
}

/** z = 2^exp × hi:lo:ext / 2^95. */
function setConstant(exp: number, hi: number, lo: number, ext: number): void {
  z.kind = FINITE;
  z.sign = 0;
  z.denormal = 0;
  z.exp = exp;
  z.hi = hi | 0;
  z.lo = lo | 0;
  z.ext = ext | 0;
}

/** FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ: rounded by RC from 66 or more bits, without raising PE. */
export function loadConstant(x: X87State, which: number): void {
  if (!x.canPush()) return;
  switch (which) {
    case 0:
      setConstant(0, 0x80000000, 0, 0);
      break;
    case 1:
      setConstant(1, 0xd49a784b, 0xcd1b8afe, 0x492bf6ff);
      break;
    case 2:
      setConstant(0, 0xb8aa3b29, 0x5c17f0bb, 0xbe87fed1);
      break;
    case 3:
      setConstant(1, 0xc90fdaa2, 0x2168c234, 0xc4c6628b);
      break;
    case 4:
      setConstant(-2, 0x9a209a84, 0xfbcff798, 0x8f8959ad);
      break;
    case 5:
      setConstant(-1, 0xb17217f7, 0xd1cf79ab, 0xc9e3b399);
      break;
    default:
      setZero(z, 0);
  }
  roundConstant(z);
  x.push(z);
}

/** z = ST(0), or the default NaN if that is empty. @returns false if that is an unmasked exception: nothing to store. */
export function readToStore(x: X87State, z: Unpacked): boolean {
  if (!x.isEmpty(0)) x.read(z, 0);
  else if (x.stackUnderflow()) setDefaultNan(z);
  else x.storeBytes = 0;
  return x.storeBytes !== 0;
}

/** FST and FSTP. */
export function store(x: X87State, form: number, i: number): void {
  const operand = form & OPERAND;
  if (operand === STI_ST) storeRegister(x, i, pops(form));
  else if (operand === M80FP) storeExtended(x);
  else if (readToStore(x, z)) {
    if (z.kind >= NAN) propagateNan(z, z, z);
    else round(z, operand === M64FP ? BINARY64 : BINARY32);
    if (fp.unmasked(IE | OE | UE)) {
      // Nothing is stored, so nothing was rounded.
      fp.flags &= ~PE;
      fp.roundedUp = 0;
      x.storeBytes = 0;
      return;
    }
    if (operand === M64FP) {
      x.i32[LOW] = pack64Lo(z);
      x.i32[HIGH] = pack64Hi(z);
    } else x.i32[LOW] = pack32(z);
    x.popTimes(pops(form));
  }
}

/** FSTP m80: every bit as it is. */
function storeExtended(x: X87State): void {
  if (!x.isEmpty(0)) {
    const at = x.wordOf(0);
    x.i32[LOW] = x.i32[at];
    x.i32[HIGH] = x.i32[at + 1];
    x.u16[OPERAND_WORD + 4] = x.u16[(at + 2) << 1];
  } else if (x.stackUnderflow()) {
    setDefaultNan(z);
    x.i32[LOW] = z.lo;
    x.i32[HIGH] = pack80Hi(z);
    x.u16[OPERAND_WORD + 4] = pack80SignExp(z);
  } else {
    x.storeBytes = 0;
    return;
  }
  x.pop();
}

/** FIST, FISTP, FISTTP, rounding by `rc`. */
export function storeInteger(x: X87State, form: number, rc: number): void {
  // An empty register converts as the NaN it is taken for: to the integer indefinite.
  if (!readToStore(x, a)) return;
  toInteger(a, operandSize(form) << 3, rc);
  if (fp.unmasked(IE)) {
    x.storeBytes = 0;
    return;
  }
  x.i32[LOW] = integer.lo;
  x.i32[HIGH] = integer.hi;
  x.popTimes(pops(form));
}

/** FST and FSTP to ST(i). */
function storeRegister(x: X87State, i: number, pops: number): void {
  if (x.isEmpty(0)) {
    x.underflowTo(i, pops);
    return;
  }
  copyRegister(x, 0, i);
  x.popTimes(pops);
}

/** The FSTP ST(i) of opcode D9: an empty ST(0) is no fault, there is only nothing to copy. */
export function storeRegisterQuietly(x: X87State, i: number): void {
  if (!x.isEmpty(0)) copyRegister(x, 0, i);
  x.pop();
}

/** FXCH: an empty register takes part as the default NaN. */
export function exchange(x: X87State, i: number): void {
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
}

/** CF, PF and ZF, as FCMOVB, FCMOVE, FCMOVBE and FCMOVU look at them: any is to be set; for the four with an N, none. */
const MOVE_FLAGS = Uint8Array.of(0x01, 0x40, 0x41, 0x04);

/** FCMOVcc. */
export function conditionalMove(x: X87State, form: number, i: number): void {
  const condition = (form & OPERATION) - FCMOVB;
  const isSet = (x.eflags & MOVE_FLAGS[condition & 3]) !== 0;
  if (x.isEmpty(0) || x.isEmpty(i)) x.underflowTo(0, 0);
  else if (isSet === condition < 4) copyRegister(x, i, 0);
}

/** FCHS and FABS: the sign bit only, whatever the value. */
export function changeSign(x: X87State, absolute: boolean): void {
  if (x.isEmpty(0)) {
    x.underflowTo(0, 0);
    return;
  }
  const at = (x.wordOf(0) + 2) << 1;
  x.u16[at] = absolute ? x.u16[at] & 0x7fff : x.u16[at] ^ 0x8000;
}

/** FSQRT. */
export function squareRoot(x: X87State): void {
  if (x.isEmpty(0)) {
    x.underflowTo(0, 0);
    return;
  }
  x.read(a, 0);
  sqrt(z, a);
  x.finish(z, 0, 0, x.format);
}

/** FRNDINT. */
export function roundInteger(x: X87State): void {
  if (x.isEmpty(0)) {
    x.underflowTo(0, 0);
    return;
  }
  x.read(a, 0);
  roundToIntegral(z, a, fp.rc);
  if (!fp.unmasked(PRE_COMPUTATION)) {
    x.write(z, 0);
    return;
  }
  fp.flags &= ~PE;
  fp.roundedUp = 0;
}

/** FFREE ST(i), and with a pop the undocumented FFREEP. */
export function free(x: X87State, i: number, pops: number): void {
  x.setEmpty(i);
  x.popTimes(pops);
}

/** FINCSTP and FDECSTP. */
export function moveTop(x: X87State, by: number): void {
  x.top += by;
  x.sw &= ~SW_C1;
}
