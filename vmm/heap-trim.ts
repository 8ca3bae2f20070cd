/**
 * Gives memory back to the host that translation leaves behind: V8's compilers take tens of megabytes from the C heap
 * for a while, and glibc keeps what they free.
 */

import type { Addon } from '../native/addon.ts';

const PERIOD_MS = 2000;
/** V8 goes on optimizing for a while what was translated: so many periods. */
const SETTLING = 3;

/**
 * @param translated how many regions have been translated so far
 * @returns what ends it
 */
export function startHeapTrim(addon: Pick<Addon, 'trimHeap'>, translated: () => number): () => void {
  let last = 0;
  let settling = 0;
  const timer = setInterval(() => {
    const now = translated();
    settling = now === last ? settling - 1 : SETTLING;
    last = now;
    if (settling > 0) {
      addon.trimHeap();
    }
  }, PERIOD_MS).unref();
  return () => clearInterval(timer);
}
