import { randomBytes } from 'node:crypto';
import { createServer, connect as netConnect, type Server, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { TUN_F_CSUM, TUN_F_TSO4 } from '../../../../devices/net/backend.ts';
import { NetBackendError } from '../../../../devices/net/errors.ts';
import { parseUserOptions } from '../../../../devices/net/user/options.ts';
import { UserBackend } from '../../../../devices/net/user.ts';
import { ethernet, internetChecksum, ipBytes, ipv4, parseTcp, tcp } from '../frames.ts';
import { GATEWAY, GATEWAY_MAC, GUEST_IP, GUEST_MAC, TestGuest, type Wire } from './test-guest.ts';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
  vi.useRealTimers();
});

async function makeGuest(options: [string, string][] = [], ip = GUEST_IP) {
  const backend = await UserBackend.open(parseUserOptions(options));
  cleanups.push(() => backend.close());
  return { backend, guest: new TestGuest(backend, ip) };
}

/** A server of this host. */
async function serve(onSocket: (socket: Socket) => void): Promise<{ port: number; server: Server }> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    cleanups.push(() => socket.destroy());
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return { port: address.port, server };
}

/** A client of this host, which collects what it gets. */
function client(port: number) {
  const socket = netConnect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const state = { socket, chunks: [] as Buffer[], ended: false, closed: false, error: '' };
  socket.on('data', (chunk) => state.chunks.push(chunk));
  socket.on('end', () => (state.ended = true));
  socket.on('close', () => (state.closed = true));
  socket.on('error', (error: NodeJS.ErrnoException) => (state.error = error.code ?? ''));
  cleanups.push(() => socket.destroy());
  return state;
}

const echo = (socket: Socket) => socket.pipe(socket);

