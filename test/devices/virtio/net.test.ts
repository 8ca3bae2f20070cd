import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TUN_F_CSUM, TUN_F_TSO_ECN, TUN_F_TSO4, TUN_F_TSO6, TUN_F_UFO } from '../../../devices/net/backend.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC } from '../../../devices/virtio/features.ts';
import { CONTROL_QUEUE, RECEIVE_QUEUE, TRANSMIT_QUEUE, VirtioNet } from '../../../devices/virtio/net.ts';
import * as control from '../../../devices/virtio/net-control.ts';
import * as f from '../../../devices/virtio/net-features.ts';
import { MAC_TABLE_ENTRIES } from '../../../devices/virtio/net-filter.ts';
import { VirtioMmio } from '../../../devices/virtio/transport-mmio.ts';
import { VirtioPci } from '../../../devices/virtio/transport-pci.ts';
import { DEVICE_NEEDS_RESET } from '../../../devices/virtio/virtio-device.ts';
import { FakeBackend } from './fake-backend.ts';
import { makeMemory, type Piece } from './ring-driver.ts';
import { LegacyPciDriver, MmioDriver, ModernPciDriver, recordingSlot } from './virtio-driver.ts';

const RAM = 8 << 20;
const DATA = 0x100000;
const MAC = Uint8Array.of(0x52, 0x54, 0, 1, 2, 3);
const ALL_OFFLOADS = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_UFO;

function setUp({ offloads = ALL_OFFLOADS, mtu }: { offloads?: number; mtu?: number } = {}) {
  const test = makeMemory(RAM);
  const backend = new FakeBackend(offloads);
  const net = new VirtioNet(test.memory, { backend, mac: MAC, ...(mtu === undefined ? {} : { mtu }) });
  const pci = new VirtioPci(net);
  const recorder = recordingSlot();
  pci.attach(recorder.slot);
  return { ...test, ...recorder, backend, net, legacy: new LegacyPciDriver(pci), modern: new ModernPciDriver(pci) };
}

/** `length` bytes: 12 of header (flags 1, gso_type 0, hdr_len 0x3322, …) and a frame of counted bytes from `seed` on. */
function packet(length: number, seed = 7, destination = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, i) => (seed + i * 31) & 0xff);
  bytes.set([1, 0, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0, 0], 0);
  bytes.set(destination, 12);
  return bytes;
}

const bytesAt = (memory: { bytes: Uint8Array }, pieces: Piece[]) =>
  Uint8Array.from(pieces.flatMap((p) => [...memory.bytes.subarray(p.address, p.address + p.length)]));

