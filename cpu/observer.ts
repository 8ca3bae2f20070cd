/**
 * Who watches the CPU at work (vmm/watch). It is told of what is rare: of events and translations. What is frequent it sees
 * by standing between CPU and core (core.ts), so that the CPU does nothing for it when nobody watches.
 */

import type { RegionBody } from './core.ts';
import type { IrBuffer } from './ir/builder.ts';
import type { LiftedBlock } from './jit/region-state.ts';

/** A region before it is compiled. Good only during the call. */
export interface TranslatedRegion {
  readonly ripLow: number;
  readonly ripHigh: number;
  readonly blocks: readonly LiftedBlock[];
  readonly ir: IrBuffer;
  readonly body: RegionBody;
}

export interface CpuObserver {
  /**
   * An exception or interrupt is about to go through the IDT, from the state at hand.
   * @param errorCode NO_ERROR_CODE if there is none
   * @param isSoftware is it of INT n and its kin?
   */
  delivering(vector: number, errorCode: number, isSoftware: boolean): void;
  translated(region: TranslatedRegion): void;
}
