/** What a guest prints arrives as it was printed, byte for byte; where time and addresses differ, their form is held. */

import { afterEach, expect, test } from 'vitest';
import { freePort, guest, Tsvmm } from './tsvmm.ts';

let vm: Tsvmm;
afterEach(() => vm?.kill());

test("the demo's console", async () => {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/`;
  vm = new Tsvmm([
    ...['-kernel', guest('http.elf'), '-m', '64M', '-nographic'],
    ...['-nic', `user,hostfwd=tcp:127.0.0.1:${port}-:80`, '-append', `url=${url}`],
  ]);
  await vm.console(/Open/);
  await fetch(`${url}quit`);
  const { status, stdout, stderr } = await vm.ended;
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(
    stdout
      .replace(/ready {4}\d+ ms/, 'ready    N ms')
      .replaceAll(/2\.\d\.\d /g, '2.x.y ')
      .split('\r\n'),
  ).toEqual([
    '',
    '  +------------------------------------------------+',
    '  |  A unikernel: lwIP 2.x.y , no operating system  |',
    '  +------------------------------------------------+',
    '   network  virtio 1.x, 52:54:00:12:34:56',
    '   address  10.0.2.15',
    '   memory   64 MiB',
    '   ready    N ms after the clock started',
    '',
    `   Open     ${url}`,
    '',
    '   Powering off.',
    '',
  ]);
});

test('what is typed reaches the guest and comes back, all 8 bits of it', async () => {
  vm = new Tsvmm([
    ...['-kernel', guest('uart.elf'), '-m', '64M', '-display', 'none', '-serial', 'stdio', '-nic', 'none'],
    ...['-device', 'isa-debug-exit,iobase=0x501,iosize=2', '-append', 'echo'],
  ]);
  await vm.console(/until q: /);
  // Every byte but the one that ends it, a FIFO's worth at a time and all at once.
  const bytes = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => byte !== 'q'.charCodeAt(0));
  const text = String.fromCharCode(...bytes).repeat(8);
  const from = vm.stdout.length;
  await vm.type(`${text}q`, /DONE/);
  // The guest sends CR before each LF.
  const echo = text.replaceAll('\n', '\r\n');
  expect(vm.stdout.slice(from, from + echo.length)).toBe(echo);
  expect((await vm.ended).status).toBe(33);
});
