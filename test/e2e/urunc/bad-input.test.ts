import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { configure, inspect, logs, tryDocker } from './host.ts';
import { build, httpImage, type Labels } from './images.ts';

beforeEach(() => configure(''));

/** Runs an image with other labels to its end. */
async function ending(labels: Partial<Labels>, ...options: string[]): Promise<{ status: number; said: string }> {
  const image = httpImage('tsvmm');
  await build('bad', { ...image, labels: { ...image.labels, ...labels } });
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

  it('a monitor that is not installed', async () => {
    configure('[monitors.tsvmm]\npath = "/usr/local/bin/nowhere"\n');
    const { status, said } = await ending({});
    expect(status).not.toBe(0);
    expect(said).toContain('tsvmm is not installed: stat /usr/local/bin/nowhere: no such file or directory\n');
  });

  it('too little memory', async () => {
    const { status, said } = await ending({}, '--memory', '6m');
    expect(status).toBe(1);
    expect(said).toMatch(/^tsvmm: cannot boot .*: the kernel needs memory up to \d+ MiB, but the guest has 6 MiB.*\n$/);
  });

  it('a network without eth0', async () => {
    // Of the host of these tests, which has docker0.
    const { status, said } = await ending({}, '--network', 'host');
    expect(status).toBe(1);
    expect(said).toContain(
      'tsvmm: no tap for the guest: urunc needs an eth0 of its own, and this network has docker0\n',
    );
  });

  it('but no network at all is what a guest may be meant to have', async () => {
    const { said } = await ending({ binary: '/unikernel/http' }, '--network', 'none');
    expect(said).not.toContain('tsvmm');
  });
});
