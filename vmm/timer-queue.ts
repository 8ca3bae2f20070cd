/**
 * The machine's timers, earliest first: a binary heap that allocates only when a timer is created. Timers with equal
 * deadlines fire in the order in which they were armed, so that runs repeat exactly.
 */

import type { Timer } from '../devices/bus.ts';

const NOT_QUEUED = -1;

class QueuedTimer implements Timer {
  readonly callback: () => void;
  readonly queue: TimerQueue;
  deadline = 0;
  /** Counts armings over all timers. */
  order = 0;
  /** Index in the heap. */
  position = NOT_QUEUED;

  constructor(queue: TimerQueue, callback: () => void) {
    this.queue = queue;
    this.callback = callback;
  }

  get armed(): boolean {
    return this.position !== NOT_QUEUED;
  }

  arm(deadline: number): void {
    this.queue.insert(this, deadline);
  }

  cancel(): void {
    this.queue.remove(this);
  }
}

function isBefore(a: QueuedTimer, b: QueuedTimer): boolean {
  return a.deadline < b.deadline || (a.deadline === b.deadline && a.order < b.order);
}

export class TimerQueue {
  private readonly heap: QueuedTimer[] = [];
  private size = 0;
  private armings = 0;

  create(callback: () => void): Timer {
    // Room for every timer there is, so that arming never grows the array.
    const timer = new QueuedTimer(this, callback);
    this.heap.push(timer);
    return timer;
  }

  /** Deadline of the earliest timer, Infinity when none is armed. */
  nextDeadline(): number {
    return this.size === 0 ? Number.POSITIVE_INFINITY : this.heap[0].deadline;
  }

  /**
   * Fires the timers whose deadline has come. Those that callbacks arm anew wait for the next call, even when they are
   * due already: a device that arms a timer in the past cannot keep the machine here.
   */
  runDue(now: number): void {
    const { armings } = this;
    while (this.size > 0) {
      const timer = this.heap[0];
      if (!(timer.deadline <= now) || timer.order > armings) {
        return;
      }
      this.remove(timer);
      timer.callback();
    }
  }

  insert(timer: QueuedTimer, deadline: number): void {
    this.remove(timer);
    timer.deadline = deadline;
    timer.order = ++this.armings;
    this.siftUp(timer, this.size++);
  }

  remove(timer: QueuedTimer): void {
    const { position } = timer;
    if (position === NOT_QUEUED) {
      return;
    }
    timer.position = NOT_QUEUED;
    const last = this.heap[--this.size];
    if (last !== timer) {
      this.siftDown(last, position);
      this.siftUp(last, last.position);
    }
  }

  private siftUp(timer: QueuedTimer, position: number): void {
    while (position > 0) {
      const parent = (position - 1) >> 1;
      const above = this.heap[parent];
      if (isBefore(above, timer)) {
        break;
      }
      this.put(above, position);
      position = parent;
    }
    this.put(timer, position);
  }

  private siftDown(timer: QueuedTimer, position: number): void {
    for (;;) {
      let child = position * 2 + 1;
      if (child >= this.size) {
        break;
      }
      if (child + 1 < this.size && isBefore(this.heap[child + 1], this.heap[child])) {
        child++;
      }
      if (isBefore(timer, this.heap[child])) {
        break;
      }
      this.put(this.heap[child], position);
      position = child;
    }
    this.put(timer, position);
  }

  private put(timer: QueuedTimer, position: number): void {
    this.heap[position] = timer;
    timer.position = position;
  }
}
