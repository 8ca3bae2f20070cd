/** Compiles expressions of the subset (compile.ts): each leaves an i32 on the stack. */

import * as op from '../ir/ops.ts';
import * as wasm from '../wasm/encoder.ts';
import { type AotCompiler, FIELD_BYTES } from './compile.ts';
import {
  hasResult,
  isValue,
  type Kind,
  type Module,
  type Node,
  NUMBER,
  neverReturns,
  onlyReturns,
  SETTER,
  type Shape,
} from './program.ts';

/** Opcodes of the operators; comparisons as [signed, unsigned]. */
const BINARY: Record<string, number> = {
  '+': op.I32_ADD,
  '-': op.I32_SUB,
  '*': op.I32_MUL,
  '&': op.I32_AND,
  '|': op.I32_OR,
  '^': op.I32_XOR,
  '<<': op.I32_SHL,
  '>>': op.I32_SHR_S,
  '>>>': op.I32_SHR_U,
  '===': op.I32_EQ,
  '!==': op.I32_NE,
};
const COMPARISON: Record<string, [number, number]> = {
  '<': [op.I32_LT_S, op.I32_LT_U],
  '<=': [op.I32_LE_S, op.I32_LE_U],
  '>': [op.I32_GT_S, op.I32_GT_U],
  '>=': [op.I32_GE_S, op.I32_GE_U],
};
const MATH: Record<string, number> = { imul: op.I32_MUL, clz32: op.I32_CLZ };
const LOAD = [wasm.I32_LOAD8_U, wasm.I32_LOAD16_U, wasm.I32_LOAD];
const STORE = [wasm.I32_STORE8, wasm.I32_STORE16, wasm.I32_STORE];

/** A name in a function: a WebAssembly local, or an object that needs none. */
export interface Local {
  index: number;
  kind: Kind;
  /** Was it made by `>>>`? */
  unsigned: boolean;
  /** Its value, if that is known; then it has no index. */
  constant?: number | undefined;
}

/** A function, or a method and its class. */
interface Callee {
  node: Node;
  module: Module;
  owner: Shape | undefined;
}

const GLOBAL_GET = 0x23;
const GLOBAL_SET = 0x24;
const I32 = 0x7f;

/** Where a number is kept; a setter has one only by its getter. */
type Place =
  | { is: 'local'; index: number }
  | { is: 'global'; name: string }
  | { is: 'memory'; node: Node }
  | { is: 'field'; of: Node; offset: number }
  | { is: 'setter'; callee: Callee };

export abstract class ExpressionCompiler {
  protected readonly compiler: AotCompiler;
  /** Where the code at hand stands: in a function that is put in place of a call, not where this one does. */
  protected module: Module;
  private owner: Shape | undefined;
  protected readonly out = new wasm.Encoder();
  /** Locals in use where the code at hand stands, and at most. */
  protected localCount = 0;
  protected localLimit = 0;
  private scopes: Map<string, Local>[] = [new Map()];
  /** Bytes of what stands in place of calls so far but is too long for that: the compiler looks before it does it in earnest. */
  private apart = 0;
  /** Does the code at hand belong to one of many cases? */
  protected isCase = false;
  /** Functions that are being put in place of calls. */
  private readonly inlining = new Set<Node>();
  /** Functions that this one calls, and how often; whether it leaves by itself (compile.ts). */
  readonly calls = new Map<number, number>();
  leaves = false;
  abstract readonly hasResult: boolean;

  constructor(compiler: AotCompiler, module: Module, owner: Shape | undefined) {
    this.compiler = compiler;
    this.module = module;
    this.owner = owner;
  }

  protected abstract statement(node: Node): void;
  /** The statements of a function that stands in place of its call; leaves its result, if it has one. */
  protected abstract inlined(node: Node): void;

  protected refuse(node: Node): never {
    throw new Error(`${this.module.text(node)}: ${node.type} is not in the subset`);
  }

  protected local(_name: string): Local {
    return { index: this.allocate(), kind: NUMBER, unsigned: false };
  }

  /** Those of a statement are free for others behind it (V8 clears all that there are whenever a function is called). */
  protected allocate(): number {
    this.localLimit = Math.max(this.localLimit, ++this.localCount);
    return this.localCount - 1;
  }

  protected declare(name: string, local: Local): void {
    this.scopes.at(-1)!.set(name, local);
  }

