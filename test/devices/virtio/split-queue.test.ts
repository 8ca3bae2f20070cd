import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createSegmentList, gather, scatter } from '../../../devices/virtio/segments.ts';
import { SplitQueue } from '../../../devices/virtio/split-queue.ts';
import { MAX_CHAIN_LENGTH, NO_CHAIN } from '../../../devices/virtio/virtqueue.ts';
import { INDIRECT, makeMemory, NEXT, type Piece, RingDriver, WRITE } from './ring-driver.ts';

const RAM = 1 << 20;
const DATA = 0x80000;

interface SetUp {
  size?: number;
  eventIdx?: boolean;
  indirectDesc?: boolean;
}

function setUp({ size = 16, eventIdx = false, indirectDesc = true }: SetUp = {}) {
  const test = makeMemory(RAM);
  const driver = new RingDriver(test.memory, 0x1000, size);
  let errors = 0;
  const queue = new SplitQueue(test.memory, 256, () => errors++);
  queue.size = size;
  queue.addressWords.set(driver.addressWords);
  queue.enable({ eventIdx, indirectDesc });
  const readable = createSegmentList(MAX_CHAIN_LENGTH);
  const writable = createSegmentList(MAX_CHAIN_LENGTH);
  const pop = () => {
    readable.count = 0;
    writable.count = 0;
    return queue.pop(readable, writable);
  };
  return { ...test, driver, queue, readable, writable, pop, errors: () => errors };
}

const pieces = (list: { count: number; address: Float64Array; length: Uint32Array }) =>
  Array.from({ length: list.count }, (_, i) => [list.address[i], list.length[i]]);

describe('SplitQueue', () => {
  it('gives chains in the order in which the driver offered them, across the wrap of its indices', () => {
    const { driver, queue, pop, writable } = setUp({ size: 4 });
    for (let i = 0; i < 70_000; i++) {
      const head = driver.add([{ address: DATA + (i % 1000), length: 8, write: true }]);
      expect(queue.hasNext()).toBe(true);
      if (pop() !== head || writable.address[0] !== DATA + (i % 1000)) throw new Error(`wrong chain at ${i}`);
      queue.complete(head, 8);
      if (!queue.publish()) throw new Error(`no interrupt at ${i}`);
      const [used] = driver.takeUsed();
      if (used.id !== head || used.length !== 8) throw new Error(`wrong used entry at ${i}`);
    }
    expect(pop()).toBe(NO_CHAIN);
    expect(queue.hasNext()).toBe(false);
  });

  it('finds the rings of the legacy layout by page and alignment alone', () => {
    const { memory } = makeMemory(RAM);
    const driver = new RingDriver(memory, 0x3000, 256);
    const queue = new SplitQueue(memory, 256, () => {});
    queue.enableLegacy(0x3000, 4096);
    driver.add([{ address: DATA, length: 10 }]);
    const lists = [createSegmentList(MAX_CHAIN_LENGTH), createSegmentList(MAX_CHAIN_LENGTH)] as const;
    expect(queue.pop(...lists)).toBe(0);
    queue.complete(0, 0);
    queue.publish();
    expect(driver.takeUsed()).toEqual([{ id: 0, length: 0 }]);
  });

  it('appends to the lists, so that several chains make one buffer', () => {
    const { driver, queue, readable, writable } = setUp();
    driver.add([{ address: DATA, length: 1, write: true }]);
    driver.add([{ address: DATA + 8, length: 2, write: true }]);
    queue.pop(readable, writable);
    queue.pop(readable, writable);
    expect(pieces(writable)).toEqual([
      [DATA, 1],
      [DATA + 8, 2],
    ]);
  });

  it('leaves out empty descriptors, wherever they point', () => {
    const { driver, pop, readable } = setUp();
    driver.add([
      { address: 2 ** 40, length: 0 },
      { address: DATA, length: 3 },
    ]);
    expect(pop()).toBe(0);
    expect(pieces(readable)).toEqual([[DATA, 3]]);
  });

  it('is as new after a reset', () => {
    const { driver, queue, pop, memory } = setUp({ eventIdx: true });
    driver.add([{ address: DATA, length: 1 }]);
    queue.complete(pop(), 0);
    queue.publish();
    queue.reset();
    expect(queue.ready).toBe(false);
    expect(pop()).toBe(NO_CHAIN);
    expect([...queue.addressWords, queue.size]).toEqual([0, 0, 0, 0, 0, 0, 256]);
    const second = new RingDriver(memory, 0x9000, 16);
    queue.size = 16;
    queue.addressWords.set(second.addressWords);
    queue.enable({ eventIdx: false, indirectDesc: false });
    second.add([{ address: DATA, length: 1 }]);
    queue.complete(pop(), 0);
    expect(queue.publish()).toBe(true);
    expect(second.takeUsed()).toEqual([{ id: 0, length: 0 }]);
  });
});

