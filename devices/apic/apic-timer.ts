/**
 * The timer of a local APIC (SDM vol. 3 §11.5.4): one-shot, periodic and TSC-deadline. Nothing ticks, and a timer of the
 * machine is armed only while its interrupt would be taken.
 */

import type { Clock, Timer } from '../bus.ts';

/** The bus clock is 1 GHz, so one count at divide 1 is a nanosecond; Mewz and OSv rely on it. */
const NS_PER_BUS_CYCLE = 1;

const DIVIDE_MASK = 0x0b;

export const TIMER_ONE_SHOT = 0;
export const TIMER_PERIODIC = 1;
export const TIMER_TSC_DEADLINE = 2;

export class ApicTimer {
  private readonly clock: Clock;
  private readonly timer: Timer;
  private readonly timeOfTsc: (lo: number, hi: number) => number;
  private readonly onExpired: () => void;
  private mode = TIMER_ONE_SHOT;
  private masked = true;
  private divide = 0;
  private initial = 0;
  private start = 0;
  /** Number of the next expiry since `start`. */
  private nextExpiry = 1;
  private deadlineLo = 0;
  private deadlineHi = 0;

  /** @param timeOfTsc the clock's time (ns) at which the guest's TSC reaches a value */
  constructor(clock: Clock, timeOfTsc: (lo: number, hi: number) => number, onExpired: () => void) {
    this.clock = clock;
    this.timer = clock.createTimer(() => this.expire());
    this.timeOfTsc = timeOfTsc;
    this.onExpired = onExpired;
  }

  reset(): void {
    this.mode = TIMER_ONE_SHOT;
    this.masked = true;
    this.divide = 0;
    this.initial = 0;
    this.deadlineLo = 0;
    this.deadlineHi = 0;
    this.timer.cancel();
  }

  /** What the LVT entry says. Going to or from TSC-deadline disarms. */
  configure(mode: number, masked: boolean): void {
    if (mode !== this.mode && (mode === TIMER_TSC_DEADLINE || this.mode === TIMER_TSC_DEADLINE)) {
      this.initial = 0;
      this.deadlineLo = 0;
      this.deadlineHi = 0;
    }
    this.mode = mode;
    this.masked = masked;
    this.skipMissed();
    this.rearm();
  }

  get divideConfiguration(): number {
    return this.divide;
  }

  /** The count goes on from where it is, at the new speed. */
  set divideConfiguration(value: number) {
    this.skipMissed();
    const current = this.currentCount;
    const isOver = this.mode !== TIMER_PERIODIC && this.nextExpiry > 1;
    this.divide = value & DIVIDE_MASK;
    this.start = this.clock.now() - (this.initial - current) * this.tick();
    this.nextExpiry = isOver ? 2 : 1;
    this.rearm();
  }

  get initialCount(): number {
    return this.initial;
  }

  /** Starts the timer; 0 stops it. Ignored in TSC-deadline mode. */
  set initialCount(value: number) {
    if (this.mode === TIMER_TSC_DEADLINE) return;
    this.initial = value;
    this.start = this.clock.now();
    this.nextExpiry = 1;
    this.rearm();
  }

  get currentCount(): number {
    if (this.initial === 0) return 0;
    const elapsed = this.elapsed();
    if (this.mode === TIMER_PERIODIC) return this.initial - (elapsed % this.initial);
    return Math.max(0, this.initial - elapsed);
  }

  get tscDeadlineLo(): number {
    return this.deadlineLo;
  }

  get tscDeadlineHi(): number {
    return this.deadlineHi;
  }

  /** IA32_TSC_DEADLINE: arms at that TSC; 0 disarms. Ignored in the other modes. */
  setTscDeadline(lo: number, hi: number): void {
    if (this.mode !== TIMER_TSC_DEADLINE) return;
    this.deadlineLo = lo >>> 0;
    this.deadlineHi = hi >>> 0;
    this.rearm();
  }

  /** Nanoseconds of one count: the divider is 2^(bits 3,1,0 + 1), where 7 wraps to 2^0. */
  private tick(): number {
    const code = ((this.divide & 8) >> 1) | (this.divide & 3);
    return NS_PER_BUS_CYCLE * 2 ** ((code + 1) & 7);
  }

  private elapsed(): number {
    return Math.max(0, Math.floor((this.clock.now() - this.start) / this.tick()));
  }

  /** While masked nothing was counted down to; what lies behind is not made up for. */
  private skipMissed(): void {
    if (this.initial === 0 || this.mode === TIMER_TSC_DEADLINE) return;
    this.nextExpiry = Math.max(this.nextExpiry, Math.floor(this.elapsed() / this.initial) + 1);
  }

  private rearm(): void {
    this.timer.cancel();
    if (this.mode === TIMER_TSC_DEADLINE) {
      // The deadline is used up even if the interrupt is masked.
      if (this.deadlineLo !== 0 || this.deadlineHi !== 0) {
        this.timer.arm(this.timeOfTsc(this.deadlineLo, this.deadlineHi));
      }
    } else if (!this.masked && this.initial !== 0 && (this.mode === TIMER_PERIODIC || this.nextExpiry === 1)) {
      this.timer.arm(this.start + this.nextExpiry * this.initial * this.tick());
    }
  }

  /** Missed periods are one interrupt; the following ones stay on the grid. */
  private expire(): void {
    if (this.mode === TIMER_TSC_DEADLINE) {
      this.deadlineLo = 0;
      this.deadlineHi = 0;
    } else {
      this.nextExpiry++;
      this.skipMissed();
      this.rearm();
    }
    this.onExpired();
  }
}
