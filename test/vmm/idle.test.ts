import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { tryLoadAddon } from '../../native/addon.ts';
import { Idling } from '../../vmm/idle.ts';

const addon = existsSync('build/Release/tsvmm_net.node') ? tryLoadAddon() : undefined;
const NONE = Int32Array.of();

/** Runs until a step was busy. @returns ms since the start at which each step was taken */
async function stepsAt(idling: (step: () => number) => Idling, step: (count: number) => number): Promise<number[]> {
  const start = performance.now();
  const at: number[] = [];
  let busy = false;
  const machine = idling(() => {
    at.push(performance.now() - start);
    const ns = step(at.length);
    busy = ns === 0;
    return ns;
  });
  while (!busy) {
    await machine.run();
  }
  return at;
}

const kinds = addon ? (['the event loop', 'the addon'] as const) : (['the event loop'] as const);

describe.each(kinds)('Idling by %s', (kind) => {
  const idling = (step: () => number) => new Idling(kind === 'the addon' ? addon : undefined, NONE, step);

  test('steps again when the time has passed, not much before', async () => {
    for (const ms of [0.3, 5.5]) {
      const start = performance.now();
      const at = await stepsAt(idling, () => Math.max(0, (ms - (performance.now() - start)) * 1e6));
      expect(at.at(-1)).toBeGreaterThanOrEqual(ms - 0.1);
      expect(at.at(-1)).toBeLessThan(ms + 100);
      // Whole milliseconds are a timer's, the rest another wait's; an interrupted wait begins anew.
      expect(at.length).toBeLessThan(20);
    }
  });

  test('a busy step has the event loop take a turn', async () => {
    let turned = false;
    setImmediate(() => {
      turned = true;
    });
    await idling(() => 0).run();
    expect(turned).toBe(true);
  });

  test('wake, or any event of the loop, ends an endless wait', async () => {
    let woken = false;
    const machine = idling(() => (woken ? 0 : Number.POSITIVE_INFINITY));
    setTimeout(() => {
      woken = true;
      machine.wake();
    }, 20);
    while (!woken) {
      await machine.run();
    }
  });
});
