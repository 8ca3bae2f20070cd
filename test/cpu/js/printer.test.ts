/** Each operation of the IR, printed as JavaScript, against the engine's own WebAssembly. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as ops from '../../../cpu/ir/ops.ts';
import * as simd from '../../../cpu/ir/simd.ts';
import { LIBRARY } from '../../../cpu/js/library.ts';
import { printSource } from '../../../cpu/js/module.ts';
import * as wasm from '../../../cpu/wasm/encoder.ts';

const { T_F32, T_F64, T_I32, T_I64, T_V128 } = ops;
/** Where operands and results stand in memory, 16 bytes each. */
const OPERANDS = [0x100, 0x110, 0x120];
const RESULT = 0x140;
const SIZE = [0, 4, 8, 4, 8, 16];
const RUNS = Number(process.env.PRINTER_RUNS ?? 400);

interface Operation {
  readonly name: string;
  readonly operands: readonly number[];
  readonly result: number;
  readonly emit: (out: wasm.Encoder) => void;
}

/** Type of a scalar operation's operands, by its name in ops.ts. */
function operandType(name: string): number {
  if (/WRAP_I64|_I64_S$|REINTERPRET_I64/.test(name)) return T_I64;
  if (/REINTERPRET_F32|_F32_S$|PROMOTE_F32/.test(name)) return T_F32;
  if (/REINTERPRET_F64|_F64_S$|DEMOTE_F64/.test(name)) return T_F64;
  if (/EXTEND_I32|_I32_S$|REINTERPRET_I32/.test(name)) return T_I32;
  return { I32: T_I32, I64: T_I64, F32: T_F32, F64: T_F64 }[name.slice(0, 3)]!;
}

const scalars: Operation[] = Object.entries(ops as unknown as Record<string, number>).flatMap(([name, opcode]) => {
  if (!/^[IF](32|64)_/.test(name)) return [];
  const operands = new Array(ops.operandCount[opcode]).fill(operandType(name));
  return [{ name, operands, result: ops.resultType[opcode], emit: (out) => out.byte(opcode) }];
});

/** Whole doublewords, words, runs of bytes across doublewords, one byte everywhere. */
const SHUFFLES = [
  [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23],
  [6, 7, 4, 5, 2, 3, 0, 1, 30, 31, 28, 29, 26, 27, 24, 25],
  [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18],
  new Array<number>(16).fill(21),
  [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23],
];

const UNARY =
  /_(NOT|ABS|CEIL|FLOOR|TRUNC|NEAREST|SQRT|BITMASK|ANY_TRUE)$|EXTADD|EXTEND_|CONVERT|DEMOTE|PROMOTE|TRUNC_SAT/;
const LANE_TYPE: Record<string, number> = { I8: T_I32, I1: T_I32, I3: T_I32, I6: T_I64, F3: T_F32, F6: T_F64 };

const vectors: Operation[] = Object.entries(simd as unknown as Record<string, number>).flatMap(([name, opcode]) => {
  if (typeof opcode !== 'number') return [];
  const result = simd.simdType(opcode);
  const lane = LANE_TYPE[name.slice(0, 2)];
  const operation = (operands: number[], immediates: readonly number[] = [], suffix = '') => ({
    name: name + suffix,
    operands,
    result,
    emit: (out: wasm.Encoder) => {
      out.byte(wasm.VECTOR_PREFIX);
      out.u32(opcode & 0xff);
      for (const byte of immediates) out.byte(byte);
    },
  });
  if (name === 'I8X16_SHUFFLE') return SHUFFLES.map((lanes, i) => operation([T_V128, T_V128], lanes, ` ${i}`));
  const lanes = Number(/X(\d+)/.exec(name)?.[1]);
  const each = Array.from({ length: lanes }, (_, i) => i);
  if (name.includes('EXTRACT_LANE')) return each.map((i) => operation([T_V128], [i], ` ${i}`));
  if (name.includes('REPLACE_LANE')) return each.map((i) => operation([T_V128, lane], [i], ` ${i}`));
  if (name.endsWith('SPLAT')) return [operation([lane])];
  if (/_SH[LR]/.test(name)) return [operation([T_V128, T_I32])];
  if (name === 'V128_BITSELECT') return [operation([T_V128, T_V128, T_V128])];
  return [operation(UNARY.test(name) ? [T_V128] : [T_V128, T_V128])];
});