  protected scoped(inside: () => void): void {
    this.scopes.push(new Map());
    inside();
    this.scopes.pop();
  }

  private find(name: string): Local | undefined {
    return this.scopes.findLast((scope) => scope.has(name))?.get(name);
  }

  // --- what expressions are -------------------------------------------------------------------------------------------

  protected kindOf(node: Node): Kind {
    switch (node.type) {
      case 'ThisExpression':
        if (this.owner === undefined) this.refuse(node);
        return { is: 'object', of: this.owner };
      case 'Identifier': {
        const local = this.find(node.name);
        if (local !== undefined) return local.kind;
        const binding = this.module.find(node.name);
        return binding?.is === 'variable' ? binding.module.kindOfDeclaration(node.name, binding.node) : NUMBER;
      }
      case 'MemberExpression': {
        if (node.computed || this.namespace(node.object)) return NUMBER;
        const object = this.kindOf(node.object);
        if (object.is !== 'object') return NUMBER;
        const { of } = object;
        return of.module.kindOfDeclaration(`${of.name}.${node.property.name}`, this.member(node, of));
      }
      default:
        return NUMBER;
    }
  }

  /** Refuses what is not the machine's memory where that is wanted. */
  private sameMemory(wanted: Kind, node: Node): void {
    if (wanted.is !== 'memory') return;
    const kind = this.kindOf(node);
    if (kind.is !== 'memory' || kind.shift !== wanted.shift) this.refuse(node);
  }

  private namespace(node: Node): Module | undefined {
    if (node.type !== 'Identifier' || this.find(node.name)) return undefined;
    const binding = this.module.find(node.name);
    return binding?.is === 'namespace' ? binding.module : undefined;
  }

  private member(node: Node, shape: Shape): Node {
    const member = shape.members.get(node.property.name);
    if (member === undefined) throw new Error(`${this.module.text(node)}: ${shape.name} has no such member`);
    return member;
  }

  protected isUnsigned(node: Node): boolean {
    if (node.type === 'Identifier') return this.find(node.name)?.unsigned ?? false;
    return node.type === 'BinaryExpression' && node.operator === '>>>';
  }

  /** The value of a constant expression: names of the function hide those of the module. */
  protected constant(node: Node): number | undefined {
    return this.compiler.program.evaluate(node, this.module, (name) => this.find(name)) ?? this.instance(node);
  }

  /** The address of a module's constant that is one of the instances of its class. */
  private instance(node: Node): number | undefined {
    if (node.type !== 'Identifier' || this.find(node.name)) return undefined;
    const kind = this.kindOf(node);
    const binding = this.module.find(node.name);
    if (kind.is !== 'record' || binding?.is !== 'variable' || !binding.constant) return undefined;
    return this.compiler.instance(`${binding.module.path}:${binding.name}`, kind.of);
  }

  // --- values ---------------------------------------------------------------------------------------------------------

  /** Leaves the value of `node` on the stack. */
  protected expression(node: Node): void {
    const { out } = this;
    const constant = this.constant(node);
    if (constant !== undefined) {
      out.i32Const(constant | 0);
      return;
    }
    switch (node.type) {
      case 'Identifier':
        this.get(this.place(node));
        break;
      case 'MemberExpression':
        this.read(node);
        break;
      case 'UnaryExpression':
        this.unary(node);
        break;
      case 'BinaryExpression':
        this.binary(node);
        break;
      case 'LogicalExpression':
        this.logical(node);
        break;
      case 'ConditionalExpression':
        this.expression(node.test);
        out.byte(wasm.IF);
        out.byte(I32);
        this.expression(node.consequent);
        out.byte(wasm.ELSE);
        this.expression(node.alternate);
        out.byte(wasm.END);
        break;
      case 'AssignmentExpression':
        this.assign(node, true);
        break;
      case 'UpdateExpression':
        this.update(node, true);
        break;
      case 'CallExpression':
        if (!this.call(node)) this.refuse(node);
        break;
      default:
        this.refuse(node);
    }
  }

  /** Evaluates `node` for its effects. */
  protected effect(node: Node): void {
    if (node.type === 'AssignmentExpression') this.assign(node, false);
    else if (node.type === 'UpdateExpression') this.update(node, false);
    else if (node.type === 'CallExpression') {
      if (this.call(node)) this.out.byte(wasm.DROP);
    } else this.refuse(node);
  }

