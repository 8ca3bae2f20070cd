import { expect, test, vi } from 'vitest';
import { startHeapTrim } from '../../vmm/heap-trim.ts';

test('trims while regions are translated and for a while after, and not when nothing is', () => {
  vi.useFakeTimers();
  const trimHeap = vi.fn(() => 1);
  let translated = 0;
  const stop = startHeapTrim({ trimHeap }, () => translated);
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
  expect(trims(60_000)).toBe(2);
  expect(trims(60_000)).toBe(0);
  stop();
  translated = 10;
  expect(trims(60_000)).toBe(0);
  vi.useRealTimers();
});
