/** Why `run` came back to TypeScript: its result; and why a region came back to `run`. */

/** Regions only: go on at RIP. */
export const EXIT_STOP = 0;
/** Regions only: go on, but interpret the instruction at RIP. */
export const EXIT_INTERPRET = 1;
/** Regions only: go on at RIP, and not in a region that called this one (the mode may be another one, say). */
export const EXIT_AWAY = 2;
/** No operations are known for RIP. */
export const EXIT_MISS = 3;
/** The instruction budget is spent. */
export const EXIT_BUDGET = 4;
/** The block at RIP has become hot. */
export const EXIT_HOT = 5;
/** An exception waits to be delivered (Cpu.fault*), RIP is that of the instruction. */
export const EXIT_EXCEPTION = 6;
/** HLT was executed. */
export const EXIT_HALT = 7;
/** State changed so that interrupts, mode or pending events must be looked at before going on. */
export const EXIT_EVENT = 8;
/** The machine stops (triple fault, shutdown). */
export const EXIT_SHUTDOWN = 9;
/** The exit site S_EXIT_SITE has seen so many exits that something should be done about them (jit/sites.ts). */
export const EXIT_SITE = 10;

/** Result of a helper: go on with the next operation of the block. */
export const HELPER_NEXT = 0;
/** Of helpers that are compiled ahead of time: TypeScript has to do it. */
export const CANNOT = -1;
/** Result of a helper: RIP was set; look it up. Other results are EXIT_* for TypeScript. */
export const HELPER_JUMP = 1;