  private unary(node: Node): void {
    const { out } = this;
    if (node.operator === '-') {
      out.i32Const(0);
      this.expression(node.argument);
      out.byte(op.I32_SUB);
    } else if (node.operator === '~') {
      this.expression(node.argument);
      out.i32Const(-1);
      out.byte(op.I32_XOR);
    } else if (node.operator === '!') {
      this.expression(node.argument);
      out.byte(op.I32_EQZ);
    } else this.refuse(node);
  }

  private binary(node: Node): void {
    const { left, right, operator } = node;
    const cut = (operator === '|' || operator === '>>>') && this.constant(right) === 0;
    this.expression(left);
    if (cut) return;
    this.expression(right);
    this.operator(node, operator, left, right);
  }

  private operator(node: Node, operator: string, left: Node, right: Node): void {
    const comparison = COMPARISON[operator];
    if (comparison !== undefined || operator === '===' || operator === '!==') this.comparable(node, left, right);
    if (comparison !== undefined) this.out.byte(comparison[Number(this.isUnsigned(left) || this.isUnsigned(right))]);
    else if (BINARY[operator] !== undefined) this.out.byte(BINARY[operator]);
    else this.refuse(node);
  }

  /** Refuses to compare with a constant that is no value of the other side's: it would be cut to 32 bits before. */
  protected comparable(node: Node, left: Node, right: Node): void {
    for (const [side, other] of [
      [left, right],
      [right, left],
    ]) {
      const constant = this.constant(side);
      if (constant === undefined) continue;
      if (constant !== (this.isUnsigned(other) ? constant >>> 0 : constant | 0)) this.refuse(node);
    }
  }

  private logical(node: Node): void {
    const { out } = this;
    const isOr = node.operator === '||';
    if (!isOr && node.operator !== '&&') this.refuse(node);
    const value = this.local('logical').index;
    this.expression(node.left);
    out.localTee(value);
    out.byte(wasm.IF);
    out.byte(I32);
    if (isOr) out.localGet(value);
    else this.expression(node.right);
    out.byte(wasm.ELSE);
    if (isOr) this.expression(node.right);
    else out.localGet(value);
    out.byte(wasm.END);
  }

  /** A field, an element, a getter's result. */
  private read(node: Node): void {
    if (node.computed) {
      this.load(node);
      return;
    }
    const object = this.kindOf(node.object);
    if (object.is === 'object') {
      const member = this.member(node, object.of);
      if (member.kind === 'get') {
        this.invoke({ node: member.value, module: object.of.module, owner: object.of }, []);
        return;
      }
    }
    this.get(this.place(node));
  }

  // --- variables, fields and memory -----------------------------------------------------------------------------------

  private place(node: Node): Place {
    if (node.type === 'Identifier') {
      const local = this.find(node.name);
      if (local !== undefined && local.index >= 0) return { is: 'local', index: local.index };
      const binding = this.module.find(node.name);
      // What a constant starts with would be lost.
      if (local === undefined && binding?.is === 'variable' && !binding.constant)
        return { is: 'global', name: `${binding.module.path}:${binding.name}` };
    } else if (node.type === 'MemberExpression') {
      if (node.computed) return { is: 'memory', node };
      const object = this.kindOf(node.object);
      if (object.is === 'record') {
        const offset = [...object.of.members.values()].indexOf(this.member(node, object.of)) * FIELD_BYTES;
        return { is: 'field', of: node.object, offset };
      }
      if (object.is === 'object') {
        const setter = object.of.members.get(SETTER + node.property.name);
        if (setter !== undefined)
          return { is: 'setter', callee: { node: setter.value, module: object.of.module, owner: object.of } };
        const type = this.member(node, object.of).type;
        if (type === 'PropertyDefinition' || type === 'Property')
          return { is: 'global', name: `${object.of.name}.${node.property.name}` };
      }
    }
    return this.refuse(node);
  }

  private get(place: Place): void {
    const { out } = this;
    if (place.is === 'memory') this.load(place.node);
    else if (place.is === 'field') out.memory(wasm.I32_LOAD, this.field(place));
    else if (place.is === 'setter') this.refuse(place.callee.node);
    else {
      out.byte(place.is === 'local' ? wasm.LOCAL_GET : GLOBAL_GET);
      out.u32(place.is === 'local' ? place.index : this.compiler.global(place.name, false));
    }
  }

