/**
 * Watching a machine at work (`-d`, `-profile`): what all that watch have in common. They wrap methods of the objects
 * they watch and are told the rest by the CPU (cpu/observer.ts), so nothing costs anything when nobody watches; and their
 * code is loaded only when asked for.
 */

import type { CoreFactory } from '../../cpu/core.ts';
import type { Cpu } from '../../cpu/cpu.ts';
import type { CpuObserver } from '../../cpu/observer.ts';
import type { InterruptController } from '../../devices/bus.ts';
import type { MmioBus } from '../../devices/mmio-bus.ts';
import type { NetBackend } from '../../devices/net/backend.ts';
import type { PortBus } from '../../devices/port-bus.ts';
import type { VirtioDevice } from '../../devices/virtio/virtio-device.ts';

/** What of a machine can be watched. */
export interface WatchedMachine {
  readonly cpu: Cpu;
  readonly interrupts: InterruptController;
  readonly virtioDevices: readonly VirtioDevice[];
  readonly backends: ReadonlyMap<string, NetBackend>;
}

/** One who watches. */
export interface Watcher extends Partial<CpuObserver> {
  /** The CPU's core is being made. @returns what makes it with the watcher in between */
  watchCore?(core: CoreFactory): CoreFactory;
  /** Before devices are plugged into them. */
  watchBuses?(ports: PortBus, mmio: MmioBus): void;
  /** The machine is complete and has not run. */
  watchMachine?(machine: WatchedMachine): void;
  /** The machine has ended. */
  close?(): void;
}

/** All who watch one machine. */
export type MachineWatcher = Required<Watcher>;

type Methods<T> = { [K in keyof T]: T[K] extends (...words: never[]) => unknown ? K : never }[keyof T];

/** Puts a function around a method of one object: `make` gets the method, bound to the object. */
export function wrap<T extends object, K extends Methods<T>>(
  object: T,
  method: K,
  make: (original: T[K]) => T[K],
): void {
  const original = object[method] as (...words: never[]) => unknown;
  object[method] = make(original.bind(object) as T[K]);
}
