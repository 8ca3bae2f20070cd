/** Our HTTP unikernel (lwIP on virtio-net) behind each back end: byte-exact streams, many connections, no stall. */

import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { HttpClient } from './http-client.ts';
import { ACCEL, freePort, guest, isRoot, LONG, output, Tsvmm } from './tsvmm.ts';

/** Bytes of the long streams; ways to run guest code may be slow by intent. */
const STREAM_BYTES = LONG ? 1e9 : ACCEL === undefined ? 100e6 : 20e6;
/** Seconds a stream may take: 2 MB/s is slow even for a busy machine. */
const STREAM_SECONDS = Math.ceil(STREAM_BYTES / (ACCEL === undefined ? 2e6 : 0.2e6));
const PAGE = '200 225';

interface Network {
  /** Makes what there must be before the machine starts. @returns its options and how curl reaches it */
  setUp(): Promise<{ readonly args: readonly string[]; readonly via?: readonly string[]; readonly client: HttpClient }>;
  tearDown?(): Promise<void>;
  /** Why it cannot be had here; empty: it can. */
  readonly impossible: string;
  /** Streams of the guest are in packets of 1.5 KB, which a thread of ours merges and writes. */
  readonly merged?: boolean;
}

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-e2e-'));
afterAll(() => rmSync(folder, { recursive: true }));
const log = join(folder, 'log');

const namespace = `tsvmm-e2e-${process.pid}`;
const inNamespace = ['ip', 'netns', 'exec', namespace];
const noTap = !isRoot
  ? 'not root'
  : !existsSync('/dev/net/tun')
    ? 'no /dev/net/tun'
    : existsSync('build/Release/tsvmm_net.node')
      ? ''
      : 'the addon is not built';

/** A tap in a network namespace, made beforehand by others as urunc does it. */
function tap(nic: string, append: string): Network {
  return {
    impossible: noTap,
    merged: append === '',
    async setUp() {
      await output('ip', 'netns', 'add', namespace);
      const inside = (...words: string[]) => output('ip', '-n', namespace, ...words);
      await inside('tuntap', 'add', 'dev', 'tap0_urunc', 'mode', 'tap', 'vnet_hdr');
      await inside('addr', 'add', '172.44.0.1/24', 'dev', 'tap0_urunc');
      await inside('link', 'set', 'tap0_urunc', 'up');
      return {
        args: [
          ...['-netdev', 'tap,id=net0,script=no,downscript=no,ifname=tap0_urunc'],
          ...['-device', `virtio-net-pci,netdev=net0${nic}`, '-append', `ip=172.44.0.2/24 gw=172.44.0.1${append}`],
        ],
        via: inNamespace,
        client: new HttpClient('http://172.44.0.2', inNamespace),
      };
    },
    async tearDown() {
      await output('ip', 'netns', 'del', namespace);
    },
  };
}

const user: Network = {
  impossible: '',
  async setUp() {
    const port = await freePort();
    return {
      args: ['-nic', `user,hostfwd=tcp:127.0.0.1:${port}-:80`],
      client: new HttpClient(`http://127.0.0.1:${port}`),
    };
  },
};

/** passt, as any user may run it. It stays in the foreground and ends with its one connection. */
function passt(): Network {
  const folder = mkdtempSync(join(tmpdir(), 'tsvmm-passt-'));
  // Started by root, passt becomes nobody before it makes its socket.
  chmodSync(folder, 0o777);
  const missing = !process.env.PATH?.split(':').some((path) => existsSync(join(path, 'passt')));
  return {
    impossible: missing ? 'passt is not installed' : '',
    async setUp() {
      const port = await freePort();
      const socket = join(folder, 'socket');
      const address = ['--ipv4-only', '--address', '192.0.2.2', '--netmask', '24', '--gateway', '192.0.2.1'];
      const ports = ['--tcp-ports', `127.0.0.1/${port}:80`];
      spawn('passt', ['--foreground', '--one-off', '--socket', socket, ...address, ...ports], { stdio: 'ignore' });
      await vi.waitUntil(() => existsSync(socket), { timeout: 5000 });
      return {
        args: [
          ...['-netdev', `stream,id=net0,server=off,addr.type=unix,addr.path=${socket}`],
          ...['-device', 'virtio-net-pci,netdev=net0'],
        ],
        client: new HttpClient(`http://127.0.0.1:${port}`),
      };
    },
    async tearDown() {
      rmSync(folder, { recursive: true });
    },
  };
}

