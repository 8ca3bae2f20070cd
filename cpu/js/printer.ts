/**
 * Prints functions of WebAssembly code as JavaScript (Design §4). The emitters of handlers and regions write WebAssembly's
 * instructions, and those are what the IR's operations are; so whatever they can write runs without WebAssembly too, with
 * one meaning for both. Structured control flow becomes labelled blocks and loops.
 *
 * A tail call through the core's function table returns its argument, a record: whoever called runs its handler next. In
 * regions it is a call.
 */
import * as op from '../ir/ops.ts';
import * as simd from '../ir/simd.ts';
import * as wasm from '../wasm/encoder.ts';
import * as w from './int32.ts';
import * as memory from './memory.ts';
import { outline } from './outline.ts';
import { CodeReader, isLaneAccess } from './reader.ts';
import { scalar } from './scalar.ts';
import { Scope } from './scope.ts';
import { constant, i32, integer, type Part, unsigned, type Value, vector } from './value.ts';
import * as vectors from './vector.ts';

/** What a function's code may call. */
export interface PrintContext {
  /** Function types by index: value types of parameters and results. */
  readonly types: readonly wasm.FunctionType[];
  /** Type of each function by index. */
  readonly functionTypes: readonly number[];
  /** The function of the table whose index is an expression. */
  tableEntry(index: Part): string;
  /** Does whoever called the code do its tail calls? */
  readonly hasTailCalls: boolean;
}

interface Frame {
  readonly kind: 'block' | 'loop' | 'if' | 'function';
  readonly label: string;
  /** Does something go to it? */
  used: boolean;
  /** Where its head stands among the statements. */
  readonly head: number;
  readonly condition: string;
  readonly result: Value | undefined;
  /** Operands below it. */
  readonly height: number;
  /** Does the end of its code so far not go on? */
  closed: boolean;
  hasElse: boolean;
  /** Does some way lead to its end? */
  reached: boolean;
}

const TYPE_OF: Record<number, number> = { 127: op.T_I32, 126: op.T_I64, 125: op.T_F32, 124: op.T_F64, 123: op.T_V128 };

export interface PrintedFunction {
  /** `function name(…){…}` */
  readonly text: string;
  /** Declarations of functions that it calls (outline.ts). */
  readonly tails: string;
}

/** Prints the function `name` of a type. */
export function printFunction(context: PrintContext, name: string, type: number, body: Uint8Array): PrintedFunction {
  return new Printer(context, name, type, body).print();
}

class Printer {
  private readonly context: PrintContext;
  private readonly code: CodeReader;
  private readonly scope: Scope;
  private readonly frames: Frame[] = [];
  private readonly name: string;
  private readonly parameters: number;
  private labels = 0;

  constructor(context: PrintContext, name: string, type: number, body: Uint8Array) {
    this.context = context;
    this.name = name;
    const code = new CodeReader(body);
    this.code = code;
    const types = context.types[type].parameters.map((t) => TYPE_OF[t]);
    this.parameters = types.length;
    for (let runs = code.u32(); runs > 0; runs--) {
      const count = code.u32();
      const t = TYPE_OF[code.byte()];
      for (let i = 0; i < count; i++) types.push(t);
    }
    this.scope = new Scope(types);
  }

  print(): PrintedFunction {
    const { scope, frames, code } = this;
    this.open('function', undefined, '');
    while (frames.length > 0) {
      const opcode = code.byte();
      if (this.top.closed && opcode !== wasm.END && opcode !== wasm.ELSE) this.skip(opcode);
      else this.instruction(opcode);
    }
    const parameters = Array.from({ length: this.parameters }, (_, local) => scope.partNames(local)).flat();
    const declarations = scope.declarations(this.parameters);
    const variables = new Set([...parameters, ...declarations.matchAll(/\w+(?==)/g)].map(String));
    const { body, tails } = outline(this.name, scope.statements, variables);
    return { text: `function ${this.name}(${parameters}){${declarations}\n${body}}\n`, tails };
  }

  private get top(): Frame {
    return this.frames[this.frames.length - 1];
  }

  // --- control flow -----------------------------------------------------------------------------------------------------

  private open(kind: Frame['kind'], result: Value | undefined, condition: string): void {
    const { scope } = this;
    scope.settleAll();
    if (kind === 'loop') scope.meet();
    this.frames.push({
      kind,
      label: `L${this.labels++}`,
      used: false,
      head: scope.statements.push('') - 1,
      condition,
      result,
      height: scope.stack.length,
      closed: false,
      hasElse: false,
      reached: false,
    });
  }

  private blockType(): Value | undefined {
    const type = this.code.byte();
    return type === wasm.VOID ? undefined : this.scope.result(TYPE_OF[type]);
  }

  /** The code falls out of the end of a frame, or of its first half. */
  private fallOut(frame: Frame): void {
    const { scope } = this;
    if (!frame.closed) {
      frame.reached = true;
      if (frame.result !== undefined) this.assign(frame.result, scope.pop());
    }
    scope.stack.length = frame.height;
  }

