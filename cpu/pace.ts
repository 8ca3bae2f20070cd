/**
 * When code is worth a translation. While a guest boots, most code runs for a while and never again, and the translator
 * itself is still cold. And the timer ticks of a guest that is idle make code hot as well, in half a minute: translating
 * it takes longer than the interpreter needs for hours of them. What an earlier run of the same guest did not find
 * worth it hardly is so now.
 */

/** By so much hotter blocks must be then. */
export const PICKY_THRESHOLD = 20_000;
/** After so many executions more a block is looked at again. In an idle guest soon, as it may be busy from now on. */
const STEP_WARM_UP = 1000;
const STEP_IDLE = 100;

/** Fewer instructions in a ms are an idle guest's … */
const IDLE = 1000;
/** … over so many ms at least: for a moment any guest is busy. */
const WINDOW = 20;

export class Pace {
  private readonly warmUntil: number;
  private busy = true;
  /** Beginning of the window: ms, and the instructions executed until then. */
  private time: number;
  private instructions = 0;

  /** @param warmUp ms from `now` on */
  constructor(warmUp: number, now: number) {
    this.warmUntil = now + warmUp;
    this.time = now;
  }

  /**
   * Must blocks be hotter than usual? Asked when one became hot, and only then.
   * @param now ms
   * @param instructions executed so far; may lag behind by a slice
   * @param isForeknown does the guest do what it did in earlier runs?
   * @returns executions after which the block is to be looked at again if it is not; 0: it is hot enough
   */
  delay(now: number, instructions: number, isForeknown: boolean): number {
    const elapsed = now - this.time;
    if (elapsed >= WINDOW) {
      this.busy = instructions - this.instructions >= elapsed * IDLE;
      this.time = now;
      this.instructions = instructions;
    }
    if (now < this.warmUntil || isForeknown) return STEP_WARM_UP;
    return this.busy ? 0 : STEP_IDLE;
  }
}
