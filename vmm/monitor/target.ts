/** What monitors see of a machine, and can do to it. */

import type { InterruptHub } from '../../devices/apic/interrupt-hub.ts';
import type { PciBus } from '../../devices/pci/pci-bus.ts';
import type { MachineConfig } from '../options/config.ts';
import type { PagingState } from './page-tables.ts';

/** QEMU's names for what becomes of a machine (qapi/run-state.json). */
export type MachineEvent =
  | { readonly event: 'SHUTDOWN' | 'RESET'; readonly data: { readonly guest: boolean; readonly reason: string } }
  | { readonly event: 'STOP' | 'RESUME' | 'POWERDOWN' };

export interface MonitorTarget {
  readonly config: MachineConfig;
  readonly interrupts: InterruptHub;
  /** Undefined on a board without PCI. */
  readonly pci: PciBus | undefined;
  /** RunState of QEMU: `running`, `paused`, `prelaunch`, `shutdown`. */
  readonly runState: string;
  stop(): void;
  /** @returns false when the machine has shut down and must be reset first */
  cont(): boolean;
  systemReset(): void;
  systemPowerdown(): void;
  quit(): void;
  /** CPU state as text. */
  registers(): string;
  paging(): PagingState;
  /** A byte of guest physical memory; undefined where there is none. */
  physicalByte(address: number): number | undefined;
  /** Counters of CPU and translator, a line each. */
  statistics(): readonly string[];
  /** Calls back for each event from now on. */
  observe(observer: (event: MachineEvent) => void): void;
}