describe("the guest's connections", () => {
  it('reach a server of this host through the gateway, both ways, to an orderly end', async () => {
    const { guest } = await makeGuest();
    const { port } = await serve(echo);
    const connection = guest.connect(GATEWAY, port);
    const data = randomBytes(300_000);
    connection.write(data);
    await guest.until(() => connection.receivedLength === data.length, 'echo');
    expect(connection.data.equals(data)).toBe(true);
    connection.end();
    await guest.until(() => connection.ended && connection.finished, 'end');
    expect(connection.reset).toBe(false);
    expect(connection.checksumsGood).toBe(true);
  });

  it('half-close from the guest: the server sees the end and still answers', async () => {
    const { guest } = await makeGuest();
    const { port } = await serve((socket) => {
      let length = 0;
      socket.on('data', (chunk) => (length += chunk.length));
      socket.on('end', () => socket.end(`got ${length}`));
    });
    const connection = guest.connect(GATEWAY, port);
    connection.write(Buffer.alloc(5000));
    connection.end();
    await guest.until(() => connection.ended, 'answer');
    expect(connection.data.toString()).toBe('got 5000');
    expect(connection.finished).toBe(true);
  });

  it('half-close from the server: the guest sees the end and still sends', async () => {
    const { guest } = await makeGuest();
    let got = '';
    let ended = false;
    const { port } = await serve((socket) => {
      socket.end('that is all');
      socket.on('data', (chunk) => (got += chunk));
      socket.on('end', () => (ended = true));
    });
    const connection = guest.connect(GATEWAY, port);
    await guest.until(() => connection.ended, 'end');
    expect(connection.data.toString()).toBe('that is all');
    connection.write(Buffer.from('still here'));
    connection.end();
    await guest.until(() => ended, 'the guest');
    expect(got).toBe('still here');
    await guest.until(() => connection.finished, 'the last acknowledgment');
    expect(connection.reset).toBe(false);
  });

  it('are as many in a second as one likes: those that are over give way', async () => {
    const { guest } = await makeGuest();
    const { port } = await serve((socket) => socket.end());
    for (let batch = 0; batch < 24; batch++) {
      const connections = Array.from({ length: 50 }, () => guest.connect(GATEWAY, port));
      await guest.until(
        () => connections.every((connection) => connection.ended || connection.reset),
        'the servers end',
      );
      expect(connections.some((connection) => connection.reset)).toBe(false);
      for (const connection of connections) connection.end();
      await guest.until(() => connections.every((connection) => connection.finished), 'the guests end');
    }
  });

  it('are reset when nobody listens', async () => {
    const { guest } = await makeGuest();
    const { port, server } = await serve(echo);
    await new Promise((resolve) => server.close(resolve));
    const connection = guest.connect(GATEWAY, port);
    await guest.until(() => connection.reset, 'reset');
  });

  it('pass resets on, both ways', async () => {
    const { guest } = await makeGuest();
    const sockets: Socket[] = [];
    let failure = '';
    const { port } = await serve((socket) => {
      sockets.push(socket);
      socket.on('error', (error: NodeJS.ErrnoException) => (failure = error.code ?? ''));
      socket.resume();
    });
    const first = guest.connect(GATEWAY, port);
    await guest.until(() => sockets.length === 1 && first.established, 'first');
    sockets[0].resetAndDestroy();
    await guest.until(() => first.reset, 'reset by the host');
    const second = guest.connect(GATEWAY, port);
    await guest.until(() => sockets.length === 2 && second.established, 'second');
    second.sendReset();
    await guest.until(() => failure !== '', 'reset by the guest');
    expect(failure).toBe('ECONNRESET');
  });

  it('into the own network or to nowhere get an answer of ICMP, and with restrict=on all do', async () => {
    for (const [options, to] of [
      [[], '10.0.2.77'],
      [[], '127.0.0.1'],
      [[], '224.0.0.1'],
      [[['restrict', 'on']], GATEWAY],
      [[['restrict', 'on']], '192.0.2.1'],
    ] as [[string, string][], string][]) {
      const { guest } = await makeGuest(options);
      guest.connect(to, 80);
      await guest.until(() => guest.frames.some((frame) => frame[23] === 1), `icmp for ${to}`);
      const icmp = guest.frames.find((frame) => frame[23] === 1)?.subarray(34) ?? Buffer.alloc(0);
      expect([icmp[0], icmp[1]]).toEqual([3, 13]);
      expect(internetChecksum(icmp)).toBe(0);
      expect(icmp.subarray(8 + 16, 8 + 20)).toEqual(ipBytes(to));
      expect(icmp.readUInt16BE(8 + 22)).toBe(80);
    }
  });

  it('get a reset for a segment that belongs to none', async () => {
    const { guest } = await makeGuest();
    const ends = { from: GUEST_IP, fromPort: 5, to: GATEWAY, toPort: 6, window: 100 };
    guest.sendTcp(tcp({ ...ends, seq: 7, ack: 1000, flags: 'A' }), GATEWAY);
    guest.sendTcp(tcp({ ...ends, seq: 7, flags: 'F' }, Buffer.from('xyz')), GATEWAY);
    guest.sendTcp(tcp({ ...ends, seq: 7, flags: 'R' }), GATEWAY);
    guest.receiveAll();
    const resets = guest.frames.map((frame) => parseTcp(frame));
    expect(resets.map((s) => [s?.flags, s?.seq, s?.ack, s?.checksumGood])).toEqual([
      ['R', 1000, 0, true],
      ['RA', 0, 10, true],
    ]);
  });

  it('start anew from a port whose connection is over', async () => {
    const { guest } = await makeGuest();
    const { port } = await serve((socket) => socket.end('bye'));
    for (let round = 0; round < 3; round++) {
      const connection = guest.connect(GATEWAY, port);
      await guest.until(() => connection.ended, 'end');
      connection.end();
      await guest.until(() => connection.finished, 'finish');
      guest.connections.length = 0;
      Object.assign(guest, { nextPort: connection.port });
    }
  });
});

