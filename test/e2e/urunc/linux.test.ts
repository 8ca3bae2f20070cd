/** Debian's kernel with an initrd of busybox: a guest that knows nothing of tsvmm, of the type `linux`. */

import { expect, it, onTestFinished } from 'vitest';
import { addressOf, commandLine, docker, firstAnswer, inspect, logged, tryDocker } from './host.ts';
import { build, type Image } from './images.ts';

const LINUX: Image = {
  labels: { binary: '/vmlinuz', initrd: '/initrd', unikernelType: 'linux', hypervisor: 'tsvmm' },
  files: { '/vmlinuz': 'linux/vmlinuz', '/initrd': 'linux/initrd' },
  command: ['/init', 'one', 'two'],
};

it('boots, takes its address, serves a page and stops', { timeout: 120_000 }, async () => {
  await build('linux', LINUX);
  onTestFinished(async () => {
    await tryDocker('rm', '--force', 'linux');
  });
  await docker('run', '--detach', '--name', 'linux', '--runtime', 'urunc', '--memory', '256m', 'linux');
  const address = await addressOf('linux');
  // It is there before the guest's network is: a connection that is refused or unanswered is tried again.
  expect(await firstAnswer(`http://${address}/`, 60_000)).toMatch(/200 OK.*<h1>Linux [56]\./s);
  expect(await logged('linux', `arguments: one two\nserving ${address}\n`)).toMatch(/Linux version [56]\./);
  const words = commandLine(await inspect('linux', '{{.State.Pid}}'));
  expect(words).toContain('/initrd');
  expect(words.at(-1)).toContain(`ip=${address}::`);
  await docker('stop', 'linux');
  expect(await inspect('linux', '{{.State.ExitCode}}')).toBe('0');
});