describe('notification suppression', () => {
  it('without EVENT_IDX uses the flags both ways', () => {
    const { driver, queue, pop } = setUp();
    queue.disableNotifications();
    expect(driver.usedFlags).toBe(1);
    queue.enableNotifications();
    expect(driver.usedFlags).toBe(0);
    for (const quiet of [true, false]) {
      driver.noInterrupt = quiet;
      driver.add([{ address: DATA, length: 1 }]);
      queue.complete(pop(), 0);
      expect(queue.publish()).toBe(!quiet);
    }
  });

  it('with EVENT_IDX interrupts exactly when used_event is passed, also across the wrap', () => {
    const { driver, queue, pop } = setUp({ eventIdx: true, size: 16 });
    let shown = 0;
    for (let i = 0; i < 40_000; i++) {
      const batch = 1 + (i % 5);
      const event = (shown + (i % 7)) & 0xffff;
      driver.usedEvent = event;
      driver.noInterrupt = true; // means nothing with EVENT_IDX
      for (let j = 0; j < batch; j++) {
        driver.add([{ address: DATA, length: 1 }]);
        queue.complete(pop(), 0);
      }
      const expected = i % 7 < batch;
      if (queue.publish() !== expected) throw new Error(`step ${i}: used_event ${event}, batch ${batch} from ${shown}`);
      shown = (shown + batch) & 0xffff;
    }
  });

  it('with EVENT_IDX asks for the next chain by avail_event and leaves the flags alone', () => {
    const { driver, queue, pop } = setUp({ eventIdx: true });
    for (let i = 0; i < 3; i++) {
      driver.add([{ address: DATA, length: 1 }]);
      pop();
    }
    queue.disableNotifications();
    expect([driver.availEvent, driver.usedFlags]).toEqual([0, 0]);
    expect(queue.enableNotifications()).toBe(false);
    expect(driver.availEvent).toBe(3);
  });

  it('says nothing to publish when nothing was completed', () => {
    const { queue } = setUp();
    expect(queue.publish()).toBe(false);
  });
});

