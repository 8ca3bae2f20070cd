import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteRing, RING_CAPACITY } from '../../../devices/net/byte-ring.ts';
import { RamGuestMemory } from '../../../vmm/guest-memory.ts';
import { internetChecksum } from './frames.ts';

const source = Buffer.from(Array.from({ length: 2 * RING_CAPACITY }, (_, i) => (i * 13 + (i >>> 9)) & 0xff));

/** What the ring must be like: the bytes of `source` from `start` to `end`. */
interface Model {
  start: number;
  end: number;
}

const step = fc.oneof(
  fc.record({ kind: fc.constant('push' as const), count: fc.nat(90_000) }),
  fc.record({ kind: fc.constant('ahead' as const), count: fc.nat(5000) }),
  fc.record({ kind: fc.constant('skip' as const), count: fc.nat(90_000) }),
  fc.record({ kind: fc.constant('look' as const), count: fc.nat(RING_CAPACITY) }),
);

describe('ByteRing', () => {
  it('is a queue of bytes, also where they wrap around and were stored ahead of their turn', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) => {
        const ring = new ByteRing();
        const model: Model = { start: 0, end: 0 };
        const take = (count: number) => Math.min(count, ring.free, source.length - model.end);
        for (const { kind, count } of steps) {
          if (kind === 'push') {
            const length = take(count);
            ring.push(source, model.end, length);
            model.end += length;
          } else if (kind === 'ahead') {
            // The second half before the first.
            const length = take(count);
            const half = length >> 1;
            ring.store(half, source, model.end + half, length - half);
            ring.store(0, source, model.end, half);
            ring.commit(length);
            model.end += length;
          } else if (kind === 'skip') {
            const length = Math.min(count, ring.length);
            ring.skip(length);
            model.start += length;
          } else {
            look(ring, model, count);
          }
          expect(ring.length).toBe(model.end - model.start);
        }
        while (ring.length > 0) {
          const front = ring.front();
          expect(front.equals(source.subarray(model.start, model.start + front.length))).toBe(true);
          model.start += front.length;
          ring.skip(front.length);
        }
        expect(model.start).toBe(model.end);
      }),
    );
  });

  /** Compares from a place on: single bytes, the checksum's sum, and a copy into guest RAM. */
  function look(ring: ByteRing, model: Model, place: number): void {
    if (ring.length === 0) return;
    const offset = place % ring.length;
    const length = Math.min(ring.length - offset, 60_001);
    const expected = source.subarray(model.start + offset, model.start + offset + length);
    expect(ring.at(offset)).toBe(expected[0]);
    expect(~ring.sum(offset, length) & 0xffff).toBe(internetChecksum(expected));
    const memory = new RamGuestMemory(new ArrayBuffer(70_000), 0, 70_000, () => {});
    const segments = { count: 2, address: Float64Array.of(1, 40_000), length: Uint32Array.of(30_000, 30_000) };
    const count = Math.min(length, 50_000);
    ring.scatter(offset, count, memory, segments, 7);
    const stored = Buffer.concat([
      memory.view(8, Math.min(count, 29_993)),
      memory.view(40_000, Math.max(0, count - 29_993)),
    ]);
    expect(stored.equals(expected.subarray(0, count))).toBe(true);
  }
});
