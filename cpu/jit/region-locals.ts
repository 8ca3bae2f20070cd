/** The locals that every region has: the parameter of its function first. */
import * as op from '../ir/ops.ts';

/** The parameter of regions: how many of them called each other. */
export const DEPTH = 0;
/** The locals that every region has. CC_OP is negative while the lazy flags stand in the state only. */
export const CC_OP = 1;
export const CC_A = 2;
export const CC_B = 3;
export const CC_RES = 4;
export const RIP = 5;
export const BUDGET = 6;
/** Result of a helper or of a region that was called. */
export const CODE = 7;
export const ENTRY = 8;
export const ADDRESS = 9;
/** The exit site at which the region is left, 0 for none. */
export const SITE = 10;
/** How and where in its block the region is left: AT_* fields. */
export const AT = 11;
/** Address (low half) of the block that it is left from. */
export const BASE = 12;
/** Their types, the parameter's first. */
export const FIXED_LOCALS = [
  op.T_I32,
  op.T_I32,
  op.T_I64,
  op.T_I64,
  op.T_I64,
  op.T_I64,
  op.T_I32,
  op.T_I32,
  op.T_I32,
  op.T_I64,
  op.T_I32,
  op.T_I32,
  op.T_I32,
];
/** What CC_OP is while the lazy flags stand in the state only. */
export const FLAGS_IN_STATE = -1;
