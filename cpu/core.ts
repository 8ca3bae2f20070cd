/**
 * What the CPU needs of generated code, however it is made: the machine's memory, the interpreter's core in it, and
 * regions. wasm/core.ts runs it as WebAssembly.
 */

import type { AccessSize } from '../devices/bus.ts';

/** TypeScript that generated code calls. */
export interface CoreImports {
  /** Executes the instruction of a record. @returns HELPER_* or EXIT_*. */
  helper(op: number): number;
  /** Slow path of a load: size in bytes | flags. @returns nonzero when the guest faulted. */
  load(sizeAndFlags: number): number;
  /** Slow path of a store. */
  store(size: number): number;
  /** @returns what a port reads. */
  portIn(port: number, size: AccessSize): number;
  portOut(port: number, size: AccessSize, value: number): void;
  /** @returns the table index of the region at an address, 0 for none. */
  regionAt(ripLow: number, ripHigh: number, mode: number): number;
}

/** A region before it is compiled. */
export interface RegionBody {
  /** Body of a WebAssembly function: local declarations and instructions. */
  readonly code: Uint8Array;
  /** For branches that hardly ever, or nearly always, are taken: offset of the instruction in `code`, and 0 or 1. */
  readonly hints: ArrayLike<number>;
}

/** What the host's compiler made of regions. */
export interface MachineCode {
  /** The program that made it: no other one can use it. */
  readonly host: string;
  /** The module that it is of, and the code. */
  readonly module: Uint8Array;
  readonly bytes: Uint8Array;
}

/** Code of regions, ready to run. */
export interface CompiledRegions {
  readonly functions: readonly RegionFunction[];
  /** Bytes of their code. */
  readonly size: number;
  /** Has `call_indirect` of an index in the regions' table call a region; null: nothing does any more. */
  link(slot: number, region: RegionFunction | null): void;
}

export interface RestoredRegions extends CompiledRegions {
  /** Was machine code used? */
  readonly isMachineCode: boolean;
  /** What is optimised by now, for the next process; undefined: nothing, or it cannot be had. */
  machineCode(): MachineCode | undefined;
}

/** @param depth how many regions called each other @returns EXIT_* */
export type RegionFunction = (depth: number) => number;

/** What bounds how much of the host's stack regions take that call each other. */
export interface LinkLimits {
  /** How many regions may call each other, and the locals of so many if they are all alike. */
  readonly linkDepth: number;
  readonly linkLocals: number;
  /** Does a region that goes on in another one, never to come back, leave nothing on the stack? */
  readonly hasTailCalls: boolean;
}

export interface Core extends LinkLimits {
  /** The machine's memory, laid out as state.ts says. */
  readonly buffer: ArrayBuffer;
  /** Executes from a record, or from RIP when `op` is 0. @returns EXIT_*. */
  run(op: number): number;
  /** The six status flags at their RFLAGS positions. */
  flags(): number;
  /** @param slots how many links the regions have */
  compile(bodies: readonly RegionBody[], slots: number): CompiledRegions;
  /**
   * The same for regions of an earlier process.
   * @param links what is in the table at first: index and number of a region, for each
   * @param machineCode of the same regions, if there is any
   */
  restore(
    bodies: readonly RegionBody[],
    slots: number,
    links: readonly number[],
    machineCode: MachineCode | undefined,
  ): RestoredRegions;
  /** Puts a region into the function table, or nothing. */
  setRegion(index: number, region: RegionFunction | null): void;
}

/** Makes a core with a memory of at least `size` bytes. */
export type CoreFactory = (size: number, imports: CoreImports) => Core;
