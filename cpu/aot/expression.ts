/**
 * Compiles expressions of the subset (compile.ts): each leaves an i32 on the stack. Operators, variables, fields and the
 * memory are here; calls are in calls.ts.
 */

import * as op from '../ir/ops.ts';
import * as wasm from '../wasm/encoder.ts';
import { FIELD_BYTES } from './compile.ts';
import { NameCompiler } from './names.ts';
import { isValue, type Module, type Node, SETTER, type Shape } from './program.ts';

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
const LOAD = [wasm.I32_LOAD8_U, wasm.I32_LOAD16_U, wasm.I32_LOAD];
const STORE = [wasm.I32_STORE8, wasm.I32_STORE16, wasm.I32_STORE];

/** A function, or a method and its class. */
export interface Callee {
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

export abstract class ExpressionCompiler extends NameCompiler {
  /** Compiles a call. @returns whether it leaves a value */
  protected abstract call(node: Node): boolean;
  /** Calls a function, or a method of a class, of this name. @returns whether it leaves a value */
  protected abstract invoke(callee: Callee, given: Node[], name?: string): boolean;

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

  protected operator(node: Node, operator: string, left: Node, right: Node): void {
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
}
