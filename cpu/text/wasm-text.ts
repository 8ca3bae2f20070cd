/**
 * The body of a WebAssembly function as text: a statement per line, its operands folded into it. Locals that the code
 * loads from the state before anything else are called after what they hold, others are numbered as they come.
 */
import * as op from '../ir/ops.ts';
import { REGION_HELPERS } from '../jit/region-helpers.ts';
import { CodeReader, isLaneAccess } from '../js/reader.ts';
import * as vectors from '../js/vector.ts';
import { CORE_TYPES, TYPE_REGION } from '../wasm/core-types.ts';
import * as wasm from '../wasm/encoder.ts';
import { hexBytes, instruction, integer64, number, place } from './names.ts';

/** Core specification §5.4.6, in the order of the opcodes from I32_LOAD on. */
const ACCESSES = [
  ...['i32.load', 'i64.load', 'f32.load', 'f64.load', 'i32.load8_s', 'i32.load8_u', 'i32.load16_s', 'i32.load16_u'],
  ...['i64.load8_s', 'i64.load8_u', 'i64.load16_s', 'i64.load16_u', 'i64.load32_s', 'i64.load32_u'],
  ...['i32.store', 'i64.store', 'f32.store', 'f64.store', 'i32.store8', 'i32.store16'],
  ...['i64.store8', 'i64.store16', 'i64.store32'],
];
const FIRST_STORE = wasm.I32_STORE - wasm.I32_LOAD;
const I8X16_SHUFFLE = 0x0d;
const TYPE_NAMES: Record<number, string> = { 127: 'i32', 126: 'i64', 125: 'f32', 124: 'f64', 123: 'v128' };

interface Operand {
  readonly text: string;
  /** The state field that it is. */
  readonly field?: string | undefined;
}

interface Frame {
  /** The line that opens it; −1: the function. */
  readonly line: number;
  /** Operands below it. */
  readonly height: number;
}

interface Line {
  /** Locals stand in it as `«l7»`, labels as `«f3»`: the line that opens the construct. */
  readonly text: string;
  /** The lines that open the constructs around it. */
  readonly around: readonly number[];
  /** Where its code ends, in bytes. */
  readonly end: number;
}

export interface Listing {
  readonly text: readonly string[];
  /** Bytes of code. */
  readonly bytes: number;
}

/** Lists a body (local declarations and code). */
export function wasmText(body: Uint8Array): Listing {
  const reader = new BodyReader(body);
  return list(reader, 0, reader.lines.length);
}

/** Lists what a body does between setting something to the number `after` and something to `before`. */
export function wasmTextBetween(body: Uint8Array, after: number, before: number): Listing {
  const reader = new BodyReader(body);
  const setter = (value: number): number => {
    const found = reader.lines.findIndex(({ text }) => text.replace(/\)$/, '').endsWith(` = ${number(value)}`));
    if (found < 0) throw new Error(`nothing is set to ${number(value)} in\n${wasmText(body).text.join('\n')}`);
    return found;
  };
  return list(reader, setter(after) + 1, setter(before));
}

/** Shows the lines `first` … `end - 1`, with labels and locals numbered among these. */
function list({ lines, types, names }: BodyReader, first: number, end: number): Listing {
  const shown = lines.slice(first, end);
  const outside = lines[first].around;
  const labels = new Map(outside.map((line, i) => [line, `out${outside.length - 1 - i}`]));
  const targets = new Set(shown.flatMap(({ text }) => [...text.matchAll(/«f(-?\d+)»/g)].map(([, n]) => Number(n))));
  const numbered = new Map<number, string>();
  const local = (n: number): string => {
    const known = names.get(n) ?? numbered.get(n);
    if (known !== undefined) return known;
    numbered.set(n, `${types[n]}_${numbered.size + 1}`);
    return numbered.get(n)!;
  };
  const text = shown.map((line, i) => {
    const isTarget = targets.has(first + i);
    if (isTarget) labels.set(first + i, `L${labels.size - outside.length + 1}`);
    const body = line.text
      .replaceAll(/«l(\d+)»/g, (_, n) => local(Number(n)))
      .replaceAll(/«f(-?\d+)»/g, (_, n) => labels.get(Number(n))!);
    const indent = '  '.repeat(Math.max(line.around.length - outside.length, 0));
    return `${indent}${isTarget ? `${labels.get(first + i)}: ` : ''}${body}`;
  });
  const start = first === 0 ? 0 : lines[first - 1].end;
  return { text, bytes: lines[end - 1].end - start };
}

