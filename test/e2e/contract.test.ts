/**
 * The command lines that urunc builds for its monitor `qemu`, word for word, in the root that it gives it: images labelled
 * so run on tsvmm unchanged. Read from urunc v0.5.0 and v0.7.0 and its development of 2026.
 */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { VERSION } from '../../vmm/version.ts';
import { inMonitorRoot } from './monitor-root.ts';
import { guest, isRoot, output, ROOT } from './tsvmm.ts';

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-contract-'));
const [root, unpacked, files] = ['root', 'unpacked', 'files'].map((name) => join(directory, name));
const notRoot = isRoot ? '' : ' NOT RUN: not root';

beforeAll(async () => {
  spawnSync(process.execPath, ['scripts/package.mjs'], { cwd: ROOT });
  for (const path of [root, unpacked, files]) mkdirSync(path);
  await output('tar', '-C', unpacked, '-xzf', join(ROOT, 'dist', `tsvmm-${VERSION}-linux-x64.tar.gz`));
  copyFileSync(guest('http.elf'), join(files, 'kernel'));
  writeFileSync(join(files, 'disk.img'), new Uint8Array(1 << 20));
  writeFileSync(join(files, 'initrd'), 'not read by this guest');
  for (const name of ['disk.img', '']) chmodSync(join(files, name), 0o777);
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

const MAC = '02:42:ac:11:00:02';
const UNIKRAFT =
  'Unikraft  env.vars=[ A=1 ] netdev.ip=172.17.0.2/24:172.17.0.1:8.8.8.8   vfs.fstab=[ "initrd0:/:extract:::" ] -- -c /nginx/conf/nginx.conf';
const SANDBOX = ' --sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny';
const V5 = '-m 268M -L /usr/share/qemu -cpu host -enable-kvm -nographic -vga none';
const V8 = '-m 67M -L /usr/share/qemu -cpu host -enable-kvm -display none -vga none -serial stdio -monitor null -smp 1';
const KERNEL = ' -kernel /cntrRootfs/kernel';
const V5_NET = ` -net nic,model=virtio,macaddr=${MAC} -net tap,script=no,downscript=no,ifname=tap0_urunc`;
const V8_NETDEV = ' -netdev tap,id=net0,script=no,downscript=no,ifname=tap0_urunc';
const V8_NET = `${V8_NETDEV} -device virtio-net-pci,netdev=net0,host_mtu=1500,mac=${MAC}`;
const V5_BLOCK =
  ' -device virtio-blk-pci,id=blk0,drive=hd0,scsi=off -drive format=raw,if=none,id=hd0,file=/cntrRootfs/disk.img';
const v8Block = (id: string, scsi: string) =>
  ` -device virtio-blk-pci,serial=${id},drive=${id}${scsi} -drive format=raw,if=none,id=${id},file=/cntrRootfs/disk.img`;
const INITRD = ' -initrd /cntrRootfs/initrd';

/** urunc builds one string and splits it at each space: where two meet, a word is empty. */
const SERVING: readonly (readonly [name: string, text: string])[] = [
  ['v0.5: network', V5 + KERNEL + V5_NET],
  [
    'v0.5: no MAC address, an empty word',
    `${V5 + KERNEL}  -net nic,model=virtio -net tap,script=no,downscript=no,ifname=tap0_urunc`,
  ],
  ['v0.5: seccomp, disk, initrd', V5 + SANDBOX + KERNEL + V5_NET + V5_BLOCK + INITRD],
  ['v0.7: as v0.5, with CPUs', `${V5} -smp 2${SANDBOX}${KERNEL}${V5_NET}${v8Block('rootfs', ',scsi=off')}`],
  ['v0.8: network', V8 + KERNEL + V8_NET],
  [
    'v0.8: QMP, seccomp, vhost',
    `${V8} -qmp unix:/tmp/q,server,nowait${SANDBOX}${KERNEL}${V8_NETDEV},vhost=on -device virtio-net-pci,netdev=net0,mac=${MAC}`,
  ],
  [
    'v0.7: the image as a 9p root',
    `${V5 + KERNEL + V5_NET} -fsdev local,id=rootfs9p,security_model=none,path=/cntrRootfs -device virtio-9p-pci,fsdev=rootfs9p,mount_tag=fs0`,
  ],
  [
    'v0.8: the same, with numbers of files remapped',
    `${V8 + KERNEL + V8_NET} -fsdev local,id=rootfs9p,security_model=none,multidevs=remap,path=/cntrRootfs -device virtio-9p-pci,fsdev=rootfs9p,mount_tag=fs0`,
  ],
  ['v0.8: disk, initrd', V8 + KERNEL + V8_NET + v8Block('rootfs', '') + INITRD],
  ['v0.8: Linux', `${V8 + KERNEL + V8_NET} -no-reboot -nodefaults`],
  [
    'v0.8: Mewz',
    `${V8 + KERNEL + V8_NETDEV} -device virtio-net-pci,netdev=net0,disable-legacy=on,disable-modern=off -no-reboot -device isa-debug-exit,iobase=0x501,iosize=2`,
  ],
];

/** What needs a helper of the host beside QEMU, which is not there for us: an error, and not a guest without its disk. */
const REFUSED: readonly (readonly [name: string, text: string, line: RegExp])[] = [
  [
    'virtiofs',
    `${V8 + KERNEL} -nic none -chardev socket,id=char0,path=/tmp/vhostqemu -device vhost-user-fs-pci,queue-size=1024,chardev=char0,tag=fs0`,
    /^tsvmm: [^\n]*vhost-user-fs-pci[^\n]*\n$/,
  ],
  [
    'vsock',
    `${V8 + KERNEL} -nic none -device vhost-vsock-pci,id=vhost-vsock-pci0,guest-cid=3`,
    /^tsvmm: [^\n]*vhost-vsock-pci[^\n]*\n$/,
  ],
];

const PLACES = [
  ['0:0', 'yes'],
  ['65534:65534', 'no'],
] as const;

function start(user: string, proc: 'yes' | 'no', text: string, append: string): ChildProcess {
  const words = [...text.split(' '), '-append', append];
  const place = { root, unpacked, files, user, proc, tap: '172.17.0.1/24' };
  // A test that fails in the middle leaves nothing either.
  const child = spawn('unshare', ['--kill-child', ...inMonitorRoot(place, ...words)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  return child;
}

describe.skipIf(notRoot)(`urunc's command lines${notRoot}`, () => {
  describe.each(PLACES)('as %s, /proc %s', (user, proc) => {
    test.each(SERVING)('%s', async (_, text) => {
      const child = start(user, proc, text, UNIKRAFT);
      let said = '';
      for (const stream of [child.stdout!, child.stderr!]) {
        stream.setEncoding('utf8').on('data', (piece) => {
          said += piece;
        });
      }
      const ended = once(child, 'close');
      while (!said.includes('Open') && child.exitCode === null) {
        await Promise.race([once(child.stdout!, 'data'), ended]);
      }
      expect(said).toContain('address  172.17.0.2');
      const monitor = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim();
      const page = await output('nsenter', '--net', '--target', monitor, 'curl', '-si', 'http://172.17.0.2/');
      expect(page).toMatch(/^HTTP\/1\.1 200 OK/);
      process.kill(Number(monitor), 'SIGTERM');
      expect(await ended).toEqual([0, null]);
    });

    test.each(REFUSED)('%s is refused by one line', async (_, text, line) => {
      const child = start(user, proc, text, '');
      let said = '';
      child.stderr!.setEncoding('utf8').on('data', (piece) => {
        said += piece;
      });
      expect(await once(child, 'close')).toEqual([1, null]);
      expect(said).toMatch(line);
    });
  });
});
