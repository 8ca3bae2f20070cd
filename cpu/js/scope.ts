/**
 * The function being printed: its statements, its variables, and WebAssembly's operand stack with expressions that wait
 * to be printed. One that waits must be put in a variable before what it reads changes.
 */
import { T_I64, T_V128 } from '../ir/ops.ts';
import { CONDITION, INTEGER, integer, NUMBER, name, PARTS, type Part, type Value } from './value.ts';

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
    this.emit(`${temporary}=${part.text};`);
    return name(temporary, part.kind);
  }

  private kept(value: Value): Value {
    return { type: value.type, parts: value.parts.map(this.keep) };
  }

  /** Between statements: without operands no temporary is wanted any more. */
  endStatement(): void {
    if (this.stack.length === 0) this.inUse.fill(0);
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
    for (let i = parts.length - 1; i >= 0; i--) {
      if (parts[i].text === names[i]) continue;
      // Parts still to be assigned may read this one.
      for (let k = 0; k < i; k++)
        if (parts[k].locals.includes(local) && parts[k].text !== names[k] && parts[k].text.includes(names[i]))
          parts[k] = this.temporary(parts[k]);
      this.emit(`${names[i]}=${integer(parts[i]).text};`);
    }
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
    const declared = names.map((text) => (text.includes('=') ? text : `${text}=0`));
    for (let n = 0; n < this.results; n++) for (let i = 0; i < 4; i++) declared.push(`r${n}_${i}=0`);
    return declared.length === 0 ? '' : `let ${declared.join(',')};`;
  }
}

function isFloat(type: number): boolean {
  return type === 3 || type === 4;
}
