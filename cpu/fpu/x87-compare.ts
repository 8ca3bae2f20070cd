/**
 * x87 comparison and classification: FCOM and its kin, FTST and FXAM (SDM vol. 1, 8.1.3.3 and 8.3.6). An empty register
 * compares as unordered.
 */
import { COMPARE_EFLAGS, compare, UNORDERED } from './convert.ts';
import { fp, INFINITE, NAN, PRE_COMPUTATION, setZero, UNSUPPORTED, Unpacked, ZERO } from './float.ts';
import { operandSize, pops } from './x87-forms.ts';
import { readOperand } from './x87-operations.ts';
import { SW_C0, SW_C2, SW_C3, type X87State } from './x87-state.ts';

const a = new Unpacked();
const b = new Unpacked();

/** C0, C2 and C3 are where SAHF makes CF, PF and ZF of them. */
const CONDITIONS_SHIFT = 8;

/** Sets C0, C2, C3 for the relation of ST(0), in `a`, to `b`. */
function finishCompare(x: X87State, quiet: boolean, pops: number): void {
  const relation = compare(a, b, quiet);
  x.setConditions(COMPARE_EFLAGS[relation] << CONDITIONS_SHIFT);
  if (!fp.unmasked(PRE_COMPUTATION)) x.popTimes(pops);
}

/** A comparison with an empty register is unordered. */
function underflowCompare(x: X87State, pops: number): void {
  const masked = x.stackUnderflow();
  x.setConditions(COMPARE_EFLAGS[UNORDERED] << CONDITIONS_SHIFT);
  if (masked) x.popTimes(pops);
}

/** FCOM, FCOMP, FCOMPP, FICOM, FICOMP, and (quiet) FUCOM, FUCOMP, FUCOMPP. */
export function compareTop(x: X87State, form: number, i: number, quiet: boolean): void {
  const inMemory = operandSize(form) !== 0;
  if (x.isEmpty(0) || (!inMemory && x.isEmpty(i))) {
    underflowCompare(x, pops(form));
    return;
  }
  x.read(a, 0);
  if (inMemory) readOperand(x, b, form);
  else x.read(b, i);
  finishCompare(x, quiet, pops(form));
}

/** FTST. */
export function test(x: X87State): void {
  if (x.isEmpty(0)) {
    underflowCompare(x, 0);
    return;
  }
  x.read(a, 0);
  setZero(b, 0);
  finishCompare(x, false, 0);
}

/** FCOMI, FCOMIP, FUCOMI, FUCOMIP: the relation to ZF, PF, CF. */
export function compareFlags(x: X87State, form: number, i: number, quiet: boolean): void {
  let relation = UNORDERED;
  if (x.isEmpty(0) || x.isEmpty(i)) x.stackUnderflow();
  else {
    x.read(a, 0);
    x.read(b, i);
    relation = compare(a, b, quiet);
  }
  x.eflags = COMPARE_EFLAGS[relation];
  if (!fp.unmasked(PRE_COMPUTATION)) x.popTimes(pops(form));
}

/** FXAM: class of ST(0) in C3, C2, C0 and its sign in C1; nothing is invalid here. */
export function examine(x: X87State): void {
  x.read(a, 0);
  fp.roundedUp = a.sign;
  if (x.isEmpty(0)) x.setConditions(SW_C3 | SW_C0);
  else if (a.kind === UNSUPPORTED) x.setConditions(0);
  else if (a.kind === NAN) x.setConditions(SW_C0);
  else if (a.kind === INFINITE) x.setConditions(SW_C2 | SW_C0);
  else if (a.kind === ZERO) x.setConditions(SW_C3);
  else x.setConditions(a.denormal ? SW_C3 | SW_C2 : SW_C2);
}
