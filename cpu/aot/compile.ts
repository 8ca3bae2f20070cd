/**
 * Compiles parts of this program to WebAssembly ahead of time: what runs once for each piece of the guest's code and so
 * never gets warm in JavaScript. The same sources run as TypeScript too (tests hold both equal).
 *
 * The subset: numbers are int32 and booleans 0 or 1; `a < b` and its kin compare unsigned when an operand is `x >>> n`;
 * sums that wrap must be cut (`| 0`) before they are compared. Every class has one instance, whose name is left out of
 * calls, but for those named in `records`: their instances are constants of modules, the values of their fields stand in
 * the memory and, as all values, begin with nothing and mean nothing after a call from outside. Uint8Array, Uint16Array
 * and Int32Array are the machine's memory, their indices below 2^32; opcode columns are constant tables. Of what
 * JavaScript has built in there are some functions of Math, and copyWithin and fill of the memory. Fields of objects and
 * module variables become globals: they hold values only within one call from outside (and are set by compiled code
 * before), what lasts is kept in the memory. A method named in `outside` answers 0 here. Anything else is an error.
 *
 * What is not refused and yet differs from JavaScript, so that sources must keep from it:
 *   - `copyWithin` and `fill` whose end is before their start do nothing there and trap here;
 *   - an index `a >> 2` of an Int32Array (`a >> 1` of a Uint16Array) is taken as the address `a`: aligned, not negative;
 *   - that `x >>> n` is unsigned is lost through `let`, parameters and results, and that a constant is beyond int32
 *     through any local: they are compared as signed.
 *
 * What TypeScript alone can do is left to it by *leaving*: a call of a function that never returns (one that throws), or
 * of one named in `leaves`, ends all calls up to the one from outside, whose result then means nothing; a word at
 * `leftAt` in the memory tells. TypeScript begins anew, so what is compiled may leave only before it has changed anything
 * that doing it once more would not.
 */

import type { Column } from '../isa/columns.ts';
import { FunctionCompiler } from './function.ts';
import { type Kind, type Module, type Node, onlyReturns, Program, type Shape } from './program.ts';

/** Functions whose source is so short stand in place of their calls, unless their code is longer; so long if there is but one. */
const SHORT = 250;
const SHORT_CODE = 110;
const LONG = 1500;

/** Of a field of a class with several instances. */
export const FIELD_BYTES = 4;

/** No locals; `unreachable`. */
const NO_BODY = Uint8Array.of(0, 0x00, 0x0b);

export interface AotOptions {
  /** Index of the first function. */
  firstFunction: number;
  /** Index of the type of a function with so many parameters, all i32, and with an i32 result or none. */
  typeOf: (parameters: number, hasResult: boolean) => number;
  /** Where in the memory the constant tables may be. */
  dataStart: number;
  dataEnd: number;
  /** Functions that are imported, as `Class.member`. */
  imports: Record<string, number>;
  /** Names of the classes with several instances: they have nothing but fields, which are numbers. */
  records?: readonly string[];
  /** Methods that are not compiled: they answer 0. */
  outside: readonly string[];
  /** Functions and methods (`Class.member`) that TypeScript has to run: compiled code leaves. */
  leaves: readonly string[];
  /** Offset in the memory of the word that is set when compiled code leaves; who calls it clears it before. */
  leftAt: number;
}

/** A function or method that is wanted, with the index that it gets. */
export interface Wanted {
  node: Node;
  module: Module;
  owner: Shape | undefined;
  index: number;
}

export class AotCompiler {
  readonly program: Program;
  readonly options: AotOptions;
  private readonly wanted = new Map<Node, Wanted>();
  private readonly globals = new Map<string, number>();
  /** Those of them that are set somewhere. */
  private readonly set = new Set<string>();
  private readonly tables = new Map<string, { offset: number; values: Column }>();
  private readonly instances = new Map<string, number>();
  private dataNext: number;
  /** Functions that may leave; undefined until all have been seen. */
  private leaving: Set<number> | undefined;
  /** Names in the options that no call has met so far: nothing has them, or it was renamed. */
  private readonly unmet: Set<string>;
  /** Short functions whose code is not, and whether they are still being found. */
  private isExpanding = true;
  private readonly expanding = new Set<Node>();
  /** How often functions are called in the code; undefined as long. */
  private sites: Map<number, number> | undefined;

  constructor(options: AotOptions) {
    this.options = options;
    this.program = new Program(options.records ?? []);
    this.dataNext = options.dataStart;
    this.unmet = new Set([...options.leaves, ...options.outside, ...Object.keys(options.imports)]);
  }

  /** Index of a method of a class that is declared in the file `path`. */
  root(path: string, className: string, method: string): number {
    const binding = this.program.module(path).find(className);
    if (binding?.is !== 'shape') throw new Error(`${path}: no class ${className}`);
    return this.method(binding.shape, method).index;
  }

  /** Index of a function that is declared in the file `path`. */
  rootFunction(path: string, name: string): number {
    const binding = this.program.module(path).find(name);
    if (binding?.is !== 'function') throw new Error(`${path}: no function ${name}`);
    return this.want(binding.node, binding.module, undefined).index;
  }

  method(shape: Shape, name: string): Wanted {
    const member = shape.members.get(name);
    if (member?.type !== 'MethodDefinition')
      throw new Error(`${shape.module.path}: ${shape.name}.${name} is no method`);
    return this.want(member.value, shape.module, shape);
  }