  /** Leaves the address of an object on the stack. @returns what is to be added to it for the field */
  private field({ of, offset }: Place & { is: 'field' }): number {
    const address = this.constant(of);
    if (address === undefined) this.expression(of);
    else this.out.i32Const(0);
    return (address ?? 0) + offset;
  }

  private set(place: Place & { is: 'local' | 'global' }): void {
    this.out.byte(place.is === 'local' ? wasm.LOCAL_SET : GLOBAL_SET);
    this.out.u32(place.is === 'local' ? place.index : this.compiler.global(place.name, true));
  }

  private assign(node: Node, wanted: boolean): void {
    const { out } = this;
    const { left, right, operator } = node;
    const kind = this.kindOf(left);
    if (!isValue(kind)) {
      this.sameMemory(kind, right);
      return; // The machine's memory is itself.
    }
    const place = this.place(left);
    if (place.is === 'setter') {
      if (wanted) this.refuse(node);
      const value = { ...node, type: 'BinaryExpression', operator: operator.slice(0, -1) };
      this.invoke(place.callee, [operator === '=' ? right : value]);
      return;
    }
    if (place.is === 'memory' || place.is === 'field') {
      const { shift, offset } = place.is === 'memory' ? this.address(left) : { shift: 2, offset: this.field(place) };
      if (operator !== '=') {
        const address = this.local('address').index;
        out.localTee(address);
        out.localGet(address);
        out.memory(LOAD[shift], offset);
      }
      this.expression(right);
      if (operator !== '=') this.operator(node, operator.slice(0, -1), left, right);
      const value = wanted ? this.local('value').index : -1;
      if (wanted) out.localTee(value);
      out.memory(STORE[shift], offset);
      if (wanted) out.localGet(value);
      return;
    }
    if (operator !== '=') this.get(place);
    this.expression(right);
    if (operator !== '=') this.operator(node, operator.slice(0, -1), left, right);
    this.set(place);
    if (wanted) this.get(place);
  }

  private update(node: Node, wanted: boolean): void {
    const place = this.place(node.argument);
    const one = { type: 'Literal', value: 1 };
    if (place.is === 'memory' || place.is === 'field' || place.is === 'setter') {
      if (wanted && !node.prefix) this.refuse(node);
      this.assign({ ...node, left: node.argument, right: one, operator: `${node.operator[0]}=` }, wanted);
      return;
    }
    if (wanted && !node.prefix) this.get(place);
    this.get(place);
    this.out.i32Const(1);
    this.out.byte(BINARY[node.operator[0]]);
    this.set(place);
    if (wanted && node.prefix) this.get(place);
  }

  private load(node: Node): void {
    const { shift, offset } = this.address(node);
    this.out.memory(LOAD[shift], offset);
  }

  /** Leaves the address of an element on the stack. @returns what is to be added to it, and log2 of the element's size */
  private address(node: Node): { shift: number; offset: number } {
    const kind = this.kindOf(node.object);
    if (kind.is !== 'memory' && kind.is !== 'table') return this.refuse(node);
    const shift = kind.is === 'memory' ? kind.shift : Math.log2(kind.values.BYTES_PER_ELEMENT);
    const start = kind.is === 'table' ? this.compiler.table(kind) : 0;
    const element = this.split(node.property);
    const { rest } = element;
    if (rest === undefined) {
      this.out.i32Const(0);
      return { shift, offset: start + (element.constant << shift) };
    }
    if (shift > 0 && rest.type === 'BinaryExpression' && /^>>>?$/.test(rest.operator) && rest.right.value === shift) {
      // `bytes >> 2` of an Int32Array: the address itself, which is aligned.
      const bytes = this.split(rest.left);
      const offset = start + bytes.constant + (element.constant << shift);
      if (bytes.rest !== undefined && offset >= 0) {
        this.expression(bytes.rest);
        return { shift, offset };
      }
      if (bytes.rest === undefined) {
        this.out.i32Const(0);
        return { shift, offset };
      }
    }
    const offset = start + (element.constant << shift);
    this.expression(offset < 0 ? node.property : rest);
    if (shift > 0) {
      this.out.i32Const(shift);
      this.out.byte(op.I32_SHL);
    }
    return { shift, offset: offset < 0 ? start : offset };
  }