const select: Operation[] = [T_I32, T_I64, T_F64].map((type) => ({
  name: `SELECT ${type}`,
  operands: [type, type, T_I32],
  result: type,
  emit: (out) => out.byte(wasm.SELECT_OP),
}));

const OPERATIONS = [...scalars, ...vectors, ...select];

/** Puts an operand on the stack: from memory, or `bits` as a constant. */
function operand(out: wasm.Encoder, type: number, offset: number, bits: DataView | undefined): void {
  if (type === T_V128 && bits !== undefined) {
    out.byte(wasm.VECTOR_PREFIX);
    out.u32(wasm.V128_CONST);
    out.raw(new Uint8Array(bits.buffer, offset, 16));
    return;
  }
  const wide = SIZE[type] === 8;
  if (bits === undefined) out.loadField(offset, SIZE[type]);
  else if (wide) out.i64Const(bits.getInt32(offset, true), bits.getInt32(offset + 4, true));
  else out.i32Const(bits.getInt32(offset, true));
  if (type === T_F32) out.byte(ops.F32_REINTERPRET_I32);
  if (type === T_F64) out.byte(ops.F64_REINTERPRET_I64);
}

/** Body of a function that applies an operation to what stands in memory; operands of `constants` are constants. */
function body({ operands, result, emit }: Operation, constants: readonly boolean[], bits: DataView): Uint8Array {
  const out = new wasm.Encoder();
  out.u32(0);
  out.i32Const(0);
  for (const [i, type] of operands.entries()) operand(out, type, OPERANDS[i], constants[i] ? bits : undefined);
  emit(out);
  if (result === T_F32) out.byte(ops.I32_REINTERPRET_F32);
  if (result === T_F64) out.byte(ops.I64_REINTERPRET_F64);
  out.storeSized(RESULT, SIZE[result]);
  out.byte(wasm.END);
  return out.written().slice();
}

const TYPES = [{ parameters: [], results: [] }];

