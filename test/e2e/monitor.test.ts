/** The machine protocol and the human monitor of whole machines, as programs and people use them. */

import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { GUESTS } from './tiny-guests.ts';
import { freePort, Tsvmm } from './tsvmm.ts';

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-e2e-'));
afterAll(() => rmSync(folder, { recursive: true }));
let vm: Tsvmm;
afterEach(() => vm.kill());

function start(name: keyof typeof GUESTS, ...args: string[]): Tsvmm {
  const kernel = join(folder, name);
  writeFileSync(kernel, GUESTS[name]);
  return new Tsvmm(['-kernel', kernel, '-m', '16M', '-display', 'none', '-serial', 'stdio', ...args]);
}

/** A client that keeps what it was told, message by message. */
class Client {
  readonly socket: Socket;
  readonly messages: Record<string, unknown>[] = [];
  private text = '';

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      const lines = `${this.text}${bytes}`.split('\r\n');
      this.text = lines.pop()!;
      this.messages.push(...lines.map((line) => JSON.parse(line)));
    });
  }

  static async open(address: string | number): Promise<Client> {
    const socket = typeof address === 'string' ? connect(address) : connect(address, '127.0.0.1');
    const client = new Client(socket);
    await client.next('QMP');
    await client.run('qmp_capabilities');
    return client;
  }

  /** Waits for the message that has this member, and takes it out. */
  async next(member: string): Promise<Record<string, unknown>> {
    await expect.poll(() => this.messages.some((message) => member in message), { timeout: 10_000 }).toBe(true);
    const index = this.messages.findIndex((message) => member in message);
    return this.messages.splice(index, 1)[0];
  }

  async run(execute: string, args?: object): Promise<unknown> {
    this.socket.write(JSON.stringify({ execute, ...(args ? { arguments: args } : {}) }));
    return (await this.next('return')).return;
  }
}

const path = () => join(folder, 'qmp');
beforeEach(() => rmSync(path(), { force: true }));

async function listening(): Promise<void> {
  await expect.poll(() => existsSync(path()), { timeout: 10_000 }).toBe(true);
}

test.each(['SPINS', 'HALTS'] as const)('a %s guest is stopped, continued, reset and ended', async (name) => {
  vm = start(name, '-qmp', `unix:${path()},server,nowait`);
  await listening();
  const client = await Client.open(path());
  expect(await client.run('query-status')).toEqual({ status: 'running', running: true });
  await client.run('stop');
  expect(await client.next('event')).toMatchObject({ event: 'STOP' });
  expect(await client.run('query-status')).toEqual({ status: 'paused', running: false });
  expect(await client.run('human-monitor-command', { 'command-line': 'info registers' })).toContain('RIP=');
  await client.run('cont');
  expect(await client.next('event')).toMatchObject({ event: 'RESUME' });
  await client.run('system_powerdown');
  expect(await client.next('event')).toMatchObject({ event: 'POWERDOWN' });
  await client.run('system_reset');
  expect(await client.next('event')).toMatchObject({
    event: 'RESET',
    data: { guest: false, reason: 'host-qmp-system-reset' },
  });
  await client.run('quit');
  expect(await client.next('event')).toMatchObject({
    event: 'SHUTDOWN',
    data: { guest: false, reason: 'host-qmp-quit' },
  });
  expect(await vm.ended).toMatchObject({ status: 0, stderr: '' });
});

test('what the guest does is told; with -no-shutdown the machine stands and can be reset', async () => {
  vm = start('POWERS_OFF', '-S', '-no-shutdown', '-qmp', `unix:${path()},server=on,wait=off`);
  await listening();
  const client = await Client.open(path());
  expect(await client.run('query-status')).toEqual({ status: 'prelaunch', running: false });
  for (let round = 0; round < 2; round++) {
    await client.run('cont');
    expect(await client.next('event')).toMatchObject({ event: 'RESUME' });
    const events = [await client.next('event'), await client.next('event')];
    expect(events).toMatchObject([
      { event: 'SHUTDOWN', data: { guest: true, reason: 'guest-shutdown' } },
      { event: 'STOP' },
    ]);
    expect(await client.run('query-status')).toEqual({ status: 'shutdown', running: false });
    client.socket.write('{"execute":"cont"}');
    expect(await client.next('error')).toMatchObject({ error: { class: 'GenericError' } });
    await client.run('system_reset');
    expect(await client.next('event')).toMatchObject({ event: 'RESET' });
  }
  vm.process.kill('SIGTERM');
  expect(await client.next('event')).toMatchObject({ event: 'SHUTDOWN', data: { reason: 'host-signal' } });
  expect((await vm.ended).stdout).toBe('hello\r\nhello\r\n');
});

test('several clients, one after the other, over TCP; hostile ones do no harm', async () => {
  const port = await freePort();
  vm = start('HALTS', '-qmp', `tcp:127.0.0.1:${port},server=on,wait=off`);
  await vm.console(/halt/);
  const first = await Client.open(port);
  const second = Client.open(port);
  expect(await first.run('query-name')).toEqual({});
  first.socket.destroy();
  expect(await (await second).run('query-name')).toEqual({});
  (await second).socket.destroy();

  // One that never reads, asks for much, and sends nonsense for ever.
  const flood = connect(port, '127.0.0.1');
  flood.on('error', () => {});
  await once(flood, 'connect');
  flood.write('{"execute":"qmp_capabilities"}');
  const ask = '{"execute":"human-monitor-command","arguments":{"command-line":"help"}}'.repeat(3000);
  flood.write(ask);
  flood.write('['.repeat(1 << 20));
  await new Promise((resolve) => setTimeout(resolve, 300));
  flood.destroy();

  const last = await Client.open(port);
  await last.run('quit');
  expect(await vm.ended).toMatchObject({ status: 0, stderr: '' });
});

test('a server that waits: the machine starts with its first client', async () => {
  vm = start('HALTS', '-qmp', `unix:${path()},server=on`);
  await listening();
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(vm.stdout).toBe('');
  await Client.open(path());
  await vm.console(/halt/);
});

test('the human monitor on a socket', async () => {
  vm = start('HALTS', '-monitor', `unix:${path()},server=on,wait=off`, '-drive', 'file=/dev/null,if=none,id=unused');
  await vm.console(/halt/);
  const socket = connect(path());
  let text = '';
  socket.on('data', (bytes) => {
    text += bytes;
  });
  await expect.poll(() => text).toContain("type 'help' for more information\r\n(tsvmm) ");
  const ask = async (line: string) => {
    text = '';
    socket.write(`${line}\n`);
    await expect.poll(() => text.endsWith('(tsvmm) ')).toBe(true);
    return text;
  };
  expect(await ask('info status')).toContain('VM status: running');
  expect(await ask('info pci')).toContain('Host bridge: PCI device 8086:1237');
  expect(await ask('info mem')).toContain('PG disabled');
  expect(await ask('x /1xb 0x100000')).toMatch(/0000000000100000: 0x02/);
  expect(await ask('info block')).toContain('unused: /dev/null (raw)');
  expect(await ask('info jit')).toContain('instructions: ');
  socket.write('quit\n');
  expect((await vm.ended).status).toBe(0);
});