  /** Takes a sum apart into a constant and the rest. */
  private split(node: Node): { rest: Node | undefined; constant: number } {
    const constant = this.constant(node);
    if (constant !== undefined) return { rest: undefined, constant };
    if (node.type === 'BinaryExpression' && node.operator === '+') {
      const a = this.split(node.left);
      const b = this.split(node.right);
      const rest = a.rest && b.rest ? { ...node, left: a.rest, right: b.rest } : (a.rest ?? b.rest);
      return { rest, constant: a.constant + b.constant };
    }
    return { rest: node, constant: 0 };
  }

  // --- calls ----------------------------------------------------------------------------------------------------------

  /** @returns whether the call leaves a value */
  private call(node: Node): boolean {
    const { callee } = node;
    const { compiler, out } = this;
    if (callee.type === 'Identifier') return this.callFunction(node, this.module, callee.name);
    if (callee.type !== 'MemberExpression' || callee.computed) return this.refuse(node);
    const namespace = this.namespace(callee.object);
    if (namespace !== undefined) return this.callFunction(node, namespace, callee.property.name);
    if (callee.object.name === 'Math') return this.math(node);
    const object = this.kindOf(callee.object);
    if (object.is === 'memory') {
      this.moveOrFill(node, object.shift);
      return false;
    }
    if (object.is !== 'object') return this.refuse(node);
    const name = `${object.of.name}.${callee.property.name}`;
    if (compiler.isOutside(name)) {
      out.i32Const(0);
      return true;
    }
    const imported = compiler.imported(name);
    if (imported !== undefined) {
      for (const argument of node.arguments) this.expression(argument);
      out.call(imported);
      return true;
    }
    const method = this.member(callee, object.of);
    if (method.type !== 'MethodDefinition') return this.refuse(node);
    return this.invoke({ node: method.value, module: object.of.module, owner: object.of }, node.arguments, name);
  }

  /** `Math.imul(a, b)`, `Math.clz32(a)`. */
  private math(node: Node): boolean {
    const opcode = MATH[node.callee.property.name];
    if (opcode === undefined) this.lesserOrGreater(node);
    else {
      for (const argument of node.arguments) this.expression(argument);
      this.out.byte(opcode);
    }
    return true;
  }

  private callFunction(node: Node, module: Module, name: string): boolean {
    const binding = module.find(name);
    if (binding?.is !== 'function') return this.refuse(node);
    return this.invoke({ node: binding.node, module: binding.module, owner: undefined }, node.arguments, name);
  }

  /** @returns whether it leaves a value */
  private invoke(callee: Callee, given: Node[], name = ''): boolean {
    const { compiler, out } = this;
    const { node } = callee;
    if (compiler.isLeft(name) || neverReturns(node)) {
      out.i32Const(0);
      out.i32Const(1);
      out.memory(wasm.I32_STORE, compiler.options.leftAt);
      this.leaves = true;
      this.endFunction();
      return true;
    }
    if (compiler.isInlined(node, this.isCase) && !this.inlining.has(node)) {
      this.inline(callee, given);
      return hasResult(node);
    }
    const names = new Map<string, Local>();
    for (const [index, parameter] of node.params.entries()) {
      const local = this.parameter(callee, parameter, given[index], names);
      if (isValue(local.kind)) this.argument(callee, local, given[index], parameter, names);
    }
    const { index } = compiler.want(node, callee.module, callee.owner);
    this.calls.set(index, (this.calls.get(index) ?? 0) + 1);
    out.call(index);
    if (compiler.mayLeave(index)) {
      out.i32Const(0);
      out.memory(wasm.I32_LOAD, compiler.options.leftAt);
      out.byte(wasm.IF);
      out.byte(wasm.VOID);
      this.endFunction();
      out.byte(wasm.END);
    }
    return hasResult(node);
  }

  private endFunction(): void {
    if (this.hasResult) this.out.i32Const(0);
    this.out.byte(wasm.RETURN);
  }

