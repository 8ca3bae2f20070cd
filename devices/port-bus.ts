/**
 * The I/O port space: 64 Ki ports, decoded to device windows by one table look-up (SDM vol. 1 §19.3).
 *
 * Where windows overlap, the one added last answers, and the older one comes back when it is removed: so a guest that
 * moves a BAR onto another device disturbs nobody but itself.
 */

import type { AccessSize, BusDevice } from './bus.ts';

const PORT_COUNT = 0x10000;
const PORT_MASK = PORT_COUNT - 1;

interface PortWindow {
  readonly base: number;
  readonly length: number;
  readonly device: BusDevice;
}

/** What a bus nobody drives reads: all ones, `size` bytes wide. */
export function allOnes(size: AccessSize): number {
  return size === 4 ? 0xffffffff : size === 2 ? 0xffff : 0xff;
}

const openBus: BusDevice = {
  read: (_offset, size) => allOnes(size),
  write: () => {},
};

export class PortBus {
  /** For each port the index of its window in `windows`; 0 is the open bus. */
  private readonly slots = new Uint16Array(PORT_COUNT);
  private readonly windows: PortWindow[] = [{ base: 0, length: PORT_COUNT, device: openBus }];

  /** Maps `length` ports from `base` to `device`. @throws RangeError if they do not lie in 0…0xffff. */
  add(base: number, length: number, device: BusDevice): void {
    if (!(Number.isInteger(base) && Number.isInteger(length)) || base < 0 || length < 1 || base + length > PORT_COUNT) {
      throw new RangeError(`ports 0x${base.toString(16)}+${length} are outside the I/O space`);
    }
    this.slots.fill(this.windows.length, base, base + length);
    this.windows.push({ base, length, device });
  }

  /** Takes back exactly one earlier `add` of `device` at `base`. @throws Error if there was none. */
  remove(base: number, device: BusDevice): void {
    const index = this.windows.findLastIndex((window) => window.device === device && window.base === base);
    if (index < 1) throw new Error(`no such device at port 0x${base.toString(16)}`);
    this.windows.splice(index, 1);
    this.slots.fill(0);
    for (let i = 1; i < this.windows.length; i++) {
      const window = this.windows[i];
      this.slots.fill(i, window.base, window.base + window.length);
    }
  }

  /** IN. An access that straddles two windows is made of byte accesses, lowest port first. */
  read(port: number, size: AccessSize): number {
    const slot = this.slots[port & PORT_MASK];
    if (size !== 1 && slot !== this.slots[(port + size - 1) & PORT_MASK]) {
      let value = 0;
      for (let i = 0; i < size; i++) value |= this.read(port + i, 1) << (8 * i);
      return value >>> 0;
    }
    const window = this.windows[slot];
    return window.device.read((port & PORT_MASK) - window.base, size);
  }

  /** OUT; `value` is unsigned and already cut to `size` bytes. */
  write(port: number, size: AccessSize, value: number): void {
    const slot = this.slots[port & PORT_MASK];
    if (size !== 1 && slot !== this.slots[(port + size - 1) & PORT_MASK]) {
      for (let i = 0; i < size; i++) this.write(port + i, 1, (value >>> (8 * i)) & 0xff);
      return;
    }
    const window = this.windows[slot];
    window.device.write((port & PORT_MASK) - window.base, size, value);
  }
}
