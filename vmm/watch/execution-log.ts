/**
 * `-d exec,cpu`: each block and region that is entered, and the registers before it. The core is made to come back after
 * each block: it gets a budget that is just enough for it. Within a region only heads of loops look at the budget, so what
 * a region does between them is one entry.
 */

import type { Core, CoreFactory } from '../../cpu/core.ts';
import type { Cpu } from '../../cpu/cpu.ts';
import { EXIT_BUDGET } from '../../cpu/exits.ts';
import { MODE_ONE } from '../../cpu/mode.ts';
import { HEAD_COUNT } from '../../cpu/record.ts';
import { S_BUDGET, S_MODE, S_RIP } from '../../cpu/state.ts';
import { describeCpu } from '../cpu-text.ts';
import type { Log } from '../log.ts';
import { address } from './block-log.ts';
import { linearAddress, type Symbols } from './symbols.ts';
import { type WatchedMachine, type Watcher, wrap } from './watch.ts';

interface Wanted {
  readonly execution: boolean;
  readonly registers: boolean;
}

export class ExecutionLog implements Watcher {
  private readonly log: Log;
  private readonly symbols: Symbols;
  private readonly wanted: Wanted;
  private cpu: Cpu | undefined;
  /** What the core was not given of its budget. */
  private held = 0;

  constructor(log: Log, symbols: Symbols, wanted: Wanted) {
    this.log = log;
    this.symbols = symbols;
    this.wanted = wanted;
  }

  watchCore(core: CoreFactory): CoreFactory {
    return (size, imports) => {
      const made = core(size, imports);
      wrap(made, 'run', (run) => () => (this.cpu === undefined ? run(0) : this.run(this.cpu, run)));
      return made;
    };
  }

  watchMachine({ cpu }: WatchedMachine): void {
    this.cpu = cpu;
    // Who cuts the budget short saves what is left of it: all of that.
    wrap(cpu, 'requestEvent', (requestEvent) => () => {
      this.giveBack(cpu);
      requestEvent();
    });
  }

  private giveBack(cpu: Cpu): void {
    cpu.i32[S_BUDGET >> 2] += this.held;
    this.held = 0;
  }

  /** As the core's `run`, block by block. */
  private run(cpu: Cpu, run: Core['run']): number {
    const { i32 } = cpu;
    if (i32[S_MODE >> 2] & MODE_ONE) {
      this.entered(cpu);
      return run(0);
    }
    for (;;) {
      const budget = i32[S_BUDGET >> 2];
      const count = instructionsAtRip(cpu);
      if (count === 0 || count > budget) {
        // Nothing runs, or nothing is known of it: the core says so.
        return run(0);
      }
      this.entered(cpu);
      const code = this.runOnce(cpu, run, count, budget);
      if (code !== EXIT_BUDGET || i32[S_BUDGET >> 2] <= 0) {
        return code;
      }
    }
  }

  /** Runs what stands at RIP; a region may want more than `count` instructions before it does anything. */
  private runOnce(cpu: Cpu, run: Core['run'], count: number, budget: number): number {
    for (let enough = count; ; enough *= 2) {
      const given = Math.min(enough, budget);
      this.held = budget - given;
      cpu.i32[S_BUDGET >> 2] = given;
      const code = run(0);
      const isUnused = cpu.i32[S_BUDGET >> 2] === given;
      this.giveBack(cpu);
      if (code !== EXIT_BUDGET || !isUnused || given === budget) {
        return code;
      }
    }
  }

  private entered(cpu: Cpu): void {
    const low = cpu.i32[S_RIP >> 2];
    const high = cpu.i32[(S_RIP + 4) >> 2];
    if (this.wanted.execution) {
      const tier = cpu.regions?.find(low, high, cpu.i32[S_MODE >> 2]) === undefined ? 'block ' : 'region';
      const place = this.symbols.place(linearAddress(low, high));
      this.log.line(`Trace: ${tier} ${address(low, high)} ${place}`.trimEnd());
    }
    if (this.wanted.registers) {
      this.log.line(describeCpu(cpu).trimEnd());
    }
  }
}

/** Of the block at RIP; 0: there is none, as fetching it faults or it has to run alone. */
function instructionsAtRip(cpu: Cpu): number {
  const { i32 } = cpu;
  try {
    const op = cpu.blocks.lookup(i32[S_RIP >> 2], i32[(S_RIP + 4) >> 2], i32[S_MODE >> 2]);
    return i32[(op + HEAD_COUNT) >> 2];
  } catch {
    // Whatever it was, the core meets it again.
    return 0;
  }
}