describe('offer', () => {
  it('to a legacy driver has what the Unikraft guests accept', () => {
    const { legacy } = setUp();
    expect(legacy.offered()).toEqual(
      expect.arrayContaining([
        f.VIRTIO_NET_F_CSUM,
        f.VIRTIO_NET_F_GUEST_CSUM,
        f.VIRTIO_NET_F_MAC,
        f.VIRTIO_NET_F_GSO,
        f.VIRTIO_NET_F_HOST_TSO4,
        f.VIRTIO_NET_F_STATUS,
        f.VIRTIO_NET_F_GUEST_ANNOUNCE,
        VIRTIO_F_EVENT_IDX,
      ]),
    );
  });

  it('has only the offloads that the back end has', () => {
    const offloadBits = [0, 1, 2, 6, 7, 8, 9, 10, 11, 12, 13, 14, 54, 55, 56];
    const offered = (offloads: number) => {
      const { legacy, modern } = setUp({ offloads });
      const bits = new Set([...legacy.offered(), ...modern.offered()]);
      return offloadBits.filter((bit) => bits.has(bit));
    };
    expect(offered(0)).toEqual([]);
    expect(offered(TUN_F_CSUM)).toEqual([0, 1, 2]);
    expect(offered(TUN_F_TSO4)).toEqual([]); // nothing without the checksum
    expect(offered(TUN_F_CSUM | TUN_F_TSO4)).toEqual([0, 1, 2, 7, 11]);
    expect(offered(ALL_OFFLOADS)).toEqual([0, 1, 2, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
    expect(offered(0x7f)).toEqual(offloadBits);
  });

  it('has an MTU only where one was given', () => {
    expect(setUp().modern.offered()).not.toContain(f.VIRTIO_NET_F_MTU);
    const { modern } = setUp({ mtu: 1400 });
    expect(modern.offered()).toContain(f.VIRTIO_NET_F_MTU);
    expect(modern.config(10, 2)).toBe(1400);
  });

  it('shows MAC and link', () => {
    const { legacy, modern } = setUp();
    for (const driver of [legacy, modern]) {
      expect([0, 1, 2, 3, 4, 5].map((i) => driver.config(i, 1))).toEqual([...MAC]);
      expect(driver.config(6, 2)).toBe(1);
    }
  });

  it('passes the accepted offloads to the back end when the driver is ready, and takes them back at reset', () => {
    const { modern, memory, backend } = setUp();
    modern.start([f.VIRTIO_NET_F_GUEST_CSUM, f.VIRTIO_NET_F_GUEST_TSO4], memory);
    expect(backend.guestOffloads).toBe(TUN_F_CSUM | TUN_F_TSO4);
    modern.setStatus(0);
    expect(backend.guestOffloads).toBe(0);
    modern.start([f.VIRTIO_NET_F_GUEST_TSO4], memory); // without GUEST_CSUM: nothing
    expect(backend.guestOffloads).toBe(0);
  });
});

describe('transmit', () => {
  it('a 12-byte header goes out as it is', () => {
    const { modern, memory, backend } = setUp();
    modern.start([], memory);
    const sent = packet(100);
    memory.bytes.set(sent, DATA);
    const head = modern.rings[TRANSMIT_QUEUE].add([{ address: DATA, length: 100 }]);
    modern.kick(TRANSMIT_QUEUE);
    expect(backend.sent).toEqual([sent]);
    expect(modern.rings[TRANSMIT_QUEUE].takeUsed()).toEqual([{ id: head, length: 0 }]);
  });

  it('a 10-byte header gets its two bytes without moving the frame, for any layout', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 12 }), (lengths) => {
        const { legacy, memory, backend } = setUp();
        legacy.start([], memory);
        let at = DATA;
        const pieces = lengths.map((length) => {
          at += length + 50;
          return { address: at, length };
        });
        const total = lengths.reduce((a, b) => a + b, 0);
        const bytes = Uint8Array.from({ length: total }, (_, i) => i + 1);
        let done = 0;
        for (const piece of pieces) {
          memory.bytes.set(bytes.subarray(done, done + piece.length), piece.address);
          done += piece.length;
        }
        legacy.rings[TRANSMIT_QUEUE].add(pieces);
        legacy.kick(TRANSMIT_QUEUE);
        if (total <= 10) {
          expect(backend.sent).toEqual([]);
        } else {
          const [wire] = backend.sent;
          expect(wire.length).toBe(total + 2);
          expect([...wire.subarray(0, 10), ...wire.subarray(12)]).toEqual([...bytes]);
        }
        expect(legacy.rings[TRANSMIT_QUEUE].takeUsed()).toHaveLength(1);
      }),
      { numRuns: 200 },
    );
  });

  it('one interrupt tells of a whole batch', () => {
    const { legacy, memory, backend, state } = setUp();
    legacy.start([], memory);
    for (let i = 0; i < 50; i++) legacy.rings[TRANSMIT_QUEUE].add([{ address: DATA, length: 60 }]);
    legacy.kick(TRANSMIT_QUEUE);
    expect([backend.sent.length, state.edges]).toEqual([50, 1]);
  });

  it('works in bounded steps, and the rest goes out with the next pump although the driver was told not to kick', () => {
    const { legacy, memory, backend, net } = setUp();
    legacy.start([], memory);
    const ring = legacy.rings[TRANSMIT_QUEUE];
    const send = FakeBackend.prototype.send;
    // A driver that keeps adding while the device works, as another CPU could.
    backend.send = (...args) => {
      send.apply(backend, args);
      if (backend.sent.length < 1000) ring.add([{ address: DATA, length: 60 }]);
    };
    ring.add([{ address: DATA, length: 60 }]);
    legacy.kick(TRANSMIT_QUEUE);
    expect([backend.sent.length, ring.usedFlags]).toEqual([256, 1]);
    expect([net.pump(), net.pump(), net.pump(), net.pump()]).toEqual([256, 256, 232, 0]);
    expect([backend.sent.length, ring.usedFlags]).toEqual([1000, 0]);
  });

  it('with EVENT_IDX asks for the kick behind the last packet', () => {
    const { legacy, memory } = setUp();
    legacy.start([VIRTIO_F_EVENT_IDX], memory);
    for (let i = 0; i < 5; i++) legacy.rings[TRANSMIT_QUEUE].add([{ address: DATA, length: 60 }]);
    legacy.kick(TRANSMIT_QUEUE);
    expect(legacy.rings[TRANSMIT_QUEUE].availEvent).toBe(5);
  });

  it('a packet larger than any is dropped and given back', () => {
    const { modern, memory, backend } = setUp();
    modern.start([], memory);
    modern.rings[TRANSMIT_QUEUE].add([{ address: DATA, length: 70_000 }]);
    modern.rings[TRANSMIT_QUEUE].add([{ address: DATA, length: 12 }]);
    modern.kick(TRANSMIT_QUEUE);
    expect(backend.sent).toEqual([]);
    expect(modern.rings[TRANSMIT_QUEUE].takeUsed()).toHaveLength(2);
  });
});