  private assign(target: Value, value: Value): void {
    target.parts.forEach((part, i) => {
      this.scope.emit(`${part.text}=${integer(value.parts[i]).text};`);
    });
  }

  private end(): void {
    const { scope } = this;
    const frame = this.frames.pop()!;
    const { statements } = scope;
    if (frame.kind === 'function') {
      if (!frame.closed) this.emitReturn();
      return;
    }
    this.fallOut(frame);
    // Where other ways lead to, nothing is known of floats.
    if (frame.used || frame.kind === 'if') scope.meet();
    const label = frame.used ? `${frame.label}:` : '';
    if (frame.kind === 'loop') {
      // Without anything that goes back it is no loop.
      if (frame.used) {
        statements[frame.head] = `${label}for(;;){`;
        scope.emit(frame.closed ? '}' : 'break;}');
      }
    } else if (frame.kind === 'if') {
      statements[frame.head] = `${label}if(${frame.condition}){`;
      scope.emit('}');
    } else if (frame.used) {
      statements[frame.head] = `${label}{`;
      scope.emit('}');
    }
    const { top } = this;
    if (frame.kind === 'loop') top.closed = frame.closed;
    else top.closed = !(frame.reached || frame.used || (frame.kind === 'if' && !frame.hasElse));
    if (frame.result !== undefined) scope.push(frame.result);
    scope.endStatement();
  }

  private otherwise(): void {
    const { top, scope } = this;
    this.fallOut(top);
    scope.meet();
    top.hasElse = true;
    top.closed = false;
    scope.emit('}else{');
  }

  /** The statement that goes to the frame `depth` levels out. */
  private goTo(depth: number): string {
    const frame = this.frames[this.frames.length - 1 - depth];
    if (frame.kind === 'function' || frame.result !== undefined) throw new Error('a branch with a value');
    frame.used = true;
    return frame.kind === 'loop' ? `continue ${frame.label};` : `break ${frame.label};`;
  }

  private close(): void {
    this.top.closed = true;
    this.scope.stack.length = this.top.height;
    this.scope.endStatement();
  }

  private emitReturn(): void {
    const { scope } = this;
    scope.emit(scope.stack.length > 0 ? `return ${integer(scope.pop().parts[0]).text};` : 'return;');
  }

  /** Passes over an instruction that is never reached. */
  private skip(opcode: number): void {
    let depth = 0;
    for (; ; opcode = this.code.byte()) {
      if (opcode === wasm.BLOCK || opcode === wasm.LOOP || opcode === wasm.IF) depth++;
      if (opcode === wasm.ELSE && depth === 0) {
        this.otherwise();
        return;
      }
      if (opcode === wasm.END && depth-- === 0) {
        this.end();
        return;
      }
      this.code.skipImmediates(opcode);
    }
  }

  // --- instructions -----------------------------------------------------------------------------------------------------

  private instruction(opcode: number): void {
    const { code, scope } = this;
    switch (opcode) {
      case wasm.UNREACHABLE:
        scope.emit('return;');
        this.close();
        return;
      case wasm.BLOCK:
        this.open('block', this.blockType(), '');
        return;
      case wasm.LOOP:
        this.open('loop', this.blockType(), '');
        return;
      case wasm.IF: {
        const result = this.blockType();
        const { text } = scope.pop().parts[0];
        this.open('if', result, text);
        return;
      }
      case wasm.ELSE:
        this.otherwise();
        return;
      case wasm.END:
        this.end();
        return;
      case wasm.BR:
        scope.emit(this.goTo(code.u32()));
        this.close();
        return;
      case wasm.BR_IF:
        scope.emit(`if(${scope.pop().parts[0].text})${this.goTo(code.u32())}`);
        scope.endStatement();
        return;
      case wasm.BR_TABLE: {
        const cases: string[] = [];
        for (let count = code.u32(), i = 0; i < count; i++) cases.push(`case ${i}:${this.goTo(code.u32())}`);
        scope.emit(`switch(${scope.pop().parts[0].text}){${cases.join('')}default:${this.goTo(code.u32())}}`);
        this.close();
        return;
      }
      case wasm.RETURN:
        this.emitReturn();
        this.close();
        return;
      case wasm.CALL: {
        const index = code.u32();
        this.call(`f${index}`, this.context.functionTypes[index]);
        return;
      }
      case wasm.RETURN_CALL: {
        const index = code.u32();
        const text = this.callText(`f${index}`, this.context.types[this.context.functionTypes[index]]);
        scope.emit(`return ${text};`);
        this.close();
        return;
      }
      case wasm.CALL_INDIRECT: {
        const type = code.u32();
        code.u32();
        this.call(this.context.tableEntry(scope.pop().parts[0]), type);
        return;
      }
      case wasm.RETURN_CALL_INDIRECT: {
        const type = this.context.types[code.u32()];
        code.u32();
        const entry = scope.pop().parts[0];
        if (this.context.hasTailCalls) this.emitReturn();
        else scope.emit(`return ${this.callText(this.context.tableEntry(entry), type)};`);
        this.close();
        return;
      }
      case wasm.DROP:
        scope.pop();
        scope.endStatement();
        return;
      case wasm.SELECT_OP: {
        const chooser = scope.keep(scope.pop().parts[0]);
        const b = scope.pop();
        const a = scope.pop();
        scope.push({ type: a.type, parts: a.parts.map((part, i) => w.choose(chooser, part, b.parts[i])) });
        return;
      }
      case wasm.LOCAL_GET:
        scope.push(scope.get(code.u32()));
        return;
      case wasm.LOCAL_SET:
        scope.set(code.u32(), scope.pop());
        scope.endStatement();
        return;
      case wasm.LOCAL_TEE: {
        const local = code.u32();
        scope.set(local, scope.pop());
        scope.push(scope.get(local));
        return;
      }
      case wasm.I32_CONST:
        scope.push(i32(constant(code.s32())));
        return;
      case wasm.I64_CONST: {
        const low = code.s64();
        scope.push({ type: op.T_I64, parts: [constant(low), constant(code.high)] });
        return;
      }
      case wasm.BULK_PREFIX:
        this.bulk(code.u32());
        return;
      case wasm.VECTOR_PREFIX:
        this.vectorInstruction(code.u32());
        return;
    }
    if (memory.isLoad(opcode) || memory.isStore(opcode)) {
      code.u32();
      const offset = code.u32();
      if (memory.isLoad(opcode)) scope.push(memory.load(scope, opcode, scope.pop(), offset));
      else {
        const value = scope.pop();
        memory.storeScalar(scope, opcode, scope.pop(), offset, value);
        scope.endStatement();
      }
    } else this.numeric(opcode);
  }

