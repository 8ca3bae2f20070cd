/**
 * The function being printed: its statements, its variables, and WebAssembly's operand stack with expressions that wait
 * to be printed. One that waits must be put in a variable before what it reads changes.
 */
import { T_I64, T_V128 } from '../ir/ops.ts';
import { doubleLiteral, FloatBits, singleLiteral } from './float-bits.ts';
import { CONDITION, INTEGER, integer, memoryRead, NUMBER, name, PARTS, type Part, type Value } from './value.ts';

/** Names of the parts of a local, by its number; a float's is of its own kind. */
const INTEGER_NAMES = ['l', 'h', 'm', 'n'];
const FLOAT_NAME = 'd';
/** Temporaries by kind. */
const TEMPORARY_NAMES = ['t', 'c', 'x'];
/** Longer expressions get a variable. */
const LONGEST = 240;

export class Scope {
  readonly statements: string[] = [];
  readonly stack: Value[] = [];
  /** Type (T_*) of each local, parameters first. */
  readonly types: number[];
  private readonly inUse = [0, 0, 0];
  private readonly most = [0, 0, 0];
  private results = 0;
  private readonly floats = new FloatBits();

  constructor(types: number[]) {
    this.types = types;
  }

  emit(statement: string): void {
    this.statements.push(statement);
  }

  // --- operands ---------------------------------------------------------------------------------------------------------

  push(value: Value): void {
    this.stack.push(value.parts.some(({ text }) => text.length > LONGEST) ? this.kept(value) : value);
  }

  pop(): Value {
    return this.stack.pop()!;
  }

  /** Puts a part in a temporary unless it may be printed more than once as it is. */
  readonly keep = (part: Part): Part => {
    if (part.atom) return part;
    return this.temporary(part);
  };

  private temporary(part: Part): Part {
    const n = this.inUse[part.kind]++;
    if (n === this.most[part.kind]) this.most[part.kind]++;
    const temporary = `${TEMPORARY_NAMES[part.kind]}${n}`;
    this.floats.forget(temporary);
    this.emit(`${temporary}=${part.text};`);
    return name(temporary, part.kind);
  }

  private kept(value: Value): Value {
    return { type: value.type, parts: value.parts.map(this.keep) };
  }

  /** Between statements: without operands no temporary is wanted any more. */
  endStatement(): void {
    if (this.stack.length > 0) return;
    this.inUse.fill(0);
    this.floats.settled();
  }

  /** Puts the waiting parts that `changes` names in temporaries. */
  private settle(changes: (part: Part) => boolean): void {
    const { stack } = this;
    for (let i = 0; i < stack.length; i++) {
      const value = stack[i];
      const all = value.bits === undefined ? value.parts : [...value.parts, ...value.bits];
      if (!all.some(changes)) continue;
      const parts = value.parts.map((part) => (changes(part) ? this.temporary(part) : part));
      stack[i] = { type: value.type, parts };
    }
  }

  /** Before memory changes. */
  settleMemory(): void {
    this.settle((part) => part.memory);
  }

  /** Before code that may run again or not at all. */
  settleAll(): void {
    this.settle((part) => !part.atom || part.locals.length > 0);
  }

  // --- floats and their bits --------------------------------------------------------------------------------------------

  /** The double of these halves. */
  double(low: Part, high: Part): Part {
    if (low.constant !== undefined && high.constant !== undefined) {
      const known = doubleLiteral(low.constant, high.constant);
      if (known !== undefined) return known;
    }
    const bits = [this.keep(low), this.keep(high)];
    return this.float(bits, `si[0]=${bits[0].text};si[1]=${bits[1].text};`, 'sd[0]');
  }

  /** The single of these bits. */
  single(part: Part): Part {
    const known = part.constant === undefined ? undefined : singleLiteral(part.constant);
    if (known !== undefined) return known;
    const bits = [this.keep(part)];
    return this.float(bits, `si[0]=${bits[0].text};`, 'sf[0]');
  }

