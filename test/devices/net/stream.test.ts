import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { NetBackendError } from '../../../devices/net/errors.ts';
import { StreamBackend } from '../../../devices/net/stream.ts';
import { BROADCAST, dhcp, ethernet, ipv4, parseDhcp, udp } from './frames.ts';
import { GuestBuffers } from './guest-buffers.ts';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'stream-'));
  path = join(directory, 's');
});
afterEach(() => rmSync(directory, { recursive: true }));

const framed = (frame: Uint8Array) => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(frame.length);
  return Buffer.concat([length, frame]);
};

const pattern = (length: number, seed: number) => Buffer.from(Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff));

/** A backend connected to a plain socket. */
async function pair(): Promise<{ backend: StreamBackend; peer: Socket; guest: GuestBuffers; done: () => void }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const backend = await StreamBackend.open({ path });
  const peer = await accepted;
  const done = () => {
    backend.close();
    peer.destroy();
    server.close();
  };
  return { backend, peer, guest: new GuestBuffers(backend), done };
}

describe('StreamBackend', () => {
  it('takes frames out of any segmentation of the byte stream, and announces the first of a batch', async () => {
    const { backend, peer, guest, done } = await pair();
    let announced = 0;
    backend.onReceive = () => announced++;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 14, max: 3000 }), { minLength: 1, maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 4000 }), { minLength: 1, maxLength: 4 }),
        async (sizes, cuts) => {
          const before = announced;
          const stream = Buffer.concat(sizes.map((size, i) => framed(pattern(size, i))));
          for (let at = 0, i = 0; at < stream.length; i++) {
            const cut = cuts[i % cuts.length];
            peer.write(stream.subarray(at, at + cut));
            at += cut;
            if (i < 3) await new Promise(setImmediate);
          }
          for (let i = 0; i < sizes.length; i++) {
            expect(await guest.receiveFrame(() => true, 4096)).toEqual(pattern(sizes[i], i));
          }
          expect(guest.receive()).toBeUndefined();
          expect(announced).toBeGreaterThan(before);
        },
      ),
      { numRuns: 40 },
    );
    done();
  });

  it('sends frames with their length, whatever pieces they lie in', async () => {
    const { peer, guest, done } = await pair();
    const chunks: Buffer[] = [];
    peer.on('data', (chunk) => chunks.push(chunk));
    guest.send(pattern(60, 1), [3, 10, 100]);
    guest.send(pattern(1514, 2));
    guest.send(pattern(13, 3)); // Not even a header: dropped.
    const expected = Buffer.concat([framed(pattern(60, 1)), framed(pattern(1514, 2))]);
    await vi.waitFor(() => expect(Buffer.concat(chunks)).toEqual(expected));
    done();
  });

  it('drops frames rather than block or grow when the peer does not read, and cuts none in two', async () => {
    const { peer, guest, done } = await pair();
    peer.pause();
    for (let i = 0; i < 2000; i++) guest.send(pattern(1500, i));
    const chunks: Buffer[] = [];
    peer.on('data', (chunk) => chunks.push(chunk));
    peer.resume();
    await sleep(300);
    const all = Buffer.concat(chunks);
    expect(all.length % 1504).toBe(0);
    expect(all.length).toBeGreaterThan(200 * 1504);
    expect(all.length).toBeLessThan(2000 * 1504);
    for (let at = 0; at < all.length; at += 1504) expect(all.readUInt32BE(at)).toBe(1500);
    done();
  });

  it('holds a flood back in the socket, then gives every frame', async () => {
    const { peer, guest, done } = await pair();
    for (let i = 0; i < 3000; i++) peer.write(framed(pattern(1000, i)));
    await sleep(100);
    for (let i = 0; i < 3000; i++) {
      const frame = await guest.receiveFrame(() => true);
      if (!frame.equals(pattern(1000, i))) expect.fail(`frame ${i} differs`);
    }
    done();
  });

  it('gives up a peer that sends an impossible length', async () => {
    const stderr = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    const { peer, guest, done } = await pair();
    const closed = new Promise((resolve) => peer.once('close', resolve));
    peer.on('error', () => {});
    peer.resume();
    peer.write(Buffer.from([0x7f, 0, 0, 0, 1, 2, 3]));
    await closed;
    expect(guest.receive()).toBeUndefined();
    guest.send(pattern(100, 0));
    expect(stderr.mock.calls.join()).toContain('the peer sent a frame of 2130706432 bytes');
    stderr.mockRestore();
    done();
  });

  it('as a server takes one peer at a time, over a socket left behind, and the next after it', async () => {
    const stderr = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    spawnSync(process.execPath, [
      '-e',
      `require('net').createServer().listen('${path}',()=>process.kill(process.pid,9))`,
    ]);
    expect(existsSync(path)).toBe(true);
    const backend = await StreamBackend.open({ path, server: true });
    const guest = new GuestBuffers(backend);
    guest.send(pattern(100, 0)); // Nobody there: lost.
    for (const seed of [1, 2]) {
      const peer = connect(path);
      peer.write(framed(pattern(100, seed)));
      expect(await guest.receiveFrame(() => true)).toEqual(pattern(100, seed));
      const closed = new Promise((resolve) => peer.once('close', resolve));
      peer.end();
      await closed;
      await sleep(10);
    }
    backend.close();
    expect(existsSync(path)).toBe(false);
    stderr.mockRestore();
  });

  it('says what to do when the socket is absent or not one', async () => {
    await expect(StreamBackend.open({ path })).rejects.toThrow(NetBackendError);
    await expect(StreamBackend.open({ path })).rejects.toThrow(/cannot connect to .* \(ENOENT\): start its listener/);
    writeFileSync(path, 'a file');
    await expect(StreamBackend.open({ path, server: true })).rejects.toThrow(/cannot listen on .* \(EADDRINUSE\)/);
    expect(existsSync(path)).toBe(true);
  });
});

