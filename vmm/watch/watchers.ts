/** All that can watch a machine, and those of them that are wanted as one. A bundle of its own (scripts/build.mjs). */

import type { CoreFactory } from '../../cpu/core.ts';
import type { Log } from '../log.ts';
import type { AcceleratorConfig } from '../options/config.ts';
import { BlockLog } from './block-log.ts';
import { EventLog } from './event-log.ts';
import { ExecutionLog } from './execution-log.ts';
import { MmuLog } from './mmu-log.ts';
import { Profiler } from './profiler.ts';
import { RegionLog } from './region-log.ts';
import type { Symbols } from './symbols.ts';
import { type MachineWatcher, type Watcher, wrap } from './watch.ts';

export { readSymbols } from './symbols.ts';

interface Wishes {
  /** Of `-d`. */
  readonly items: readonly string[];
  readonly log: Log;
  readonly symbols: Symbols;
  /** Where a profile is to be written; undefined: none is wanted. */
  readonly profileFd: number | undefined;
  /** Of the machine, for the profile. */
  readonly name: string;
  readonly jit: AcceleratorConfig['jit'];
}

export function createWatcher({ items, log, symbols, profileFd, name, jit }: Wishes): MachineWatcher {
  const wants = (item: string) => items.includes(item);
  const watchers: Watcher[] = [];
  if (wants('in_asm')) {
    watchers.push(new BlockLog(log, symbols));
  }
  if (wants('exec') || wants('cpu')) {
    watchers.push(new ExecutionLog(log, symbols, { execution: wants('exec'), registers: wants('cpu') }));
  }
  if (wants('op') || wants('out_asm')) {
    watchers.push(new RegionLog(log, symbols, { ir: wants('op'), code: wants('out_asm') ? jit : 'off' }));
  }
  if (wants('int') || wants('cpu_reset')) {
    watchers.push(new EventLog(log, { events: wants('int'), resets: wants('cpu_reset') }));
  }
  if (wants('mmu')) {
    watchers.push(new MmuLog(log));
  }
  if (profileFd !== undefined) {
    watchers.push(new Profiler(profileFd, symbols, name));
  }
  return together(watchers, log);
}

/** Several as one; the log is written whenever the CPU stops. */
function together(watchers: readonly Watcher[], log: Log): MachineWatcher {
  // Also when an internal error ends all: what led there is what is looked for.
  const flush = () => log.flush();
  return {
    delivering: (vector, errorCode, isSoftware) => {
      for (const watcher of watchers) {
        watcher.delivering?.(vector, errorCode, isSoftware);
      }
    },
    translated: (region) => {
      for (const watcher of watchers) {
        watcher.translated?.(region);
      }
    },
    watchCore: (core) => watchers.reduce<CoreFactory>((made, watcher) => watcher.watchCore?.(made) ?? made, core),
    watchBuses: (ports, mmio) => {
      for (const watcher of watchers) {
        watcher.watchBuses?.(ports, mmio);
      }
    },
    watchMachine: (machine) => {
      for (const watcher of watchers) {
        watcher.watchMachine?.(machine);
      }
      wrap(machine.cpu, 'run', (run) => (budget) => {
        const stop = run(budget);
        flush();
        return stop;
      });
      process.on('exit', flush);
    },
    close: () => {
      process.off('exit', flush);
      for (const watcher of watchers) {
        watcher.close?.();
      }
    },
  };
}
