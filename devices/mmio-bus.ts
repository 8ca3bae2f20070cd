/**
 * The physical address space outside RAM: a short sorted list of device windows with the last hit remembered.
 *
 * Where windows overlap, the one added last answers, as on {@link PortBus}. Addresses are doubles, exact to 2^53.
 */

import type { AccessSize, BusDevice } from './bus.ts';
import { allOnes } from './port-bus.ts';

interface MmioWindow {
  readonly base: number;
  readonly end: number;
  readonly device: BusDevice;
}

/** A piece of the address space that one window answers for; segments never overlap. */
interface Segment {
  readonly start: number;
  readonly end: number;
  readonly window: MmioWindow;
}

const nowhere: Segment = {
  start: -1,
  end: -1,
  window: { base: 0, end: 0, device: { read: (_offset, size) => allOnes(size), write: () => {} } },
};

export class MmioBus {
  private readonly windows: MmioWindow[] = [];
  private segments: Segment[] = [];
  private lastHit = nowhere;

  /** Maps `length` bytes from physical address `base` to `device`. @throws RangeError if that is not a range below 2^53. */
  add(base: number, length: number, device: BusDevice): void {
    if (!Number.isSafeInteger(base) || !Number.isSafeInteger(base + length) || base < 0 || length < 1) {
      throw new RangeError(`0x${base.toString(16)}+${length} is no range of physical memory`);
    }
    this.windows.push({ base, end: base + length, device });
    this.rebuild();
  }

  /** Takes back exactly one earlier `add` of `device` at `base`. @throws Error if there was none. */
  remove(base: number, device: BusDevice): void {
    const index = this.windows.findLastIndex((window) => window.device === device && window.base === base);
    if (index < 0) throw new Error(`no such device at 0x${base.toString(16)}`);
    this.windows.splice(index, 1);
    this.rebuild();
  }

  /** Does any window answer at `address`? */
  covers(address: number): boolean {
    return this.find(address) !== nowhere;
  }

  /** An access that straddles two windows is made of byte accesses, lowest address first. */
  read(address: number, size: AccessSize): number {
    const segment = this.find(address);
    if (size !== 1 && segment !== this.find(address + size - 1)) {
      let value = 0;
      for (let i = 0; i < size; i++) value |= this.read(address + i, 1) << (8 * i);
      return value >>> 0;
    }
    return segment.window.device.read(address - segment.window.base, size);
  }

  /** `value` is unsigned and already cut to `size` bytes. */
  write(address: number, size: AccessSize, value: number): void {
    const segment = this.find(address);
    if (size !== 1 && segment !== this.find(address + size - 1)) {
      for (let i = 0; i < size; i++) this.write(address + i, 1, (value >>> (8 * i)) & 0xff);
      return;
    }
    segment.window.device.write(address - segment.window.base, size, value);
  }

  private find(address: number): Segment {
    const last = this.lastHit;
    if (address >= last.start && address < last.end) return last;
    const segments = this.segments;
    let low = 0;
    let high = segments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (segments[middle].end <= address) low = middle + 1;
      else high = middle;
    }
    if (low === segments.length || segments[low].start > address) return nowhere;
    return (this.lastHit = segments[low]);
  }

  /** Cuts the windows, newest first, into segments: each takes what the newer ones left free. */
  private rebuild(): void {
    const segments: Segment[] = [];
    for (const window of this.windows.toReversed()) {
      let free: [number, number][] = [[window.base, window.end]];
      for (const taken of segments) {
        free = free.flatMap(([start, end]): [number, number][] =>
          [
            [start, Math.min(end, taken.start)],
            [Math.max(start, taken.end), end],
          ].filter((piece): piece is [number, number] => piece[0] < piece[1]),
        );
      }
      for (const [start, end] of free) segments.push({ start, end, window });
    }
    this.segments = segments.sort((a, b) => a.start - b.start);
    this.lastHit = nowhere;
  }
}
