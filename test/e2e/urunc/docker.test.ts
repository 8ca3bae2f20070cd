import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import {
  addressOf,
  clientOf,
  commandLine,
  DOCKER_EXEC_ROOT,
  docker,
  firstAnswer,
  inspect,
  logged,
  logs,
  sleep,
  succeed,
  tryDocker,
  until,
  WORK,
} from './host.ts';
import { build, httpImage } from './images.ts';

beforeAll(async () => {
  await build('http', httpImage('tsvmm'));
});

/** Starts a container that is removed after the test, and waits for its page. */
const serving = (name: string, ...options: string[]) => servingImage('http', name, ...options);

async function servingImage(image: string, name: string, ...options: string[]): Promise<string> {
  onTestFinished(async () => {
    await tryDocker('rm', '--force', name);
  });
  await docker('run', '--detach', '--name', name, '--runtime', 'urunc', ...options, image);
  return await firstAnswer(`http://${await addressOf(name)}/`);
}

const stateOf = (name: string) => inspect(name, '{{.State.Status}} {{.State.ExitCode}}');

describe('docker run', () => {
  it('answers over the bridge; its console is in docker logs; its process is the monitor', async () => {
    const answer = await serving('web', '--env', 'A=1');
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(answer).toContain('<h1>It works.</h1>');
    await logged('web', `address  ${await addressOf('web')}`);
    await logged('web', 'memory   256 MiB');
    const pid = await inspect('web', '{{.State.Pid}}');
    expect(readlinkSync(`/proc/${pid}/exe`)).toBe('/usr/lib/tsvmm/bin/node');
    const words = commandLine(pid);
    expect(words).toContain('/unikernel/http');
    expect(words.at(-1)).toContain('env.vars=[ PATH=');
    expect(words.at(-1)).toContain('-- url=here');
    expect(words.join(' ')).toContain('ifname=tap0_urunc');
    // Nothing of KVM is in its root.
    expect(readdirSync(`/proc/${pid}/root/dev`)).not.toContain('kvm');
  });

  it('gives the guest the memory of --memory', async () => {
    await serving('small', '--memory', '64m');
    await logged('small', 'memory   64 MiB');
  });

  it('runs as another user', async () => {
    expect(await serving('user', '--user', '65534:65534')).toContain('200 OK');
    const pid = await inspect('user', '{{.State.Pid}}');
    expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(/^Uid:\t65534\t65534\t65534\t65534$/m);
  });

  it('serves a published port', async () => {
    await serving('published', '--publish', '127.0.0.1:8080:80');
    expect(await firstAnswer('http://127.0.0.1:8080/')).toContain('200 OK');
  });

  it('offers the files of the image over 9p, with the label mountRootfs', async () => {
    const image = httpImage('tsvmm');
    await build('files', { ...image, labels: { ...image.labels, mountRootfs: 'true' } });
    expect(await servingImage('files', 'files')).toContain('200 OK');
    const words = commandLine(await inspect('files', '{{.State.Pid}}'));
    expect(words).toContain('local,id=rootfs9p,security_model=none,path=/cntrRootfs');
    expect(words).toContain('/cntrRootfs/unikernel/http');
    expect(words.at(-1)).toContain('vfs.fstab=[ "fs0:/:9pfs:::" ]');
  });

  it("ignores what the host's environment says to Node.js", async () => {
    await serving('hostile');
    const pid = await inspect('hostile', '{{.State.Pid}}');
    const shim = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')[1];
    expect(readFileSync(`/proc/${shim}/environ`, 'utf8')).toContain('NODE_OPTIONS=--inspect');
    expect(readFileSync(`/proc/${pid}/environ`, 'utf8')).not.toContain('NODE_');
    expect(await logged('hostile', 'memory   256 MiB')).not.toMatch(/Debugger|Warning/);
  });
});

