import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SegmentList } from '../../../devices/net/backend.ts';
import { gather, scatter, segmentsLength } from '../../../devices/net/segments.ts';
import { RamGuestMemory } from '../../../vmm/guest-memory.ts';

function listOf(pieces: [number, number][]): SegmentList {
  return {
    count: pieces.length,
    address: Float64Array.from(pieces, ([address]) => address),
    length: Uint32Array.from(pieces, ([, length]) => length),
  };
}

describe('segments', () => {
  it('scatters at any place what gather then finds there, and touches nothing else', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(300), { minLength: 1, maxLength: 8 }),
        fc.nat(500),
        fc.nat(900),
        fc.nat(50),
        (sizes, at, length, from) => {
          const memory = new RamGuestMemory(new ArrayBuffer(8192), 0, 8192, () => {});
          let address = 100;
          const list = listOf(
            sizes.map((size) => {
              const piece: [number, number] = [address, size];
              address += size + 13;
              return piece;
            }),
          );
          const total = segmentsLength(list);
          at = Math.min(at, total);
          length = Math.min(length, total - at);
          const source = Uint8Array.from({ length: from + length }, (_, i) => (i % 255) + 1);
          scatter(memory, list, at, source, from, length);
          const seen = new Uint8Array(total + 3);
          expect(gather(memory, list, seen, 3)).toBe(total);
          const expected = new Uint8Array(total + 3);
          expected.set(source.subarray(from), 3 + at);
          expect(seen).toEqual(expected);
          expect(memory.bytes.reduce((count, byte) => count + (byte ? 1 : 0), 0)).toBe(length);
        },
      ),
    );
  });

  it('refuses to gather more than the target holds', () => {
    const memory = new RamGuestMemory(new ArrayBuffer(4096), 0, 4096, () => {});
    expect(
      gather(
        memory,
        listOf([
          [0, 10],
          [10, 1],
        ]),
        new Uint8Array(10),
        0,
      ),
    ).toBe(-1);
    expect(gather(memory, listOf([[0, 10]]), new Uint8Array(10), 0)).toBe(10);
  });
});
