/**
 * Where each register of the guest lives in a region: in a local, which is loaded where the region is entered and written
 * back where it is left; or in the state all the time, where each read and each write reaches memory. Regions that are left
 * soon after they were entered, like pieces of an interpreter that call functions, use few of the registers that they know.
 */
import type { IrBuffer } from '../ir/builder.ts';
import * as op from '../ir/ops.ts';
import type { BasicBlock } from './control-flow.ts';
import { type RegionDataflow, type RegisterSet, registerOf } from './dataflow.ts';
import { frequencies, leavesPerRun } from './frequency.ts';
import type { LiftedBlock } from './region-state.ts';

const REGISTERS = 32;
/** A read of the state, where a write (as a load or a write back) is 1: a local that is not in a register is read likewise. */
const READ = 1 / 2;

/** What each register costs in the state, less what it costs in a local. */
const costs = new Float64Array(REGISTERS);

/** @returns the registers that are better kept in the state */
export function keptInState(
  ir: IrBuffer,
  order: readonly BasicBlock[],
  lifted: readonly LiftedBlock[],
  dataflow: RegionDataflow,
): RegisterSet {
  const runs = frequencies(order);
  costs.fill(0);
  for (const { block, starts, end, steps } of lifted) {
    const often = runs[block.order];
    for (let n = starts[0]; n < end; n++) countAccess(ir, n, often);
    const dirty = dataflow.dirty(block).registers;
    // A helper finds everything in the state, and may have changed it.
    for (const record of steps) if (record !== 0) save(often, dirty, dataflow.used);
    const behind = block.returns && block.successors.at(-1);
    if (behind !== undefined) save(often, dirty, dataflow.liveBehindCall(block, behind));
    save(often * leavesPerRun(block), dataflow.gathered(block), 0);
  }
  save(1, dataflow.live(order[0]), 0);
  let kept = 0;
  for (let register = 0; register < REGISTERS; register++) if (costs[register] < 0) kept |= 1 << register;
  return kept & dataflow.used;
}

function countAccess(ir: IrBuffer, n: number, often: number): void {
  switch (ir.op[n]) {
    case op.GPR_READ:
    case op.XMM_READ:
      costs[registerOf(ir, n)] += often * READ;
      break;
    case op.GPR_WRITE:
    case op.XMM_WRITE:
      costs[registerOf(ir, n)] += often;
      break;
  }
}

/** What need not be written back, and loaded, when it is in the state anyway. */
function save(often: number, written: RegisterSet, loaded: RegisterSet): void {
  for (let register = 0; register < REGISTERS; register++)
    costs[register] -= often * (((written >>> register) & 1) + ((loaded >>> register) & 1));
}
