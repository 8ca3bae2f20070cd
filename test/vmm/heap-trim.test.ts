import { expect, test, vi } from 'vitest';
import { startHeapTrim } from '../../vmm/heap-trim.ts';

test('trims while regions are translated and for a while after, and not when nothing is', () => {
  vi.useFakeTimers();
  const trimHeap = vi.fn(() => 1);
  const collect = vi.fn();
  let translated = 0;
  const stop = startHeapTrim({ trimHeap }, () => translated, collect);
  const trims = (ms: number) => {
    trimHeap.mockClear();
    vi.advanceTimersByTime(ms);
    return trimHeap.mock.calls.length;
  };
  expect(trims(60_000)).toBe(0);
  translated = 5;
  expect(trims(2000)).toBe(1);
  translated = 9;
  expect(trims(2000)).toBe(1);
  expect(collect).not.toHaveBeenCalled();
  expect(trims(60_000)).toBe(3);
  expect(collect).toHaveBeenCalledTimes(1);
  expect(trims(60_000)).toBe(0);
  translated = 200;
  expect(trims(2000)).toBe(1);
  expect(collect).toHaveBeenCalledTimes(2);
  stop();
  translated = 400;
  expect(trims(60_000)).toBe(0);
  vi.useRealTimers();
});
