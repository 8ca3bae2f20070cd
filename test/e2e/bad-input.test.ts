/** What cannot be had is one line on stderr that says what and why, status 1, and nothing left behind. */

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildElf, multibootHeader } from '../firmware/build-kernel.ts';
import { freePort, guest, isRoot, output, run, Tsvmm } from './tsvmm.ts';

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-e2e-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, bytes: Uint8Array | string): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

const hello = guest('hello.elf');
const EM_386 = 3;
const EM_X86_64 = 62;
const EM_AARCH64 = 183;
const segment = { paddr: 0x200000, bytes: new Uint8Array(4096) };

/** Runs it and holds it to the form of an error. @returns the line */
async function errorOf(...args: string[]): Promise<string> {
  return errorVia([], ...args);
}

async function errorVia(via: readonly string[], ...args: string[]): Promise<string> {
  const before = readdirSync(folder);
  const { status, signal, stdout, stderr } = await run(['-nographic', ...args], { via, timeout: 10_000 });
  expect(stderr).toMatch(/^tsvmm: [^\n]+\n$/);
  expect({ status, signal, stdout }).toEqual({ status: 1, signal: null, stdout: '' });
  expect(readdirSync(folder)).toEqual(before);
  return stderr;
}

describe('kernels', () => {
  test('missing', async () => {
    expect(await errorOf('-kernel', '/nowhere/kernel')).toMatch(/\/nowhere\/kernel.*no such file/);
  });

  test('none given', async () => {
    expect(await errorOf()).toContain('-kernel');
  });

  test('a directory', async () => {
    expect(await errorOf('-kernel', folder)).toContain('not a regular file');
  });

  test('empty', async () => {
    const kernel = file('empty', '');
    expect(await errorOf('-kernel', kernel)).toContain(kernel);
  });

  test('a text', async () => {
    const kernel = file('text', 'This is not a kernel.\n'.repeat(1000));
    expect(await errorOf('-kernel', kernel)).toContain(kernel);
  });

  test.each([100, 4096, 20_000])('truncated to %i bytes', async (length) => {
    const kernel = file(`truncated-${length}`, readFileSync(hello).subarray(0, length));
    expect(await errorOf('-kernel', kernel)).toContain(kernel);
  });

  test('a bzImage cut off in its setup', async () => {
    const header = new Uint8Array(0x300);
    header.set(Buffer.from('HdrS'), 0x202);
    header[0x1f1] = 4;
    header.set([0x0c, 0x02], 0x206);
    const kernel = file('setup', header);
    expect(await errorOf('-kernel', kernel)).toContain(kernel);
  });

  test('ELF64 without a PVH note', async () => {
    const kernel = file('elf64', buildElf(64, EM_X86_64, 0x200000, [segment]));
    expect(await errorOf('-kernel', kernel)).toMatch(/PVH|note/i);
  });

  test('for another processor', async () => {
    const kernel = file('arm', buildElf(64, EM_AARCH64, 0x200000, [segment]));
    expect(await errorOf('-kernel', kernel)).toMatch(/aarch64|machine|x86/i);
  });

  test('multiboot, larger than RAM', async () => {
    const large = { ...segment, memsz: 64 * 2 ** 20 };
    const kernel = file('large', buildElf(32, EM_386, 0x200000, [large], multibootHeader(0)));
    expect(await errorOf('-kernel', kernel, '-m', '32M')).toMatch(/-m|memory|RAM/);
  });
});

describe('options', () => {
  test.each(['0', '-1', '1k', '999T', 'much', '12Q', '1e99', ''])('-m %s', async (size) => {
    expect(await errorOf('-kernel', hello, '-m', size)).toContain('-m');
  });

  test('unknown', async () => {
    expect(await errorOf('-kernel', hello, '-frobnicate')).toContain('-frobnicate');
  });

  test('without the word that belongs to it', async () => {
    expect(await errorOf('-kernel', hello, '-append')).toContain('-append');
  });

  test('a device that there is not', async () => {
    expect(await errorOf('-kernel', hello, '-device', 'warp-drive')).toContain('warp-drive');
  });

  test('a card without its back end', async () => {
    expect(await errorOf('-kernel', hello, '-device', 'virtio-net-pci,netdev=n9')).toContain('n9');
  });
});