/** Both forms of the bodies as functions; each set has a memory of its own. */
function compile(bodies: readonly Uint8Array[]) {
  const memory = new WebAssembly.Memory({ initial: 256, maximum: 256, shared: true });
  const bytes = wasm.assembleModule({
    types: TYPES,
    functionImports: [],
    memory: { initial: 256, maximum: 65536 },
    functions: bodies.map((code, i) => ({ type: 0, body: code, exportAs: `${i}` })),
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { e: { m: memory } });
  const context = { types: TYPES, functionTypes: [], hasTailCalls: true, tableEntry: () => '' };
  const buffer = new ArrayBuffer(0x1000);
  const source = printSource(
    context,
    bodies.map((code, i) => ({ name: `f${i}`, type: 0, body: code })),
  );
  const functions = new Function('buffer', 'library', source)(buffer, LIBRARY) as (() => void)[];
  return {
    wasm: { view: new DataView(memory.buffer), run: (i: number) => (exports[i] as () => void)() },
    js: { view: new DataView(buffer), run: (i: number) => functions[i]() },
    source,
  };
}

/** Values that matter: small ones, those around powers of two, floats, any. */
const word = fc.oneof(
  fc.integer({ min: -3, max: 70 }),
  fc.integer({ min: 0, max: 31 }).map((n) => 1 << n),
  fc.constantFrom(0x7fffffff, 0x80000000 | 0, 0x3f800000, 0x7f800000, 0x7fc00000, 0x00800000, 0x80007f80 | 0, -0x10000),
  fc.float({ noNaN: true }).map((x) => new Int32Array(Float32Array.of(x).buffer)[0]),
  fc.integer({ min: -0x80000000, max: 0x7fffffff }),
);
const double = fc
  .oneof(
    fc.double({ noNaN: true }),
    fc.integer().map((n) => n / 2),
    fc.constantFrom(2 ** 52 + 0.5, 2 ** 53 - 1, 2 ** 31 - 0.5),
  )
  .map((x) => [...new Int32Array(Float64Array.of(x).buffer)]);
const half = fc.oneof(fc.tuple(word, word), double as fc.Arbitrary<[number, number]>);
const operandWords = fc.tuple(half, half, half, half, half, half).map((halves) => halves.flat());

/** Where WebAssembly would trap, the operands are changed (the IR never has it trap). */
function avoidTraps(name: string, view: DataView): void {
  const [a, b] = OPERANDS;
  if (/_(DIV|REM)_/.test(name)) {
    if (name.startsWith('I32') || view.getInt32(b + 4, true) === 0) view.setInt32(b, view.getInt32(b, true) || 7, true);
    if (view.getInt32(b, true) === -1) view.setInt32(b, 3, true);
  }
  if (/I32_TRUNC_F32|I64_TRUNC_F32/.test(name) && !(Math.abs(view.getFloat32(a, true)) < 2 ** 31))
    view.setFloat32(a, -7.5, true);
  if (/I32_TRUNC_F64/.test(name) && !(Math.abs(view.getFloat64(a, true)) < 2 ** 31)) view.setFloat64(a, 1.75, true);
  if (/I64_TRUNC_F64/.test(name) && !(Math.abs(view.getFloat64(a, true)) < 2 ** 63))
    view.setFloat64(a, -(2 ** 60), true);
}

/** The result as text; any NaN is like another. */
function result(operation: Operation, view: DataView): string {
  const lanes: string[] = [];
  const { name } = operation;
  if (operation.result === T_F64 || /^F64X2_(?!EQ|NE|LT|LE|EXTRACT|REPLACE)/.test(name))
    for (let i = 0; i < SIZE[operation.result]; i += 8) {
      const x = view.getFloat64(RESULT + i, true);
      lanes.push(Object.is(x, -0) ? '-0' : `${x}`);
    }
  else if (operation.result === T_F32 || /^F32X4_(?!EQ|NE|LT|LE|EXTRACT|REPLACE)/.test(name))
    for (let i = 0; i < SIZE[operation.result]; i += 4) {
      const x = view.getFloat32(RESULT + i, true);
      lanes.push(Object.is(x, -0) ? '-0' : `${x}`);
    }
  else for (let i = 0; i < SIZE[operation.result]; i += 4) lanes.push(view.getUint32(RESULT + i, true).toString(16));
  return lanes.join(' ');
}

function load(view: DataView, words: readonly number[]): void {
  for (const [i, value] of words.entries()) view.setInt32(OPERANDS[0] + i * 4, value, true);
}

describe('JavaScript printing agrees with WebAssembly', () => {
  it(`for ${OPERATIONS.length} operations on operands in memory`, () => {
    expect(OPERATIONS.length).toBeGreaterThan(250);
    const bits = new DataView(new ArrayBuffer(0x1000));
    const code = compile(OPERATIONS.map((operation) => body(operation, [], bits)));
    fc.assert(
      fc.property(operandWords, (words) => {
        for (const [i, operation] of OPERATIONS.entries()) {
          for (const side of [code.wasm, code.js]) {
            load(side.view, words);
            avoidTraps(operation.name, side.view);
            side.run(i);
          }
          expect(`${operation.name} ${result(operation, code.js.view)}`).toBe(
            `${operation.name} ${result(operation, code.wasm.view)}`,
          );
        }
      }),
      { numRuns: RUNS },
    );
  });

  it.each([
    ['the first', [true, false, false]],
    ['the second', [false, true, false]],
    ['the third', [false, false, true]],
    ['every', [true, true, true]],
  ])('with %s operand constant', (_, constants) => {
    fc.assert(
      fc.property(operandWords, (words) => {
        const cases = OPERATIONS.map((operation) => {
          const bits = new DataView(new ArrayBuffer(0x1000));
          load(bits, words);
          avoidTraps(operation.name, bits);
          return { operation, bits };
        });
        const code = compile(cases.map(({ operation, bits }) => body(operation, constants, bits)));
        for (const [i, { operation, bits }] of cases.entries()) {
          for (const side of [code.wasm, code.js]) {
            new Uint8Array(side.view.buffer, 0x100, 0x30).set(new Uint8Array(bits.buffer, 0x100, 0x30));
            side.run(i);
          }
          expect(`${operation.name} ${result(operation, code.js.view)}`).toBe(
            `${operation.name} ${result(operation, code.wasm.view)}`,
          );
        }
      }),
      { numRuns: Math.ceil(RUNS / 20) },
    );
  });
});
