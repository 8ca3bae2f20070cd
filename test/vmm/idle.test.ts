import { closeSync, existsSync, openSync } from 'node:fs';
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

test.skipIf(!addon)(
  `a step is told when only time has passed${addon ? '' : ' NOT RUN: the addon is not built'}`,
  async () => {
    const file = openSync('/dev/zero', 'r');
    const fds = Int32Array.of(-1);
    const quiet: boolean[] = [];
    let since = 0;
    const machine = new Idling(addon, fds, (itWas) => {
      quiet.push(itWas);
      // The event loop may come between; but sooner or later a wait is quiet. Then there is something to be read all the time.
      if (itWas && since === 0) {
        fds[0] = file;
        since = quiet.length;
      }
      return since > 0 && quiet.length >= since + 3 ? 0 : 2e6;
    });
    while (since === 0 || quiet.length < since + 3) {
      await machine.run();
    }
    closeSync(file);
    expect(quiet[0]).toBe(false);
    expect(quiet.slice(since)).toEqual([false, false, false]);
  },
);
