/**
 * How the CPU runs an x87 instruction, and what each operation of the opcode grid (x87-forms.ts) is.
 *
 * An instruction with a memory operand is run so that its page faults come before any change of state:
 *   1. `x87Form(opcode, modrm)` tells what it is (undefined: #UD), and how many bytes it loads or stores;
 *   2. if it waits and `x.pending`: #MF (CR0.NE) or FERR#/IRQ 13, by the CPU;
 *   3. a load: the CPU puts the operand's bytes into the state block (S_FPU_OPERAND);
 *   4. `execute(x, opcode, modrm)`;
 *   5. a store: `x.storeBytes` bytes from there go to memory (0: an unmasked exception forbids), and only when that
 *      has succeeded `retire(x, opcode, modrm)`. Until then the state block is as it was.
 * Before `execute` the CPU sets `x.ipLo` … `x.ds`, `x.eflags` for FCMOVcc and `x.environment` for FLDENV and its kin;
 * after FCOMI and its kin CF, PF, ZF are `x.eflags`. FNSTSW AX is a store of two bytes like the one to memory.
 * Where the manuals leave freedom and processors differ, this does as AMD's Zen does.
 *
 * What is common is compiled ahead of time as well (aot/compile.ts).
 */
import { fp, RC_ZERO } from './float.ts';
import { compareFlags, compareTop, examine, test } from './x87-compare.ts';
import {
  clearExceptions,
  clearPointers,
  environmentBytes,
  loadControl,
  stateBytes,
  storeControl,
  storeStatus,
} from './x87-control.ts';
import * as f from './x87-forms.ts';
import {
  arithmetic,
  changeSign,
  conditionalMove,
  exchange,
  free,
  load,
  loadConstant,
  moveTop,
  roundInteger,
  squareRoot,
  store,
  storeInteger,
  storeRegisterQuietly,
} from './x87-operations.ts';
import { performRare } from './x87-rare.ts';
import type { X87State } from './x87-state.ts';

function perform(x: X87State, form: number, i: number): void {
  switch (form & f.OPERATION) {
    case f.FNOP:
      break;
    case f.FADD:
    case f.FMUL:
    case f.FSUB:
    case f.FSUBR:
    case f.FDIV:
    case f.FDIVR:
      arithmetic(x, form, i);
      break;
    case f.FCOM:
      compareTop(x, form, i, false);
      break;
    case f.FUCOM:
      compareTop(x, form, i, true);
      break;
    case f.FCOMI:
      compareFlags(x, form, i, false);
      break;
    case f.FUCOMI:
      compareFlags(x, form, i, true);
      break;
    case f.FTST:
      test(x);
      break;
    case f.FXAM:
      examine(x);
      break;
    case f.FLD:
      load(x, form, i);
      break;
    case f.FLDCONST:
      loadConstant(x, i);
      break;
    case f.FST:
      store(x, form, i);
      break;
    case f.FSTPNCE:
      storeRegisterQuietly(x, i);
      break;
    case f.FIST:
      storeInteger(x, form, fp.rc);
      break;
    case f.FISTT:
      storeInteger(x, form, RC_ZERO);
      break;
    case f.FXCH:
      exchange(x, i);
      break;
    case f.FCHS:
      changeSign(x, false);
      break;
    case f.FABS:
      changeSign(x, true);
      break;
    case f.FCMOVB:
    case f.FCMOVE:
    case f.FCMOVBE:
    case f.FCMOVU:
    case f.FCMOVNB:
    case f.FCMOVNE:
    case f.FCMOVNBE:
    case f.FCMOVNU:
      conditionalMove(x, form, i);
      break;
    case f.FFREE:
      free(x, i, f.pops(form));
      break;
    case f.FDECSTP:
      moveTop(x, -1);
      break;
    case f.FINCSTP:
      moveTop(x, 1);
      break;
    case f.FSQRT:
      squareRoot(x);
      break;
    case f.FRNDINT:
      roundInteger(x);
      break;
    case f.FLDCW:
      loadControl(x);
      break;
    case f.FNSTCW:
      storeControl(x);
      break;
    case f.FNSTSW:
      storeStatus(x);
      break;
    case f.FNCLEX:
      clearExceptions(x);
      break;
    default:
      performRare(x, form & f.OPERATION);
  }
}

/** @returns the bytes of memory operand, or of AX, that a form loads or stores in the mode at hand, which lays out images */
export function bytesInMode(x: X87State, form: number): number {
  return f.isImage(form) ? imageBytes(x, form) : f.operandSize(form);
}

/** TypeScript only. */
function imageBytes(x: X87State, form: number): number {
  return (form & f.OPERAND) === f.ENVIRONMENT ? environmentBytes(x.environment) : stateBytes(x.environment);
}

/** Runs a defined instruction; a store takes effect on the state only with `retire`. */
export function execute(x: X87State, opcode: number, modrm: number): void {
  const form = f.x87Form(opcode, modrm);
  x.fetch();
  x.storeBytes = form & f.STORES ? bytesInMode(x, form) : 0;
  if (form & f.CONTROL) perform(x, form, 0);
  else {
    x.begin();
    perform(x, form, modrm & 7);
    x.end((form & f.KEEPS_C1) !== 0);
  }
  if (!(form & f.STORES)) settle(x, form, opcode, modrm);
}

/** Completes a store after its bytes have reached memory (or none had to). */
export function retire(x: X87State, opcode: number, modrm: number): void {
  const form = f.x87Form(opcode, modrm);
  settle(x, form, opcode, modrm);
  if ((form & f.OPERAND) === f.WHOLE_STATE) clearPointers(x);
}

function settle(x: X87State, form: number, opcode: number, modrm: number): void {
  if (!(form & f.CONTROL)) x.record(opcode, modrm);
  x.commit();
}
