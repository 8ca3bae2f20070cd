/** Function types and indices of the core module. */
import type { FunctionType } from './encoder.ts';

const I32 = 0x7f;
const I64 = 0x7e;

/** run(op) and helper(op): → EXIT_* or HELPER_*. */
export const TYPE_RUN = 0;
/** A region: (depth of the regions that called each other) → EXIT_*. */
export const TYPE_REGION = 1;
/** slow path (address, size | flags) → nonzero on a fault. */
export const TYPE_SLOW = 2;
/** (port, size) → what it reads. */
export const TYPE_PORT_IN = 3;
/** (port, size, value). */
export const TYPE_PORT_OUT = 4;
/** (RIP low, RIP high, mode) → table index. */
export const TYPE_REGION_AT = 5;
/** () → flags, or 0 or 1. */
export const TYPE_FLAGS = 6;

export const CORE_TYPES: FunctionType[] = [
  { parameters: [I32], results: [I32] },
  { parameters: [I32], results: [I32] },
  { parameters: [I64, I32], results: [I32] },
  { parameters: [I32, I32], results: [I32] },
  { parameters: [I32, I32, I32], results: [] },
  { parameters: [I32, I32, I32], results: [I32] },
  { parameters: [], results: [I32] },
];

/** Imported functions: TypeScript executes an instruction; loads or stores what the TLB does not allow at once;
 * ports; the region at an address. */
export const IMPORT_HELPER = 0;
export const IMPORT_SLOW_LOAD = 1;
export const IMPORT_SLOW_STORE = 2;
export const IMPORT_PORT_IN = 3;
export const IMPORT_PORT_OUT = 4;
export const IMPORT_REGION_AT = 5;
export const CORE_IMPORTS = [
  { name: 'helper', type: TYPE_RUN },
  { name: 'load', type: TYPE_RUN },
  { name: 'store', type: TYPE_RUN },
  { name: 'portIn', type: TYPE_PORT_IN },
  { name: 'portOut', type: TYPE_PORT_OUT },
  { name: 'regionAt', type: TYPE_REGION_AT },
];

/** Functions of the module itself. */
export const FUNCTION_SLOW_LOAD = 6;
export const FUNCTION_SLOW_STORE = 7;
/** Conditions O, B, Z, BE, S, P, L, LE of the lazy flags: eight functions. */
export const FUNCTION_CONDITION = 8;
/** All six flags at their RFLAGS positions. */
export const FUNCTION_FLAGS = 16;
/** step(op): has the helper of a record execute it, for regions. */
export const FUNCTION_STEP = 17;
/** The ports, for regions. */
export const FUNCTION_PORT_IN = 18;
export const FUNCTION_PORT_OUT = 19;
/** fill(size and flags): has the TLB know the page of the access in the mailbox, for regions. */
export const FUNCTION_FILL = 20;
/** lookup(): runs what stands at RIP. */
export const FUNCTION_LOOKUP = 21;
/** helper(op): has the record's helper execute it and goes on. */
export const FUNCTION_HELPER = 22;
/** fault(op): leaves because the record's instruction faulted. */
export const FUNCTION_FAULT = 23;
export const FUNCTION_RUN = 24;
/** Handlers, in the order of their numbers; the table starts with them. */
export const FIRST_HANDLER_FUNCTION = 25;

/** The table: handlers first, regions from here on. */
export const FIRST_REGION = 4096;
/** Its size at first; it grows with the regions, as a large one takes milliseconds to make. */
export const TABLE_SIZE = FIRST_REGION + 1024;