describe('back-pressure', () => {
  it("closes the guest's window when the host does not read, and opens it again", async () => {
    const { guest } = await makeGuest();
    let socket: Socket | undefined;
    const { port } = await serve((accepted) => (socket = accepted.pause()));
    const connection = guest.connect(GATEWAY, port);
    const data = randomBytes(24 << 20);
    connection.write(data);
    // The kernel's buffers take a few megabytes, and ours a quarter of one.
    let before = -1;
    while (before !== connection.unacknowledged) {
      before = connection.unacknowledged;
      await new Promise((resolve) => setTimeout(resolve, 100));
      for (let i = 0; i < 50; i++) {
        guest.receiveAll();
        await new Promise(setImmediate);
      }
    }
    expect(connection.unacknowledged).toBeGreaterThan(8 << 20);
    const chunks: Buffer[] = [];
    let length = 0;
    socket?.on('data', (chunk) => {
      chunks.push(chunk);
      length += chunk.length;
    });
    socket?.resume();
    await guest.until(() => length === data.length, 'the rest', 20_000);
    expect(Buffer.concat(chunks).equals(data)).toBe(true);
  });

  it('stops reading from the host when the guest does not take more, and probes its closed window', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const { guest } = await makeGuest();
    const data = randomBytes(16 << 20);
    let flushed = false;
    const { port } = await serve((socket) => {
      socket.write(data, () => (flushed = true));
    });
    const connection = guest.connect(GATEWAY, port);
    connection.window = 4000;
    await guest.until(() => connection.receivedLength > 10_000, 'some');
    connection.window = 0;
    connection.acknowledge();
    for (let i = 0; i < 300; i++) {
      guest.receiveAll();
      await new Promise(setImmediate);
    }
    const stopped = connection.receivedLength;
    const before = connection.probes;
    expect(flushed).toBe(false);
    for (let i = 0; i < 1000; i++) {
      vi.advanceTimersByTime(100);
      guest.receiveAll();
      await new Promise(setImmediate);
    }
    // 100 s of probes at growing intervals, and no reset.
    expect(connection.receivedLength).toBe(stopped);
    expect(connection.probes - before).toBeGreaterThan(8);
    expect(connection.probes - before).toBeLessThan(30);
    expect(connection.reset).toBe(false);
    // From here on without any timer.
    connection.window = 65535;
    connection.acknowledge();
    await guest.until(() => connection.receivedLength === data.length, 'the rest', 20_000);
    expect(connection.data.equals(data)).toBe(true);
    // A byte that only probed is sent again before those behind it.
    expect(connection.gaps).toBe(0);
  });
});

