import { expect, test } from 'vitest';
import { disagreement, KernelWatch } from '../../bench/kernels.ts';

/** @param lines of the serial line, with the time of each */
function watch(lines: readonly (readonly [string, number])[]): KernelWatch {
  const result = new KernelWatch();
  for (const [line, time] of lines) result.line(line, time);
  return result;
}

test('the time between "run" and "done" counts', () => {
  const { runs, ended } = watch([
    ['warm alu', 100],
    ['run alu 50', 200],
    ['done alu 0x0000abcd 99000', 700],
    ['warm sort', 710],
    ['run sort 10', 800],
    ['done sort 0x00001234 5', 900],
    ['end', 950],
  ]);
  expect(ended).toBe(true);
  expect([...runs]).toEqual([
    ['alu', { checksum: '0x0000abcd', roundsPerSecond: 100 }],
    ['sort', { checksum: '0x00001234', roundsPerSecond: 100 }],
  ]);
});

test('a run that broke off has what it came to', () => {
  const { runs, ended } = watch([
    ['run alu 50', 0],
    ['done alu 0x1 1', 1],
    ['run sort 10', 2],
    ['panic: sort: record 7 is out of order', 3],
  ]);
  expect(ended).toBe(false);
  expect([...runs.keys()]).toEqual(['alu']);
});

test('different checksums are found', () => {
  const run = (checksum: string) => new Map([['alu', { checksum, roundsPerSecond: 1 }]]);
  expect(disagreement(run('0x1'), run('0x1'))).toBeUndefined();
  expect(disagreement(run('0x1'), new Map())).toBeUndefined();
  expect(disagreement(run('0x1'), run('0x2'))).toBe('alu: checksums 0x1 and 0x2');
});