class BodyReader {
  private readonly code: CodeReader;
  readonly lines: Line[] = [];
  /** Type of each local, and its name if it has one. */
  readonly types: string[] = [];
  readonly names = new Map<number, string>();
  private readonly stack: Operand[] = [];
  private readonly frames: Frame[] = [{ line: -1, height: 0 }];

  constructor(body: Uint8Array) {
    const code = new CodeReader(body);
    this.code = code;
    for (const type of CORE_TYPES[TYPE_REGION].parameters) this.types.push(TYPE_NAMES[type]);
    this.names.set(0, 'depth');
    for (let runs = code.u32(); runs > 0; runs--) {
      const count = code.u32();
      const type = TYPE_NAMES[code.byte()];
      for (let i = 0; i < count; i++) this.types.push(type);
    }
    this.emit(`locals ${this.types.length}`);
    while (this.frames.length > 0) this.instruction(code.byte());
  }

  // --- operands and lines -----------------------------------------------------------------------------------------------

  private push(text: string, field: string | undefined = undefined): void {
    this.stack.push({ text, field });
  }

  private pop(): string {
    return this.stack.pop()!.text;
  }

  private take(count: number): string[] {
    return this.stack.splice(this.stack.length - count, count).map(({ text }) => text);
  }

  private emit(text: string): void {
    this.lines.push({ text, around: this.frames.map(({ line }) => line), end: this.code.position });
  }

  private apply(name: string, count: number, ...immediates: (string | number)[]): void {
    this.push(`${name}(${[...immediates, ...this.take(count)].join(', ')})`);
  }

  /** An address on the stack and a constant offset. */
  private address(offset: number): string {
    const base = this.pop();
    if (base === '0') return `state.${place(offset)}`;
    return offset === 0 ? `[${base}]` : `${place(offset)}[${base}]`;
  }

  /** Names a local after the state field that it is loaded from or stored to. */
  private nameAfter(n: number, field: string | undefined): void {
    const isFree = !this.names.has(n) && ![...this.names.values()].includes(field!);
    if (field !== undefined && isFree) this.names.set(n, field);
  }

  private setLocal(n: number, { text, field }: Operand): void {
    if (this.frames.length === 1) this.nameAfter(n, field);
    // What waits on the stack was read before this.
    for (const [i, waiting] of this.stack.entries()) {
      if (!waiting.text.includes(`«l${n}»`)) continue;
      this.emit(`stack${i} = ${waiting.text}`);
      this.stack[i] = { text: `stack${i}` };
    }
    this.emit(`«l${n}» = ${text}`);
  }

  // --- control flow -----------------------------------------------------------------------------------------------------

  private open(text: string): void {
    this.code.byte();
    this.emit(text);
    this.frames.push({ line: this.lines.length - 1, height: this.stack.length });
  }

  private label(): string {
    return `«f${this.frames[this.frames.length - 1 - this.code.u32()].line}»`;
  }

  /** Behind what does not go on, nothing is on the stack. */
  private leave(text: string): void {
    this.emit(text);
    this.stack.length = this.frames.at(-1)!.height;
  }

  private call(name: string, type: number): void {
    const { parameters, results } = CORE_TYPES[type];
    const text = `${name}(${this.take(parameters.length).join(', ')})`;
    if (results.length > 0) this.push(text);
    else this.emit(text);
  }