describe('hostfwd', () => {
  it('brings clients to a guest with DHCP or with an address of its own', async () => {
    for (const ip of [GUEST_IP, '10.0.2.99']) {
      const { backend, guest } = await makeGuest([['hostfwd', 'tcp:127.0.0.1:0-:80']], ip);
      guest.announce();
      guest.onConnection = (connection) => connection.write(Buffer.from('hello'));
      const one = client(backend.forwards[0].hostPort);
      await guest.until(() => one.chunks.length > 0, 'hello');
      expect(guest.connections[0].port).toBe(80);
      expect(guest.connections[0].remote).toBe(GATEWAY);
    }
  });

  it('finds a guest that never spoke by asking for its address', async () => {
    for (const rule of ['tcp:127.0.0.1:0-10.0.2.44:80', 'tcp:127.0.0.1:0-:80']) {
      const { backend, guest } = await makeGuest([['hostfwd', rule]], rule.includes('44') ? '10.0.2.44' : GUEST_IP);
      guest.onConnection = (connection) => connection.write(Buffer.from('hello'));
      const one = client(backend.forwards[0].hostPort);
      await guest.until(() => one.chunks.length > 0, 'hello');
    }
  });

  it('waits for a guest that boots later', async () => {
    const { backend, guest } = await makeGuest([['hostfwd', 'tcp:127.0.0.1:0-:80']]);
    const one = client(backend.forwards[0].hostPort);
    one.socket.write('early');
    await new Promise((resolve) => setTimeout(resolve, 300));
    guest.onConnection = () => {};
    guest.announce();
    await guest.until(() => guest.connections[0]?.receivedLength === 5, 'early');
  });

  it('serves several clients at once, each with its own bytes, and ends them in order', async () => {
    const { backend, guest } = await makeGuest([['hostfwd', 'tcp:127.0.0.1:0-:80']]);
    guest.announce();
    guest.onConnection = () => {};
    const inputs = Array.from({ length: 20 }, (_, i) => randomBytes(20_000 + i * 777));
    const clients = inputs.map((input) => {
      const one = client(backend.forwards[0].hostPort);
      one.socket.end(input);
      return one;
    });
    await guest.until(() => guest.connections.length === 20 && guest.connections.every((c) => c.ended), 'requests');
    for (const connection of guest.connections) {
      connection.write(Buffer.concat([Buffer.from('re:'), connection.data]));
      connection.end();
    }
    await guest.until(() => clients.every((one) => one.closed), 'answers');
    clients.forEach((one, i) => {
      expect(Buffer.concat(one.chunks).equals(Buffer.concat([Buffer.from('re:'), inputs[i]]))).toBe(true);
      expect(one.error).toBe('');
    });
    expect(guest.connections.every((c) => c.finished && !c.reset)).toBe(true);
    expect(new Set(guest.connections.map((c) => c.remotePort)).size).toBe(20);
  });

  it('resets the client when the guest refuses', async () => {
    const { backend, guest } = await makeGuest([['hostfwd', 'tcp:127.0.0.1:0-:80']]);
    guest.announce();
    const one = client(backend.forwards[0].hostPort);
    await guest.until(() => one.closed, 'refusal');
    expect(one.error).toBe('ECONNRESET');
  });

  it('says what to do about a port that is taken', async () => {
    const { port } = await serve(echo);
    const rule = `tcp:127.0.0.1:${port}-:80`;
    await expect(makeGuest([['hostfwd', rule]])).rejects.toThrow(NetBackendError);
    await expect(makeGuest([['hostfwd', rule]])).rejects.toThrow(/127\.0\.0\.1:\d+: the port is in use: stop/);
    await expect(makeGuest([['hostfwd', 'tcp:192.0.2.9:0-:80']])).rejects.toThrow(/this host has no such address/);
  });
});