const passt = spawnSync('passt', ['--version']).error === undefined;

describe.skipIf(!passt)(`StreamBackend with passt${passt ? '' : ' NOT RUN: passt is not installed'}`, () => {
  let child: ChildProcess | undefined;
  afterEach(() => child?.kill());

  it('gets a DHCP offer, and carries UDP through passt to a port of this host', async () => {
    chmodSync(directory, 0o777); // Started by root, passt becomes nobody before it makes its socket.
    const [address, gateway] = ['192.0.2.2', '192.0.2.1'];
    const fixed = ['--ipv4-only', '--address', address, '--netmask', '24', '--gateway', gateway];
    child = spawn('passt', ['--foreground', '--one-off', '--socket', path, ...fixed], { stdio: 'ignore' });
    let backend: StreamBackend | undefined;
    await vi.waitFor(async () => (backend = await StreamBackend.open({ path })), { timeout: 5000 });
    if (!backend) throw new Error('no back end');
    const guest = new GuestBuffers(backend);
    const mac = '52:54:00:12:34:56';
    const everyone = '255.255.255.255';
    const discover = dhcp(mac, 0x1234, [[53, Buffer.from([1])]]);
    const question = udp('0.0.0.0', 68, everyone, 67, discover);
    guest.send(ethernet(BROADCAST, mac, 0x0800, ipv4({ from: '0.0.0.0', to: everyone, protocol: 17 }, question)));
    const frame = await guest.receiveFrame((candidate) => parseDhcp(candidate) !== undefined);
    const offer = parseDhcp(frame);
    expect(offer?.xid).toBe(0x1234);
    expect(offer?.options.get(53)?.[0]).toBe(2);
    expect(offer?.address).toBe(address);

    const echo = createSocket('udp4', (message, { port }) => echo.send(Buffer.concat([message, message]), port));
    await new Promise<void>((resolve) => echo.bind(0, '127.0.0.1', resolve));
    const datagram = udp(address, 4000, gateway, echo.address().port, Buffer.from('ping'));
    const passtMac = frame.subarray(6, 12).toString('hex');
    guest.send(ethernet(passtMac, mac, 0x0800, ipv4({ from: address, to: gateway, protocol: 17 }, datagram)));
    const answer = await guest.receiveFrame((candidate) => candidate[23] === 17 && candidate.readUInt16BE(36) === 4000);
    expect(answer.subarray(42).toString()).toBe('pingping');
    echo.close();
    backend.close();
  });
});
