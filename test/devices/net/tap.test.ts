/** In real TAP interfaces: needs root, /dev/net/tun and the built addon, and says so where it cannot run. */

import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TUN_F_CSUM, TUN_F_TSO4, VNET_HDR_SIZE } from '../../../devices/net/backend.ts';
import { NetBackendError } from '../../../devices/net/errors.ts';
import { TapBackend } from '../../../devices/net/tap.ts';
import { loadAddon } from '../../../native/addon.ts';
import { GuestBuffers } from './guest-buffers.ts';

const IFNAME = `tsvmm-t${process.pid % 100000}`;
const HOST = '10.231.77.1';
const GUEST = '10.231.77.2';
const GUEST_MAC = '02:00:00:00:77:02';

const why = !existsSync('build/Release/tsvmm_net.node')
  ? "the addon is not built ('node scripts/build-addon.mjs')"
  : process.getuid?.() !== 0
    ? 'not root'
    : !existsSync('/dev/net/tun')
      ? 'no /dev/net/tun'
      : '';

const ip = (...args: string[]) => execFileSync('ip', args, { stdio: 'pipe' });
const isUdp = (frame: Buffer) => frame.readUInt16BE(12) === 0x0800 && frame[23] === 17;

describe.skipIf(why)(`TapBackend${why && ` NOT RUN: ${why}`}`, () => {
  let backend: TapBackend | undefined;

  function makeTap(...flags: string[]): void {
    ip('tuntap', 'add', 'dev', IFNAME, 'mode', 'tap', ...flags);
    ip('addr', 'add', `${HOST}/24`, 'dev', IFNAME);
    ip('link', 'set', IFNAME, 'up');
    ip('neigh', 'add', GUEST, 'lladdr', GUEST_MAC, 'dev', IFNAME, 'nud', 'permanent');
  }

  /** Attaches; the kernel drops packets until its link watcher has seen the carrier. */
  async function attach(): Promise<TapBackend> {
    const attached = new TapBackend({ ifname: IFNAME });
    backend = attached;
    while (readFileSync(`/sys/class/net/${IFNAME}/operstate`, 'utf8').trim() !== 'up') await sleep(5);
    return attached;
  }

  /** The host sends one UDP datagram to the guest. */
  async function hostSends(payload: Buffer): Promise<void> {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve, reject) => {
      socket.send(payload, 7, GUEST, (error) => (error ? reject(error) : resolve()));
    });
    socket.close();
  }

  /** An Ethernet frame with an IPv4 UDP datagram from the guest; checksums done. */
  function guestDatagram(port: number, payload: Buffer): Buffer {
    const frame = Buffer.alloc(42 + payload.length);
    const mac = readFileSync(`/sys/class/net/${IFNAME}/address`, 'utf8');
    Buffer.from(mac.trim().replaceAll(':', ''), 'hex').copy(frame, 0);
    Buffer.from(GUEST_MAC.replaceAll(':', ''), 'hex').copy(frame, 6);
    frame.writeUInt16BE(0x0800, 12);
    frame[14] = 0x45;
    frame.writeUInt16BE(28 + payload.length, 16);
    frame[22] = 64;
    frame[23] = 17;
    Buffer.from(GUEST.split('.').map(Number)).copy(frame, 26);
    Buffer.from(HOST.split('.').map(Number)).copy(frame, 30);
    let sum = 0;
    for (let i = 14; i < 34; i += 2) sum += frame.readUInt16BE(i);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    frame.writeUInt16BE(~sum & 0xffff, 24);
    frame.writeUInt16BE(1234, 34);
    frame.writeUInt16BE(port, 36);
    frame.writeUInt16BE(8 + payload.length, 38);
    payload.copy(frame, 42);
    return frame;
  }

  beforeEach(() => {
    backend = undefined;
  });
  afterEach(() => {
    backend?.close();
    try {
      ip('link', 'del', IFNAME);
    } catch {
      // The test did not make one.
    }
  });

  it.each([
    ['an ArrayBuffer', (size: number) => new ArrayBuffer(size)],
    ['shared memory', (size: number) => new SharedArrayBuffer(size)],
  ])('carries packets both ways through %s', async (_name, makeBuffer) => {
    makeTap('vnet_hdr');
    const tap = await attach();
    const guest = new GuestBuffers(tap, makeBuffer((1 << 20) + 4096));
    const payload = Buffer.from(Array.from({ length: 1200 }, (_, i) => i & 0xff));

    const waiting = guest.receiveFrame(isUdp);
    await hostSends(payload);
    expect((await waiting).subarray(42)).toEqual(payload);
    expect(guest.written.length).toBeGreaterThan(0);

    const server = createSocket('udp4');
    await new Promise<void>((resolve) => server.bind(0, HOST, resolve));
    const got = new Promise<Buffer>((resolve) => server.once('message', resolve));
    guest.send(guestDatagram(server.address().port, payload), [5, 7, 100, 1, 2000]);
    expect(await got).toEqual(payload);
    server.close();
  });

  it('gives the guest checksums left undone only after the guest accepted them', async () => {
    makeTap('vnet_hdr');
    const tap = await attach();
    const guest = new GuestBuffers(tap);
    const flagsOfNext = async () => {
      for (const deadline = Date.now() + 5000; Date.now() < deadline; ) {
        const packet = guest.receive();
        if (packet && isUdp(packet.subarray(VNET_HDR_SIZE))) return packet[0];
        if (!packet) await sleep(1);
      }
      throw new Error('no packet');
    };
    await hostSends(Buffer.from('x'));
    expect(await flagsOfNext()).toBe(0);
    // TSO without CSUM is nothing the kernel knows: it must not end in an error, nor in CSUM.
    tap.setGuestOffloads(TUN_F_TSO4);
    await hostSends(Buffer.from('x'));
    expect(await flagsOfNext()).toBe(0);
    tap.setGuestOffloads(TUN_F_CSUM | TUN_F_TSO4);
    await hostSends(Buffer.from('x'));
    expect(await flagsOfNext()).toBe(1);
  });

  it('drops a packet that does not fit, and goes on with the next', async () => {
    makeTap('vnet_hdr');
    const tap = await attach();
    const guest = new GuestBuffers(tap);
    await hostSends(Buffer.alloc(1000, 1));
    await hostSends(Buffer.from('small'));
    expect((await guest.receiveFrame(isUdp, 500)).subarray(42).toString()).toBe('small');
  });

  it('attaches to a multi-queue interface too', () => {
    makeTap('multi_queue', 'vnet_hdr');
    backend = new TapBackend({ ifname: IFNAME });
    expect(backend.pollFd).toBeGreaterThan(0);
  });

  it('takes over a descriptor', async () => {
    makeTap('vnet_hdr');
    const fd = loadAddon().tapOpen(IFNAME, false);
    while (readFileSync(`/sys/class/net/${IFNAME}/operstate`, 'utf8').trim() !== 'up') await sleep(5);
    const tap = new TapBackend({ fd });
    backend = tap;
    const guest = new GuestBuffers(tap);
    await hostSends(Buffer.from('hello'));
    expect((await guest.receiveFrame(isUdp)).subarray(42).toString()).toBe('hello');
  });

  it('wakes who idles when a packet comes', async () => {
    makeTap('vnet_hdr');
    const tap = await attach();
    const guest = new GuestBuffers(tap);
    await hostSends(Buffer.from('x'));
    const fds = Int32Array.of(-1, tap.pollFd);
    const start = performance.now();
    let steps = 0;
    while (steps < 2) {
      await new Promise<void>((resolve) => loadAddon().idle(fds, () => (++steps < 2 ? 5e9 : 0), resolve));
    }
    expect(performance.now() - start).toBeLessThan(2000);
    expect((await guest.receiveFrame(isUdp)).subarray(42).toString()).toBe('x');
  });

  it('says what is wrong with a tap that is busy, missing or none', () => {
    makeTap('vnet_hdr');
    backend = new TapBackend({ ifname: IFNAME });
    expect(() => new TapBackend({ ifname: IFNAME })).toThrow(/in use by another process/);
    expect(() => new TapBackend({ ifname: 'tsvmm-absent' })).toThrow(/tap tsvmm-absent: no such interface: make it/);
    expect(() => new TapBackend({ ifname: 'a-name-that-is-too-long' })).toThrow(NetBackendError);
    expect(() => new TapBackend({ ifname: 'lo' })).toThrow(/not a TAP interface/);
    expect(() => new TapBackend({ fd: 1 })).toThrow(/fd=1 is not a TAP/);
    expect(() => new TapBackend({})).toThrow(/ifname=/);
  });

  it('is refused without the right to the interface', () => {
    makeTap('vnet_hdr');
    const script = `const m = { exports: {} };
      process.dlopen(m, process.argv[1]);
      process.setgid(65534); process.setuid(65534);
      console.log(m.exports.tapOpen(process.argv[2], false));`;
    const output = execFileSync(process.execPath, ['-e', script, 'build/Release/tsvmm_net.node', IFNAME], {
      encoding: 'utf8',
    });
    // EPERM, or EACCES where /dev/net/tun itself is closed to others.
    expect([-1, -13]).toContain(Number(output));
  });
});

const unbuilt = existsSync('build/Release/tsvmm_net.node') ? '' : ' NOT RUN: it is not built';

describe.skipIf(unbuilt)(`addon${unbuilt}`, () => {
  it('checks every address and length against RAM', () => {
    const { readv, writev } = loadAddon();
    const ram = new Uint8Array(new ArrayBuffer(8192), 0, 4096);
    const EFAULT = -14;
    const EINVAL = -22;
    for (const [address, length] of [
      [4096, 1],
      [4000, 97],
      [-1, 1],
      [0.5, 1],
      [Number.NaN, 1],
      [1e300, 1],
      [0, 0xffffffff],
    ]) {
      expect(readv(0, ram, Float64Array.of(address), Uint32Array.of(length), 1)).toBe(EFAULT);
      expect(writev(1, ram, Float64Array.of(address), Uint32Array.of(length), 1)).toBe(EFAULT);
    }
    expect(writev(1, ram, Float64Array.of(0), Uint32Array.of(1), 2)).toBe(EINVAL);
    expect(writev(1, ram, Float64Array.of(0), Uint32Array.of(1), 2 ** 32 - 1)).toBe(EINVAL);
  });
});