describe('what VMMs get wrong in virtio', () => {
  it('used.len is what the device wrote, not the length of the chain', () => {
    const { driver, queue, pop } = setUp();
    const head = driver.add([
      { address: DATA, length: 100 },
      { address: DATA + 100, length: 1000, write: true },
    ]);
    pop();
    queue.complete(head, 7);
    queue.publish();
    expect(driver.takeUsed()).toEqual([{ id: head, length: 7 }]);
  });

  it('every descriptor of a chain is processed, not only the first', () => {
    const { driver, pop, readable, writable } = setUp();
    const head = driver.add([
      { address: DATA, length: 1 },
      { address: DATA + 10, length: 2 },
      { address: DATA + 20, length: 3, write: true },
      { address: DATA + 30, length: 4, write: true },
    ]);
    expect(pop()).toBe(head);
    expect(pieces(readable)).toEqual([
      [DATA, 1],
      [DATA + 10, 2],
    ]);
    expect(pieces(writable)).toEqual([
      [DATA + 20, 3],
      [DATA + 30, 4],
    ]);
  });

  it.each<[string, Piece]>([
    ['just behind RAM', { address: RAM, length: 1 }],
    ['across the end of RAM', { address: RAM - 1, length: 2 }],
    ['at 2^64-1', { address: 2 ** 64 - 2048, length: 16 }],
    ['wrapping the address space', { address: 2 ** 63, length: 0xffffffff }],
  ])('a descriptor %s breaks the queue and answers instead of throwing', (_, piece) => {
    const { driver, queue, pop, errors } = setUp();
    driver.add([{ address: DATA, length: 4 }, piece]);
    expect(pop()).toBe(NO_CHAIN);
    expect([queue.error, queue.ready, errors()]).toEqual(['descriptor outside RAM', false, 1]);
    expect([queue.hasNext(), queue.enableNotifications(), pop()]).toEqual([false, false, NO_CHAIN]);
    expect(errors()).toBe(1);
  });

  it.each([1, 2, 16])('a chain that loops over %d descriptors ends', (period) => {
    const { driver, queue, pop, readable } = setUp();
    for (let i = 0; i < 16; i++) driver.descriptor(i, DATA, 1, NEXT, (i + 1) % period);
    driver.offer(0);
    expect(pop()).toBe(NO_CHAIN);
    expect(readable.count).toBe(16); // no more steps than the queue has entries
    expect(queue.error).toBe('descriptor chain loops');
  });

  it('a chain as long as the queue is no loop', () => {
    const { driver, pop, readable } = setUp();
    driver.add(Array.from({ length: 16 }, (_, i) => ({ address: DATA + i, length: 1 })));
    expect(pop()).toBe(0);
    expect(readable.count).toBe(16);
  });

  it.each([
    [17, 'more buffers available than the queue has entries'],
    [0x8000, 'more buffers available than the queue has entries'],
    [0xffff, 'more buffers available than the queue has entries'],
    [16, undefined],
  ])('avail.idx %d ahead of the device', (ahead, error) => {
    const { driver, queue, pop } = setUp();
    driver.add([{ address: DATA, length: 1 }]);
    driver.setAvailIdx(ahead);
    expect(pop()).toBe(error ? NO_CHAIN : 0);
    expect(queue.error).toBe(error);
  });

  it('the WRITE flag of a descriptor that refers to an indirect table is ignored', () => {
    const { driver, queue, memory, pop, readable } = setUp();
    const head = driver.addIndirect([{ address: DATA, length: 5 }]);
    memory.write16(driver.desc + 16 * head + 12, INDIRECT | WRITE);
    expect(pop()).toBe(head);
    expect([queue.error, pieces(readable)]).toEqual([undefined, [[DATA, 5]]]);
  });

  it('normal descriptors may come before the indirect one', () => {
    const { driver, pop, readable, writable } = setUp();
    const table: Piece[] = [
      { address: DATA + 10, length: 2 },
      { address: DATA + 20, length: 3, write: true },
    ];
    expect(pop()).toBe(NO_CHAIN);
    driver.addIndirect(table, [{ address: DATA, length: 1 }]);
    expect(pop()).toBe(0);
    expect(pieces(readable)).toEqual([
      [DATA, 1],
      [DATA + 10, 2],
    ]);
    expect(pieces(writable)).toEqual([[DATA + 20, 3]]);
  });

  it.each([0, 1, 2, 3, 7, 15])('an indirect table needs no alignment (offset %d)', (offset) => {
    const { driver, pop, readable } = setUp();
    driver.indirectAt = 0x40000 + offset;
    driver.addIndirect([
      { address: DATA, length: 1 },
      { address: DATA + 1, length: 2 },
    ]);
    expect(pop()).toBe(0);
    expect(readable.count).toBe(2);
  });

  it('length limits hold within indirect tables', () => {
    const long = setUp();
    long.driver.addIndirect(Array.from({ length: MAX_CHAIN_LENGTH }, () => ({ address: DATA, length: 1 })));
    expect(long.pop()).toBe(0);
    expect(long.readable.count).toBe(MAX_CHAIN_LENGTH);

    const tooLong = setUp();
    tooLong.driver.addIndirect(Array.from({ length: MAX_CHAIN_LENGTH + 1 }, () => ({ address: DATA, length: 1 })));
    expect(tooLong.pop()).toBe(NO_CHAIN);
    expect(tooLong.queue.error).toBe('descriptor chain too long');

    const looping = setUp();
    looping.driver.addIndirect(Array.from({ length: 8 }, () => ({ address: DATA, length: 1 })));
    const last = looping.driver.indirectAt - 16;
    looping.driver.writeDescriptor(last, DATA, 1, NEXT, 0);
    expect(looping.pop()).toBe(NO_CHAIN);
    expect(looping.queue.error).toBe('descriptor chain loops');
  });

  it.each([
    ['empty', 0, 'indirect table of a length that holds no whole descriptors'],
    ['of a broken length', 24, 'indirect table of a length that holds no whole descriptors'],
    ['beyond RAM', RAM, 'indirect table outside RAM'],
    ['of 4 GiB', 0xfffffff0, 'indirect table outside RAM'],
  ])('an indirect table %s breaks the queue', (_, length, error) => {
    const { driver, queue, pop } = setUp();
    driver.descriptor(0, 0x40000, length, INDIRECT);
    driver.offer(0);
    expect(pop()).toBe(NO_CHAIN);
    expect(queue.error).toBe(error);
  });

  it('an indirect table within an indirect table breaks the queue', () => {
    const { driver, queue, pop } = setUp();
    const inner = driver.table([{ address: DATA, length: 1 }]);
    const at = driver.indirectAt;
    driver.addIndirect([inner]);
    driver.writeDescriptor(at, inner.address, inner.length, INDIRECT, 0);
    expect(pop()).toBe(NO_CHAIN);
    expect(queue.error).toBe('indirect descriptor within an indirect table');
  });

  it('an indirect descriptor with a successor breaks the queue', () => {
    const { driver, queue, pop } = setUp();
    const table = driver.table([{ address: DATA, length: 1 }]);
    driver.descriptor(0, table.address, table.length, INDIRECT | NEXT, 1);
    driver.offer(0);
    expect(pop()).toBe(NO_CHAIN);
    expect(queue.error).toBe('indirect descriptor with a successor');
  });

  it('a link beyond the table breaks the queue, direct or indirect', () => {
    const direct = setUp();
    direct.driver.descriptor(0, DATA, 1, NEXT, 16);
    direct.driver.offer(0);
    expect(direct.pop()).toBe(NO_CHAIN);
    expect(direct.queue.error).toBe('descriptor link beyond its table');

    const indirect = setUp();
    const table = indirect.driver.indirectAt;
    indirect.driver.addIndirect([{ address: DATA, length: 1 }]);
    indirect.driver.writeDescriptor(table, DATA, 1, NEXT, 1);
    expect(indirect.pop()).toBe(NO_CHAIN);
    expect(indirect.queue.error).toBe('descriptor link beyond its table');
  });

  it('a head beyond the table breaks the queue', () => {
    const { driver, queue, pop } = setUp();
    driver.offer(16);
    expect(pop()).toBe(NO_CHAIN);
    expect(queue.error).toBe('head beyond the descriptor table');
  });

  it('a chain of more than 2^32 bytes breaks the queue, one of exactly 2^32 does not', () => {
    // RAM of 4 GiB that is not there: only its size matters to the walk.
    const { memory } = makeMemory(RAM);
    const huge = Object.create(memory, {
      contains: { value: (address: number, length: number) => address >= 0 && address + length <= 2 ** 32 },
    });
    const lists = [createSegmentList(MAX_CHAIN_LENGTH), createSegmentList(MAX_CHAIN_LENGTH)] as const;
    for (const [tail, error] of [
      [0, undefined],
      [1, 'descriptor chain of more than 4 GiB'],
    ] as const) {
      const driver = new RingDriver(memory, 0x1000, 16);
      const queue = new SplitQueue(huge, 256, () => {});
      queue.size = 16;
      queue.addressWords.set(driver.addressWords);
      queue.enable({ eventIdx: false, indirectDesc: false });
      driver.add([
        { address: 0, length: 0xffffffff },
        { address: 0, length: 1 },
        { address: 0, length: tail },
      ]);
      queue.pop(...lists);
      expect(queue.error).toBe(error);
    }
  });

  it.each([false, true])('re-enabling notifications looks again for chains (EVENT_IDX %s)', (eventIdx) => {
    const { driver, queue, pop } = setUp({ eventIdx });
    queue.disableNotifications();
    driver.add([{ address: DATA, length: 1 }]);
    pop();
    expect(pop()).toBe(NO_CHAIN);
    driver.add([{ address: DATA, length: 1 }]); // the driver saw notifications suppressed and will not kick
    expect(queue.enableNotifications()).toBe(true);
    pop();
    expect(queue.enableNotifications()).toBe(false);
  });

  it('features that were not accepted are not used', () => {
    const { driver, queue, pop } = setUp({ eventIdx: false, indirectDesc: false });
    driver.usedEvent = 0x7777;
    driver.add([{ address: DATA, length: 1 }]);
    queue.complete(pop(), 0);
    expect(queue.publish()).toBe(true); // flags, not used_event
    queue.enableNotifications();
    expect(driver.availEvent).toBe(0);
    driver.addIndirect([{ address: DATA, length: 1 }]);
    expect(pop()).toBe(NO_CHAIN);
    expect(queue.error).toBe('indirect descriptor without VIRTIO_F_INDIRECT_DESC');
  });

  it('a descriptor that changes after it was taken changes nothing (TOCTOU)', () => {
    const { driver, memory, pop, readable } = setUp();
    driver.add([{ address: DATA, length: 4 }]);
    const reads = new Map<number, number>();
    const { read16, read32, read64 } = memory;
    for (const [name, read] of Object.entries({ read16, read32, read64 })) {
      Object.defineProperty(memory, name, {
        value: (address: number) => {
          reads.set(address, (reads.get(address) ?? 0) + 1);
          return read.call(memory, address);
        },
      });
    }
    pop();
    expect(Math.max(...reads.values())).toBe(1); // checked and used from the same read
    driver.descriptor(0, RAM + 5, 0xffffffff, NEXT, 99);
    expect(pieces(readable)).toEqual([[DATA, 4]]);
  });

  it.each([0, 3, 17, 255, 257, 512, 65535])('a queue size of %d is refused', (size) => {
    const { queue, errors } = setUp({ size });
    expect([queue.ready, errors()]).toEqual([false, 1]);
    expect(queue.error).toBe('queue size is not a power of two within the device’s limit');
  });

  it('rings outside RAM are refused, each of the three', () => {
    for (const word of [0, 2, 4]) {
      for (const [low, high] of [
        [RAM - 8, 0],
        [0xfffffff0, 0xffffffff],
        [0x1000, 1],
      ]) {
        const { memory } = makeMemory(RAM);
        const queue = new SplitQueue(memory, 256, () => {});
        queue.addressWords.set(new RingDriver(memory, 0x1000, 256).addressWords);
        queue.addressWords[word] = low;
        queue.addressWords[word + 1] = high;
        queue.enable({ eventIdx: true, indirectDesc: true });
        expect([queue.ready, queue.error]).toEqual([false, 'ring outside RAM']);
      }
    }
    const { memory } = makeMemory(RAM);
    const legacy = new SplitQueue(memory, 256, () => {});
    legacy.enableLegacy(0xffffffff * 4096, 4096);
    expect(legacy.error).toBe('ring outside RAM');
  });

  it('a readable descriptor behind a writable one breaks the queue', () => {
    const { driver, queue, pop } = setUp();
    driver.add([
      { address: DATA, length: 1, write: true },
      { address: DATA, length: 1 },
    ]);
    expect(pop()).toBe(NO_CHAIN);
    expect(queue.error).toBe('readable descriptor behind a writable one');
  });
});

