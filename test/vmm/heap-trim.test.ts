import { runInNewContext } from 'node:vm';
import { expect, test, vi } from 'vitest';
import { startHeapTrim } from '../../vmm/heap-trim.ts';

test('collects what the start has left, then what translation leaves if it is much; trims then and for a while after', () => {
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
  expect(collect).not.toHaveBeenCalled();
  expect(trims(60_000)).toBe(1);
  expect(collect).toHaveBeenCalledTimes(1);
  translated = 5;
  expect(trims(2000)).toBe(1);
  translated = 9;
  expect(trims(2000)).toBe(1);
  expect(trims(60_000)).toBe(3);
  expect(collect).toHaveBeenCalledTimes(1);
  translated = 30;
  expect(trims(2000)).toBe(1);
  expect(collect).toHaveBeenCalledTimes(1);
  expect(trims(60_000)).toBe(3);
  expect(collect).toHaveBeenCalledTimes(2);
  expect(trims(60_000)).toBe(0);
  translated = 200;
  expect(trims(2000)).toBe(1);
  expect(collect).toHaveBeenCalledTimes(3);
  stop();
  translated = 400;
  expect(trims(60_000)).toBe(0);
  vi.useRealTimers();
});

test('collecting leaves V8 under the flags that it had, as machine code is only good under these', () => {
  vi.useFakeTimers();
  const stop = startHeapTrim(undefined, () => 0);
  vi.advanceTimersByTime(60_000);
  expect(runInNewContext('typeof gc')).toBe('undefined');
  stop();
  vi.useRealTimers();
});