describe('offloads', () => {
  it('gives large segments with open checksums only to a guest that takes both', async () => {
    const { backend, guest } = await makeGuest();
    const data = randomBytes(200_000);
    const { port } = await serve((socket) => socket.end(data));
    guest.capacity = 70_000;
    for (const [flags, large] of [
      [0, false],
      [TUN_F_CSUM, false],
      [TUN_F_CSUM | TUN_F_TSO4, true],
      [0, false],
    ] as const) {
      backend.setGuestOffloads(flags);
      const connection = guest.connect(GATEWAY, port);
      await guest.until(() => connection.ended, 'end');
      expect(connection.data.equals(data)).toBe(true);
      expect(connection.largestPayload > 1460).toBe(large);
      expect(connection.checksumsGood).toBe(flags === 0);
      if (flags === 0) expect(guest.lastHeader).toEqual(Buffer.from('00000000000000000000' + '0100', 'hex'));
      connection.end();
      await guest.until(() => connection.finished, 'finished');
    }
  });

  it('describes a large segment as virtio 1.2 §5.1.6.2 says, with the checksum of the pseudo-header', async () => {
    const { backend, guest } = await makeGuest();
    backend.setGuestOffloads(TUN_F_CSUM | TUN_F_TSO4);
    const { port } = await serve((socket) => socket.write(Buffer.alloc(50_000)));
    guest.connect(GATEWAY, port);
    let large: Buffer | undefined;
    await guest.until(() => {
      // Each packet is looked at as it comes.
      const packet = guest.buffers.receive(70_000, [1, 11, 50, 30_000]);
      if (packet && packet.length > 2000) large = packet;
      else if (packet) {
        const segment = parseTcp(packet.subarray(12));
        if (segment) guest.connections[0].input(segment);
      }
      return large !== undefined;
    }, 'a large packet');
    if (!large) return;
    expect(large[0]).toBe(1);
    expect(large[1]).toBe(1);
    expect(large.readUInt16LE(2)).toBe(54);
    expect(large.readUInt16LE(4)).toBe(1460);
    expect(large.readUInt16LE(6)).toBe(34);
    expect(large.readUInt16LE(8)).toBe(16);
    const frame = large.subarray(12);
    const length = Buffer.from([(frame.length - 34) >>> 8, (frame.length - 34) & 0xff]);
    const pseudo = internetChecksum(frame.subarray(26, 34), Buffer.from([0, 6]), length);
    expect(frame.readUInt16BE(34 + 16)).toBe(~pseudo & 0xffff);
    expect(internetChecksum(frame.subarray(14, 34))).toBe(0);
  });

  it('takes large segments and open checksums, but no wrong ones', async () => {
    const { guest } = await makeGuest();
    let got = 0;
    const { port } = await serve((socket) => socket.on('data', (chunk) => (got += chunk.length)));
    const connection = guest.connect(GATEWAY, port);
    await guest.until(() => connection.established, 'established');
    const next = { from: GUEST_IP, fromPort: connection.port, to: GATEWAY, toPort: port, flags: 'PA', window: 65535 };
    const { una, rcvNext } = connection as unknown as { una: number; rcvNext: number };
    const segment = tcp({ ...next, seq: una, ack: rcvNext }, Buffer.alloc(40_000));
    segment.writeUInt16BE(0x1234, 16);
    const packet = ipv4({ from: GUEST_IP, to: GATEWAY, protocol: 6 }, segment);
    guest.sendIp(packet);
    await guest.until(() => true, '');
    expect(got).toBe(0);
    guest.sendIp(packet, Buffer.from([1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0, 0, 0]));
    await guest.until(() => got === 40_000, 'the large segment');
  });
});

describe('a wire that loses, reorders and cuts', () => {
  it('repeats a lost segment after three duplicate acknowledgments, without waiting for a timer', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const { guest } = await makeGuest();
    const data = randomBytes(60_000);
    const { port } = await serve((socket) => socket.end(data));
    const connection = guest.connect(GATEWAY, port);
    let count = 0;
    guest.wire = { passes: () => ++count !== 12 && count !== 30 && count !== 31, delays: () => false };
    await guest.until(() => connection.ended, 'end');
    expect(count).toBeGreaterThan(31);
    expect(connection.data.equals(data)).toBe(true);
  });

  it('repeats everything, after a time, when the guest is mute; and gives it up at last', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const { guest } = await makeGuest();
    let failure = '';
    const { port } = await serve((socket) => {
      socket.on('error', (error: NodeJS.ErrnoException) => (failure = error.code ?? ''));
      socket.write('hello');
      socket.resume();
    });
    const connection = guest.connect(GATEWAY, port);
    await guest.until(() => connection.established, 'established');
    guest.wire = { passes: () => false, delays: () => false };
    for (let i = 0; i < 60; i++) {
      vi.advanceTimersByTime(1000);
      guest.receiveAll();
      await new Promise(setImmediate);
    }
    expect(failure).toBe('');
    await guest.until(
      () => failure !== '',
      'the end',
      10_000,
      () => vi.advanceTimersByTime(5000),
    );
    expect(failure).toBe('ECONNRESET');
  });

  it('answers a repeated FIN although all is said', async () => {
    const { guest } = await makeGuest();
    const { port } = await serve((socket) => socket.resume().end('bye'));
    const connection = guest.connect(GATEWAY, port);
    await guest.until(() => connection.ended, 'end');
    connection.end();
    guest.wire = { passes: () => false, delays: () => false };
    guest.receiveAll();
    expect(connection.finished).toBe(false);
    guest.wire = { passes: () => true, delays: () => false };
    await guest.until(() => connection.finished, 'the acknowledgment');
    expect(connection.reset).toBe(false);
  });

  it('still gives byte-exact streams both ways', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const { port } = await serve(echo);
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          seed: fc.integer(),
          size: fc.integer({ min: 1, max: 60_000 }),
          mss: fc.integer({ min: 88, max: 1460 }),
          loss: fc.double({ min: 0, max: 0.2, noNaN: true }),
          reorder: fc.double({ min: 0, max: 0.3, noNaN: true }),
          window: fc.integer({ min: 500, max: 65535 }),
          offloads: fc.constantFrom(0, TUN_F_CSUM | TUN_F_TSO4),
        }),
        async ({ seed, size, mss, loss, reorder, window, offloads }) => {
          const backend = await UserBackend.open(parseUserOptions([]));
          try {
            backend.setGuestOffloads(offloads);
            const guest = new TestGuest(backend);
            guest.capacity = 70_000;
            guest.wire = randomWire(seed, loss, reorder);
            const data = Buffer.from(Array.from({ length: size }, (_, i) => (i * 31 + (i >>> 8)) & 0xff));
            const connection = guest.connect(GATEWAY, port);
            connection.mss = mss;
            connection.window = window;
            connection.write(data);
            connection.end();
            const tick = () => vi.advanceTimersByTime(500);
            await guest.until(() => connection.ended && connection.finished, 'end', 20_000, tick);
            expect(connection.data.equals(data)).toBe(true);
            expect(connection.reset).toBe(false);
          } finally {
            backend.close();
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});