describe('properties', () => {
  it('random bytes in rings, tables and descriptors never throw, never leave RAM, never loop for ever', () => {
    const test = makeMemory(64 * 1024);
    const { memory } = test;
    const lists = [createSegmentList(MAX_CHAIN_LENGTH), createSegmentList(MAX_CHAIN_LENGTH)] as const;
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 512, maxLength: 512 }),
        fc.array(fc.tuple(fc.nat(0xffff), fc.nat(0xffff), fc.nat(7)), { maxLength: 16 }),
        fc.boolean(),
        (noise, nearMisses, eventIdx) => {
          test.written.length = 0;
          memory.bytes.fill(0);
          memory.bytes.set(noise, 0);
          // Descriptors that are nearly right reach deeper than pure noise.
          for (const [i, [address, length, flags]] of nearMisses.entries()) {
            memory.write64(16 * i, address);
            memory.write32(16 * i + 8, length);
            memory.write16(16 * i + 12, flags);
            memory.write16(16 * i + 14, length % 17);
            memory.write16(0x1004 + 2 * i, length % 16);
          }
          memory.write16(0x1002, nearMisses.length);
          const queue = new SplitQueue(memory, 16, () => {});
          queue.addressWords.set([0, 0, 0x1000, 0, 0x2000, 0]);
          queue.enable({ eventIdx, indirectDesc: true });
          for (let taken = 0; taken <= 16; taken++) {
            lists[0].count = lists[1].count = 0;
            const id = queue.pop(...lists);
            if (id === NO_CHAIN) break;
            expect(taken).toBeLessThan(16);
            for (const list of lists)
              for (let i = 0; i < list.count; i++)
                expect(memory.contains(list.address[i], list.length[i]) && list.length[i] > 0).toBe(true);
            queue.complete(id, 1);
          }
          queue.publish();
          queue.enableNotifications();
        },
      ),
      { numRuns: 2000 },
    );
    test.checkGuards();
  });

  it('every byte arrives exact, in order, for any chain layout', () => {
    const layout = fc.record({
      read: fc.array(fc.nat(300), { maxLength: 6 }),
      write: fc.array(fc.nat(300), { maxLength: 6 }),
      direct: fc.nat(12),
      indirect: fc.boolean(),
    });
    fc.assert(
      fc.property(layout, fc.infiniteStream(fc.nat(255)), ({ read, write, direct, indirect }, bytes) => {
        const { driver, queue, memory, pop, readable, writable } = setUp();
        let at = DATA;
        const place = (length: number, isWrite: boolean): Piece => {
          const piece = { address: at, length, write: isWrite };
          at += length + 3;
          return piece;
        };
        const all = [...read.map((n) => place(n, false)), ...write.map((n) => place(n, true))];
        if (all.length === 0) return;
        const sent = Uint8Array.from({ length: read.reduce((a, b) => a + b, 0) }, () => bytes.next().value);
        let done = 0;
        for (const piece of all.slice(0, read.length)) {
          memory.bytes.set(sent.subarray(done, done + piece.length), piece.address);
          done += piece.length;
        }
        const split = Math.min(direct, all.length - 1);
        if (indirect) driver.addIndirect(all.slice(split), all.slice(0, split));
        else driver.add(all);

        const head = pop();
        expect(head).toBe(0);
        const received = new Uint8Array(sent.length + 1);
        expect(gather(memory, readable, 0, received)).toBe(sent.length);
        expect(received.subarray(0, sent.length)).toEqual(sent);

        const answer = Uint8Array.from({ length: write.reduce((a, b) => a + b, 0) }, () => bytes.next().value);
        const half = answer.length >> 1;
        expect(scatter(memory, writable, 0, answer.subarray(0, half))).toBe(half);
        expect(scatter(memory, writable, half, answer.subarray(half))).toBe(answer.length - half);
        queue.complete(head, answer.length);
        queue.publish();
        expect(driver.takeUsed()).toEqual([{ id: head, length: answer.length }]);
        const found = all
          .slice(read.length)
          .flatMap((p) => [...memory.bytes.subarray(p.address, p.address + p.length)]);
        expect(Uint8Array.from(found)).toEqual(answer);
      }),
      { numRuns: 500 },
    );
  });
});
