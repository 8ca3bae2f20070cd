/** The user network against the TCP of the Linux kernel. */

import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createServer, connect as netConnect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { TUN_F_CSUM, TUN_F_TSO4 } from '../../../../devices/net/backend.ts';
import { parseUserOptions } from '../../../../devices/net/user/options.ts';
import { UserBackend } from '../../../../devices/net/user.ts';
import { LinuxGuest, noLinuxGuest } from './linux-guest.ts';

const SIZE = 48 << 20;

/** In the guest: sends what it gets back as its length and hash, or sends bytes of a known pattern. */
const PATTERN = `const block = Buffer.alloc(1 << 16, (x => { const b = Buffer.alloc(65536); for (let i = 0; i < 65536; i++) b[i] = (i * 7 + (i >> 8)) & 255; return b; })());`;
const GUEST_SERVER = `${PATTERN}
  require('net').createServer({ allowHalfOpen: true }, (socket) => {
    const hash = require('crypto').createHash('sha256');
    let length = 0;
    socket.on('data', (chunk) => { length += chunk.length; hash.update(chunk); });
    socket.on('end', () => socket.end(length + ' ' + hash.digest('hex')));
    socket.on('error', (error) => console.log('error ' + error.code));
  }).listen(80, () => console.log('listening'));`;
const GUEST_SENDER = `${PATTERN}
  const [,port, size] = process.argv;
  const socket = require('net').connect(+port, '10.0.2.2');
  let left = +size;
  const more = () => { while (left > 0) { const n = Math.min(left, block.length); left -= n; if (!socket.write(block.subarray(0, n))) return; } socket.end(); };
  socket.on('drain', more); socket.on('connect', more);
  socket.on('error', (error) => console.log('error ' + error.code));`;

const block = Buffer.from(Array.from({ length: 65536 }, (_, i) => (i * 7 + (i >> 8)) & 255));

function patternHash(size: number): string {
  const hash = createHash('sha256');
  for (let left = size; left > 0; left -= block.length) hash.update(block.subarray(0, Math.min(left, block.length)));
  return hash.digest('hex');
}

function output(child: ChildProcess, text: string): Promise<void> {
  return new Promise((resolve) => {
    child.stdout?.on('data', (chunk) => String(chunk).includes(text) && resolve());
  });
}

describe.skipIf(noLinuxGuest)(
  `UserBackend with the kernel as guest${noLinuxGuest && ` NOT RUN: ${noLinuxGuest}`}`,
  () => {
    let guest: LinuxGuest | undefined;
    let running: Promise<void> | undefined;
    afterEach(async () => {
      guest?.close();
      await running;
    });

    async function start(offloads: number, options: [string, string][]): Promise<{ guest: LinuxGuest; port: number }> {
      const backend = await UserBackend.open(parseUserOptions(options));
      guest = new LinuxGuest(backend, offloads);
      running = guest.run();
      return { guest, port: backend.forwards[0]?.hostPort ?? 0 };
    }

    it.each([
      ['no offloads', 0],
      ['TSO and checksum offload', TUN_F_CSUM | TUN_F_TSO4],
    ])('carries %s byte-exact into the guest, and the answer after the half-close', async (_name, offloads) => {
      const { guest, port } = await start(offloads, [['hostfwd', 'tcp:127.0.0.1:0-10.0.2.15:80']]);
      await output(guest.spawn(process.execPath, '-e', GUEST_SERVER), 'listening');
      const socket = netConnect({ port, host: '127.0.0.1', allowHalfOpen: true });
      let left = SIZE;
      const more = () => {
        while (left > 0) {
          const length = Math.min(left, block.length);
          left -= length;
          if (!socket.write(block.subarray(0, length))) return;
        }
        socket.end();
      };
      socket.on('connect', more).on('drain', more);
      let answer = '';
      for await (const chunk of socket) answer += chunk;
      expect(answer).toBe(`${SIZE} ${patternHash(SIZE)}`);
    });

    it.each([
      ['no offloads', 0],
      ['TSO and checksum offload', TUN_F_CSUM | TUN_F_TSO4],
    ])('carries %s byte-exact out of the guest', async (_name, offloads) => {
      const { guest } = await start(offloads, []);
      const hash = createHash('sha256');
      let length = 0;
      const ended = new Promise<void>((resolve) => {
        const server = createServer((socket) => {
          socket.on('data', (chunk) => {
            length += chunk.length;
            hash.update(chunk);
          });
          socket.on('end', () => {
            server.close();
            resolve();
          });
        });
        server.listen(0, '127.0.0.1', () => {
          const address = server.address();
          if (address === null || typeof address === 'string') throw new Error('no port');
          guest.spawn(process.execPath, '-e', GUEST_SENDER, String(address.port), String(SIZE));
        });
      });
      await ended;
      expect(length).toBe(SIZE);
      expect(hash.digest('hex')).toBe(patternHash(SIZE));
    });

    it('opens and closes 300 connections, 20 at a time', async () => {
      const { guest, port } = await start(TUN_F_CSUM | TUN_F_TSO4, [['hostfwd', 'tcp:127.0.0.1:0-:80']]);
      await output(guest.spawn(process.execPath, '-e', GUEST_SERVER), 'listening');
      const one = (i: number) =>
        new Promise<string>((resolve, reject) => {
          const socket = netConnect({ port, host: '127.0.0.1', allowHalfOpen: true });
          let answer = '';
          socket.on('data', (chunk) => (answer += chunk));
          socket.on('end', () => resolve(answer));
          socket.on('error', reject);
          socket.end(block.subarray(0, i));
        });
      const answers: string[] = [];
      await Promise.all(
        Array.from({ length: 20 }, async (_, lane) => {
          for (let i = lane; i < 300; i += 20) answers[i] = await one(i);
        }),
      );
      answers.forEach((answer, i) => {
        expect(answer).toBe(`${i} ${createHash('sha256').update(block.subarray(0, i)).digest('hex')}`);
      });
    });
  },
);
