/**
 * How a machine whose CPU halted waits: until the next timer, until something arrives, or until somebody calls
 * {@link IdleWait.wake}. With a TAP, all of that is one poll(2) of the native addon, precise to microseconds; without, it
 * is Node's event loop, with the last piece of a millisecond slept off.
 */

import type { Addon } from '../native/addon.ts';

const NS_PER_MS = 1e6;
/** setTimeout rounds to milliseconds and takes no more than 2^31 of them. */
const TIMEOUT_MAX = 2 ** 31 - 1;

/** How late one of Node's own timers may come, ms, when the event loop does not tell its timeout. */
const LOOP_TIMEOUT_UNKNOWN = 50;

const NEVER = new Int32Array(new SharedArrayBuffer(4));

/** One turn of the event loop: signals, sockets and terminal input are served. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** Descriptors to wait for; -1 for one that is of no interest now. */
export interface Pollable {
  readonly addon: Addon;
  fill(fds: Int32Array): void;
  readonly count: number;
}

export class IdleWait {
  private readonly pollable: Pollable | undefined;
  private readonly fds: Int32Array;
  private wakeSleeper: (() => void) | undefined;
  private woken = false;

  /**
   * A handle that is always active: without any, the event loop counts as finished and its timeout, which `poll` obeys,
   * is zero.
   */
  private readonly alive: NodeJS.Timeout | undefined;

  constructor(pollable: Pollable | undefined) {
    this.pollable = pollable;
    this.fds = new Int32Array((pollable?.count ?? 0) + 1);
    this.alive = pollable && setInterval(() => {}, TIMEOUT_MAX);
  }

  close(): void {
    clearInterval(this.alive);
  }

  /** Ends a wait that is under way, or the next one before it begins. */
  wake(): void {
    this.woken = true;
    this.wakeSleeper?.();
  }

  /** @param ns at most so long; Infinity: until something happens */
  async wait(ns: number): Promise<void> {
    // What happened meanwhile is served first.
    await turn();
    if (!this.woken && ns > 0) {
      if (this.pollable) {
        this.poll(this.pollable, ns);
        await turn();
      } else {
        await this.sleep(ns);
      }
    }
    this.woken = false;
  }

  private poll(pollable: Pollable, ns: number): void {
    const { addon, count } = pollable;
    // While the immediate that brought us here is being served, the loop says 0 whatever else waits.
    const loopTimeout = addon.loopTimeout() || LOOP_TIMEOUT_UNKNOWN;
    pollable.fill(this.fds);
    this.fds[count] = addon.loopFd();
    addon.poll(this.fds, loopTimeout < 0 ? ns : Math.min(ns, loopTimeout * NS_PER_MS));
  }

  private async sleep(ns: number): Promise<void> {
    const ms = ns / NS_PER_MS;
    if (ms < 1) {
      Atomics.wait(NEVER, 0, 0, ms);
      return;
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(Math.floor(ms), TIMEOUT_MAX));
      this.wakeSleeper = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.wakeSleeper = undefined;
  }
}
