import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { linearAddress, readSymbols } from '../../../vmm/watch/symbols.ts';
import { symbolFile } from './symbol-file.ts';

describe.each([32, 64] as const)('ELF%i', (bits) => {
  const symbols = readSymbols(
    symbolFile(bits, [
      { name: 'second', start: 0x101000n, size: 0x20n },
      { name: 'first', start: 0x100000n, size: 0x100n },
      { name: 'label', start: 0x102000n, kind: 'label' },
      { name: 'same_place', start: 0x102000n, kind: 'label' },
      { name: 'data', start: 0x100080n, size: 8n, kind: 'object' },
    ]),
  );

  test.each([
    [0xfffff, ''],
    [0x100000, 'first'],
    [0x100084, 'first+0x84'],
    [0x1000ff, 'first+0xff'],
    [0x100100, ''],
    [0x101010, 'second+0x10'],
    [0x101020, ''],
    [0x102000, 'label'],
    [0x102abc, 'label+0xabc'],
  ])('0x%s is in "%s"', (address, place) => {
    expect(symbols.place(address)).toBe(place);
  });

  test('one for each address', () => {
    expect(symbols.count).toBe(3);
  });
});

test('a kernel in the upper half', () => {
  const symbols = readSymbols(symbolFile(64, [{ name: 'start_kernel', start: 0xffffffff81000123n, size: 0x10n }]));
  expect(symbols.place(linearAddress(0x81000125 | 0, -1))).toBe('start_kernel+0x2');
});

test('a function rather than a label at the same address', () => {
  const bytes = symbolFile(64, [
    { name: 'label', start: 0x1000n, kind: 'label' },
    { name: 'fn', start: 0x1000n, size: 0x10n },
  ]);
  expect(readSymbols(bytes).place(0x1004)).toBe('fn+0x4');
});

test('files without symbols, and damaged ones, have none', () => {
  expect(readSymbols(Buffer.from('hello')).count).toBe(0);
  expect(readSymbols(symbolFile(64, [])).count).toBe(0);
  const whole = symbolFile(64, [{ name: 'fn', start: 0x1000n, size: 0x10n }]);
  fc.assert(
    fc.property(fc.nat(whole.length), fc.nat(whole.length - 1), fc.nat(255), (length, at, value) => {
      readSymbols(whole.subarray(0, length));
      const damaged = Uint8Array.from(whole);
      damaged[at] = value;
      readSymbols(damaged);
    }),
    { numRuns: 2000 },
  );
});