describe('receive', () => {
  it('a 10-byte header is what a legacy driver gets, at any split of its buffer', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 10 }),
        fc.integer({ min: 26, max: 200 }),
        (lengths, size) => {
          const { legacy, memory, backend, net, checkGuards } = setUp();
          legacy.start([], memory);
          let at = DATA;
          const buffers = [0, 1, 2].map(() =>
            [...lengths, 12, 300].map((length) => {
              at += 350;
              return { address: at, length, write: true };
            }),
          );
          const heads = buffers.map((pieces) => legacy.rings[RECEIVE_QUEUE].add(pieces));
          const sent = buffers.map((_, i) => packet(size + i, i));
          backend.incoming.push(...sent);
          expect(net.pump()).toBe(3);
          expect(legacy.rings[RECEIVE_QUEUE].takeUsed()).toEqual(heads.map((id, i) => ({ id, length: size + i - 2 })));
          for (const [i, pieces] of buffers.entries()) {
            const found = bytesAt(memory, pieces).subarray(0, size + i - 2);
            expect([...found]).toEqual([...sent[i].subarray(0, 10), ...sent[i].subarray(12)]);
          }
          checkGuards();
        },
      ),
      { numRuns: 200 },
    );
  });

  it('a modern driver without mergeable buffers reads num_buffers 1', () => {
    const { modern, memory, backend, net } = setUp();
    modern.start([], memory);
    const pieces = [
      { address: DATA, length: 11, write: true },
      { address: DATA + 20, length: 2000, write: true },
    ];
    const head = modern.rings[RECEIVE_QUEUE].add(pieces);
    const sent = packet(90);
    backend.incoming.push(sent);
    net.pump();
    expect(modern.rings[RECEIVE_QUEUE].takeUsed()).toEqual([{ id: head, length: 90 }]);
    sent[10] = 1;
    expect(bytesAt(memory, pieces).subarray(0, 90)).toEqual(sent);
  });

  it('mergeable buffers take every packet exactly, whatever their sizes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 12, max: 400 }), { minLength: 64, maxLength: 64 }),
        fc.array(fc.integer({ min: 26, max: 1500 }), { minLength: 1, maxLength: 5 }),
        (buffers, sizes) => {
          const { modern, memory, backend, net, checkGuards } = setUp();
          modern.start([f.VIRTIO_NET_F_MRG_RXBUF], memory);
          const ring = modern.rings[RECEIVE_QUEUE];
          let at = DATA;
          const byHead = new Map<number, Piece>();
          for (const length of buffers) {
            const piece = { address: at, length, write: true };
            byHead.set(ring.add([piece]), piece);
            at += length + 16;
          }
          const sent = sizes.map((size, i) => packet(size, i));
          backend.incoming.push(...sent);
          while (net.pump() > 0);
          net.pump(); // a driver that was waited for in vain
          while (net.pump() > 0);
          const used = ring.takeUsed();
          const got = sent.slice(0, sent.length - backend.incoming.length - backend.dropped);
          for (const expected of got) {
            const first = byHead.get(used[0].id)!;
            const count = memory.read16(first.address + 10);
            const parts = used.splice(0, count);
            const bytes = parts.flatMap(({ id, length }) => [
              ...memory.bytes.subarray(byHead.get(id)!.address, byHead.get(id)!.address + length),
            ]);
            expected[10] = count;
            expected[11] = count >> 8;
            expect(Uint8Array.from(bytes)).toEqual(expected);
            // All but the last buffer of a packet are full.
            for (const part of parts.slice(0, -1)) expect(part.length).toBe(byHead.get(part.id)!.length);
          }
          expect(used).toEqual([]);
          expect(backend.incoming).toEqual([]);
          checkGuards();
        },
      ),
      { numRuns: 100 },
    );
  });

  it('loses nothing while the driver is about to refill a ring without room for the largest packet', () => {
    const { modern, memory, backend, net } = setUp();
    modern.start(
      [f.VIRTIO_NET_F_MRG_RXBUF, f.VIRTIO_NET_F_GUEST_CSUM, f.VIRTIO_NET_F_GUEST_TSO4, f.VIRTIO_NET_F_GUEST_TSO6],
      memory,
      256,
    );
    const ring = modern.rings[RECEIVE_QUEUE];
    const refill = (count: number) => {
      for (let i = 0; i < count; i++) ring.add([{ address: DATA + 2048 * (i % 512), length: 1536, write: true }]);
    };
    refill(256);
    for (let i = 0; i < 40; i++) backend.incoming.push(packet(65_550, i));
    let packets = 0;
    for (let round = 0; round < 100 && backend.incoming.length > 0; round++) {
      packets += net.pump();
      refill(ring.takeUsed().length);
    }
    expect([packets, backend.dropped]).toEqual([40, 0]);
  });

  it('a driver that posts little gets all that fits, without waiting', () => {
    const { modern, memory, backend, net } = setUp();
    modern.start([f.VIRTIO_NET_F_MRG_RXBUF, f.VIRTIO_NET_F_GUEST_CSUM, f.VIRTIO_NET_F_GUEST_TSO4], memory);
    for (let i = 0; i < 8; i++)
      modern.rings[RECEIVE_QUEUE].add([{ address: DATA + 2048 * i, length: 2048, write: true }]);
    for (let i = 0; i < 8; i++) backend.incoming.push(packet(1500, i));
    expect(net.pump()).toBe(8);
  });

  it('stops when the ring is empty, asks for a kick, and goes on with it', () => {
    const { legacy, memory, backend, net } = setUp();
    legacy.start([], memory);
    const ring = legacy.rings[RECEIVE_QUEUE];
    expect(ring.usedFlags).toBe(1);
    expect(net.canReceive).toBe(false);
    backend.incoming.push(packet(60), packet(61), packet(62));
    expect(net.pump()).toBe(0);
    expect(ring.usedFlags).toBe(0);
    ring.add([{ address: DATA, length: 1526, write: true }]);
    expect(net.canReceive).toBe(true);
    ring.add([{ address: DATA + 2048, length: 1526, write: true }]);
    legacy.kick(RECEIVE_QUEUE);
    expect(ring.takeUsed().map((u) => u.length)).toEqual([58, 59]);
    expect(net.canReceive).toBe(false);
    ring.add([{ address: DATA, length: 1526, write: true }]);
    expect(net.pump()).toBe(1); // seen through avail.idx alone
    expect(ring.takeUsed().map((u) => u.length)).toEqual([60]);
  });

  it('gives one interrupt per batch, and bounded batches', () => {
    const { legacy, memory, backend, net, state } = setUp();
    legacy.start([], memory);
    for (let i = 0; i < 256; i++)
      legacy.rings[RECEIVE_QUEUE].add([{ address: DATA + 2048 * i, length: 1526, write: true }]);
    for (let i = 0; i < 300; i++) backend.incoming.push(packet(60));
    expect(net.pump()).toBe(256);
    expect([state.edges, backend.incoming.length]).toEqual([1, 44]);
  });

  it('leaves packets to the descriptor that tells of them, and sends all the same', () => {
    const { legacy, memory, backend, net } = setUp();
    legacy.start([], memory);
    for (let i = 0; i < 3; i++)
      legacy.rings[RECEIVE_QUEUE].add([{ address: DATA + 2048 * i, length: 1526, write: true }]);
    backend.incoming.push(packet(60));
    expect(net.pump(false)).toBe(1); // there is none
    backend.pollFd = 7;
    backend.incoming.push(packet(60), packet(60));
    legacy.rings[TRANSMIT_QUEUE].add([{ address: DATA + 2048 * 3, length: 60 }]);
    expect([net.pump(false), net.canReceive]).toEqual([1, true]);
    expect([backend.sent.length, backend.incoming.length]).toEqual([1, 2]);
    expect(net.pump()).toBe(2);
  });

  it('takes nothing before DRIVER_OK and after a reset, and forgets the buffers', () => {
    const { legacy, memory, backend, net } = setUp();
    backend.incoming.push(packet(60));
    expect([net.pump(), net.canReceive]).toEqual([0, false]);
    legacy.start([], memory);
    legacy.rings[RECEIVE_QUEUE].add([{ address: DATA, length: 1526, write: true }]);
    legacy.rings[RECEIVE_QUEUE].add([{ address: DATA, length: 1526, write: true }]);
    net.pump();
    legacy.setStatus(0);
    const before = memory.bytes.slice();
    backend.incoming.push(packet(60));
    expect(net.pump()).toBe(0);
    expect(Buffer.compare(memory.bytes, before)).toBe(0);
    memory.bytes.fill(0, 0, 0x20000);
    legacy.start([], memory);
    legacy.rings[RECEIVE_QUEUE].chain([{ address: DATA, length: 1 }]);
    const head = legacy.rings[RECEIVE_QUEUE].add([{ address: DATA + 8192, length: 1526, write: true }]);
    expect(net.pump()).toBe(1);
    expect(legacy.rings[RECEIVE_QUEUE].takeUsed()).toEqual([{ id: head, length: 58 }]);
    expect(memory.read8(DATA + 8192)).toBe(1);
  });

  it('a receive buffer that cannot hold a header breaks the queue', () => {
    const { modern, memory, backend, net } = setUp();
    modern.start([], memory);
    modern.rings[RECEIVE_QUEUE].add([{ address: DATA, length: 11, write: true }]);
    backend.incoming.push(packet(60));
    net.pump();
    expect(modern.status() & DEVICE_NEEDS_RESET).toBe(DEVICE_NEEDS_RESET);
    expect(net.pump()).toBe(0);
  });
});