  /** Puts the body of a function in place of its call. */
  private inline(callee: Callee, given: Node[]): void {
    const { node } = callee;
    const names = new Map<string, Local>();
    for (const [index, parameter] of node.params.entries()) {
      const local = this.parameter(callee, parameter, given[index], names);
      if (!isValue(local.kind)) continue;
      // A constant that the function changes is a variable like any other.
      if (local.constant !== undefined && !assigns(node.body, (parameter.left ?? parameter).name)) continue;
      this.argument(callee, local, given[index], parameter, names);
      local.constant = undefined;
      local.index = this.allocate();
      this.out.localSet(local.index);
    }
    const only = onlyReturns(node);
    const start = this.out.length;
    const { apart } = this;
    this.apart = 0;
    this.inlining.add(node);
    this.inside(callee, names, () => (only === undefined ? this.inlined(node) : this.expression(only)));
    this.inlining.delete(node);
    const bytes = this.out.length - start;
    this.apart = apart + (this.compiler.expands(node, bytes - this.apart) ? bytes : this.apart);
  }

  /** Adds a parameter to `names`: an object that needs no value, or one with a value; its constant if the argument is one. */
  private parameter(callee: Callee, parameter: Node, given: Node, names: Map<string, Local>): Local {
    const { name, typeAnnotation } = parameter.left ?? parameter;
    const kind = callee.module.kindOfType(typeAnnotation);
    if (given !== undefined) this.sameMemory(kind, given);
    const constant = isValue(kind) && given !== undefined ? this.constant(given) : undefined;
    const local: Local = { index: -1, kind, unsigned: false, constant };
    names.set(name, local);
    return local;
  }

  /** Leaves the value of a parameter on the stack: of its argument, or else its own. */
  private argument(callee: Callee, { constant }: Local, given: Node, parameter: Node, names: Map<string, Local>): void {
    if (constant !== undefined) this.out.i32Const(constant | 0);
    else if (given !== undefined) this.expression(given);
    else if (parameter.right === undefined) this.refuse(parameter);
    else this.inside(callee, names, () => this.expression(parameter.right));
  }

  /** Does something in the scope of a function that is called. */
  private inside({ module, owner }: Callee, names: Map<string, Local>, something: () => void): void {
    const outside = { module: this.module, owner: this.owner, scopes: this.scopes };
    this.module = module;
    this.owner = owner;
    this.scopes = [names];
    something();
    Object.assign(this, outside);
  }

  /** `Math.min(a, b)` and `Math.max(a, b)`, which compare as `a < b` does. */
  private lesserOrGreater(node: Node): void {
    const { out } = this;
    const { property } = node.callee;
    const [first, second] = node.arguments;
    const operator = { min: '<', max: '>' }[property.name as string];
    if (operator === undefined || node.arguments.length !== 2) this.refuse(node);
    const a = this.local('a').index;
    const b = this.local('b').index;
    this.expression(first);
    out.localTee(a);
    this.expression(second);
    out.localTee(b);
    out.localGet(a);
    out.localGet(b);
    this.operator(node, operator!, first, second);
    out.byte(wasm.SELECT_OP);
  }

  /** `memory.copyWithin(to, from, end)` and `memory.fill(value, from, end)`; of wider elements the value is 0 or -1. */
  private moveOrFill(node: Node, shift: number): void {
    const { out } = this;
    const [first, second, third] = node.arguments;
    const isCopy = node.callee.property.name === 'copyWithin';
    if (!isCopy && node.callee.property.name !== 'fill') this.refuse(node);
    const scaled = (argument: Node) => {
      this.expression(argument);
      if (shift > 0) {
        out.i32Const(shift);
        out.byte(op.I32_SHL);
      }
    };
    const from = this.local('from').index;
    const value = isCopy || shift === 0 ? undefined : this.constant(first);
    if (!isCopy && shift > 0 && value !== 0 && value !== -1) this.refuse(node);
    if (isCopy) scaled(first);
    scaled(second);
    out.localTee(from);
    if (value !== undefined) out.i32Const(value & 0xff);
    else if (!isCopy) this.expression(first);
    scaled(third);
    out.localGet(from);
    out.byte(op.I32_SUB);
    out.byte(0xfc);
    out.byte(isCopy ? 10 : 11);
    out.byte(0);
    if (isCopy) out.byte(0);
  }
}

/** Does code assign to a variable of this name? */
function assigns(node: Node, name: string): boolean {
  if (node === null || typeof node !== 'object') return false;
  const { type, left, argument } = node;
  if ((type === 'AssignmentExpression' ? left : type === 'UpdateExpression' ? argument : undefined)?.name === name)
    return true;
  return Object.values(node).some((part) => assigns(part, name));
}
