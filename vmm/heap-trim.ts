/**
 * Gives memory back to the host that translation leaves behind: V8's compilers take tens of megabytes from the C heap
 * for a while, and glibc keeps what they free; code that was dropped, and what made it, stay until V8 collects all of its
 * garbage, which it does not do for their sake.
 */

import type { Addon } from '../native/addon.ts';

const PERIOD_MS = 2000;
/** V8 goes on optimizing for a while what was translated: so many periods. */
const SETTLING = 3;

/** Regions that are made before all garbage is collected. */
const MOST_MADE = 100;

/**
 * @param translated how many regions have been translated so far
 * @param collect collects all garbage
 * @returns what ends it
 */
export function startHeapTrim(
  addon: Pick<Addon, 'trimHeap'> | undefined,
  translated: () => number,
  collect: () => void = collectGarbage,
): () => void {
  let last = 0;
  let settling = 0;
  let collected = 0;
  const timer = setInterval(() => {
    const now = translated();
    settling = now === last ? settling - 1 : SETTLING;
    last = now;
    if (now - collected >= MOST_MADE || (settling === 0 && now !== collected)) {
      collect();
      collected = now;
    }
    if (settling >= 0) addon?.trimHeap();
  }, PERIOD_MS).unref();
  return () => clearInterval(timer);
}

let gc: (() => void) | undefined;

/** A full collection; V8 has it only when told to, and its modules are loaded only now. */
function collectGarbage(): void {
  if (gc === undefined) {
    process.getBuiltinModule('node:v8').setFlagsFromString('--expose-gc');
    gc = process.getBuiltinModule('node:vm').runInNewContext('gc') as () => void;
  }
  gc();
}
