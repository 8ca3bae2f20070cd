/** Debian's kernel with an initrd of busybox: a guest that knows nothing of tsvmm, of the type `linux`. */

import { expect, it, onTestFinished } from 'vitest';
import { addressOf, commandLine, docker, firstAnswer, inspect, logged, tryDocker } from './host.ts';
import { build, type Image } from './images.ts';

const LINUX: Image = {
  labels: { binary: '/vmlinuz', initrd: '/initrd', unikernelType: 'linux', hypervisor: 'tsvmm' },
  files: { '/vmlinuz': 'linux/vmlinuz', '/initrd': 'linux/initrd' },
  command: ['/init', 'one', 'two'],
};

it('boots, takes its address, serves a page and stops', { timeout: 240_000 }, async () => {
  await build('linux', LINUX);
  onTestFinished(async () => {
    await tryDocker('rm', '--force', 'linux');
  });
  await docker('run', '--detach', '--name', 'linux', '--runtime', 'urunc', '--memory', '256m', 'linux');
  const address = await addressOf('linux');
  const said = await logged('linux', `arguments: one two\nserving ${address}\n`, 150_000);
  expect(said).toMatch(/Linux version [56]\./);
  expect(await firstAnswer(`http://${address}/`)).toMatch(/200 OK.*<h1>Linux [56]\./s);
  const words = commandLine(await inspect('linux', '{{.State.Pid}}'));
  expect(words).toContain('/initrd');
  expect(words.at(-1)).toContain(`ip=${address}::`);
  await docker('stop', 'linux');
  expect(await inspect('linux', '{{.State.ExitCode}}')).toBe('0');
});
