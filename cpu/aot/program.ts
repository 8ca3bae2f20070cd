/**
 * Sources of the ahead-of-time compiler (compile.ts): modules parsed on demand, and what a name in one of them stands
 * for. Runs when the program is built, and in tests.
 */

import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseSync } from 'oxc-parser';
import { type Column, columnOf } from '../isa/columns.ts';

/** A node of the syntax tree (ESTree with TypeScript's annotations). */
// biome-ignore lint/suspicious/noExplicitAny: the parser's types have no common base with properties
export type Node = any;

/** What an expression is, as far as it is no number. Most classes have one instance, so its type says which object it is. */
export type Kind =
  | { is: 'number' }
  /** An object of a class with several instances, all of whose fields are numbers: its value is its address in the memory. */
  | { is: 'record'; of: Shape }
  /** The machine's memory as Uint8Array, Uint16Array or Int32Array: log2 of the element's size. */
  | { is: 'memory'; shift: number }
  /** A constant table, found at `name` in the data. */
  | { is: 'table'; values: Column; name: string }
  | { is: 'object'; of: Shape };

/** A class, an interface, or an object literal. */
export interface Shape {
  name: string;
  module: Module;
  members: Map<string, Node>;
}

/** What a name stands for in a module. */
export type Binding =
  | { is: 'function'; node: Node; module: Module }
  | { is: 'variable'; node: Node; module: Module; constant: boolean; name: string }
  | { is: 'shape'; shape: Shape }
  | { is: 'namespace'; module: Module };

const MEMORY_SHIFT: Record<string, number> = { Uint8Array: 0, Uint16Array: 1, Int32Array: 2 };

export const NUMBER: Kind = { is: 'number' };

/** Has an expression of this kind a value when the program runs? */
export function isValue({ is }: Kind): boolean {
  return is === 'number' || is === 'record';
}

export class Module {
  readonly path: string;
  private readonly program: Program;
  private readonly source: string;
  private readonly own = new Map<string, Node>();
  private readonly imports = new Map<string, { from: string; name: string }>();
  private readonly shapes = new Map<string, Shape>();

  constructor(program: Program, path: string) {
    this.program = program;
    this.path = path;
    this.source = readFileSync(path, 'utf8');
    const { program: tree, errors } = parseSync(path, this.source, { lang: 'ts', preserveParens: false });
    if (errors.length > 0) throw new Error(`${path}: ${errors[0].message}`);
    for (const statement of tree.body as Node[]) this.declare(statement);
  }

  private declare(statement: Node): void {
    if (statement.type === 'ImportDeclaration') {
      for (const specifier of statement.specifiers)
        this.imports.set(specifier.local.name, {
          from: statement.source.value,
          name: specifier.type === 'ImportNamespaceSpecifier' ? '*' : specifier.imported.name,
        });
    } else if (statement.type === 'ExportNamedDeclaration') {
      if (statement.declaration) this.declare(statement.declaration);
    } else if (statement.type === 'VariableDeclaration') {
      for (const declarator of statement.declarations)
        this.own.set(declarator.id.name, { ...declarator, constant: statement.kind === 'const' });
    } else if (statement.id) this.own.set(statement.id.name, statement);
  }

  /** Where a node stands, for messages. */
  text({ start, end }: Node): string {
    const line = this.source.slice(0, start).split('\n').length;
    return `${this.path}:${line}: ${this.source.slice(start, end)}`;
  }

  /** What `name` stands for; undefined when nothing of this module is called so. */
  find(name: string): Binding | undefined {
    const imported = this.imports.get(name);
    if (imported !== undefined) {
      const module = this.program.module(join(dirname(this.path), imported.from));
      return imported.name === '*' ? { is: 'namespace', module } : module.find(imported.name);
    }
    const node = this.own.get(name);
    // Another name of a type says nothing of what is of that type, which lies then outside the subset if it is no number.
    if (node === undefined || node.type === 'TSTypeAliasDeclaration') return undefined;
    if (node.type === 'FunctionDeclaration') return { is: 'function', node, module: this };
    if (node.type === 'VariableDeclarator')
      return { is: 'variable', node, module: this, constant: node.constant, name };
    return { is: 'shape', shape: this.shape(name, node.body.body) };
  }

  /** The members of a class, an interface or an object literal. */
  shape(name: string, members: Node[]): Shape {
    let shape = this.shapes.get(name);
    if (shape === undefined) {
      shape = { name, module: this, members: new Map(members.map((member) => [memberName(member), member])) };
      this.shapes.set(name, shape);
    }
    return shape;
  }

  /** The kind that a type annotation names. */
  kindOfType(annotation: Node): Kind {
    const type = annotation?.typeAnnotation;
    if (type?.type !== 'TSTypeReference') return NUMBER;
    const { name } = type.typeName;
    if (MEMORY_SHIFT[name] !== undefined) return { is: 'memory', shift: MEMORY_SHIFT[name] };
    const binding = this.find(name);
    if (binding?.is !== 'shape') return NUMBER;
    return { is: this.program.records.includes(binding.shape.name) ? 'record' : 'object', of: binding.shape };
  }

