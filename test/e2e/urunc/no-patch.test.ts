/** Images labelled `qemu`, unchanged, by a urunc that knows QEMU only: its configuration or its search path is told. */

import { existsSync, mkdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { addressOf, commandLine, configure, docker, firstAnswer, inspect, logged, succeed, tryDocker } from './host.ts';
import { build, httpImage } from './images.ts';

const KVM = '/dev/kvm';
const STAND_IN = '/usr/local/bin/qemu-system-x86_64';
let madeKvm = false;

beforeAll(async () => {
  await build('qemu', httpImage('qemu'));
  // urunc copies the device's numbers for the monitor `qemu`, whatever program that is. Nothing opens it.
  if (!existsSync(KVM)) {
    await succeed('mknod', KVM, 'c', '10', '232');
    madeKvm = true;
  }
});

afterEach(async () => {
  await tryDocker('rm', '--force', 'qemu');
  configure('');
});

afterAll(() => {
  if (madeKvm) {
    rmSync(KVM);
  }
});

async function expectTsvmm(): Promise<void> {
  await docker('run', '--detach', '--name', 'qemu', '--runtime', 'urunc', '--memory', '64m', 'qemu');
  expect(await firstAnswer(`http://${await addressOf('qemu')}/`)).toContain('200 OK');
  const pid = await inspect('qemu', '{{.State.Pid}}');
  expect(readlinkSync(`/proc/${pid}/exe`)).toBe('/usr/lib/tsvmm/bin/node');
  expect(commandLine(pid)).toContain('-enable-kvm');
  // urunc counts QEMU's megabytes in millions.
  await logged('qemu', 'memory   67 MiB');
  const begin = performance.now();
  await docker('stop', 'qemu');
  expect(performance.now() - begin).toBeLessThan(1000);
  // urunc's own QEMU monitor knows SIGKILL only.
  expect(await inspect('qemu', '{{.State.ExitCode}}')).toBe('137');
}

it('by [monitors.qemu] path=', async () => {
  configure('[monitors.qemu]\ndefault_memory_mb = 256\ndefault_vcpus = 1\npath = "/usr/local/bin/tsvmm"\n');
  await expectTsvmm();
});

it('as qemu-system-x86_64', async () => {
  // urunc wants QEMU's data where the program is called so.
  mkdirSync('/usr/share/qemu', { recursive: true });
  mkdirSync('/usr/share/seabios', { recursive: true });
  symlinkSync('/usr/lib/tsvmm/bin/tsvmm', STAND_IN);
  try {
    await expectTsvmm();
  } finally {
    rmSync(STAND_IN);
  }
});
