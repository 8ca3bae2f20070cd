/**
 * Compiles calls of the subset (compile.ts): of functions, methods and what is built in (builtins.ts). A call is one in
 * WebAssembly, or the function's body stands in its place, or it leaves to TypeScript.
 */

import * as wasm from '../wasm/encoder.ts';
import { BuiltinCompiler } from './builtins.ts';
import type { Callee } from './expression.ts';
import type { Local } from './names.ts';
import { hasResult, isValue, type Module, type Node, neverReturns, onlyReturns } from './program.ts';

export abstract class CallCompiler extends BuiltinCompiler {
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

  /** The statements of a function that stands in place of its call; leaves its result, if it has one. */
  protected abstract inlined(node: Node): void;

  /** @returns whether the call leaves a value */
  protected call(node: Node): boolean {
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

  private callFunction(node: Node, module: Module, name: string): boolean {
    const binding = module.find(name);
    if (binding?.is !== 'function') return this.refuse(node);
    return this.invoke({ node: binding.node, module: binding.module, owner: undefined }, node.arguments, name);
  }

  /** @returns whether it leaves a value */
  protected invoke(callee: Callee, given: Node[], name = ''): boolean {
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
}

/** Does code assign to a variable of this name? */
function assigns(node: Node, name: string): boolean {
  if (node === null || typeof node !== 'object') return false;
  const { type, left, argument } = node;
  if ((type === 'AssignmentExpression' ? left : type === 'UpdateExpression' ? argument : undefined)?.name === name)
    return true;
  return Object.values(node).some((part) => assigns(part, name));
}
