import { renameSync } from 'node:fs';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { configure, docker, inspect, logs, succeed, tryDocker } from './host.ts';
import { build, buildPause, httpImage, type Image, type Labels } from './images.ts';

const INSTALLED = '/usr/local/bin/tsvmm';
const NO_TAP = 'tsvmm: no tap for the guest: urunc needs an eth0 and no other guest, and this network has';

const GOOD = httpImage('tsvmm');

beforeEach(() => configure(''));

interface End {
  readonly status: number;
  readonly said: string;
}

/** Runs an image with other labels to its end. */
const ending = (labels: Partial<Labels>, ...options: string[]) =>
  endingOf({ ...GOOD, labels: { ...GOOD.labels, ...labels } }, ...options);

async function endingOf(image: Image, ...options: string[]): Promise<End> {
  await build('bad', image);
  onTestFinished(async () => {
    await tryDocker('rm', '--force', 'bad');
  });
  await tryDocker('run', '--name', 'bad', '--runtime', 'urunc', ...options, 'bad');
  return { status: Number(await inspect('bad', '{{.State.ExitCode}}')), said: await logs('bad') };
}

describe('bad input ends the container with a status other than 0, and one line says why', () => {
  it.each<[string, Partial<Labels>, string]>([
    ['an unknown monitor', { hypervisor: 'nothing' }, 'vmm "nothing" is not supported'],
    ['an unknown kind of guest', { unikernelType: 'nothing' }, 'unikernel is not supported'],
    [
      'a kernel that is not there',
      { binary: '/nowhere' },
      "tsvmm: could not open kernel file '/nowhere': no such file or directory",
    ],
    [
      'a kernel outside the root file system',
      { binary: '/../../etc/passwd' },
      "tsvmm: could not open kernel file '/../../etc/passwd': no such file or directory",
    ],
    [
      'a kernel that is none',
      { binary: '/urunc.json' },
      "tsvmm: cannot boot '/urunc.json': not a kernel: neither Linux (bzImage), multiboot nor ELF",
    ],
    [
      'a disk that cannot be read',
      { unikernelType: 'mirage', block: '/nowhere.img', blkMntPoint: '/data' },
      'tsvmm: -drive file=/nowhere.img: could not open the image: no such file or directory',
    ],
  ])('%s', async (_, labels, line) => {
    const { status, said } = await ending(labels);
    expect(status).not.toBe(0);
    expect(said).toBe(`${line}\n`);
  });

  it('a monitor that is not in PATH', async () => {
    renameSync(INSTALLED, `${INSTALLED}.away`);
    onTestFinished(() => renameSync(`${INSTALLED}.away`, INSTALLED));
    const { status, said } = await ending({});
    expect(status).not.toBe(0);
    expect(said).toBe('vmm not found\n');
  });

  it('a monitor that is not where the configuration has it', async () => {
    configure('[monitors.tsvmm]\npath = "/usr/local/bin/nowhere"\n');
    const { status, said } = await ending({});
    expect(status).not.toBe(0);
    expect(said).toBe('tsvmm is not installed: stat /usr/local/bin/nowhere: no such file or directory\n');
  });

  it.each<[string, Partial<Image>, Partial<Labels>, string]>([
    [
      'a kernel that may not be read',
      { secret: ['/unikernel/http'] },
      {},
      "tsvmm: could not open kernel file '/unikernel/http': permission denied",
    ],
    [
      'a disk that may not be read',
      { files: { ...GOOD.files, '/disk': 'http.elf' }, secret: ['/disk'] },
      { unikernelType: 'mirage', block: '/disk', blkMntPoint: '/data' },
      'tsvmm: -drive file=/disk: could not open the image: permission denied',
    ],
  ])('%s', async (_, image, labels, line) => {
    const bad = { ...GOOD, ...image, labels: { ...GOOD.labels, ...labels } };
    expect(await endingOf(bad, '--user', '65534:65534')).toEqual({ status: 1, said: `${line}\n` });
  });

  it('too little memory', async () => {
    const { status, said } = await ending({}, '--memory', '6m');
    expect(status).toBe(1);
    expect(said).toMatch(/^tsvmm: cannot boot .*: the kernel needs memory up to \d+ MiB, but the guest has 6 MiB.*\n$/);
  });

  it('a network without eth0', async () => {
    // That of the host of these tests; it has cni0 too when pods have run in it.
    const { status, said } = await ending({}, '--network', 'host');
    expect(status).toBe(1);
    expect([`${NO_TAP} docker0\n`, `${NO_TAP} cni0, docker0\n`]).toContain(said);
  });

  it('no network', async () => {
    const { status, said } = await ending({}, '--network', 'none');
    expect(status).toBe(1);
    expect(said).toBe(`${NO_TAP} no interface\n`);
  });

  it.each(['multi_queue', 'vnet_hdr'])('a network with a tap already, %s', async (flag) => {
    await buildPause('holder');
    onTestFinished(async () => {
      await tryDocker('rm', '--force', 'holder');
    });
    await docker('run', '--detach', '--name', 'holder', 'holder');
    const pid = await inspect('holder', '{{.State.Pid}}');
    await succeed('nsenter', '-t', pid, '-n', 'ip', 'tuntap', 'add', 'tap0_urunc', 'mode', 'tap', flag);
    const { status, said } = await ending({}, '--network', 'container:holder');
    expect(status).toBe(1);
    expect(said).toBe(`${NO_TAP} eth0, tap0_urunc\n`);
  });
});