  private float(bits: readonly Part[], prepare: string, text: string): Part {
    let variable = this.floats.find(bits);
    if (variable === undefined) {
      variable = this.floats.take();
      this.emit(`${prepare}${variable}=${text};`);
      this.floats.note(bits, variable);
    }
    return name(variable, NUMBER);
  }

  /** Halves of a double. */
  bitsOfDouble(x: Part): Part[] {
    return this.bits(x, 'sd[0]', ['si[0]', 'si[1]']);
  }

  /** Bits of a single. */
  bitsOfSingle(x: Part): Part {
    return this.bits(x, 'sf[0]', ['si[0]'])[0];
  }

  private bits(x: Part, to: string, from: readonly string[]): Part[] {
    const variable = this.floats.take();
    this.emit(`${to}=${variable}=${x.text};`);
    const bits = from.map((text) => this.temporary(memoryRead(text)));
    this.floats.note(bits, variable);
    return bits;
  }

  /** Control flow meets here. */
  meet(): void {
    this.floats.forgetAll();
  }

  // --- locals -----------------------------------------------------------------------------------------------------------

  partNames(local: number): string[] {
    const type = this.types[local];
    if (type !== T_I64 && type !== T_V128 && isFloat(type)) return [`${FLOAT_NAME}${local}`];
    return INTEGER_NAMES.slice(0, PARTS[type]).map((prefix) => `${prefix}${local}`);
  }

  get(local: number): Value {
    const type = this.types[local];
    const kind = isFloat(type) ? NUMBER : INTEGER;
    return { type, parts: this.partNames(local).map((text) => name(text, kind, local)) };
  }

  set(local: number, value: Value): void {
    this.settle((part) => part.locals.includes(local));
    const names = this.partNames(local);
    const parts = [...value.parts];
    const known = this.knownFloats(value.parts);
    for (let i = parts.length - 1; i >= 0; i--) {
      if (parts[i].text === names[i]) continue;
      // Parts still to be assigned may read this one.
      for (let k = 0; k < i; k++)
        if (parts[k].locals.includes(local) && parts[k].text !== names[k] && parts[k].text.includes(names[i]))
          parts[k] = this.temporary(parts[k]);
      this.emit(`${names[i]}=${integer(parts[i]).text};`);
      this.floats.forget(names[i]);
    }
    for (const { first, count, variable } of known) {
      const bits = names.slice(first, first + count).map((text) => name(text, INTEGER));
      this.floats.note(bits, variable);
    }
  }

  /** The floats known for runs of one or two of these parts. */
  private knownFloats(parts: readonly Part[]): { first: number; count: number; variable: string }[] {
    const known: { first: number; count: number; variable: string }[] = [];
    for (let first = 0; first < parts.length; first++)
      for (let count = 1; count <= 2 && first + count <= parts.length; count++) {
        const variable = this.floats.find(parts.slice(first, first + count));
        if (variable !== undefined) known.push({ first, count, variable });
      }
    return known;
  }

  /** A variable that both ways into a place assign; never used again. */
  result(type: number): Value {
    const n = this.results++;
    const kind = isFloat(type) ? NUMBER : INTEGER;
    return { type, parts: Array.from({ length: PARTS[type] }, (_, i) => name(`r${n}_${i}`, kind)) };
  }

  /** Declarations of all variables but the first `parameters` locals. */
  declarations(parameters: number): string {
    const names: string[] = [];
    for (let local = parameters; local < this.types.length; local++) names.push(...this.partNames(local));
    for (let kind = 0; kind < TEMPORARY_NAMES.length; kind++)
      for (let i = 0; i < this.most[kind]; i++)
        names.push(kind === CONDITION ? `c${i}=false` : `${TEMPORARY_NAMES[kind]}${i}`);
    names.push(...this.floats.variables);
    const declared = names.map((text) => (text.includes('=') ? text : `${text}=0`));
    for (let n = 0; n < this.results; n++) for (let i = 0; i < 4; i++) declared.push(`r${n}_${i}=0`);
    return declared.length === 0 ? '' : `let ${declared.join(',')};`;
  }
}

function isFloat(type: number): boolean {
  return type === 3 || type === 4;
}
