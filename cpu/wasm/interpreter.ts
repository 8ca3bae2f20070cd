/**
 * Generates the core module (Design §4, tier 0): the dispatcher and the interpreter's handlers, one per instruction
 * shape, from the instruction definitions. Runs at build time; the bytes stand beside the bundle, with V8's machine code
 * of them (machine-code.ts).
 *
 * Handlers are functions joined by tail calls. Where that code cannot be used V8 compiles just those that run, and the hot
 * ones again on their own. (One function with all of them in a br_table starts slower: Liftoff makes it a search tree.)
 *
 * `run(op)` executes from record `op`, or from RIP when `op` is 0, until something needs TypeScript; its result is an
 * EXIT_* code. RIP in the state is current whenever it returns.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AotCompiler } from '../aot/compile.ts';
import { EXIT_BUDGET, EXIT_EXCEPTION, EXIT_HOT, HELPER_JUMP } from '../exits.ts';
// For its columns.
import '../helpers/compiled.ts';
import * as op from '../ir/ops.ts';
import { definitionOf } from '../lift/lift.ts';
import { Lifter } from '../lift/lifter.ts';
import * as record from '../record.ts';
import * as state from '../state.ts';
import { type CoreFunction, coreFunctions, tryCompiled } from './core-functions.ts';
import {
  CORE_IMPORTS,
  CORE_TYPES,
  FIRST_HANDLER_FUNCTION,
  FUNCTION_FAULT,
  FUNCTION_FLAGS,
  FUNCTION_HELPER,
  FUNCTION_LOOKUP,
  FUNCTION_STEP,
  IMPORT_REGION_AT,
  TABLE_SIZE,
  TYPE_FLAGS,
  TYPE_RUN,
} from './core-types.ts';
import { lookupBody } from './dispatcher.ts';
import { LocalPool } from './emitter.ts';
import * as wasm from './encoder.ts';
import { dispatch, exit, HandlerEmitter, next, OP, returnCall } from './handler-emitter.ts';
import { allShapes, FIRST_SHAPE, H_ADDRESS, H_FALL_THROUGH, H_HEAD, H_HELPER, H_STALE } from './shapes.ts';

/** Scratch locals of the functions that are written here by hand. */
const COUNT = 1;
const LEFT = 2;

/** A function of one record with two i32 locals, whose code `emit` writes. */
function recordFunction(emit: (out: wasm.Encoder) => void, exportAs?: string): CoreFunction {
  const out = new wasm.Encoder();
  out.u32(1);
  out.u32(2);
  out.byte(wasm.VALUE_TYPE[op.T_I32]);
  emit(out);
  out.byte(wasm.END);
  const body = out.written();
  return exportAs === undefined ? { type: TYPE_RUN, body } : { type: TYPE_RUN, body, exportAs };
}

/** Emits `state.RIP = address of the record in OP`. */
function storeRip(out: wasm.Encoder): void {
  out.i32Const(0);
  out.loadField(state.S_BLOCK_RIP, 8);
  out.localGet(OP);
  out.memory(wasm.I32_LOAD16_U, record.R_RIP_OFFSET);
  out.byte(op.I64_EXTEND_I32_U);
  out.byte(op.I64_ADD);
  out.storeSized(state.S_RIP, 8);
}

/** run(op): a record's handler, or what stands at RIP. */
function run(out: wasm.Encoder): void {
  out.localGet(OP);
  out.byte(op.I32_EQZ);
  out.byte(wasm.IF);
  out.byte(wasm.VOID);
  returnCall(out, FUNCTION_LOOKUP);
  out.byte(wasm.END);
  out.i32Const(0);
  out.loadField(state.S_RIP, 8);
  out.storeSized(state.S_BLOCK_RIP, 8);
  out.localGet(OP);
  dispatch(out);
}

/** helper(op): the record's helper executes the instruction. */
function helper(out: wasm.Encoder): void {
  storeRip(out);
  out.localGet(OP);
  out.call(FUNCTION_STEP);
  out.localTee(COUNT);
  out.byte(op.I32_EQZ); // HELPER_NEXT
  out.byte(wasm.IF);
  out.byte(wasm.VOID);
  next(out);
  out.byte(wasm.END);
  out.localGet(COUNT);
  out.i32Const(HELPER_JUMP);
  out.byte(op.I32_EQ);
  out.byte(wasm.IF);
  out.byte(wasm.VOID);
  returnCall(out, FUNCTION_LOOKUP);
  out.byte(wasm.END);
  out.localGet(COUNT);
}

