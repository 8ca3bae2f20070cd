/**
 * How a machine that has nothing to do waits: until the next timer, until something arrives, or until the event loop has
 * something to do. With the native addon all of that is one ppoll(2) per step, precise to microseconds, and the event
 * loop takes a turn only when it needs one, because a turn costs more than a short interrupt handler of the guest.
 * Without the addon it is Node's event loop, with the last piece of a millisecond slept off.
 */

import type { Addon } from '../native/addon.ts';

const NS_PER_MS = 1e6;
/** setTimeout takes no more milliseconds than that. */
const TIMEOUT_MAX = 2 ** 31 - 1;

const NEVER = new Int32Array(new SharedArrayBuffer(4));

/** One turn of the event loop: signals, sockets and terminal input are served. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

export class Idling {
  private readonly addon: Addon | undefined;
  private readonly fds: Int32Array;
  private readonly step: (quiet: boolean) => number;
  private wakeSleeper: (() => void) | undefined;

  /**
   * @param addon without it, there can be no `fds`
   * @param fds wake the machine when they are readable; negative ones are of no interest. `step` may change them.
   * @param step looks at everything that may have happened, and does what is to be done; returns for how many ns to wait
   * before the next step: 0 when it is busy, Infinity until something happens. `quiet`: since the last step only time has
   * passed; no descriptor of `fds` was readable, and the event loop took no turn
   */
  constructor(addon: Addon | undefined, fds: Int32Array, step: (quiet: boolean) => number) {
    this.addon = addon;
    this.fds = fds;
    this.step = step;
  }

  /** Ends a wait, if one is under way. Needed only by what happens outside of steps. */
  wake(): void {
    this.wakeSleeper?.();
  }

  /** Takes steps, at least one: until one is busy, or the event loop has had a turn. */
  async run(): Promise<void> {
    const ns = this.step(false);
    if (ns === 0) {
      await turn();
    } else if (this.addon) {
      await this.idle(this.addon);
    } else {
      await this.sleep(ns);
    }
  }

  private idle(addon: Addon): Promise<void> {
    return new Promise((resolve) => {
      addon.idle(this.fds, this.step, resolve);
    });
  }

  private async sleep(ns: number): Promise<void> {
    const ms = ns / NS_PER_MS;
    if (ms < 1) {
      const start = performance.now();
      await turn();
      // No less than nothing: that would be for ever.
      Atomics.wait(NEVER, 0, 0, Math.max(0, ms - (performance.now() - start)));
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