/** Deterministic, so that a failing case can be run again. */
function randomWire(seed: number, loss: number, reorder: number): Wire {
  let state = seed | 0;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 8) / 2 ** 24;
  };
  return { passes: () => random() >= loss, delays: () => random() < reorder };
}

describe('a hostile guest', () => {
  it('harms nobody with random packets, and leaves the network working', async () => {
    const { backend, guest } = await makeGuest();
    const { port } = await serve(echo);
    const connection = guest.connect(GATEWAY, port);
    await guest.until(() => connection.established, 'established');
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom(0x0800, 0x0806, 0x1234),
        fc.constantFrom(0, 1, 6, 17),
        fc.integer({ min: 0, max: 3 }),
        (bytes, type, protocol, form) => {
          const ip = { from: GUEST_IP, to: GATEWAY, protocol };
          const payload = Buffer.from(bytes);
          if (form === 0) guest.buffers.send(bytes);
          else if (form === 1) guest.buffers.send(ethernet(GATEWAY_MAC, GUEST_MAC, type, bytes));
          else if (form === 2) guest.sendIp(ipv4(ip, payload), Buffer.alloc(12, 1));
          else
            guest.sendIp(
              ipv4({ ...ip, fragmentOffset: (bytes[0] ?? 0) * 256, moreFragments: bytes.length % 2 === 0 }, payload),
            );
          while (guest.buffers.receive()) {}
        },
      ),
      { numRuns: 3000 },
    );
    expect(backend.guestOffloads).toBe(0);
    const after = guest.connect(GATEWAY, port);
    after.write(Buffer.from('still works'));
    await guest.until(() => after.receivedLength === 11, 'echo');
  });

  it('gets no more than a bounded number of connections', async () => {
    const { guest } = await makeGuest();
    const { port } = await serve(() => {});
    for (let i = 0; i < 1100; i++) {
      const ends = { from: GUEST_IP, fromPort: 1000 + i, to: GATEWAY, toPort: port };
      guest.sendTcp(tcp({ ...ends, seq: 1, flags: 'S', window: 1000 }), GATEWAY);
    }
    guest.receiveAll();
    const resets = guest.frames.map((frame) => parseTcp(frame)).filter((segment) => segment?.flags === 'RA');
    expect(resets.length).toBe(1100 - 1024);
  });
});