/** fault(op): the instruction faulted in the slow memory path. `deliver`: the function that tries to deliver that. */
function fault(out: wasm.Encoder, deliver?: number): void {
  storeRip(out);
  if (deliver !== undefined) {
    tryCompiled(out, deliver, COUNT, () => {
      out.localGet(COUNT);
      out.i32Const(HELPER_JUMP);
      out.byte(op.I32_EQ);
      out.byte(wasm.IF);
      out.byte(wasm.VOID);
      returnCall(out, FUNCTION_LOOKUP);
      out.byte(wasm.END);
      out.localGet(COUNT);
      out.byte(wasm.RETURN);
    });
  }
  out.i32Const(0);
  out.localGet(OP);
  out.storeSized(state.S_FAULT_OP, 4);
  out.i32Const(EXIT_EXCEPTION);
}

/** Code of the handlers that are not instructions. */
const SPECIAL: Record<number, (out: wasm.Encoder) => void> = {
  // The block was invalidated while it ran: continue by looking up the instruction.
  [H_STALE]: (out) => {
    storeRip(out);
    returnCall(out, FUNCTION_LOOKUP);
  },
  [H_FALL_THROUGH]: (out) => {
    storeRip(out);
    returnCall(out, FUNCTION_LOOKUP);
  },
  [H_HEAD]: head,
  [H_HELPER]: (out) => {
    out.localGet(OP);
    returnCall(out, FUNCTION_HELPER);
  },
  [H_ADDRESS]: (out) => {
    address(out);
    next(out);
  },
};

/** A block's head: takes its instructions off the budget and counts executions. */
function head(out: wasm.Encoder): void {
  out.loadField(state.S_BUDGET, 4);
  out.localGet(OP);
  out.loadSized(record.HEAD_COUNT, 4);
  out.byte(op.I32_SUB);
  out.localTee(COUNT);
  out.i32Const(0);
  out.byte(op.I32_LT_S);
  out.byte(wasm.IF);
  out.byte(wasm.VOID);
  exit(out, EXIT_BUDGET);
  out.byte(wasm.END);
  out.localGet(OP);
  out.localGet(OP);
  out.loadSized(record.HEAD_COUNTER, 4);
  out.i32Const(1);
  out.byte(op.I32_SUB);
  out.localTee(LEFT);
  out.storeSized(record.HEAD_COUNTER, 4);
  out.localGet(LEFT);
  out.byte(op.I32_EQZ);
  out.byte(wasm.IF);
  out.byte(wasm.VOID);
  exit(out, EXIT_HOT);
  out.byte(wasm.END);
  out.i32Const(0);
  out.localGet(COUNT);
  out.storeSized(state.S_BUDGET, 4);
  next(out);
}

/**
 * The address pre-operation (16- and 32-bit addresses): S_EA = ((base + index << scale + disp) & mask) + segment base,
 * cut to 32 bits outside 64-bit mode. The masks stand in the record.
 */
function address(out: wasm.Encoder): void {
  const field = (offset: number, size: number) => {
    out.localGet(OP);
    out.loadSized(offset, size);
  };
  const register = (offset: number) => {
    field(offset, 2);
    out.loadSized(0, 8);
  };
  out.i32Const(0);
  register(record.R_BASE);
  field(record.R_DISP, 8);
  out.byte(op.I64_ADD);
  register(record.R_INDEX);
  field(record.R_SCALE, 1);
  out.byte(op.I64_EXTEND_I32_U);
  out.byte(op.I64_SHL);
  out.byte(op.I64_ADD);
  field(record.PRE_ADDRESS_MASK, 4);
  out.byte(op.I64_EXTEND_I32_U);
  out.byte(op.I64_AND);
  register(record.R_SEGMENT);
  out.byte(op.I64_ADD);
  field(record.PRE_LINEAR_MASK, 8);
  out.byte(op.I64_AND);
  out.storeSized(state.S_EA, 8);
}

/** The handlers of all shapes, in the order of their numbers. */
function shapeHandlers(): CoreFunction[] {
  const lifter = new Lifter(true);
  const out = new wasm.Encoder();
  const locals = new LocalPool();
  const emitter = new HandlerEmitter(lifter.ir, out, locals);
  return allShapes().map(({ insn }) => {
    out.reset();
    locals.clear();
    locals.add(op.T_I32);
    locals.add(op.T_I32);
    lifter.ir.clear();
    lifter.flags.reset();
    lifter.begin(insn, 0, 0);
    definitionOf(insn.row)!(lifter);
    out.byte(wasm.BLOCK); // helper
    out.byte(wasm.VOID);
    out.byte(wasm.BLOCK); // fault
    out.byte(wasm.VOID);
    emitter.emitHandler(1, lifter.ir.length);
    out.byte(wasm.END);
    out.localGet(OP);
    returnCall(out, FUNCTION_FAULT);
    out.byte(wasm.END);
    out.localGet(OP);
    returnCall(out, FUNCTION_HELPER);
    out.byte(wasm.END);
    const body = new wasm.Encoder();
    locals.declare(body, 1);
    body.raw(out.written());
    return { type: TYPE_RUN, body: body.written() };
  });
}

