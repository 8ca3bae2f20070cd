/**
 * The machine's one source of time (Design §5): nanoseconds since the machine was made, from which the TSC, the PIT,
 * the RTC, the LAPIC timer and the PM timer are all derived.
 *
 * Times are doubles: exact to a nanosecond for 104 days, and nothing here allocates or uses BigInt.
 */

import type { Clock, Timer } from '../devices/bus.ts';
import { TimerQueue } from './timer-queue.ts';

const NS_PER_MS = 1e6;

/**
 * TSC ticks per nanosecond. A power of two keeps the conversion exact; 2 GHz lies where guests that calculate in 32
 * bits of kHz, and guests that expect more than 1 GHz, are both content.
 */
const TSC_TICKS_PER_NS = 2;
/** The frequency that CPUID leaves 0x15, 0x16 and 0x40000010 tell. */
export const TSC_KHZ = TSC_TICKS_PER_NS * 1e6;

/** The time stamp counter, read without allocating. */
class TimeStampCounter {
  /** Both halves as {@link read} left them; int32. */
  low = 0;
  high = 0;
  private readonly clock: Clock;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** Reads the counter into {@link low} and {@link high}. */
  read(): void {
    const ticks = Math.floor(this.clock.now() * TSC_TICKS_PER_NS);
    this.low = ticks | 0;
    this.high = (ticks / 2 ** 32) | 0;
  }

  /** The clock's time (ns) at which the counter reaches `low` + 2^32 × `high`, halves unsigned or signed. */
  timeOf(low: number, high: number): number {
    return ((high >>> 0) * 2 ** 32 + (low >>> 0)) / TSC_TICKS_PER_NS;
  }
}

/** Common to both kinds of clock: timers, and the TSC. */
export abstract class MachineClock implements Clock {
  readonly tsc = new TimeStampCounter(this);
  private readonly timers = new TimerQueue();

  abstract now(): number;
  abstract wallClock(): number;
  /** Stops time: `now` stays where it is. */
  abstract pause(): void;
  /** Lets time go on from where it stopped. */
  abstract resume(): void;

  createTimer(callback: () => void): Timer {
    return this.timers.create(callback);
  }

  /** Deadline of the next timer in ns, Infinity when none is armed. */
  nextDeadline(): number {
    return this.timers.nextDeadline();
  }

  /** Fires the timers that are due. */
  runTimers(): void {
    this.timers.runDue(this.now());
  }
}

/** Real time: the host's monotonic clock. */
export class HostClock extends MachineClock {
  private readonly hostMilliseconds: () => number;
  /** Host time at which the guest's time was, or would have been, 0; ms. */
  private origin: number;
  /** Guest time at which it stands still, ns; undefined while it runs. */
  private pausedAt: number | undefined;

  /** @param hostMilliseconds monotonic, with a fraction that resolves nanoseconds; tests bring their own */
  constructor(hostMilliseconds: () => number = performance.now.bind(performance)) {
    super();
    this.hostMilliseconds = hostMilliseconds;
    this.origin = hostMilliseconds();
  }

  now(): number {
    return this.pausedAt ?? (this.hostMilliseconds() - this.origin) * NS_PER_MS;
  }

  wallClock(): number {
    return Date.now();
  }

  pause(): void {
    this.pausedAt = this.now();
  }

  resume(): void {
    if (this.pausedAt !== undefined) {
      this.origin = this.hostMilliseconds() - this.pausedAt / NS_PER_MS;
      this.pausedAt = undefined;
    }
  }
}

/**
 * Deterministic time (`-icount shift=N`): 2^N ns pass with every instruction, and when the CPU idles, time jumps to the
 * next timer.
 */
export class IcountClock extends MachineClock {
  private readonly instructions: () => number;
  private readonly nsPerInstruction: number;
  /** Time that passed while the CPU was idle, ns. */
  private idle = 0;
  private readonly startOfWallClock = Date.now();

  /** @param instructions how many the CPU has executed so far, an exact integer */
  constructor(instructions: () => number, shift: number) {
    super();
    this.instructions = instructions;
    this.nsPerInstruction = 2 ** shift;
  }

  now(): number {
    return this.instructions() * this.nsPerInstruction + this.idle;
  }

  wallClock(): number {
    return this.startOfWallClock + this.now() / NS_PER_MS;
  }

  /** A stopped CPU executes nothing, so its time stands still by itself. */
  pause(): void {}

  resume(): void {}

  /** The CPU is idle: time jumps to `deadline` (ns), unless it is past already. */
  skipTo(deadline: number): void {
    this.idle += Math.max(0, deadline - this.now());
  }
}
