/** Without Docker: urunc's own commands on a bundle, and containerd's client. */

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ctr, docker, firstAnswer, run, succeed, until, WORK } from './host.ts';
import { build, httpImage, unpack } from './images.ts';

const NETNS = 'guest';
const GUEST = '10.9.8.2';

beforeAll(async () => {
  await build('http', httpImage('tsvmm'));
  // A network as a CNI plugin makes it: a veth called eth0 with an address and a route.
  await succeed('ip', 'netns', 'add', NETNS);
  await succeed('ip', 'link', 'add', 'oci0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', NETNS);
  await succeed('ip', 'address', 'add', '10.9.8.1/24', 'dev', 'oci0');
  await succeed('ip', 'link', 'set', 'oci0', 'up');
  await succeed('ip', '-n', NETNS, 'address', 'add', `${GUEST}/24`, 'dev', 'eth0');
  await succeed('ip', '-n', NETNS, 'link', 'set', 'eth0', 'up');
  await succeed('ip', '-n', NETNS, 'route', 'add', 'default', 'via', '10.9.8.1');
});

afterAll(async () => {
  await run('ip', 'netns', 'delete', NETNS);
});

const interfaces = () => succeed('ip', '-n', NETNS, '-brief', 'link');

describe('urunc create, start, kill, delete', () => {
  const bundle = `${WORK}/bundle`;
  const root = '/run/u';
  // The monitor inherits urunc's output, so that goes to a file, as a shim's goes to a pipe of its own.
  const urunc = (...words: string[]) =>
    succeed('sh', '-c', 'exec urunc --root "$@" >>"$0" 2>&1', `${bundle}/output`, root, ...words);
  const state = async () => JSON.parse(await succeed('cat', `${root}/one/state.json`));
  const output = () => succeed('cat', `${bundle}/output`);

  it.each([
    ['TERM', 'terminating on signal 15'],
    ['KILL', ''],
  ])('with signal %s', async (signal, last) => {
    mkdirSync(bundle, { recursive: true });
    rmSync(`${bundle}/output`, { force: true });
    unpack(`${bundle}/rootfs`, httpImage('tsvmm'));
    const namespaces = [{ type: 'pid' }, { type: 'mount' }, { type: 'network', path: `/run/netns/${NETNS}` }];
    writeFileSync(
      `${bundle}/config.json`,
      JSON.stringify({
        ociVersion: '1.0.2',
        process: { user: { uid: 0, gid: 0 }, args: ['url=here'], env: [], cwd: '/' },
        root: { path: 'rootfs' },
        linux: { namespaces, resources: { memory: { limit: 64 << 20 } } },
      }),
    );
    await urunc('create', '--bundle', bundle, 'one');
    expect((await state()).status).toBe('created');
    await urunc('start', 'one');
    expect(await firstAnswer(`http://${GUEST}/`)).toContain('200 OK');
    const { status, pid } = await state();
    expect(status).toBe('running');
    expect(await interfaces()).toContain('tap0_urunc');
    expect(await output()).toContain('memory   64 MiB');
    await urunc('kill', 'one', signal);
    await until(
      'end',
      () => run('kill', '-0', String(pid)),
      (result) => result.status !== 0,
    );
    expect(await output()).toContain(last);
    await urunc('delete', 'one');
    expect((await run('ls', root)).stdout).toBe('');
    expect(await interfaces()).not.toContain('tap0_urunc');
  });
});

describe('ctr', () => {
  it('runs the image in a network that is there already', async () => {
    const archive = `${WORK}/http.tar`;
    await docker('save', '--output', archive, 'http');
    const image = (await ctr('images', 'import', archive)).match(/unpacking (\S+)/)?.[1] ?? '';
    const words = ['--runtime', 'io.containerd.urunc.v2', '--with-ns', `network:/run/netns/${NETNS}`];
    await ctr('run', '--detach', ...words, image, 'two');
    expect(await firstAnswer(`http://${GUEST}/`)).toContain('200 OK');
    const begin = performance.now();
    await ctr('tasks', 'kill', '--signal', 'SIGTERM', 'two');
    await until(
      'end',
      () => ctr('tasks', 'list'),
      (text) => /two\s+\d+\s+STOPPED/.test(text),
    );
    expect(performance.now() - begin).toBeLessThan(1000);
    await ctr('tasks', 'delete', 'two');
    await ctr('containers', 'delete', 'two');
  });
});
