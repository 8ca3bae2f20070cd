import { describe, expect, test } from 'vitest';
import type { Addon } from '../../native/addon.ts';
import { IdleWait } from '../../vmm/idle.ts';

async function timed(work: Promise<void>): Promise<number> {
  const start = performance.now();
  await work;
  return performance.now() - start;
}

describe('IdleWait on the event loop', () => {
  test.each([0.2, 5.5])('waits about %d ms', async (ms) => {
    const elapsed = await timed(new IdleWait(undefined).wait(ms * 1e6));
    // Whole milliseconds are the timer's; the rest is for the next wait.
    expect(elapsed).toBeGreaterThanOrEqual(Math.min(ms, Math.floor(ms) || ms) - 0.1);
    expect(elapsed).toBeLessThan(ms + 100);
  });

  test('does not wait for what is past', async () => {
    expect(await timed(new IdleWait(undefined).wait(-5e6))).toBeLessThan(100);
  });

  test('wake ends a wait, be it endless', async () => {
    const idle = new IdleWait(undefined);
    setTimeout(() => idle.wake(), 20);
    expect(await timed(idle.wait(Number.POSITIVE_INFINITY))).toBeLessThan(500);
  });

  test('a wake before the wait counts for it, once', async () => {
    const idle = new IdleWait(undefined);
    idle.wake();
    expect(await timed(idle.wait(1e9))).toBeLessThan(500);
    expect(await timed(idle.wait(20e6))).toBeGreaterThan(15);
  });
});

describe('IdleWait in the addon’s poll', () => {
  function polling(loopTimeout: number) {
    const polls: { fds: number[]; ns: number }[] = [];
    const addon = {
      loopFd: () => 7,
      loopTimeout: () => loopTimeout,
      poll: (fds: Int32Array, ns: number) => polls.push({ fds: [...fds], ns }),
    } as unknown as Addon;
    const idle = new IdleWait({
      addon,
      count: 2,
      fill: (fds) => {
        fds[0] = 5;
        fds[1] = -1;
      },
    });
    return { idle, polls };
  }

  test('waits for the descriptors and the loop’s own, until the guest’s or the loop’s next timer', async () => {
    const patient = polling(-1);
    await patient.idle.wait(123);
    expect(patient.polls).toEqual([{ fds: [5, -1, 7], ns: 123 }]);
    const hurried = polling(3);
    await hurried.idle.wait(1e9);
    expect(hurried.polls[0].ns).toBe(3e6);
  });

  test('blocks briefly when the loop does not tell its timeout, and not at all when somebody woke it', async () => {
    const busy = polling(0);
    await busy.idle.wait(1e9);
    expect(busy.polls.map(({ ns }) => ns)).toEqual([50e6]);
    const woken = polling(-1);
    woken.idle.wake();
    await woken.idle.wait(1e9);
    expect(woken.polls).toEqual([]);
  });
});
