import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type CharacterFrontend, writeText } from '../../../vmm/console/character.ts';
import { Console } from '../../../vmm/console/console.ts';
import { UserError } from '../../../vmm/errors.ts';

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-'));

function frontend(space = 1e9): CharacterFrontend & { got: string; space: number } {
  return {
    got: '',
    space,
    receiveSpace() {
      return this.space;
    },
    receive(bytes) {
      this.got += Buffer.from(bytes).toString();
      this.space -= bytes.length;
    },
    receiveBreak() {},
  };
}

const noExit = () => {
  throw new Error('unexpected exit');
};

test('a file gets the output, new or appended to', () => {
  const path = join(directory, 'out');
  for (const [append, expected] of [
    [false, 'one\n'],
    [true, 'one\none\n'],
    [false, 'one\n'],
  ] as const) {
    const console = new Console([{ id: 'c', mux: false, kind: 'file', path, append }], noExit);
    writeText(console.output('c'), 'one\n');
    console.close(100);
    expect(readFileSync(path, 'utf8')).toBe(expected);
  }
});

test('a file that cannot be opened is a UserError', () => {
  const path = join(directory, 'no', 'such');
  expect(() => new Console([{ id: 'c', mux: false, kind: 'file', path, append: false }], noExit)).toThrow(
    new UserError(`could not open '${path}' for output: no such file or directory`),
  );
});

const unix = (path: string, server: boolean, wait: boolean) =>
  ({ id: 'c', mux: false, kind: 'socket', name: `unix:${path}`, address: { path }, server, wait }) as const;

test('a server waits for its client, then carries both ways, one client at a time', async () => {
  const path = join(directory, 'server');
  // A socket left behind by an earlier run is in nobody's way.
  const leave = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', leave]);
  expect(existsSync(path)).toBe(true);
  const console = new Console([unix(path, true, true)], noExit);
  const serial = frontend(3);
  const hasSpace = console.connect('c', serial);
  let ready = false;
  const prepared = console.prepare().then(() => {
    ready = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(ready).toBe(false);

  const client = connect(path);
  let received = '';
  client.on('data', (bytes) => {
    received += bytes;
  });
  await prepared;
  client.write('hello');
  await expect.poll(() => serial.got).toBe('hel');
  serial.space = 10;
  hasSpace();
  expect(serial.got).toBe('hello');
  writeText(console.output('c'), 'answer');
  console.flush();
  await expect.poll(() => received).toBe('answer');

  const second = connect(path);
  let receivedNext = '';
  second.on('data', (bytes) => {
    receivedNext += bytes;
  });
  second.write('!');
  await once(second, 'connect');
  writeText(console.output('c'), 's');
  console.flush();
  await expect.poll(() => received).toBe('answers');
  expect([serial.got, receivedNext]).toEqual(['hello', '']);
  client.destroy();
  await expect.poll(() => serial.got).toBe('hello!');
  writeText(console.output('c'), 'next');
  console.flush();
  await expect.poll(() => receivedNext).toBe('next');
  console.close(0);
  await once(second, 'close');
});

test('whoever is behind a monitor and reads nothing is disconnected; a serial port waits', async () => {
  for (const holdsNothingUp of [true, false]) {
    const path = join(directory, `unread-${holdsNothingUp}`);
    const console = new Console([unix(path, true, false)], noExit);
    console.connect('c', Object.assign(frontend(), { holdsNothingUp }));
    await console.prepare();
    const client = connect(path);
    await once(client, 'connect');
    await new Promise((resolve) => setTimeout(resolve, 20));
    const line = 'x'.repeat(100_000);
    for (let i = 0; i < 20; i++) {
      writeText(console.output('c'), line);
      console.flush();
    }
    expect(console.congested).toBe(!holdsNothingUp);
    if (holdsNothingUp) {
      client.resume();
      await once(client, 'close');
    }
    client.destroy();
    console.close(0);
  }
});

test('TCP, on both ends', async () => {
  const [server, client] = await tcpPair();
  const [left, right] = [frontend(), frontend()];
  server.connect('c', left);
  client.connect('c', right);
  writeText(server.output('c'), 'there');
  writeText(client.output('c'), 'back');
  server.flush();
  client.flush();
  await expect.poll(() => [left.got, right.got]).toEqual(['back', 'there']);
  client.close(0);
  server.close(0);
});

async function tcpPair(): Promise<[Console, Console]> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, 'close');
  const end = (server: boolean) => {
    const address = { host: '127.0.0.1', port };
    const config = { id: 'c', mux: false, kind: 'socket', name: 'tcp', address, server, wait: false } as const;
    return new Console([config], noExit);
  };
  const pair: [Console, Console] = [end(true), end(false)];
  await pair[0].prepare();
  await pair[1].prepare();
  return pair;
}

test('a server with wait=off is ready at once; output without a client is lost', async () => {
  const path = join(directory, 'nowait');
  const console = new Console([unix(path, true, false)], noExit);
  await console.prepare();
  writeText(console.output('c'), 'lost');
  console.flush();
  console.close(0);
});

test('a server does not remove a file of the user', async () => {
  const path = join(directory, 'precious');
  writeFileSync(path, 'data');
  const console = new Console([unix(path, true, false)], noExit);
  await expect(console.prepare()).rejects.toThrow(`could not listen on 'unix:${path}': address already in use`);
  expect(readFileSync(path, 'utf8')).toBe('data');
});

test('a client connects, or says why not', async () => {
  const path = join(directory, 'client');
  const config = unix(path, false, false);
  await expect(new Console([config], noExit).prepare()).rejects.toThrow(
    `could not connect to 'unix:${path}': no such file or directory`,
  );
  const peers: Socket[] = [];
  const server = createServer((socket) => peers.push(socket)).listen(path);
  const console = new Console([config], noExit);
  await console.prepare();
  await expect.poll(() => peers.length).toBe(1);
  console.close(0);
  server.close();
  peers[0].destroy();
});

test('a device without mux has one frontend', () => {
  const console = new Console([{ id: 'c', mux: false, kind: 'null' }], noExit);
  console.connect('c', frontend());
  expect(() => console.connect('c', frontend())).toThrow(/already in use; mux=on/);
  expect(console.congested).toBe(false);
});

test('a device with mux has several', () => {
  const console = new Console([{ id: 'c', mux: true, kind: 'null' }], noExit);
  console.connect('c', frontend());
  console.connect('c', frontend());
  console.flush();
});
