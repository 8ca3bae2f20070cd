import { describe, expect, it } from 'vitest';
import { GuestMemoryError } from '../../devices/bus.ts';
import { RamGuestMemory } from '../../vmm/guest-memory.ts';

const OFFSET = 24;
const SIZE = 256;

function makeMemory() {
  const buffer = new ArrayBuffer(OFFSET + SIZE + 64);
  const written: [number, number][] = [];
  const memory = new RamGuestMemory(buffer, OFFSET, SIZE, (address, length) => written.push([address, length]));
  return { buffer, memory, written };
}

describe('RamGuestMemory', () => {
  it('reads back what was written, little-endian, at any alignment', () => {
    const { memory, buffer } = makeMemory();
    memory.write8(1, 0x1ff);
    memory.write16(3, 0xbeef);
    memory.write32(5, 0xdeadbeef);
    memory.write64(9, 0x1_2345_6789_abcd);
    expect(memory.read8(1)).toBe(0xff);
    expect(memory.read16(3)).toBe(0xbeef);
    expect(memory.read32(5)).toBe(0xdeadbeef);
    expect(memory.read64(9)).toBe(0x1_2345_6789_abcd);
    expect([...new Uint8Array(buffer, OFFSET + 3, 6)]).toEqual([0xef, 0xbe, 0xef, 0xbe, 0xad, 0xde]);
  });

  it('gives a 64-bit value beyond 2^53 as one that no RAM contains', () => {
    const { memory } = makeMemory();
    memory.bytes.fill(0xff, 16, 24);
    expect(memory.contains(memory.read64(16), 1)).toBe(false);
  });

  it.each([
    [-1, 1],
    [SIZE, 1],
    [SIZE - 1, 2],
    [0.5, 1],
    [0, 1.5],
    [8, -1],
    [2 ** 64, 0],
    [Number.NaN, 1],
    [Number.POSITIVE_INFINITY, 1],
  ])('does not contain %d+%d', (address, length) => {
    expect(makeMemory().memory.contains(address, length)).toBe(false);
  });

  it('contains its first and last byte and the empty range at its end', () => {
    const { memory } = makeMemory();
    expect([memory.contains(0, SIZE), memory.contains(SIZE - 1, 1), memory.contains(SIZE, 0)]).toEqual([
      true,
      true,
      true,
    ]);
  });

  it('throws for every accessor that would leave RAM, and changes nothing', () => {
    const { memory, buffer, written } = makeMemory();
    const before = new Uint8Array(buffer).slice();
    for (const access of [
      () => memory.read8(SIZE),
      () => memory.read16(SIZE - 1),
      () => memory.read32(SIZE - 3),
      () => memory.read64(SIZE - 7),
      () => memory.write8(-1, 1),
      () => memory.write16(SIZE - 1, 1),
      () => memory.write32(SIZE - 3, 1),
      () => memory.write64(SIZE - 7, 1),
      () => memory.view(SIZE - 4, 5),
    ])
      expect(access).toThrow(GuestMemoryError);
    expect(new Uint8Array(buffer)).toEqual(before);
    expect(written).toEqual([]);
  });

  it('reports every store', () => {
    const { memory, written } = makeMemory();
    memory.write8(0, 1);
    memory.write16(2, 1);
    memory.write32(4, 1);
    memory.write64(8, 1);
    memory.view(32, 4).fill(7);
    memory.written(32, 4);
    expect(written).toEqual([
      [0, 1],
      [2, 2],
      [4, 4],
      [8, 8],
      [32, 4],
    ]);
    expect(memory.read32(32)).toBe(0x07070707);
  });
});
