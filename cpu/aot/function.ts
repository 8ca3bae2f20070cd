/** Compiles one function of the subset (compile.ts): its statements; expressions are in the classes that it extends. */

import * as op from '../ir/ops.ts';
import * as wasm from '../wasm/encoder.ts';
import { CallCompiler } from './calls.ts';
import type { AotCompiler, Wanted } from './compile.ts';
import type { Local } from './names.ts';
import { hasResult, isValue, type Node, NUMBER } from './program.ts';

/** A block, loop or `if` of WebAssembly that is open. */
interface Frame {
  /** Is it where `break` (`continue`) leads, and under which label? */
  breaks: boolean;
  continues: boolean;
  label: string | undefined;
  /** Of a function that stands in place of its call: the local that takes its result, or −1. */
  result?: number;
}

/** A `switch` of so many cases becomes a table of branches, if at least half of that is used. */
const DENSE_CASES = 6;

/** From so many on what only one case calls stands apart. */
const MANY_CASES = 16;

const PLAIN: Frame = { breaks: false, continues: false, label: undefined };

export class FunctionCompiler extends CallCompiler {
  private readonly frames: Frame[] = [];
  readonly hasResult: boolean;
  readonly parameters: number;

  constructor(compiler: AotCompiler, wanted: Wanted) {
    super(compiler, wanted.module, wanted.owner);
    this.node = wanted.node;
    this.hasResult = hasResult(wanted.node);
    for (const parameter of wanted.node.params) {
      const { name, typeAnnotation } = parameter.left ?? parameter;
      const kind = this.module.kindOfType(typeAnnotation);
      this.declare(name, isValue(kind) ? { ...this.local(name), kind } : { index: -1, kind, unsigned: false });
    }
    this.parameters = this.localCount;
  }

  private readonly node: Node;

  /** @returns the function's body: locals and code */
  compile(): Uint8Array {
    const { out } = this;
    this.statement(this.node.body);
    if (this.hasResult) out.byte(wasm.UNREACHABLE);
    out.byte(wasm.END);
    const body = new wasm.Encoder();
    body.u32(1);
    body.u32(this.localLimit - this.parameters);
    body.byte(wasm.VALUE_TYPE[op.T_I32]);
    body.raw(out.written());
    return body.written().slice();
  }

  private statement(node: Node, label?: string): void {
    const { localCount } = this;
    this.compileStatement(node, label);
    // A declaration's are its scope's.
    if (node.type !== 'VariableDeclaration') this.localCount = localCount;
  }

  private compileStatement(node: Node, label: string | undefined): void {
    switch (node.type) {
      case 'BlockStatement':
        this.scoped(() => {
          for (const statement of node.body) this.statement(statement);
        });
        break;
      case 'ExpressionStatement':
        this.effect(node.expression);
        break;
      case 'VariableDeclaration':
        for (const declarator of node.declarations) this.variable(declarator, node.kind === 'const');
        break;
      case 'IfStatement':
        this.expression(node.test);
        this.open(wasm.IF, PLAIN);
        this.statement(node.consequent);
        if (node.alternate) {
          this.out.byte(wasm.ELSE);
          this.statement(node.alternate);
        }
        this.close();
        break;
      case 'ReturnStatement':
        if (node.argument) this.expression(node.argument);
        this.return();
        break;
      case 'ForStatement':
        this.scoped(() => {
          if (node.init?.type === 'VariableDeclaration') this.statement(node.init);
          else if (node.init) this.effect(node.init);
          this.loop(node.test, node.update, node.body, label);
        });
        break;
      case 'WhileStatement':
        this.loop(node.test, undefined, node.body, label);
        break;
      case 'LabeledStatement':
        this.statement(node.body, node.label.name);
        break;
      case 'SwitchStatement':
        this.switch(node, label);
        break;
      case 'BreakStatement':
        this.branch(node, (frame) => frame.breaks);
        break;
      case 'ContinueStatement':
        this.branch(node, (frame) => frame.continues);
        break;
      case 'EmptyStatement':
        break;
      default:
        this.refuse(node);
    }
  }

  protected inlined(node: Node): void {
    const result = hasResult(node) ? this.allocate() : -1;
    this.open(wasm.BLOCK, { ...PLAIN, result });
    this.statement(node.body);
    this.close();
    if (result >= 0) this.out.localGet(result);
  }

  /** Returns with what is on the stack. */
  private return(): void {
    const index = this.frames.findLastIndex((frame) => frame.result !== undefined);
    if (index < 0) {
      this.out.byte(wasm.RETURN);
      return;
    }
    const { result } = this.frames[index];
    if (result! >= 0) this.out.localSet(result!);
    this.out.branch(wasm.BR, this.frames.length - 1 - index);
  }