  private instruction(opcode: number): void {
    const { code } = this;
    switch (opcode) {
      case wasm.UNREACHABLE:
        this.leave('unreachable');
        break;
      case wasm.BLOCK:
        this.open('block');
        break;
      case wasm.LOOP:
        this.open('loop');
        break;
      case wasm.IF:
        this.open(`if ${this.pop()}`);
        break;
      case wasm.ELSE: {
        const frame = this.frames.pop()!;
        this.emit('else');
        this.frames.push(frame);
        break;
      }
      case wasm.END:
        if (this.frames.length === 1 && this.stack.length > 0) this.emit(`return ${this.pop()}`);
        this.frames.pop();
        this.emit('end');
        break;
      case wasm.BR:
        this.leave(`br ${this.label()}`);
        break;
      case wasm.BR_IF: {
        const label = this.label();
        this.emit(`br ${label} if ${this.pop()}`);
        break;
      }
      case wasm.BR_TABLE: {
        const labels = Array.from({ length: code.u32() + 1 }, () => this.label());
        this.leave(`br ${this.pop()} of ${labels.join(' ')}`);
        break;
      }
      case wasm.RETURN:
        this.leave(`return ${this.stack.length > 0 ? this.pop() : ''}`.trim());
        break;
      case wasm.CALL: {
        const { name, type } = REGION_HELPERS[code.u32()];
        this.call(name, type);
        break;
      }
      case wasm.CALL_INDIRECT:
      case wasm.RETURN_CALL_INDIRECT: {
        const type = code.u32();
        code.u32();
        this.call(`links[${this.pop()}]`, type);
        if (opcode === wasm.RETURN_CALL_INDIRECT) this.leave(`return ${this.pop()}`);
        break;
      }
      case wasm.DROP:
        this.emit(`drop ${this.pop()}`);
        break;
      case wasm.SELECT_OP: {
        const [a, b, condition] = this.take(3);
        this.push(`select(${condition} ? ${a} : ${b})`);
        break;
      }
      case wasm.LOCAL_GET:
        this.push(`«l${code.u32()}»`);
        break;
      case wasm.LOCAL_SET:
        this.setLocal(code.u32(), this.stack.pop()!);
        break;
      case wasm.LOCAL_TEE: {
        const n = code.u32();
        const { text, field } = this.stack.pop()!;
        this.nameAfter(n, field);
        this.push(`(«l${n}» = ${text})`);
        break;
      }
      case wasm.I32_CONST:
        this.push(number(code.s32()));
        break;
      case wasm.I64_CONST: {
        const low = code.s64();
        this.push(integer64(low, code.high));
        break;
      }
      case wasm.BULK_PREFIX: {
        const isCopy = code.u32() === wasm.MEMORY_COPY;
        code.raw(isCopy ? 2 : 1);
        this.emit(`memory.${isCopy ? 'copy' : 'fill'}(${this.take(3).join(', ')})`);
        break;
      }
      case wasm.VECTOR_PREFIX:
        this.vector(code.u32());
        break;
      default:
        this.numericOrAccess(opcode);
    }
  }

  private numericOrAccess(opcode: number): void {
    const { code } = this;
    const access = ACCESSES[opcode - wasm.I32_LOAD];
    if (access !== undefined) {
      code.u32();
      this.access(access, code.u32(), opcode - wasm.I32_LOAD >= FIRST_STORE);
    } else if (op.operandCount[opcode] > 0) this.apply(instruction(opcode), op.operandCount[opcode]);
    else throw new Error(`unknown instruction 0x${opcode.toString(16)}`);
  }

  private access(name: string, offset: number, isStore: boolean): void {
    if (isStore) {
      const value = this.pop();
      const [, local] = /^\(«l(\d+)» = /.exec(value) ?? [];
      if (local !== undefined && this.stack.at(-1)!.text === '0') this.nameAfter(Number(local), place(offset));
      this.emit(`${name} ${this.address(offset)} = ${value}`);
    } else {
      const field = this.stack.at(-1)!.text === '0' ? place(offset) : undefined;
      this.push(`${name} ${this.address(offset)}`, field);
    }
  }

  private vector(sub: number): void {
    const { code } = this;
    const opcode = op.SIMD | sub;
    if (sub === wasm.V128_LOAD || sub === wasm.V128_STORE) {
      code.u32();
      this.access(sub === wasm.V128_LOAD ? 'v128.load' : 'v128.store', code.u32(), sub === wasm.V128_STORE);
    } else if (sub === wasm.V128_CONST) this.push(`v128(${hexBytes(code.raw(16))})`);
    else if (sub === I8X16_SHUFFLE) {
      const lanes = code.raw(16).join(' ');
      this.apply(instruction(opcode), 2, lanes);
    } else if (isLaneAccess(sub)) this.apply(instruction(opcode), vectors.replacesLane(opcode) ? 2 : 1, code.byte());
    else this.apply(instruction(opcode), vectors.operandCount(opcode));
  }
}
