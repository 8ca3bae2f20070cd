import type { Socket } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RING_CAPACITY } from '../../../../devices/net/byte-ring.ts';
import { SocketWriter } from '../../../../devices/net/socket-pump.ts';
import { TcpReceiver } from '../../../../devices/net/user/tcp-receiver.ts';

/** As much of a socket as SocketWriter uses: takes writes at once, or when told to. */
class FakeSocket {
  readonly writable = true;
  writableLength = 0;
  readonly chunks: Buffer[] = [];
  private readonly slow: boolean;
  private finish: (() => void) | undefined;

  constructor(slow: boolean) {
    this.slow = slow;
  }

  write(chunk: Uint8Array, callback: () => void): void {
    if (this.slow) this.writableLength += chunk.length;
    this.finish = () => {
      this.writableLength = 0;
      // Copied only now: a ring that reuses the place too early is found out.
      this.chunks.push(Buffer.from(chunk));
      callback();
    };
    if (!this.slow) this.drain();
  }

  /** The kernel took the last write. */
  drain(): boolean {
    const { finish } = this;
    this.finish = undefined;
    finish?.();
    return finish !== undefined;
  }
}

function makeReceiver(slow: boolean, next: number) {
  const socket = new FakeSocket(slow);
  const receiver = new TcpReceiver(new SocketWriter(socket as unknown as Socket, () => {}));
  receiver.start(next, 2);
  return { socket, receiver };
}

const bytesAt = (from: number, length: number) =>
  Buffer.from(Array.from({ length }, (_, i) => ((from + i) * 11 + ((from + i) >>> 8)) & 0xff));

describe('TcpReceiver', () => {
  it('gives the stream, whatever pieces come in whatever order, overlapping, repeated, across the wrap of 2^32', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.integer({ min: 0, max: 3000 }),
        fc.array(fc.record({ from: fc.nat(3000), length: fc.integer({ min: 0, max: 700 }) }), { maxLength: 60 }),
        fc.boolean(),
        (start, size, pieces, slow) => {
          const { socket, receiver } = makeReceiver(slow, start);
          const give = (from: number, to: number, push: boolean) => {
            const data = bytesAt(from, to - from);
            receiver.accept(
              (start + from) >>> 0,
              Buffer.concat([Buffer.alloc(3), data]),
              3,
              data.length,
              push,
              to === size,
            );
          };
          for (const { from, length } of pieces) {
            const begin = Math.min(from, size);
            give(begin, Math.min(begin + length, size), length % 2 === 0);
          }
          // What is still missing comes in order, in pieces that overlap the others.
          for (let from = 0; from < size; from += 300) give(from, Math.min(from + 350, size), true);
          give(size, size, true);
          while (socket.drain()) {}
          expect(receiver.finished).toBe(true);
          expect(receiver.next).toBe((start + size + 1) >>> 0);
          expect(Buffer.concat(socket.chunks).equals(bytesAt(0, size))).toBe(true);
          expect(receiver.ring.length).toBe(0);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('joins pieces that touch, so that one byte that fills the gap sets all free', () => {
    const { socket, receiver } = makeReceiver(false, 1000);
    for (const [from, to] of [
      [20, 30],
      [1, 5],
      [40, 50],
      [48, 60],
      [4, 22],
      [25, 45],
      [2, 3],
    ]) {
      receiver.accept(1000 + from, bytesAt(from, to - from), 0, to - from, true, false);
    }
    expect(receiver.next).toBe(1000);
    receiver.accept(1000, bytesAt(0, 1), 0, 1, true, false);
    expect(receiver.next).toBe(1060);
    expect(Buffer.concat(socket.chunks).equals(bytesAt(0, 60))).toBe(true);
  });

  it('takes no more than the ring holds, and tells of room again when a good part of it is free', () => {
    const { socket, receiver } = makeReceiver(true, 0);
    const chunk = Buffer.alloc(50_000);
    for (let i = 0; i < 10; i++) receiver.accept(receiver.next, chunk, 0, chunk.length, true, i === 9);
    expect(receiver.next).toBe(RING_CAPACITY);
    expect(receiver.finished).toBe(false);
    expect(receiver.advertise()).toBe(0);
    expect(receiver.updateDue()).toBe(false);
    while (socket.drain()) {}
    expect(receiver.updateDue()).toBe(true);
    expect(receiver.advertise()).toBe(Math.min(65535, RING_CAPACITY / 4));
    expect(receiver.updateDue()).toBe(false);
  });

  it('remembers only so many pieces, and forgets none that it took', () => {
    const { receiver } = makeReceiver(false, 0);
    for (let i = 0; i < 100; i++) receiver.accept(10 + 10 * i, bytesAt(10 + 10 * i, 5), 0, 5, true, false);
    receiver.accept(0, bytesAt(0, 10), 0, 10, true, false);
    expect(receiver.next).toBe(15);
    for (let at = 15; at < 10 * 16 + 5; at += 10) receiver.accept(at, bytesAt(at, 5), 0, 5, true, false);
    expect(receiver.next).toBe(165);
  });
});
