/**
 * Which memory accesses of a block are at fixed distances from each other, so that one check serves them all: the fields
 * of a structure, the slots of a stack frame, a row of pushes. Addresses are followed symbolically through the block as a
 * *root* (what a register held when the block began, or an unknown value) plus an offset.
 */
import type { IrBuffer } from '../ir/builder.ts';
import * as op from '../ir/ops.ts';
import { PAGE_SIZE, S_GPR } from '../state.ts';
import type { LiftedBlock } from './region-state.ts';

/** Roots below this are the registers at the block's beginning. */
const REGISTERS = 16;
export const ROOT_ABSOLUTE = -1;
/** Numbers of unknown roots for each node: the node's own value, and the registers behind a helper. */
const ROOTS_PER_NODE = 32;
const NODE_VALUE = 16;
/** An offset beyond this is not worth following. */
const FARTHEST = 1 << 20;

export interface AddressGroup {
  readonly root: number;
  /** Offsets from the root: the first byte of the group, and behind its last. */
  least: number;
  end: number;
  /** The same of its stores. */
  leastStored: number;
  endStored: number;
  /** Has code been emitted that checks it (for stores)? */
  checked: boolean;
  checkedForStores: boolean;
}

export class AddressGroups {
  private readonly ir: IrBuffer;
  /** Of each node: root and offset, if its value is an address. */
  private root = new Int32Array(1024);
  private offset = new Int32Array(1024);
  private readonly registerRoot = new Int32Array(REGISTERS);
  private readonly registerOffset = new Int32Array(REGISTERS);
  /** The group of each root that takes further accesses, and of each access. */
  private readonly open = new Map<number, AddressGroup>();
  private readonly groups = new Map<number, AddressGroup>();

  constructor(ir: IrBuffer) {
    this.ir = ir;
  }

  /** Group of a LOAD or STORE. */
  of(n: number): AddressGroup {
    return this.groups.get(n)!;
  }

  /** Offset of an address node from its root. */
  offsetOf(node: number): number {
    return this.offset[node];
  }

  /** Displacement of an address node from the register that it is computed from; negative if it has no such form. */
  foldable(node: number): number {
    const { ir } = this;
    if (ir.op[node] === op.GPR_READ) return 0;
    if (ir.op[node] !== op.I64_ADD || !ir.isConst(ir.b[node]) || ir.op[ir.a[node]] !== op.GPR_READ) return -1;
    return ir.imm2[ir.b[node]] === 0 && ir.imm[ir.b[node]] < PAGE_SIZE ? ir.imm[ir.b[node]] : -1;
  }

  /** Groups the accesses of a block. */
  find({ starts, end, steps }: LiftedBlock): void {
    const { ir } = this;
    if (this.root.length < ir.op.length) {
      this.root = new Int32Array(ir.op.length);
      this.offset = new Int32Array(ir.op.length);
    }
    this.open.clear();
    this.groups.clear();
    for (let r = 0; r < REGISTERS; r++) this.setRegister(r, r, 0);
    let next = 0;
    for (let n = starts[0]; n < end; n++) {
      for (; next < starts.length && starts[next] <= n; next++) if (steps[next] !== 0) this.forgetRegisters(n);
      this.follow(n);
      if (ir.op[n] === op.LOAD || ir.op[n] === op.STORE) this.add(n);
    }
  }

  /** A helper ran: it may have changed any register. */
  private forgetRegisters(n: number): void {
    for (let r = 0; r < REGISTERS; r++) this.setRegister(r, REGISTERS + n * ROOTS_PER_NODE + r, 0);
  }

  private setRegister(r: number, root: number, offset: number): void {
    this.registerRoot[r] = root;
    this.registerOffset[r] = offset;
  }

  /** Finds root and offset of a node, and of a register that it writes. */
  private follow(n: number): void {
    const { ir, root, offset } = this;
    root[n] = REGISTERS + n * ROOTS_PER_NODE + NODE_VALUE;
    offset[n] = 0;
    const b = ir.b[n];
    switch (ir.op[n]) {
      case op.CONST:
        if (ir.imm2[n] === 0 && ir.imm[n] >= 0) {
          root[n] = ROOT_ABSOLUTE;
          offset[n] = ir.imm[n];
        }
        break;
      case op.GPR_READ:
        if (ir.imm2[n] === 8) {
          const r = (ir.imm[n] - S_GPR) >> 3;
          root[n] = this.registerRoot[r];
          offset[n] = this.registerOffset[r];
        }
        break;
      case op.I64_ADD:
        if (ir.isConst(b) && ir.imm2[b] === ir.imm[b] >> 31 && root[ir.a[n]] !== ROOT_ABSOLUTE) {
          const sum = offset[ir.a[n]] + ir.imm[b];
          if (Math.abs(sum) <= FARTHEST) {
            root[n] = root[ir.a[n]];
            offset[n] = sum;
          }
        }
        break;
      case op.GPR_WRITE: {
        const r = (ir.imm[n] - S_GPR) >> 3;
        // As a register's value an absolute address is like any other.
        if (ir.imm2[n] === 8 && root[ir.a[n]] !== ROOT_ABSOLUTE) this.setRegister(r, root[ir.a[n]], offset[ir.a[n]]);
        else this.setRegister(r, root[n], 0);
        break;
      }
    }
  }

  /** Puts an access into the group of its root, or into a new one where that would become too long. */
  private add(n: number): void {
    const { ir } = this;
    const node = ir.a[n];
    const root = this.root[node];
    const offset = this.offset[node];
    const end = offset + ir.imm2[n];
    // The base comes in too where a displacement goes into the access.
    const base = offset - Math.max(0, this.foldable(node));
    let group = this.open.get(root);
    if (group === undefined || Math.max(group.end, end) - Math.min(group.least, base) > PAGE_SIZE) {
      group = {
        root,
        least: base,
        end,
        leastStored: Number.MAX_SAFE_INTEGER,
        endStored: Number.MIN_SAFE_INTEGER,
        checked: false,
        checkedForStores: false,
      };
      this.open.set(root, group);
    }
    group.least = Math.min(group.least, base);
    group.end = Math.max(group.end, end);
    if (ir.op[n] === op.STORE || ir.imm[n] !== 0) {
      group.leastStored = Math.min(group.leastStored, offset);
      group.endStored = Math.max(group.endStored, end);
    }
    this.groups.set(n, group);
  }
}