describe('control queue', () => {
  function start(features = [17, 18, 20, 21, 23, 2, 1, 7]) {
    const set = setUp();
    set.modern.start(features, set.memory);
    const command = (...bytes: number[]) => {
      const { memory, modern } = set;
      const ring = modern.rings[CONTROL_QUEUE];
      const table = DATA + 0x80000;
      memory.bytes.set(bytes, table);
      memory.write8(table - 1, 0xee);
      const pieces = [
        { address: table, length: 1 },
        { address: table + 1, length: bytes.length - 1 },
        { address: table - 1, length: 1, write: true },
      ];
      const head = ring.add(pieces);
      modern.kick(CONTROL_QUEUE);
      expect(ring.takeUsed()).toEqual([{ id: head, length: 1 }]);
      return memory.read8(table - 1);
    };
    return { ...set, command };
  }
  const { VIRTIO_NET_OK: OK, VIRTIO_NET_ERR: ERR } = control;

  it('sets every receive mode', () => {
    const { command, net } = start();
    const flags = () => [
      net.filter.promisc,
      net.filter.allmulti,
      net.filter.alluni,
      net.filter.nomulti,
      net.filter.nouni,
      net.filter.nobcast,
    ];
    expect(flags()).toEqual([true, false, false, false, false, false]);
    for (let mode = 0; mode < 6; mode++) expect(command(control.VIRTIO_NET_CTRL_RX, mode, mode === 0 ? 0 : 1)).toBe(OK);
    expect(flags()).toEqual([false, true, true, true, true, true]);
    expect(command(control.VIRTIO_NET_CTRL_RX, 6, 1)).toBe(ERR);
    expect(command(control.VIRTIO_NET_CTRL_RX, 0, 1, 1)).toBe(ERR);
  });

  it('filters by address, table and mode', () => {
    const { command, net } = start();
    const accepts = (...mac: number[]) => net.filter.accepts(Uint8Array.from(mac));
    expect(accepts(2, 0, 0, 0, 0, 9)).toBe(true);
    command(control.VIRTIO_NET_CTRL_RX, control.VIRTIO_NET_CTRL_RX_PROMISC, 0);
    expect([accepts(...MAC), accepts(2, 0, 0, 0, 0, 9), accepts(255, 255, 255, 255, 255, 255)]).toEqual([
      true,
      false,
      true,
    ]);
    expect(accepts(1, 0, 0x5e, 0, 0, 1)).toBe(false);
    const tables = [1, 0, 0, 0, 2, 0, 0, 0, 0, 9, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 1];
    expect(command(control.VIRTIO_NET_CTRL_MAC, control.VIRTIO_NET_CTRL_MAC_TABLE_SET, ...tables)).toBe(OK);
    expect([accepts(2, 0, 0, 0, 0, 9), accepts(1, 0, 0x5e, 0, 0, 1), accepts(1, 0, 0x5e, 0, 0, 2)]).toEqual([
      true,
      true,
      false,
    ]);
    command(control.VIRTIO_NET_CTRL_RX, control.VIRTIO_NET_CTRL_RX_NOBCAST, 1);
    command(control.VIRTIO_NET_CTRL_RX, control.VIRTIO_NET_CTRL_RX_NOMULTI, 1);
    command(control.VIRTIO_NET_CTRL_RX, control.VIRTIO_NET_CTRL_RX_NOUNI, 1);
    expect([accepts(...MAC), accepts(1, 0, 0x5e, 0, 0, 1), accepts(255, 255, 255, 255, 255, 255)]).toEqual([
      false,
      false,
      false,
    ]);
  });

  it('drops the frames that the driver does not want, and keeps the buffer for the next', () => {
    const { command, net, backend, modern } = start([17, 18]);
    command(control.VIRTIO_NET_CTRL_RX, control.VIRTIO_NET_CTRL_RX_PROMISC, 0);
    const ring = modern.rings[RECEIVE_QUEUE];
    const head = ring.add([{ address: DATA, length: 1526, write: true }]);
    backend.incoming.push(packet(60, 1, [2, 0, 0, 0, 0, 9]), packet(61, 1, [...MAC]));
    expect(net.pump()).toBe(2);
    expect(ring.takeUsed()).toEqual([{ id: head, length: 61 }]);
  });

  it('allocates nothing by the counts that a guest names', () => {
    const { command, net } = start();
    const [MAC_CLASS, TABLE_SET] = [control.VIRTIO_NET_CTRL_MAC, control.VIRTIO_NET_CTRL_MAC_TABLE_SET];
    command(control.VIRTIO_NET_CTRL_RX, control.VIRTIO_NET_CTRL_RX_PROMISC, 0);
    const other = Uint8Array.of(2, 9, 9, 9, 9, 9);
    expect(command(MAC_CLASS, TABLE_SET, 255, 255, 255, 255)).toBe(ERR);
    expect(command(MAC_CLASS, TABLE_SET, 255, 255, 255, 255, 0, 0, 0, 0)).toBe(ERR);
    expect(command(MAC_CLASS, TABLE_SET, 0, 0, 0, 0, 255, 255, 255, 255)).toBe(ERR);
    expect(command(MAC_CLASS, TABLE_SET)).toBe(ERR);
    expect(net.filter.accepts(other)).toBe(false);
    // More than fit, truly sent: that kind is no longer filtered.
    const many = Array.from({ length: (MAC_TABLE_ENTRIES + 1) * 6 }, () => 2);
    expect(command(MAC_CLASS, TABLE_SET, MAC_TABLE_ENTRIES + 1, 0, 0, 0, ...many, 0, 0, 0, 0)).toBe(OK);
    expect(net.filter.accepts(other)).toBe(true);
    expect(net.filter.accepts(Uint8Array.of(1, 2, 3, 4, 5, 6))).toBe(false);
  });

  it('changes the MAC, and a reset brings the first one back', () => {
    const { command, net, modern } = start();
    expect(command(control.VIRTIO_NET_CTRL_MAC, control.VIRTIO_NET_CTRL_MAC_ADDR_SET, 2, 3, 4, 5, 6, 7)).toBe(OK);
    expect([modern.config(0, 4), modern.config(4, 2)]).toEqual([0x05040302, 0x0706]);
    modern.setConfig(0, 1, 0x66); // read-only to modern drivers
    expect(modern.config(0, 1)).toBe(2);
    modern.setStatus(0);
    expect([...net.filter.mac]).toEqual([...MAC]);
  });

  it('a legacy driver without CTRL_MAC_ADDR writes the MAC into the configuration', () => {
    const { legacy, memory, net } = setUp();
    legacy.start([], memory);
    for (let i = 0; i < 6; i++) legacy.setConfig(i, 1, 0x20 + i);
    expect([...net.filter.mac]).toEqual([0x20, 0x21, 0x22, 0x23, 0x24, 0x25]);
    legacy.setConfig(6, 2, 0xffff);
    expect(legacy.config(6, 2)).toBe(1);
  });

  it('limits the offloads to accepted ones', () => {
    const { command, backend } = start();
    const [OFFLOADS, SET] = [control.VIRTIO_NET_CTRL_GUEST_OFFLOADS, control.VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET];
    expect(backend.guestOffloads).toBe(TUN_F_CSUM | TUN_F_TSO4);
    expect(command(OFFLOADS, SET, 0x02, 0, 0, 0, 0, 0, 0, 0)).toBe(OK);
    expect(backend.guestOffloads).toBe(TUN_F_CSUM);
    expect(command(OFFLOADS, SET, 0, 0, 0, 0, 0, 0, 0, 0)).toBe(OK);
    expect(backend.guestOffloads).toBe(0);
    expect(command(OFFLOADS, SET, 0, 1, 0, 0, 0, 0, 0, 0)).toBe(ERR); // GUEST_TSO6 was not accepted
    expect(command(OFFLOADS, SET, 1, 0, 0, 0, 0, 0, 0, 0)).toBe(ERR); // CSUM is no guest offload
    expect(backend.guestOffloads).toBe(0);
  });

  it('asks for the next command by avail_event', () => {
    const { command, modern } = start([17, 18, 29]);
    for (let count = 1; count <= 3; count++) {
      expect(command(control.VIRTIO_NET_CTRL_RX, 0, 1)).toBe(OK);
      expect(modern.rings[CONTROL_QUEUE].availEvent).toBe(count);
    }
  });

  it('an announcement shows in the status until it is acknowledged', () => {
    const { command, net, modern } = start();
    modern.isr();
    net.announce();
    expect([modern.config(6, 2), modern.isr() & 2]).toEqual([3, 2]);
    expect(command(control.VIRTIO_NET_CTRL_ANNOUNCE, control.VIRTIO_NET_CTRL_ANNOUNCE_ACK)).toBe(OK);
    expect(modern.config(6, 2)).toBe(1);
  });

  it('refuses commands whose features were not accepted, and unknown ones', () => {
    const { command } = start([17]);
    const commands = [
      [0, 0, 1],
      [0, 2, 1],
      [1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      [1, 1, 1, 2, 3, 4, 5, 6],
      [3, 0],
      [5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      [2, 0, 1, 0],
      [4, 0, 2, 0],
      [99, 99],
    ];
    for (const bytes of commands) expect(command(...bytes)).toBe(ERR);
  });
});

describe('over MMIO, as the Firecracker guests drive it', () => {
  it('moves packets both ways', () => {
    const { memory } = makeMemory(RAM);
    const backend = new FakeBackend(TUN_F_CSUM | TUN_F_TSO4);
    const net = new VirtioNet(memory, { backend, mac: MAC });
    const driver = new MmioDriver(new VirtioMmio(net, { set() {} }));
    driver.start([f.VIRTIO_NET_F_CSUM, f.VIRTIO_NET_F_MAC, VIRTIO_F_EVENT_IDX], memory);
    const sent = packet(77);
    memory.bytes.set(sent, DATA);
    driver.rings[TRANSMIT_QUEUE].add([{ address: DATA, length: 77 }]);
    driver.kick(TRANSMIT_QUEUE);
    expect(backend.sent).toEqual([sent]);
    driver.rings[RECEIVE_QUEUE].add([{ address: DATA + 4096, length: 2048, write: true }]);
    backend.incoming.push(sent);
    expect(net.pump()).toBe(1);
    expect(driver.rings[RECEIVE_QUEUE].takeUsed()).toEqual([{ id: 0, length: 77 }]);
  });
});

describe('hostile drivers', () => {
  it('random rings never throw out of the device, never leave RAM, never keep it busy', () => {
    const set = setUp();
    const { memory, modern, legacy, backend, net } = set;
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.subarray([1, 7, 8, 15, 17, 18, 23, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC]),
        fc.array(
          fc.record({
            queue: fc.nat(2),
            address: fc.oneof(fc.nat(RAM + 100), fc.nat(0x10000)),
            length: fc.oneof(fc.nat(100), fc.nat(70_000), fc.nat(0xffffffff)),
            flags: fc.nat(7),
            next: fc.nat(70),
            availIdx: fc.nat(70),
          }),
          { minLength: 1, maxLength: 40 },
        ),
        (useLegacy, features, writes) => {
          memory.bytes.fill(0, 0, 0x20000);
          const driver = useLegacy ? legacy : modern;
          driver.start(features, memory);
          backend.incoming.length = 0;
          backend.sent.length = 0;
          for (const [i, { queue, address, length, flags, next, availIdx }] of writes.entries()) {
            const ring = driver.rings[queue];
            ring.descriptor(i, address, length, flags, next);
            memory.write16(ring.avail + 4 + 2 * i, next);
            ring.setAvailIdx(availIdx);
            backend.incoming.push(packet(26 + (length % 2000)));
            driver.kick(queue);
            expect(net.pump()).toBeLessThanOrEqual(512);
          }
        },
      ),
      { numRuns: 300 },
    );
    set.checkGuards();
  });
});
