/**
 * Gives memory back to the host that translation leaves behind: V8's compilers take tens of megabytes from the C heap
 * for a while, and glibc keeps what they free; code that was dropped, and what made it, stay until V8 collects all of its
 * garbage, which it does not do for their sake. What it does of its own accord comes at the wrong time, twice in a row
 * some seconds after the start, when the guest is idle; so Node is started without that (bin/tsvmm: the memory reducer).
 */

import type { Addon } from '../native/addon.ts';

const PERIOD_MS = 2000;
/** V8 goes on optimizing for a while what was translated: so many periods. */
const SETTLING = 3;

/** Regions that are made before all garbage is collected. */
const MOST_MADE = 100;
/** Fewer leave little behind: a collection would cost an idle guest more than they did. */
const LEAST_MADE = 20;

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
  let settling = 1;
  // First what the start has left, regions or not.
  let collected = Number.NEGATIVE_INFINITY;
  const timer = setInterval(() => {
    const now = translated();
    settling = now === last ? settling - 1 : SETTLING;
    last = now;
    if (now - collected >= (settling === 0 ? LEAST_MADE : MOST_MADE)) {
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
    const { setFlagsFromString } = process.getBuiltinModule('node:v8');
    setFlagsFromString('--expose-gc');
    gc = process.getBuiltinModule('node:vm').runInNewContext('gc') as () => void;
    // Under another flag than it began with V8 writes machine code that the next process refuses.
    setFlagsFromString('--no-expose-gc');
  }
  gc();
}