/**
 * What finds and decodes blocks, and fills the TLB, compiled from the sources in the directory `sources` (cpu/). Its
 * functions stand behind the others; the first is BlockCache.atRip.
 */
function frontEnd(sources: string, firstFunction: number) {
  const types = [...CORE_TYPES];
  const compiler = new AotCompiler({
    firstFunction,
    typeOf: (parameters, hasResult) => {
      const found = types.findIndex(
        (type) => type.parameters.length === parameters && type.results.length === Number(hasResult) && isI32(type),
      );
      if (found >= 0) return found;
      const i32 = wasm.VALUE_TYPE[op.T_I32];
      return types.push({ parameters: Array(parameters).fill(i32), results: hasResult ? [i32] : [] }) - 1;
    },
    dataStart: state.S_TABLES,
    dataEnd: state.S_TABLES_END,
    imports: { 'BlockCache.regionAt': IMPORT_REGION_AT, 'Core.flags': FUNCTION_FLAGS },
    records: ['Unpacked'],
    outside: ['RecordWriter.segmentChecks'],
    leaves: [
      'Mmu.systemCopy',
      'Mmu.writeSystem',
      'Mmu.loadMmio',
      'breakpointsAt',
      'Cpu.ramWritten',
      'narrowRun',
      'storeElement',
      'Cpu.codeRemapped',
      'Cpu.codePageRemapped',
      'checkPdptes',
      'pushPieces',
      'readTaskPriority',
      // x87 instructions: what is rare, faults, or is to be reported.
      'performRare',
      'imageBytes',
      'environment',
      'readBcd',
      'reportError',
      'loadSlowly',
      'storeSlowly',
      'probeStore',
    ],
    leftAt: state.S_LEFT,
  });
  compiler.root(join(sources, 'blocks.ts'), 'BlockCache', 'atRip');
  const mmu = join(sources, 'mmu', 'mmu.ts');
  const helpers = join(sources, 'helpers', 'compiled.ts');
  const compiled = {
    load: compiler.root(mmu, 'Mmu', 'loadPlain'),
    store: compiler.root(mmu, 'Mmu', 'storePlain'),
    fill: compiler.root(mmu, 'Mmu', 'fill'),
    helper: compiler.rootFunction(helpers, 'compiledHelper'),
    fault: compiler.rootFunction(helpers, 'compiledFault'),
  };
  const [first, ...others] = compiler.functions();
  const functions: CoreFunction[] = [{ ...first, exportAs: 'atRip' }, ...others];
  return { types, functions, compiled, globals: compiler.globalCount, data: compiler.data() };
}

function isI32({ parameters, results }: wasm.FunctionType): boolean {
  return [...parameters, ...results].every((type) => type === wasm.VALUE_TYPE[op.T_I32]);
}

/**
 * The core module's parts.
 * @param sources the directory cpu/, whose sources become the front end; without it TypeScript finds and decodes blocks
 */
export function coreModule(sources?: string): wasm.ModuleParts {
  const special = Array.from({ length: FIRST_SHAPE }, (_, handler) => recordFunction(SPECIAL[handler]));
  const handlers = [...special, ...shapeHandlers()];
  const atRip = FIRST_HANDLER_FUNCTION + handlers.length;
  const front = sources === undefined ? undefined : frontEnd(sources, atRip);
  return {
    types: front?.types ?? CORE_TYPES,
    functionImports: CORE_IMPORTS,
    memory: { initial: 256, maximum: 65536 },
    ownTable: TABLE_SIZE,
    elements: handlers.map((_, handler) => FIRST_HANDLER_FUNCTION + handler),
    ...(front && { globals: front.globals, data: front.data }),
    functions: [
      ...coreFunctions(front?.compiled),
      { type: TYPE_FLAGS, body: lookupBody(front && atRip) },
      recordFunction(helper),
      recordFunction((out) => fault(out, front?.compiled.fault)),
      recordFunction(run, 'run'),
      ...handlers,
      ...(front?.functions ?? []),
    ],
  };
}

/**
 * The bytes of the core module.
 * @param sources the directory cpu/
 */
export function buildCoreModule(sources = fileURLToPath(new URL('..', import.meta.url))): Uint8Array {
  return wasm.assembleModule(coreModule(sources));
}
