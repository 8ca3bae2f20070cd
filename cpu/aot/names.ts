/**
 * Names in a function of the subset (compile.ts): its locals and their scopes, and what an expression is, as far as that is
 * known without the program running: its kind, its value if it is constant, whether it is unsigned.
 */

import * as wasm from '../wasm/encoder.ts';
import type { AotCompiler } from './compile.ts';
import { type Kind, type Module, type Node, NUMBER, type Shape } from './program.ts';

/** A name in a function: a WebAssembly local, or an object that needs none. */
export interface Local {
  index: number;
  kind: Kind;
  /** Was it made by `>>>`? */
  unsigned: boolean;
  /** Its value, if that is known; then it has no index. */
  constant?: number | undefined;
}

export abstract class NameCompiler {
  protected readonly compiler: AotCompiler;
  /** Where the code at hand stands: in a function that is put in place of a call, not where this one does. */
  protected module: Module;
  protected owner: Shape | undefined;
  protected readonly out = new wasm.Encoder();
  /** Locals in use where the code at hand stands, and at most. */
  protected localCount = 0;
  protected localLimit = 0;
  protected scopes: Map<string, Local>[] = [new Map()];

  constructor(compiler: AotCompiler, module: Module, owner: Shape | undefined) {
    this.compiler = compiler;
    this.module = module;
    this.owner = owner;
  }

  protected refuse(node: Node): never {
    throw new Error(`${this.module.text(node)}: ${node.type} is not in the subset`);
  }

  // --- locals ---------------------------------------------------------------------------------------------------------

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

  protected find(name: string): Local | undefined {
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
  protected sameMemory(wanted: Kind, node: Node): void {
    if (wanted.is !== 'memory') return;
    const kind = this.kindOf(node);
    if (kind.is !== 'memory' || kind.shift !== wanted.shift) this.refuse(node);
  }

  protected namespace(node: Node): Module | undefined {
    if (node.type !== 'Identifier' || this.find(node.name)) return undefined;
    const binding = this.module.find(node.name);
    return binding?.is === 'namespace' ? binding.module : undefined;
  }

  protected member(node: Node, shape: Shape): Node {
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
}
