/** The IR as text: one node per line in program order, constants where they are used. */
import type { IrBuffer } from '../ir/builder.ts';
import * as op from '../ir/ops.ts';
import type { TranslatedRegion } from '../observer.ts';
import { CONDITIONS, flagKind, hexBytes, instruction, integer64, irOperation, number, place } from './names.ts';

/** Prints the nodes of a buffer as they come. */
export class IrText {
  private readonly ir: IrBuffer;
  private readonly numbers = new Map<number, number>();
  private printed: number;

  constructor(ir: IrBuffer) {
    this.ir = ir;
    this.printed = ir.length;
  }

  /** The nodes added since the last call. */
  more(): string[] {
    const first = this.printed;
    this.printed = this.ir.length;
    return this.between(first, this.printed);
  }

  /** The nodes `first` … `end - 1`; those before have been printed. */
  between(first: number, end: number): string[] {
    const { ir } = this;
    const lines: string[] = [];
    for (let n = first; n < end; n++) {
      if (ir.op[n] === op.CONST) continue;
      const text = node(ir, n, (m) => this.value(m));
      if (ir.type[n] === op.T_NONE) lines.push(text);
      else {
        this.numbers.set(n, this.numbers.size + 1);
        lines.push(`${this.value(n)} = ${text}`);
      }
    }
    return lines;
  }

  private value(n: number): string {
    const { ir } = this;
    if (ir.op[n] !== op.CONST) return `%${this.numbers.get(n)}`;
    return ir.type[n] === op.T_I64 ? integer64(ir.imm[n], ir.imm2[n]) : number(ir.imm[n]);
  }
}

function node(ir: IrBuffer, n: number, value: (n: number) => string): string {
  const opcode = ir.op[n];
  const [imm, imm2] = [ir.imm[n], ir.imm2[n]];
  const nodes = [ir.a[n], ir.b[n], ir.c[n]];
  const operands = nodes.slice(0, ir.operands(n)).map((m) => (m === 0 ? '-' : value(m)));
  switch (opcode) {
    case op.CONST_V128:
      return `CONST_V128 ${hexBytes(ir.vectors[imm])}`;
    case op.GPR_READ:
    case op.GPR_WRITE:
      return [irOperation(opcode), `${place(imm)}:${imm2}`, ...operands].join(' ');
    case op.XMM_READ:
    case op.XMM_WRITE:
      return [irOperation(opcode), place(imm), ...operands].join(' ');
    case op.FIELD_READ:
      return `FIELD_READ ${place(imm + (imm2 >> 8))}:${imm2 & 0xff}`;
    case op.FIELD_WRITE:
      return `FIELD_WRITE ${place(imm)}:${imm2} ${operands}`;
    case op.FLAGS_CONDITION:
      return `FLAGS_CONDITION ${CONDITIONS[imm]}`;
    case op.FLAGS_WRITE:
      return ['FLAGS_WRITE', flagKind(imm), ...operands].join(' ');
    case op.LOAD:
      return `LOAD:${imm2} ${operands}${imm ? ' for write' : ''}`;
    case op.STORE:
    case op.PORT_IN:
    case op.PORT_OUT:
      return `${irOperation(opcode)}:${imm2} ${operands.join(' ')}`;
    case op.FLAGS_READ:
      return `FLAGS_READ ${number(imm)}`;
    case op.FLAGS_MERGE:
      return `FLAGS_MERGE ${number(imm)} ${operands}`;
  }
  if (opcode >= op.SIMD && imm !== 0) operands.push(`lane ${imm}`);
  if (opcode < 0x200 || opcode >= op.SIMD) return [instruction(opcode), ...operands].join(' ');
  return [irOperation(opcode), ...operands].join(' ');
}

/** Prints a region: its blocks, and under each guest instruction the nodes that it is made of. */
export function regionIr({ blocks, ir }: TranslatedRegion): string[] {
  const text = new IrText(ir);
  return blocks.flatMap(({ block, starts, end, steps }) => {
    const { order, context, loopHead, instructions } = block;
    const remarks: string[] = [];
    if (instructions.length === 0) remarks.push('switch among entries');
    if (loopHead) remarks.push('loop');
    if (context.depth > 0) remarks.push(`inlined, depth ${context.depth}`);
    return [
      `block ${order}${remarks.length > 0 ? ` (${remarks.join(', ')})` : ''}:`,
      ...instructions.flatMap((low, i) => [
        `  ---- ${integer64(low, block.ripHigh)}${steps[i] !== 0 ? ', by its helper' : ''}`,
        ...text.between(starts[i], starts[i + 1] ?? end).map((line) => `  ${line}`),
      ]),
    ];
  });
}
