/**
 * Builds IR: nodes in parallel typed arrays, appended in program order. Folds integer constants as it goes.
 * A node is named by its index; 0 is "no node".
 */
import {
  CONST,
  CONST_V128,
  I32_ADD,
  I32_AND,
  I32_EQ,
  I32_EQZ,
  I32_EXTEND8_S,
  I32_EXTEND16_S,
  I32_NE,
  I32_OR,
  I32_SHL,
  I32_SHR_S,
  I32_SHR_U,
  I32_SUB,
  I32_WRAP_I64,
  I32_XOR,
  I64_ADD,
  I64_AND,
  I64_EXTEND_I32_S,
  I64_EXTEND_I32_U,
  I64_EXTEND32_S,
  I64_OR,
  I64_SHL,
  I64_SUB,
  I64_XOR,
  operandCount,
  resultType,
  SELECT,
  T_I32,
  T_I64,
  T_V128,
} from './ops.ts';

export class IrBuffer {
  length = 1;
  op = new Uint16Array(1024);
  type = new Uint8Array(1024);
  a = new Int32Array(1024);
  b = new Int32Array(1024);
  c = new Int32Array(1024);
  imm = new Int32Array(1024);
  imm2 = new Int32Array(1024);
  /** 16-byte constants of CONST_V128. */
  readonly vectors: Uint8Array[] = [];

  clear(): void {
    this.length = 1;
    this.vectors.length = 0;
  }

  add(op: number, type: number, a = 0, b = 0, c = 0, imm = 0, imm2 = 0): number {
    const n = this.length++;
    if (n === this.op.length) this.grow();
    this.op[n] = op;
    this.type[n] = type;
    this.a[n] = a;
    this.b[n] = b;
    this.c[n] = c;
    this.imm[n] = imm;
    this.imm2[n] = imm2;
    return n;
  }

  i32(value: number): number {
    return this.add(CONST, T_I32, 0, 0, 0, value | 0, 0);
  }

  i64(low: number, high = low >> 31): number {
    return this.add(CONST, T_I64, 0, 0, 0, low | 0, high | 0);
  }

  v128(bytes: Uint8Array): number {
    return this.add(CONST_V128, T_V128, 0, 0, 0, this.vectors.push(bytes) - 1);
  }

  isConst(n: number): boolean {
    return this.op[n] === CONST;
  }

  /** A pure operation of one or two operands; `imm` is a SIMD lane. */
  op1(op: number, a: number): number {
    if (this.op[a] === CONST) {
      const folded = this.fold1(op, a);
      if (folded !== 0) return folded;
    }
    // wrap(extend(x)) = x
    if (op === I32_WRAP_I64 && (this.op[a] === I64_EXTEND_I32_U || this.op[a] === I64_EXTEND_I32_S)) return this.a[a];
    return this.add(op, resultType[op], a);
  }

  op2(op: number, a: number, b: number): number {
    if (this.op[b] === CONST) {
      const folded = this.op[a] === CONST ? this.fold2(op, a, b) : this.foldIdentity(op, a, b);
      if (folded !== 0) return folded;
    }
    return this.add(op, resultType[op], a, b);
  }

  /** A SIMD operation (sub-opcode, see ops.ts) of up to three operands. */
  simd(op: number, type: number, a: number, b = 0, c = 0, lane = 0): number {
    return this.add(op, type, a, b, c, lane);
  }

  select(condition: number, a: number, b: number): number {
    if (this.op[condition] === CONST) return this.imm[condition] !== 0 ? a : b;
    return this.add(SELECT, this.type[a], a, b, condition);
  }

  /** Operands of node `n` that are nodes, 0…3 (a, then b, then c). */
  operands(n: number): number {
    const op = this.op[n];
    if (op < 0x100) return operandCount[op];
    return this.c[n] !== 0 ? 3 : this.b[n] !== 0 ? 2 : this.a[n] !== 0 ? 1 : 0;
  }

  private fold1(op: number, a: number): number {
    const low = this.imm[a];
    switch (op) {
      case I32_EQZ:
        return this.i32(low === 0 ? 1 : 0);
      case I32_WRAP_I64:
        return this.i32(low);
      case I32_EXTEND8_S:
        return this.i32((low << 24) >> 24);
      case I32_EXTEND16_S:
        return this.i32((low << 16) >> 16);
      case I64_EXTEND_I32_S:
      case I64_EXTEND32_S:
        return this.i64(low, low >> 31);
      case I64_EXTEND_I32_U:
        return this.i64(low, 0);
      default:
        return 0;
    }
  }

  private fold2(op: number, a: number, b: number): number {
    const x = this.imm[a];
    const y = this.imm[b];
    const xh = this.imm2[a];
    const yh = this.imm2[b];
    switch (op) {
      case I32_ADD:
        return this.i32(x + y);
      case I32_SUB:
        return this.i32(x - y);
      case I32_AND:
        return this.i32(x & y);
      case I32_OR:
        return this.i32(x | y);
      case I32_XOR:
        return this.i32(x ^ y);
      case I32_SHL:
        return this.i32(x << y);
      case I32_SHR_U:
        return this.i32(x >>> y);
      case I32_SHR_S:
        return this.i32(x >> y);
      case I32_EQ:
        return this.i32(x === y ? 1 : 0);
      case I32_NE:
        return this.i32(x !== y ? 1 : 0);
      case I64_ADD: {
        const low = (x >>> 0) + (y >>> 0);
        return this.i64(low | 0, (xh + yh + (low > 0xffffffff ? 1 : 0)) | 0);
      }
      case I64_SUB:
        return this.i64((x - y) | 0, (xh - yh - (x >>> 0 < y >>> 0 ? 1 : 0)) | 0);
      case I64_AND:
        return this.i64(x & y, xh & yh);
      case I64_OR:
        return this.i64(x | y, xh | yh);
      case I64_XOR:
        return this.i64(x ^ y, xh ^ yh);
      default:
        return 0;
    }
  }

  /** x + 0, x | 0, x & -1 … */
  private foldIdentity(op: number, a: number, b: number): number {
    const low = this.imm[b];
    const high = this.imm2[b];
    switch (op) {
      case I32_ADD:
      case I32_SUB:
      case I32_OR:
      case I32_XOR:
      case I32_SHL:
      case I32_SHR_U:
      case I32_SHR_S:
        return low === 0 ? a : 0;
      case I32_AND:
        return low === -1 ? a : 0;
      case I64_ADD:
      case I64_SUB:
      case I64_OR:
      case I64_XOR:
      case I64_SHL:
        return low === 0 && high === 0 ? a : 0;
      case I64_AND:
        return low === -1 && high === -1 ? a : 0;
      default:
        return 0;
    }
  }

  private grow(): void {
    const size = this.op.length * 2;
    const copy = <T extends Uint8Array | Uint16Array | Int32Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.op = copy(this.op, new Uint16Array(size));
    this.type = copy(this.type, new Uint8Array(size));
    this.a = copy(this.a, new Int32Array(size));
    this.b = copy(this.b, new Int32Array(size));
    this.c = copy(this.c, new Int32Array(size));
    this.imm = copy(this.imm, new Int32Array(size));
    this.imm2 = copy(this.imm2, new Int32Array(size));
  }
}