  /** `const a = …`, `let a`, `const { a, b } = object`. */
  private variable({ id, init }: Node, constant: boolean): void {
    if (id.type === 'ObjectPattern') {
      for (const { key, value } of id.properties) {
        const kind = this.kindOf({ type: 'MemberExpression', object: init, property: key, computed: false });
        if (kind.is === 'number') {
          const local = this.local(value.name);
          this.expression({ type: 'MemberExpression', object: init, property: key, computed: false });
          this.out.localSet(local.index);
          this.declare(value.name, local);
        } else this.declare(value.name, { index: -1, kind, unsigned: false });
      }
      return;
    }
    const kind = init ? this.kindOf(init) : NUMBER;
    if (!isValue(kind)) {
      this.declare(id.name, { index: -1, kind, unsigned: false });
      return;
    }
    const local: Local = { ...this.local(id.name), kind };
    if (init) {
      this.expression(init);
      this.out.localSet(local.index);
      local.unsigned = constant && this.isUnsigned(init);
    }
    this.declare(id.name, local);
  }

  private loop(test: Node, update: Node, body: Node, label: string | undefined): void {
    const { out } = this;
    this.open(wasm.BLOCK, { breaks: true, continues: false, label });
    this.open(wasm.LOOP, PLAIN);
    if (test) {
      this.expression(test);
      out.byte(op.I32_EQZ);
      out.branch(wasm.BR_IF, 1);
    }
    this.open(wasm.BLOCK, { breaks: false, continues: true, label });
    this.statement(body);
    this.close();
    if (update) this.effect(update);
    out.branch(wasm.BR, 0);
    this.close();
    this.close();
  }

  /** Blocks inside each other: the tests stand in the innermost, the code of case k behind the k-th that ends. */
  private switch({ discriminant, cases }: Node, label: string | undefined): void {
    this.open(wasm.BLOCK, { breaks: true, continues: false, label });
    for (const _ of cases) this.open(wasm.BLOCK, PLAIN);
    this.expression(discriminant);
    for (const { test } of cases) if (test !== null) this.comparable(test, discriminant, test);
    const other = cases.findIndex(({ test }: Node) => test === null);
    const otherwise = other < 0 ? cases.length : other;
    const values = cases.map(({ test }: Node) => (test === null ? undefined : this.constant(test)));
    const known = values.filter((value: number | undefined) => value !== undefined);
    const least = Math.min(...known);
    const span = Math.max(...known) - least + 1;
    const isDense = known.length >= DENSE_CASES && span <= 2 * known.length;
    if (isDense && known.length === cases.length - Number(other >= 0)) {
      this.branchTable(
        least,
        Array.from({ length: span }, (_, n) => values.indexOf(least + n)),
        otherwise,
      );
    } else this.compareInTurn(cases, otherwise);
    const { isCase } = this;
    this.isCase ||= cases.length >= MANY_CASES;
    this.scoped(() => {
      for (const { consequent } of cases) {
        this.close();
        for (const statement of consequent) this.statement(statement);
      }
    });
    this.isCase = isCase;
    this.close();
  }

  /** Leads to `cases[value - least]`, or else (-1) to `otherwise`; the value is on the stack. */
  private branchTable(least: number, cases: readonly number[], otherwise: number): void {
    const { out } = this;
    out.i32Const(least);
    out.byte(op.I32_SUB);
    out.byte(wasm.BR_TABLE);
    out.u32(cases.length);
    for (const index of [...cases, otherwise]) out.u32(index < 0 ? otherwise : index);
  }

  private compareInTurn(cases: readonly Node[], otherwise: number): void {
    const { out } = this;
    const value = this.local('switch').index;
    out.localSet(value);
    for (const [index, { test }] of cases.entries()) {
      if (test === null) continue;
      out.localGet(value);
      this.expression(test);
      out.byte(op.I32_EQ);
      out.branch(wasm.BR_IF, index);
    }
    out.branch(wasm.BR, otherwise);
  }

  private branch({ label, type, ...node }: Node, leads: (frame: Frame) => boolean): void {
    const index = this.frames.findLastIndex((frame) => leads(frame) && (!label || frame.label === label.name));
    if (index < 0) this.refuse({ type, ...node });
    this.out.branch(wasm.BR, this.frames.length - 1 - index);
  }

  private open(opcode: number, frame: Frame): void {
    this.out.byte(opcode);
    this.out.byte(wasm.VOID);
    this.frames.push(frame);
  }

  private close(): void {
    this.out.byte(wasm.END);
    this.frames.pop();
  }
}
