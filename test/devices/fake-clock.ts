import type { Clock, Timer } from '../../devices/bus.ts';

/** A clock that stands still until a test moves it; timers call back at their deadlines, in order. */
export class FakeClock implements Clock {
  time = 0;
  /** How late timers are seen, ns. */
  lateness = 0;
  private readonly timers: { deadline: number; armed: boolean; callback: () => void }[] = [];
  private readonly epoch: number;

  constructor(epoch = 0) {
    this.epoch = epoch;
  }

  now(): number {
    return this.time;
  }

  wallClock(): number {
    return this.epoch + this.time / 1e6;
  }

  createTimer(callback: () => void): Timer {
    const timer = {
      deadline: 0,
      armed: false,
      callback,
      arm(deadline: number): void {
        timer.deadline = deadline;
        timer.armed = true;
      },
      cancel(): void {
        timer.armed = false;
      },
    };
    this.timers.push(timer);
    return timer;
  }

  /** Are any timers armed? */
  get busy(): boolean {
    return this.timers.some((timer) => timer.armed);
  }

  advance(ns: number): void {
    const end = this.time + ns;
    for (;;) {
      const due = this.timers.filter((timer) => timer.armed && timer.deadline + this.lateness <= end);
      if (due.length === 0) break;
      const next = due.reduce((a, b) => (b.deadline < a.deadline ? b : a));
      next.armed = false;
      this.time = Math.max(this.time, next.deadline + this.lateness);
      next.callback();
    }
    this.time = end;
  }
}

/** An interrupt input that counts its rising edges. */
export class FakeIrq {
  level = false;
  edges = 0;
  set(level: boolean): void {
    if (level && !this.level) this.edges++;
    this.level = level;
  }
}