const NETWORKS: Record<string, Network> = {
  user,
  'tap, legacy device': tap(',disable-modern=on', ''),
  'tap, modern device with offloads': tap(',disable-legacy=on', ' offload'),
  'stream to passt': passt(),
};

for (const [name, network] of Object.entries(NETWORKS)) {
  const { impossible } = network;
  describe.skipIf(impossible)(`${name}${impossible && ` NOT RUN: ${impossible}`}`, () => {
    let vm: Tsvmm;
    let client: HttpClient;

    beforeAll(async () => {
      const { args, via = [], client: made } = await network.setUp();
      client = made;
      const stats = ['-d', 'stats', '-D', log];
      vm = new Tsvmm(['-kernel', guest('http.elf'), '-m', '64M', '-nographic', '-no-reboot', ...stats, ...args], {
        via,
      });
      await vm.console(/Open {5}http:/);
    });
    afterAll(async () => {
      await vm?.kill();
      await network.tearDown?.();
    });

    test('a page', async () => {
      const answer = await client.get('/');
      expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      expect(answer).toContain('<h1>It works.</h1>');
      expect(await client.get('/nothing')).toMatch(/^HTTP\/1\.1 404 /);
    });

    test('10,000 requests on 16 connections', { timeout: 150_000 }, async () => {
      expect(await client.many(10_000, 16)).toEqual({ [PAGE]: 10_000 });
    });

    test('2,000 connections of one request, 32 at once', { timeout: 150_000 }, async () => {
      const before = Number((await client.stats()).connections);
      expect(await client.many(2000, 32, '--header', 'Connection: close')).toEqual({ [PAGE]: 2000 });
      expect(Number((await client.stats()).connections)).toBeGreaterThanOrEqual(before + 2000);
    });

    test(`${STREAM_BYTES / 1e6} MB from the guest`, { timeout: STREAM_SECONDS * 1000 + 5000 }, async () => {
      expect(await client.download(STREAM_BYTES, STREAM_SECONDS)).toBe(STREAM_BYTES);
    });

    test(`${STREAM_BYTES / 1e6} MB to the guest`, { timeout: STREAM_SECONDS * 1000 + 5000 }, async () => {
      const { answer, expected } = await client.upload(STREAM_BYTES, STREAM_SECONDS);
      expect(answer).toBe(expected);
    });

    test('both ways at once, on several connections', { timeout: 120_000 }, async () => {
      const bytes = 5_000_000;
      const downloads = Array.from({ length: 4 }, () => client.download(bytes, 100));
      const [{ answer, expected }, ...received] = await Promise.all([client.upload(bytes, 100), ...downloads]);
      expect(answer).toBe(expected);
      expect(received).toEqual(downloads.map(() => bytes));
    });

    test('it powers itself off when asked to', async () => {
      expect(await client.get('/quit')).toContain('powering off');
      const { status, stderr } = await vm.ended;
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(vm.stdout).toMatch(/Powering off\.\r?\n$/);
      if (network.merged && ACCEL === undefined) {
        const [, packets, writes] = /, (\d+) by the thread in (\d+) writes/.exec(readFileSync(log, 'utf8'))!;
        expect(Number(packets)).toBeGreaterThan(STREAM_BYTES / 1460 / 2);
        expect(Number(writes)).toBeLessThan(Number(packets) / 2);
      }
    });
  });
}
