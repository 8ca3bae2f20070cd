/** Compiles calls of what JavaScript has built in (compile.ts): functions of Math, and copyWithin and fill of the memory. */

import * as op from '../ir/ops.ts';
import * as wasm from '../wasm/encoder.ts';
import { ExpressionCompiler } from './expression.ts';
import type { Node } from './program.ts';

const MATH: Record<string, number> = { imul: op.I32_MUL, clz32: op.I32_CLZ };

export abstract class BuiltinCompiler extends ExpressionCompiler {
  /** `Math.imul(a, b)`, `Math.clz32(a)`. */
  protected math(node: Node): boolean {
    const opcode = MATH[node.callee.property.name];
    if (opcode === undefined) this.lesserOrGreater(node);
    else {
      for (const argument of node.arguments) this.expression(argument);
      this.out.byte(opcode);
    }
    return true;
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
  protected moveOrFill(node: Node, shift: number): void {
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
    if (isCopy) out.memoryCopy();
    else out.memoryFill();
  }
}
