/** How long the user waits: `docker run` to the first page, beside QEMU's TCG in the same image through the same urunc. */

import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { beforeAll, expect, it } from 'vitest';
import { addressOf, configure, docker, firstAnswer, inspect, succeed, tryDocker } from './host.ts';
import { build, httpImage } from './images.ts';

const DIRECTORY = '/usr/lib/qemu-tcg';

/**
 * urunc insists on KVM: this program leaves that out of the command line and becomes the emulator. Elsewhere than in
 * /usr/bin, Debian's QEMU must be told where its parts are.
 */
const WITHOUT_KVM = `
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
  char *words[argc + 5];
  int n = 0;
  for (int i = 0; i < argc; i++) {
    if (!strcmp(argv[i], "-enable-kvm")) continue;
    if (!strcmp(argv[i], "-cpu")) { i++; continue; }
    if (*argv[i]) words[n++] = argv[i];
  }
  words[n++] = "-L";
  words[n++] = "/usr/share/seabios";
  words[n++] = "-global"; /* a boot ROM that is in another package, and that no -kernel needs */
  words[n++] = "virtio-net-pci.romfile=";
  words[n] = 0;
  setenv("QEMU_MODULE_DIR", "/usr/lib/x86_64-linux-gnu/qemu", 1);
  execv("${DIRECTORY}/qemu-system-x86_64", words);
  return 127;
}
`;

beforeAll(async () => {
  mkdirSync(DIRECTORY);
  copyFileSync('/usr/bin/qemu-system-x86_64', `${DIRECTORY}/qemu-system-x86_64`);
  writeFileSync(`${DIRECTORY}/wrapper.c`, WITHOUT_KVM);
  await succeed('cc', '-static', '-O2', '-o', `${DIRECTORY}/qemu-tcg`, `${DIRECTORY}/wrapper.c`);
  configure(`[monitors.qemu]\ndefault_memory_mb = 256\ndefault_vcpus = 1\npath = "${DIRECTORY}/qemu-tcg"\n`);
  await build('start-tsvmm', httpImage('tsvmm'));
  await build('start-qemu', httpImage('qemu'));
  return () => configure('');
});

/** @returns ms from the command to the first page */
async function time(image: string): Promise<number> {
  const begin = performance.now();
  await docker('run', '--detach', '--name', 'start', '--runtime', 'urunc', '--memory', '64m', image);
  const answer = await firstAnswer(`http://${await addressOf('start')}/`);
  const elapsed = performance.now() - begin;
  expect(answer).toContain('200 OK');
  const pid = await inspect('start', '{{.State.Pid}}');
  expect(await succeed('readlink', `/proc/${pid}/exe`)).toContain(image === 'start-tsvmm' ? 'tsvmm' : 'qemu');
  await tryDocker('rm', '--force', 'start');
  return elapsed;
}

it('docker run to the first page takes no longer than on QEMU TCG', { timeout: 240_000 }, async () => {
  await time('start-tsvmm');
  await time('start-qemu');
  const tsvmm: number[] = [];
  const qemu: number[] = [];
  // A busy machine is late often, a slow program always: the least times count.
  for (let tries = 0; tries < 5 || (tries < 15 && Math.min(...tsvmm) > Math.min(...qemu)); tries++) {
    tsvmm.push(await time('start-tsvmm'));
    qemu.push(await time('start-qemu'));
  }
  const [ours, theirs] = [Math.min(...tsvmm), Math.min(...qemu)];
  console.log(`docker run to HTTP 200: tsvmm ${ours.toFixed(0)} ms, QEMU TCG ${theirs.toFixed(0)} ms`);
  // Both are mostly Docker's and urunc's own time, which varies by more than the monitors differ on a busy machine.
  expect(ours).toBeLessThan(1.25 * theirs);
});