  want(node: Node, module: Module, owner: Shape | undefined): Wanted {
    let wanted = this.wanted.get(node);
    if (wanted === undefined) {
      wanted = { node, module, owner, index: this.options.firstFunction + this.wanted.size };
      this.wanted.set(node, wanted);
    }
    return wanted;
  }

  /**
   * Is a function put in place of its calls? (V8 does not do that with functions of WebAssembly.) `isCase`: the call stands
   * among many cases, of which V8 should translate those that run, and for the others there should be no locals to clear.
   */
  isInlined(node: Node, isCase: boolean): boolean {
    if (onlyReturns(node) !== undefined) return true;
    const size = node.end - node.start;
    const index = this.wanted.get(node)?.index;
    if (size <= SHORT && !this.expanding.has(node)) return true;
    return !isCase && size <= LONG && index !== undefined && this.sites?.get(index) === 1;
  }

  /** Tells how many bytes a function has in place of its call. @returns whether it shall stand apart from now on */
  expands(node: Node, bytes: number): boolean {
    if (bytes <= SHORT_CODE) return false;
    if (this.isExpanding) this.expanding.add(node);
    return true;
  }

  /** Is a function or method one that only TypeScript runs? */
  isLeft(name: string): boolean {
    this.unmet.delete(name);
    return this.options.leaves.includes(name);
  }

  /** Is a method one that is not compiled, and answers 0? */
  isOutside(name: string): boolean {
    this.unmet.delete(name);
    return this.options.outside.includes(name);
  }

  /** Index of a method that is imported; undefined when it is not. */
  imported(name: string): number | undefined {
    this.unmet.delete(name);
    return this.options.imports[name];
  }

  /** May calling the function of this index leave? */
  mayLeave(index: number): boolean {
    return this.leaving?.has(index) ?? true;
  }

  /** Index of the global variable that holds a field or a module's variable. */
  global(name: string, isSet: boolean): number {
    if (isSet) this.set.add(name);
    let index = this.globals.get(name);
    if (index === undefined) this.globals.set(name, (index = this.globals.size));
    return index;
  }

  /** Offset of a constant table in the memory. */
  table({ name, values }: Extract<Kind, { is: 'table' }>): number {
    let table = this.tables.get(name);
    if (table === undefined) {
      table = { offset: this.room(values.byteLength), values };
      this.tables.set(name, table);
    }
    return table.offset;
  }

  /** Address of an instance of a class with several. */
  instance(name: string, { members }: Shape): number {
    let address = this.instances.get(name);
    if (address === undefined) this.instances.set(name, (address = this.room(members.size * FIELD_BYTES)));
    return address;
  }

  /** Room for so many bytes beside the constant tables: its offset. */
  private room(bytes: number): number {
    const offset = this.dataNext;
    this.dataNext = (offset + bytes + 7) & -8;
    if (this.dataNext > this.options.dataEnd) throw new Error('the constant tables need more room');
    return offset;
  }

  /** Compiles all functions that are wanted, and those that they call. */
  functions(): { type: number; body: Uint8Array }[] {
    const roots = [...this.wanted.values()].map(({ index }) => index);
    // The first time only shows which short functions are not to stand in place of their calls.
    this.survey(roots);
    this.isExpanding = false;
    this.sites = this.survey(roots);
    const compilers = [...this.wanted.values()].map((wanted) => new FunctionCompiler(this, wanted));
    const bodies = compilers.map((compiler) => compiler.compile());
    // Some stand in place of all their calls.
    const { firstFunction, typeOf } = this.options;
    const used = new Set(roots);
    for (const index of used) for (const called of compilers[index - firstFunction].calls.keys()) used.add(called);
    return compilers.map(({ parameters, hasResult }, i) => {
      return { type: typeOf(parameters, hasResult), body: used.has(firstFunction + i) ? bodies[i] : NO_BODY };
    });
  }

  /** Compiles everything, to see which functions call which, and so which may leave. @returns how often each is called */
  private survey(roots: readonly number[]): Map<number, number> {
    const calls = new Map<number, ReadonlyMap<number, number>>();
    const leaving = new Set<number>();
    const sites = new Map<number, number>(roots.map((index) => [index, 1]));
    // The map grows meanwhile.
    for (const wanted of this.wanted.values()) {
      const compiler = new FunctionCompiler(this, wanted);
      compiler.compile();
      calls.set(wanted.index, compiler.calls);
      for (const [index, count] of compiler.calls) sites.set(index, (sites.get(index) ?? 0) + count);
      if (compiler.leaves) leaving.add(wanted.index);
    }
    for (let before = -1; leaving.size !== before; ) {
      before = leaving.size;
      for (const [caller, called] of calls)
        if ([...called.keys()].some((index) => leaving.has(index))) leaving.add(caller);
    }
    this.leaving = leaving;
    if (this.unmet.size > 0)
      throw new Error(`the compiler is told of what nothing calls: ${[...this.unmet].join(', ')}`);
    for (const name of this.globals.keys())
      if (!this.set.has(name)) throw new Error(`${name} is only set by TypeScript`);
    return sites;
  }

  get globalCount(): number {
    return this.globals.size;
  }

  /** The constant tables in use. */
  data(): { offset: number; bytes: Uint8Array }[] {
    return [...this.tables.values()].map(({ offset, values }) => ({
      offset,
      bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
    }));
  }
}