describe('docker stop, kill and restart', () => {
  it('stops within a second, with status 0', async () => {
    await serving('stopped');
    const begin = performance.now();
    await docker('stop', 'stopped');
    const elapsed = performance.now() - begin;
    console.log(`docker stop: ${elapsed.toFixed(0)} ms`);
    expect(elapsed).toBeLessThan(1000);
    expect(await stateOf('stopped')).toBe('exited 0');
    expect(await logs('stopped')).toContain('tsvmm: terminating on signal 15');
  });

  it('is killed with status 137', async () => {
    await serving('killed');
    await docker('kill', 'killed');
    expect(
      await until(
        'killed',
        () => stateOf('killed'),
        (state) => !state.startsWith('running'),
      ),
    ).toBe('exited 137');
  });

  it('ends with the guest', async () => {
    await serving('quits');
    await (await clientOf('quits')).get('/quit');
    expect(
      await until(
        'quits',
        () => stateOf('quits'),
        (state) => !state.startsWith('running'),
      ),
    ).toBe('exited 0');
    expect(await logs('quits')).toContain('Powering off.');
  });

  it('ends with status 1 when the guest crashes, and says where', async () => {
    await serving('faults');
    const client = await clientOf('faults');
    client.get('/crash').catch(() => 'no answer, and nothing that closes the connection');
    const ended = (state: string) => !state.startsWith('running');
    expect(await until('faults', () => stateOf('faults'), ended)).toBe('exited 1');
    expect(await logs('faults')).toMatch(/\ntsvmm: the guest crashed: triple fault at RIP 0x[0-9a-f]{16}\n$/);
  });

  it('is restarted after a crash of the guest', async () => {
    await serving('crashes', '--restart', 'always');
    await (await clientOf('crashes')).get('/crash').catch(() => 'no answer');
    await until(
      'restarts',
      () => inspect('crashes', '{{.RestartCount}} {{.State.Running}}'),
      (text) => text === '1 true',
    );
    expect(await firstAnswer(`http://${await addressOf('crashes')}/`)).toContain('200 OK');
    await docker('stop', 'crashes');
    expect(await stateOf('crashes')).toBe('exited 0');
  });

  it('starts again after a stop', async () => {
    await serving('again');
    await docker('stop', 'again');
    await docker('start', 'again');
    expect(await firstAnswer(`http://${await addressOf('again')}/`)).toContain('200 OK');
  });
});

describe('many', () => {
  it('ten containers at once answer a thousand requests each', async () => {
    const names = Array.from({ length: 10 }, (_, index) => `many${index}`);
    await Promise.all(names.map((name) => serving(name, '--memory', '64m')));
    const answers = await Promise.all(names.map(async (name) => (await clientOf(name)).many(1000, 8)));
    expect(answers).toEqual(names.map(() => ({ '200 225': 1000 })));
  });

  it('50 starts and stops leave nothing behind', { timeout: 240_000 }, async () => {
    const cycle = async () => {
      await docker('run', '--detach', '--rm', '--name', 'cycle', '--runtime', 'urunc', '--memory', '64m', 'http');
      await docker('stop', 'cycle');
      await until(
        'removal',
        () => tryDocker('inspect', 'cycle'),
        ({ status }) => status !== 0,
      );
    };
    await cycle();
    await sleep(500);
    const before = await leavings();
    for (let count = 0; count < 50; count++) {
      await cycle();
    }
    await until(
      'what is left',
      async () => JSON.stringify(await leavings()),
      (now) => now === JSON.stringify(before),
    );
  });
});

/** What a container that is gone could have left: processes, mounts, interfaces, files of runtime and Docker. */
async function leavings(): Promise<Record<string, readonly string[]>> {
  const list = (directory: string) => (existsSync(directory) ? readdirSync(directory).sort() : []);
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && existsSync(`/proc/${name}/exe`));
  const names = processes.map((pid) => commandLine(pid)[0]).filter((name) => name !== undefined);
  return {
    processes: names.sort(),
    mounts: readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[4] ?? '')
      .sort(),
    interfaces: (await succeed('ip', '-brief', 'link'))
      .split('\n')
      .map((line) => line.split(' ')[0])
      .sort(),
    runtime: list(`${DOCKER_EXEC_ROOT}/runtime-runc/moby`),
    tasks: list('/run/c/state/io.containerd.runtime.v2.task/moby'),
    containers: list(`${WORK}/docker/containers`),
    layers: list(`${WORK}/docker/overlay2`),
  };
}
