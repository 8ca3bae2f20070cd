import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { configure, inspect, logs, tryDocker } from './host.ts';
import { build, httpImage, type Labels } from './images.ts';

beforeEach(() => configure(''));

/**
 * Runs an image with other labels to its end. Where urunc itself refuses, Docker reports its words and has no container
 * that ran; what the monitor says is in `docker logs`. Both are what the user sees.
 */
async function refused(labels: Partial<Labels>, ...options: string[]): Promise<{ status: number; said: string }> {
  const image = httpImage('tsvmm');
  await build('bad', { ...image, labels: { ...image.labels, ...labels } });
  onTestFinished(async () => {
    await tryDocker('rm', '--force', 'bad');
  });
  const { stdout, stderr } = await tryDocker('run', '--name', 'bad', '--runtime', 'urunc', ...options, 'bad');
  const status = Number(await inspect('bad', '{{.State.ExitCode}}'));
  return { status, said: `${stdout}${stderr}${await logs('bad')}`.replaceAll('\r', '') };
}

const lines = (text: string, wanted: RegExp) => text.split('\n').filter((line) => wanted.test(line));

describe('bad input ends the container with a status other than 0, and one line says why', () => {
  it.each([
    ['an unknown monitor', { hypervisor: 'nothing' }, /vmm "nothing" is not supported/],
    ['an unknown kind of guest', { unikernelType: 'nothing' }, /unikernel is not supported/],
    ['a kernel that is not there', { binary: '/nowhere' }, /tsvmm: .*\/nowhere/],
    ['a kernel outside the root file system', { binary: '/../../../../etc/passwd' }, /tsvmm: .*etc\/passwd/],
    ['a kernel that is none', { binary: '/urunc.json' }, /tsvmm: .*\/urunc\.json/],
    [
      'a disk that is not there',
      { unikernelType: 'mirage', block: '/nowhere.img', blkMntPoint: '/data' },
      /nowhere\.img/,
    ],
  ])('%s', async (_, labels, line) => {
    const { status, said } = await refused(labels);
    expect(status).not.toBe(0);
    expect(said).toMatch(line);
    expect(lines(said, /^tsvmm: /).length).toBeLessThan(3);
  });

  it('a monitor that is not installed', async () => {
    configure('[monitors.tsvmm]\npath = "/usr/local/bin/nowhere"\n');
    const { status, said } = await refused({});
    expect(status).not.toBe(0);
    expect(said).toMatch(/no such file or directory/);
  });

  it('too little memory', async () => {
    const { status, said } = await refused({}, '--memory', '6m');
    expect(status).not.toBe(0);
    expect(said).toMatch(/^tsvmm: /m);
  });
});
