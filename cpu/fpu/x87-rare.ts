/**
 * x87 operations that are rare: images of the state, packed BCD, FPREM, FSCALE, FXTRACT, and the transcendental ones
 * (x87-transcendental.ts). They are TypeScript's alone: what is compiled ahead of time (aot/compile.ts) leaves for them.
 */
import { packBcd } from './convert.ts';
import { EXTENDED, fp, IE, INFINITE, NAN, PRE_COMPUTATION, UE, Unpacked } from './float.ts';
import { extract, quotient, remainder, scale } from './remainder.ts';
import { initialize, loadEnvironment, restoreState, saveState, storeEnvironment } from './x87-control.ts';
import * as f from './x87-forms.ts';
import { readToStore } from './x87-operations.ts';
import { SW_C0, SW_C2, SW_C3, type X87State } from './x87-state.ts';
import { f2xm1, fcos, fpatan, fptan, fsin, fsincos, fyl2x, fyl2xp1 } from './x87-transcendental.ts';

const a = new Unpacked();
const b = new Unpacked();
const z = new Unpacked();

/** FBSTP. */
function storeBcd(x: X87State): void {
  if (!readToStore(x, a)) return;
  packBcd(a, x.operand, 0);
  if (fp.unmasked(IE)) x.storeBytes = 0;
  else x.pop();
}

/** FSCALE. */
function scaleBy(x: X87State): void {
  if (x.isEmpty(0) || x.isEmpty(1)) x.underflowTo(0, 0);
  else x.finish(scale(z, x.read(a, 0), x.read(b, 1)), 0, 0, EXTENDED);
}

/** FXTRACT: ST(0) = exponent, then push the significand. */
function extractParts(x: X87State): void {
  if (!x.canReplaceAndPush()) return;
  extract(b, z, x.read(a, 0));
  if (fp.unmasked(PRE_COMPUTATION)) return;
  x.write(b, 0);
  x.push(z);
}

/** FPREM and FPREM1: the quotient's bits 2, 1, 0 to C0, C3, C1; C2 while only part of the way. */
function partialRemainder(x: X87State, nearest: boolean): void {
  x.sw &= ~SW_C2;
  if (x.isEmpty(0) || x.isEmpty(1)) {
    x.underflowTo(0, 0);
    return;
  }
  remainder(z, x.read(a, 0), x.read(b, 1), nearest);
  // An infinite divisor leaves a denormal as it is, which is no underflow even if that is unmasked.
  if (b.kind === INFINITE) fp.masks |= UE;
  if (!x.finish(z, 0, 0, EXTENDED) || z.kind === NAN) return;
  const { low, partial } = quotient;
  x.setConditions((low & 4 ? SW_C0 : 0) | (low & 2 ? SW_C3 : 0) | (partial ? SW_C2 : 0));
  fp.roundedUp = low & 1;
}

/** Operations from FNINIT on. */
export function performRare(x: X87State, operation: number): void {
  switch (operation) {
    case f.FNINIT:
      initialize(x);
      break;
    case f.FLDENV:
      loadEnvironment(x, x.environment);
      break;
    case f.FNSTENV:
      storeEnvironment(x, x.environment);
      break;
    case f.FRSTOR:
      restoreState(x, x.environment);
      break;
    case f.FNSAVE:
      saveState(x, x.environment);
      break;
    case f.FBSTP:
      storeBcd(x);
      break;
    case f.F2XM1:
      f2xm1(x);
      break;
    case f.FYL2X:
      fyl2x(x);
      break;
    case f.FPTAN:
      fptan(x);
      break;
    case f.FPATAN:
      fpatan(x);
      break;
    case f.FXTRACT:
      extractParts(x);
      break;
    case f.FPREM1:
      partialRemainder(x, true);
      break;
    case f.FPREM:
      partialRemainder(x, false);
      break;
    case f.FYL2XP1:
      fyl2xp1(x);
      break;
    case f.FSINCOS:
      fsincos(x);
      break;
    case f.FSCALE:
      scaleBy(x);
      break;
    case f.FSIN:
      fsin(x);
      break;
    case f.FCOS:
      fcos(x);
      break;
    default:
      throw new Error(`no such x87 operation: ${operation}`);
  }
}
