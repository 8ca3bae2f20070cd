/** `-d mmu`: page faults with the entries of the tables that led there, loads of CR3 and flushes of translations. */

import type { Cpu } from '../../cpu/cpu.ts';
import { PF_FETCH, PF_PRESENT, PF_RESERVED, PF_USER, PF_WRITE, VECTOR_PF } from '../../cpu/fault.ts';
import { RAM_BASE, S_CR0, S_CR2, S_CR3, S_CR4, S_EFER, S_RIP } from '../../cpu/state.ts';
import { pagingOf } from '../cpu-text.ts';
import type { Log } from '../log.ts';
import { walkedEntries } from '../monitor/page-tables.ts';
import { linearAddress } from './symbols.ts';
import { type WatchedMachine, type Watcher, wrap } from './watch.ts';

export class MmuLog implements Watcher {
  private readonly log: Log;
  private cpu: Cpu | undefined;

  constructor(log: Log) {
    this.log = log;
  }

  watchMachine({ cpu }: WatchedMachine): void {
    this.cpu = cpu;
    let before = controls(cpu);
    wrap(cpu, 'remapped', (remapped) => () => {
      const now = controls(cpu);
      const changed = Object.keys(now).filter((name) => now[name] !== before[name]);
      // What changes nothing else is a load of CR3, maybe with what it held.
      const cause = changed.length === 0 ? ['CR3'] : changed;
      this.log.line(`mmu: ${cause.map((name) => `${name}=${now[name]}`).join(' ')}: TLB flushed`);
      before = now;
      return remapped();
    });
    wrap(cpu, 'pageRemapped', (pageRemapped) => (low, high) => {
      this.log.line(`mmu: INVLPG ${hex(high)}${hex(low)}`);
      return pageRemapped(low, high);
    });
  }

  delivering(vector: number, errorCode: number, isSoftware: boolean): void {
    const { cpu } = this;
    if (cpu === undefined || vector !== VECTOR_PF || isSoftware) {
      return;
    }
    const { i32, u8 } = cpu;
    const quad = (offset: number) => hex(i32[(offset + 4) >> 2]) + hex(i32[offset >> 2]);
    const linear = linearAddress(i32[S_CR2 >> 2], i32[(S_CR2 + 4) >> 2]);
    const read = (address: number) => (address < cpu.ramSize ? u8[RAM_BASE + address] : undefined);
    const entries = walkedEntries(pagingOf(cpu), read, linear).map(
      ({ address, low, high }) => `[0x${address.toString(16)}]=${hex(high)}${hex(low)}`,
    );
    this.log.line(`mmu: page fault at ${quad(S_CR2)} by ${quad(S_RIP)}: ${describe(errorCode)}; ${entries.join(' ')}`);
  }
}

/** Of a page fault's error code. */
function describe(errorCode: number): string {
  const who = errorCode & PF_USER ? 'user' : 'supervisor';
  const what = errorCode & PF_FETCH ? 'fetch' : errorCode & PF_WRITE ? 'write' : 'read';
  const why = errorCode & PF_RESERVED ? 'reserved bit set' : errorCode & PF_PRESENT ? 'not permitted' : 'not present';
  return `${who} ${what}, ${why}`;
}

/** The registers that paging depends on. */
function controls({ i32 }: Cpu): Record<string, string> {
  return {
    CR0: hex(i32[S_CR0 >> 2]),
    CR3: hex(i32[(S_CR3 + 4) >> 2]) + hex(i32[S_CR3 >> 2]),
    CR4: hex(i32[S_CR4 >> 2]),
    EFER: hex(i32[S_EFER >> 2]),
  };
}

function hex(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0');
}
