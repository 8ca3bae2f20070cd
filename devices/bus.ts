/**
 * The interfaces at which devices meet the rest of the machine (Design §1).
 *
 * A device sees only offsets in its own window; the bus knows where the window is mapped. No device knows the CPU and
 * the CPU knows no device: the VMM wires both to these interfaces.
 */

/** Width of one bus access in bytes. Wider CPU accesses are split by the CPU, lowest address first. */
export type AccessSize = 1 | 2 | 4;

/** A device's window of ports or of memory. */
export interface BusDevice {
  /** @returns the unsigned value at `offset` (bytes from the start of the window), `size` bytes wide. */
  read(offset: number, size: AccessSize): number;
  /** Stores the unsigned `value`, already cut to `size` bytes. */
  write(offset: number, size: AccessSize, value: number): void;
}

/** An interrupt input of a controller: a level that one device drives. */
export interface IrqLine {
  set(level: boolean): void;
}

/** What the CPU asks of the interrupt controllers (INTR pin and INTA cycle). */
export interface InterruptController {
  /** Is an interrupt waiting that the controller would deliver now? */
  pending(): boolean;
  /** INTA: takes the highest-priority interrupt. @returns its vector, 0…255. */
  acknowledge(): number;
}

/** A one-shot timer of the machine's clock; re-arming replaces the old deadline. Allocates nothing after creation. */
export interface Timer {
  /** Calls back once, as soon as `clock.now() >= deadline` (ns) is seen by the run loop. */
  arm(deadline: number): void;
  cancel(): void;
  readonly armed: boolean;
}

/** The machine's one source of time (Design §5). */
export interface Clock {
  /** Nanoseconds of guest time since the machine was made; a double, monotonic. */
  now(): number;
  /** Milliseconds of wall-clock time since the Unix epoch, for the RTC. */
  wallClock(): number;
  createTimer(callback: () => void): Timer;
}

/**
 * Guest RAM as devices see it: guest physical addresses 0 … size-1. Every address comes from a guest and is checked
 * here; an access outside throws {@link GuestMemoryError}, which a device answers in its own way (never the host's harm).
 */
export interface GuestMemory {
  /** RAM size in bytes. */
  readonly size: number;
  /** RAM itself, indexed by guest physical address. Whoever writes here directly must call {@link written}. */
  readonly bytes: Uint8Array;
  /** Do all of `length` bytes at `address` lie in RAM? False for fractions, negatives and overflow. */
  contains(address: number, length: number): boolean;
  read8(address: number): number;
  read16(address: number): number;
  read32(address: number): number;
  /** A 64-bit little-endian value as a double; exact below 2^53, and otherwise certainly outside RAM. */
  read64(address: number): number;
  write8(address: number, value: number): void;
  write16(address: number, value: number): void;
  write32(address: number, value: number): void;
  write64(address: number, value: number): void;
  /** A view of RAM without a copy. Allocates: not for hot paths. */
  view(address: number, length: number): Uint8Array;
  /** Tells the translator that bytes were written behind its back (self-modifying code by DMA). */
  written(address: number, length: number): void;
}

/** An access by a device to a guest physical address that is not RAM. */
export class GuestMemoryError extends Error {
  readonly address: number;
  readonly length: number;

  constructor(address: number, length: number) {
    super(`guest address 0x${address.toString(16)}+${length} is outside RAM`);
    this.address = address;
    this.length = length;
  }
}
