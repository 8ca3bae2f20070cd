/**
 * One-port devices of QEMU through which a guest speaks to whoever runs it: isa-debug-exit, isa-debugcon, pvpanic
 * (QEMU docs/specs/pvpanic). POST codes at port 0x80 need no device: nobody listens, and the open bus reads ones.
 */

import type { AccessSize, BusDevice } from '../bus.ts';
import type { SerialSink } from './uart16550.ts';

/** isa-debug-exit: writing v ends the machine with exit status (v << 1) | 1. */
export class DebugExit implements BusDevice {
  private readonly onExit: (status: number) => void;

  /** @param onExit told the process exit status, 0…255 */
  constructor(onExit: (status: number) => void) {
    this.onExit = onExit;
  }

  read(_offset: number, _size: AccessSize): number {
    return 0;
  }

  write(_offset: number, _size: AccessSize, value: number): void {
    this.onExit(((value << 1) | 1) & 0xff);
  }
}

/** What isa-debugcon reads, by which guests find it. */
const DEBUGCON_READBACK = 0xe9;

/** isa-debugcon: every byte written goes to the sink. */
export class Debugcon implements BusDevice {
  private readonly sink: SerialSink;

  constructor(sink: SerialSink) {
    this.sink = sink;
  }

  read(_offset: number, _size: AccessSize): number {
    return DEBUGCON_READBACK;
  }

  write(_offset: number, _size: AccessSize, value: number): void {
    this.sink.write(value & 0xff);
  }
}

const PVPANIC_PANICKED = 0x01;
const PVPANIC_CRASH_LOADED = 0x02;

/** pvpanic: the guest tells that it panicked. */
export class Pvpanic implements BusDevice {
  private readonly onPanic: () => void;

  constructor(onPanic: () => void) {
    this.onPanic = onPanic;
  }

  /** The events that are understood. */
  read(_offset: number, _size: AccessSize): number {
    return PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;
  }

  /** After CRASH_LOADED the guest's own crash kernel goes on. */
  write(_offset: number, _size: AccessSize, value: number): void {
    if (value & PVPANIC_PANICKED) this.onPanic();
  }
}
