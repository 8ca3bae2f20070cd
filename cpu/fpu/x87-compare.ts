/**
 * x87 comparison and classification: makers of the handlers of FCOM and its kin, FTST and FXAM (SDM vol. 1, 8.1.3.3 and
 * 8.3.6). An empty register compares as unordered.
 */
import { COMPARE_EFLAGS, compare, EQUAL, GREATER, LESS, UNORDERED } from './convert.ts';
import { fp, INFINITE, NAN, PRE_COMPUTATION, setZero, UNSUPPORTED, Unpacked, ZERO } from './float.ts';
import type { Handler, Source } from './x87-operations.ts';
import { SW_C0, SW_C2, SW_C3, type X87State } from './x87-state.ts';

const a = new Unpacked();
const b = new Unpacked();

/** C0, C2 and C3 for a relation. */
const CONDITIONS: Readonly<Record<number, number>> = {
  [LESS]: SW_C0,
  [EQUAL]: SW_C3,
  [GREATER]: 0,
  [UNORDERED]: SW_C0 | SW_C2 | SW_C3,
};

/** Sets C0, C2 and C3, leaving C1. */
export function setConditions(x: X87State, bits: number): void {
  x.sw = (x.sw & ~(SW_C0 | SW_C2 | SW_C3)) | bits;
}

/** Sets C0, C2, C3 for the relation of ST(0), in `a`, to `b`. */
function finishCompare(x: X87State, quiet: boolean, pops: number): void {
  const relation = compare(a, b, quiet);
  setConditions(x, CONDITIONS[relation]);
  if (fp.unmasked(PRE_COMPUTATION)) return;
  for (; pops > 0; pops--) x.pop();
}

/** A comparison with an empty register is unordered. */
function underflowCompare(x: X87State, pops: number): void {
  const masked = x.stackUnderflow();
  setConditions(x, CONDITIONS[UNORDERED]);
  if (masked) for (; pops > 0; pops--) x.pop();
}

/** FCOM, FCOMP, FICOM, FICOMP with memory. */
export const compareMemory =
  (source: Source, pops: number): Handler =>
  (x) => {
    if (x.isEmpty(0)) return underflowCompare(x, pops);
    source(b, x);
    x.read(a, 0);
    finishCompare(x, false, pops);
  };

/** FCOM, FCOMP, FCOMPP, and (quiet) FUCOM, FUCOMP, FUCOMPP. */
export const compareRegister =
  (quiet: boolean, pops: number): Handler =>
  (x, i) => {
    if (x.isEmpty(0) || x.isEmpty(i)) return underflowCompare(x, pops);
    x.read(a, 0);
    x.read(b, i);
    finishCompare(x, quiet, pops);
  };

/** FTST. */
export const test: Handler = (x) => {
  if (x.isEmpty(0)) return underflowCompare(x, 0);
  x.read(a, 0);
  setZero(b, 0);
  finishCompare(x, false, 0);
};

/** FCOMI, FCOMIP, FUCOMI, FUCOMIP: the relation to ZF, PF, CF. */
export const compareFlags =
  (quiet: boolean, pops: number): Handler =>
  (x, i) => {
    if (x.isEmpty(0) || x.isEmpty(i)) {
      x.stackUnderflow();
      x.eflags = COMPARE_EFLAGS[UNORDERED];
    } else {
      x.eflags = COMPARE_EFLAGS[compare(x.read(a, 0), x.read(b, i), quiet)];
    }
    if (pops && !fp.unmasked(PRE_COMPUTATION)) x.pop();
  };

/** FXAM: class of ST(0) in C3, C2, C0 and its sign in C1; nothing is invalid here. */
export const examine: Handler = (x) => {
  x.read(a, 0);
  fp.roundedUp = a.sign;
  if (x.isEmpty(0)) setConditions(x, SW_C3 | SW_C0);
  else if (a.kind === UNSUPPORTED) setConditions(x, 0);
  else if (a.kind === NAN) setConditions(x, SW_C0);
  else if (a.kind === INFINITE) setConditions(x, SW_C2 | SW_C0);
  else if (a.kind === ZERO) setConditions(x, SW_C3);
  else setConditions(x, a.denormal ? SW_C3 | SW_C2 : SW_C2);
};