  /** The kind of a declaration: by its annotation, or else by what it starts with. */
  kindOfDeclaration(name: string, node: Node): Kind {
    const annotated = node.typeAnnotation ?? node.id?.typeAnnotation;
    if (annotated) return this.kindOfType(annotated);
    const value = node.value ?? node.init;
    if (value?.type === 'NewExpression')
      return this.kindOfType({ typeAnnotation: { type: 'TSTypeReference', typeName: value.callee } });
    if (value?.type === 'ObjectExpression') return { is: 'object', of: this.shape(name, value.properties) };
    if (value?.type === 'CallExpression') {
      const { callee } = value;
      if (callee.name === 'byteColumn' || callee.name === 'column') {
        const column = value.arguments[0].value;
        return { is: 'table', values: columnOf(column), name: column };
      }
      if (callee.object?.name === 'Uint8Array')
        return {
          is: 'table',
          values: Uint8Array.from(value.arguments, (element: Node) => this.program.constant(element, this)),
          name: `${this.path}:${name}`,
        };
    }
    return NUMBER;
  }
}

/** The locals of a function by name, with their values as far as they are known. */
type LocalNames = (name: string) => { constant?: number | undefined } | undefined;

export class Program {
  private readonly modules = new Map<string, Module>();
  /** Names of the classes that have several instances. */
  readonly records: readonly string[];

  constructor(records: readonly string[]) {
    this.records = records;
  }

  module(path: string): Module {
    let module = this.modules.get(path);
    if (module === undefined) this.modules.set(path, (module = new Module(this, path)));
    return module;
  }

  /** The value of a constant expression. @throws when it is none */
  constant(node: Node, module: Module): number {
    const value = this.evaluate(node, module);
    if (value === undefined) throw new Error(`${module.path}: not a constant: ${JSON.stringify(node).slice(0, 200)}`);
    return value;
  }

  /** The value of an expression, undefined when it is not constant. `local`: what a name is that is not the module's here. */
  evaluate(node: Node, module: Module, local: LocalNames = () => undefined): number | undefined {
    switch (node.type) {
      case 'Literal':
        return typeof node.value === 'string' ? undefined : Number(node.value);
      case 'Identifier': {
        const hidden = local(node.name);
        if (hidden !== undefined) return hidden.constant;
        const binding = module.find(node.name);
        if (binding?.is !== 'variable' || !binding.constant || !binding.node.init) return undefined;
        return this.evaluate(binding.node.init, binding.module);
      }
      case 'MemberExpression': {
        const { object, property, computed } = node;
        if (computed || object.type !== 'Identifier' || local(object.name)) return undefined;
        const binding = module.find(object.name);
        return binding?.is === 'namespace' ? this.evaluate(property, binding.module) : undefined;
      }
      case 'UnaryExpression': {
        const value = this.evaluate(node.argument, module, local);
        if (value === undefined) return undefined;
        if (node.operator === '-') return -value;
        if (node.operator === '~') return ~value;
        return node.operator === '!' ? Number(!value) : undefined;
      }
      case 'BinaryExpression': {
        const a = this.evaluate(node.left, module, local);
        const b = a === undefined ? undefined : this.evaluate(node.right, module, local);
        return a === undefined || b === undefined ? undefined : calculate(node.operator, a, b);
      }
      case 'CallExpression':
        return this.evaluateCall(node, module, local);
      default:
        return undefined;
    }
  }

  /** A call of a function that only returns an expression, with constants. */
  private evaluateCall({ callee, arguments: given }: Node, module: Module, local: LocalNames): number | undefined {
    if (callee.object?.name === 'Math' && callee.property.name === 'log2') {
      const value = this.evaluate(given[0], module, local);
      return value === undefined ? undefined : Math.log2(value);
    }
    const binding = callee.type === 'Identifier' ? module.find(callee.name) : undefined;
    if (binding?.is !== 'function') return undefined;
    const body = onlyReturns(binding.node);
    const { params } = binding.node;
    const values = given.map((argument: Node) => this.evaluate(argument, module, local));
    if (body === undefined || values.length !== params.length || values.includes(undefined)) return undefined;
    const names = new Map<string, number>(params.map(({ name }: Node, i: number) => [name, values[i]]));
    return this.evaluate(body, binding.module, (name) => (names.has(name) ? { constant: names.get(name) } : undefined));
  }
}

/** The expression that is all a function returns, undefined when it does more. */
export function onlyReturns(node: Node): Node | undefined {
  const [only, ...others] = node.body.body;
  return others.length === 0 && only?.type === 'ReturnStatement' ? only.argument : undefined;
}

function calculate(operator: string, a: number, b: number): number | undefined {
  switch (operator) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '|':
      return a | b;
    case '&':
      return a & b;
    case '^':
      return a ^ b;
    case '<<':
      return a << b;
    case '>>':
      return a >> b;
    case '>>>':
      return a >>> b;
    default:
      return undefined;
  }
}

/** Setters stand beside the getters of the same name. */
export const SETTER = 'set ';

function memberName({ kind, key }: Node): string {
  return kind === 'set' ? SETTER + key.name : key?.name;
}

/** Does a function never return (it throws)? */
export function neverReturns({ returnType }: Node): boolean {
  return returnType?.typeAnnotation.type === 'TSNeverKeyword';
}

/** Has a function a result (a number or a truth value)? */
export function hasResult({ returnType }: Node): boolean {
  // Setters have no annotation.
  return returnType != null && returnType.typeAnnotation.type !== 'TSVoidKeyword';
}