  /** memory.copy, memory.fill. */
  private bulk(sub: number): void {
    const { code, scope } = this;
    code.raw(sub === wasm.MEMORY_COPY ? 2 : 1);
    const [to, from, length] = scope.stack.splice(-3).map(({ parts }) => parts[0]);
    scope.settleMemory();
    if (sub === wasm.MEMORY_COPY) {
      const source = scope.keep(from);
      scope.emit(`u8.copyWithin(${unsigned(to)},${unsigned(source)},(${unsigned(source)})+(${unsigned(length)}));`);
    } else {
      const start = scope.keep(to);
      scope.emit(`u8.fill(${from.text},${unsigned(start)},(${unsigned(start)})+(${unsigned(length)}));`);
    }
    scope.endStatement();
  }

  private callText(callee: string, type: wasm.FunctionType): string {
    const { scope } = this;
    const count = type.parameters.length;
    const values = scope.stack.splice(scope.stack.length - count, count);
    const texts = values.flatMap(({ parts }) => parts.map((part) => integer(part).text));
    scope.settleMemory();
    return `${callee}(${texts.join(',')})`;
  }

  private call(callee: string, typeIndex: number): void {
    const { scope } = this;
    const type = this.context.types[typeIndex];
    const text = this.callText(callee, type);
    if (type.results.length === 0) {
      scope.emit(`${text};`);
      scope.endStatement();
    } else scope.push(i32(scope.keep(w.int(text))));
  }

  /** A core numeric instruction. */
  private numeric(opcode: number): void {
    const { scope } = this;
    const b = op.operandCount[opcode] === 2 ? scope.pop() : undefined;
    const a = scope.pop();
    scope.push(scalar(scope, opcode, a, b));
  }

  private vectorInstruction(sub: number): void {
    const { code, scope } = this;
    if (sub === wasm.V128_LOAD || sub === wasm.V128_STORE) {
      code.u32();
      const offset = code.u32();
      if (sub === wasm.V128_LOAD) scope.push(memory.loadVector(scope, scope.pop(), offset));
      else {
        const value = scope.pop();
        memory.storeVector(scope, scope.pop(), offset, value);
        scope.endStatement();
      }
      return;
    }
    if (sub === wasm.V128_CONST) {
      const bytes = code.raw(16);
      const word = (i: number) => bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24);
      scope.push(vector([0, 4, 8, 12].map((i) => constant(word(i)))));
      return;
    }
    const opcode = op.SIMD | sub;
    if (opcode === simd.I8X16_SHUFFLE) {
      const lanes = code.raw(16);
      const b = scope.pop();
      scope.push(vectors.shuffle(scope.keep, scope.pop(), b, lanes));
    } else if (isLaneAccess(sub)) {
      const lane = code.byte();
      const b = vectors.replacesLane(opcode) ? scope.pop() : undefined;
      scope.push(vectors.laneOperation(scope, opcode, lane, scope.pop(), b));
    } else {
      const count = vectors.operandCount(opcode);
      scope.push(vectors.operation(scope, opcode, scope.stack.splice(scope.stack.length - count, count)));
    }
  }
}