describe('files', () => {
  test('an initrd that is missing', async () => {
    expect(await errorOf('-kernel', hello, '-initrd', '/nowhere/initrd')).toMatch(/\/nowhere\/initrd.*no such file/);
  });

  test('an initrd that cannot be read', async () => {
    expect(await errorOf('-kernel', hello, '-initrd', folder)).toContain('not a regular file');
  });

  test('an initrd larger than RAM', async () => {
    const initrd = file('initrd', new Uint8Array(17 * 2 ** 20));
    expect(await errorOf('-kernel', hello, '-m', '16M', '-initrd', initrd)).toMatch(/-m|memory|RAM/);
  });

  test('a disk that is missing', async () => {
    expect(await errorOf('-kernel', hello, '-drive', 'file=/nowhere/disk,if=virtio,format=raw')).toMatch(
      /\/nowhere\/disk.*no such file/,
    );
  });

  test('a console that cannot be made; the socket made before it is gone', async () => {
    const socket = join(folder, 'monitor');
    const args = ['-monitor', `unix:${socket},server=on,wait=off`, '-serial', 'file:/nowhere/log'];
    expect(await errorOf('-kernel', hello, ...args)).toContain('/nowhere/log');
    expect(existsSync(socket)).toBe(false);
  });
});

describe('sockets', () => {
  test('a forwarded port that somebody has', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as { port: number };
    try {
      const line = await errorOf('-kernel', hello, '-nic', `user,hostfwd=tcp:127.0.0.1:${port}-:80`);
      expect(line).toContain(`127.0.0.1:${port}`);
      expect(line).toContain('the port is in use');
    } finally {
      server.close();
    }
  });

  test('the second of two forwards fails: the first is free again', async () => {
    const port = await freePort();
    const twice = `user,hostfwd=tcp:127.0.0.1:${port}-:80,hostfwd=tcp:127.0.0.1:${port}-:81`;
    expect(await errorOf('-kernel', hello, '-nic', twice)).toContain(String(port));
    const server = createServer().listen(port, '127.0.0.1');
    await new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject));
    server.close();
  });

  test('a stream socket that is not there', async () => {
    const args = ['-netdev', `stream,id=n0,addr.type=unix,addr.path=${folder}/none`];
    expect(await errorOf('-kernel', hello, ...args, '-device', 'virtio-net-pci,netdev=n0')).toContain(`${folder}/none`);
  });
});

const tapImpossible = isRoot ? (existsSync('/dev/net/tun') ? '' : 'no /dev/net/tun') : 'not root';

describe.skipIf(tapImpossible)(`taps${tapImpossible && ` NOT RUN: ${tapImpossible}`}`, () => {
  const name = `tse${process.pid % 100_000}`;
  const args = ['-kernel', hello, '-nic', `tap,ifname=${name},script=no,downscript=no`];

  beforeAll(() => output('ip', 'tuntap', 'add', 'dev', name, 'mode', 'tap', 'vnet_hdr', 'user', '65534'));
  afterAll(() => output('ip', 'link', 'del', name));

  test('missing', async () => {
    const line = await errorOf('-kernel', hello, '-nic', 'tap,ifname=tsenone,script=no');
    expect(line).toContain('tsenone');
    await expect(output('ip', 'link', 'show', 'tsenone')).rejects.toThrow();
  });

  test('not permitted', async () => {
    const line = await errorVia(['setpriv', '--inh-caps=-net_admin', '--bounding-set=-net_admin'], ...args);
    expect(line).toContain(name);
    expect(line).toMatch(/permi/);
  });

  test('busy', async () => {
    const first = new Tsvmm([
      '-kernel',
      guest('http.elf'),
      '-append',
      'ip=10.99.0.2/24',
      '-nographic',
      ...args.slice(2),
    ]);
    try {
      await first.console(/Open/);
      expect(await errorOf(...args)).toMatch(new RegExp(`${name}.*(busy|in use)`));
    } finally {
      await first.kill();
    }
  });

  test('no /dev/net/tun', async () => {
    const hide = ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs none /dev/net && exec "$@"', 'sh'];
    expect(await errorVia(hide, ...args)).toContain('/dev/net/tun');
  });
});

test('a closed standard error is no other error', async () => {
  const { status } = await run(['-kernel', '/nowhere/kernel'], { via: ['sh', '-c', 'exec "$@" 2>&-', 'sh'] });
  expect(status).toBe(1);
});
