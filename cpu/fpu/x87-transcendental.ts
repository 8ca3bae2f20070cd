/**
 * The x87 handlers of the transcendental instructions: stack, special operands, C2 for arguments out of range, and
 * rounding to 64 bits whatever precision control says (SDM vol. 1, 8.3.7–8.3.10).
 */
import {
  EXTENDED,
  FINITE,
  fp,
  INFINITE,
  invalid,
  NAN,
  noteDenormals,
  PRE_COMPUTATION,
  propagateNan,
  setZero,
  Unpacked,
} from './float.ts';
import { arctangent, exponentialMinus1, yTimesLog2, yTimesLog2Plus1 } from './logarithmic.ts';
import { round } from './round.ts';
import { cos, sin, tan } from './trigonometric.ts';
import { unpackInt32 } from './unpack.ts';
import { SW_C2, type X87State } from './x87-state.ts';

type Handler = (x: X87State) => void;
/** An operation on unpacked numbers: z = a op b. */
type Operation = (z: Unpacked, a: Unpacked, b: Unpacked) => Unpacked;

const a = new Unpacked();
const b = new Unpacked();
const z = new Unpacked();
const w = new Unpacked();

/** F2XM1. */
export const f2xm1: Handler = (x) => {
  if (x.isEmpty(0)) return x.underflowTo(0, 0);
  x.finish(exponentialMinus1(z, x.read(a, 0)), 0, 0, EXTENDED);
};

/** FYL2X, FYL2XP1, FPATAN: ST(1) = operation(ST(1), ST(0)), then a pop. */
const ofTwo =
  (operation: Operation): Handler =>
  (x) => {
    if (x.isEmpty(0) || x.isEmpty(1)) return x.underflowTo(1, 1);
    x.finish(operation(z, x.read(b, 1), x.read(a, 0)), 1, 1, EXTENDED);
  };
export const fyl2x: Handler = ofTwo(yTimesLog2);
export const fyl2xp1: Handler = ofTwo(yTimesLog2Plus1);
export const fpatan: Handler = ofTwo(arctangent);

/** From this exponent on the argument is out of range: C2 = 1 and nothing happens. */
const RANGE_EXPONENT = 63;

function outOfRange(x: X87State): boolean {
  const out = a.kind === FINITE && a.exp >= RANGE_EXPONENT;
  x.sw = out ? x.sw | SW_C2 : x.sw & ~SW_C2;
  return out;
}

/** z = function of `a`, or what a special operand gives. @param atZero the value at 0: 1, or 0 with the sign of `a`. */
function evaluate(z: Unpacked, operation: (z: Unpacked, a: Unpacked) => Unpacked, atZero: number): Unpacked {
  if (a.kind >= NAN) return propagateNan(z, a, a);
  if (a.kind === INFINITE) return invalid(z);
  noteDenormals(a, a);
  if (a.kind === FINITE) return operation(z, a);
  if (atZero === 0) return setZero(z, a.sign);
  unpackInt32(z, atZero);
  return z;
}

/** FSIN, FCOS. */
const ofOne =
  (operation: (z: Unpacked, a: Unpacked) => Unpacked, atZero: number): Handler =>
  (x) => {
    x.sw &= ~SW_C2;
    if (x.isEmpty(0)) return x.underflowTo(0, 0);
    x.read(a, 0);
    if (!outOfRange(x)) x.finish(evaluate(z, operation, atZero), 0, 0, EXTENDED);
  };
export const fsin: Handler = ofOne(sin, 0);
export const fcos: Handler = ofOne(cos, 1);

/** FPTAN and FSINCOS: one result in ST(0), then another is pushed. */
const ofOnePushing =
  (operation: (z: Unpacked, a: Unpacked) => Unpacked, pushed: (z: Unpacked) => Unpacked): Handler =>
  (x) => {
    x.sw &= ~SW_C2;
    if (!x.canReplaceAndPush()) return;
    x.read(a, 0);
    if (outOfRange(x)) return;
    evaluate(z, operation, 0);
    if (fp.unmasked(PRE_COMPUTATION)) return;
    pushed(w);
    x.write(round(z, EXTENDED, true), 0);
    const roundedUp = fp.roundedUp;
    x.push(round(w, EXTENDED, true));
    fp.roundedUp = roundedUp;
  };

/** FPTAN pushes 1, or the NaN again. */
export const fptan: Handler = ofOnePushing(tan, (w) => {
  if (a.kind < INFINITE) unpackInt32(w, 1);
  else evaluate(w, tan, 0);
  return w;
});

/** FSINCOS pushes the cosine. */
export const fsincos: Handler = ofOnePushing(sin, (w) => evaluate(w, cos, 1));
