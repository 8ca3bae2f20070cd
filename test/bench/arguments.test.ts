import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type BenchOptions, PART_NAMES, parseBenchArguments } from '../../bench/arguments.ts';
import { VMM_NAMES } from '../../bench/vmm.ts';
import { UserError } from '../../vmm/errors.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsvmm-bench-'));
  writeFileSync(join(folder, 'kernel'), '');
  writeFileSync(join(folder, 'disk.cpio'), '');
});
afterAll(() => rmSync(folder, { recursive: true }));

const parse = (...words: string[]) => parseBenchArguments(words, folder) as BenchOptions;

test('without options: all parts and monitors, five pairs, the demo guest', () => {
  const { parts, vmms, guestVmms, pairs, images, out } = parse();
  expect(parts).toEqual(PART_NAMES);
  expect(vmms).toEqual(VMM_NAMES);
  expect(guestVmms).toEqual(['tsvmm', 'later', 'usual', 'qemu']);
  expect(pairs).toBe(5);
  expect(images.map(({ name }) => name)).toEqual(['demo']);
  expect(out).toBe('bench');
});

test('quick: the main monitors, two pairs, and the committed results stay', () => {
  const { vmms, pairs, out } = parse('--quick');
  expect({ vmms, pairs, out }).toEqual({ vmms: ['tsvmm', 'later', 'usual', 'qemu'], pairs: 2, out: 'build/bench' });
});

test('lists are put into the order in which things run', () => {
  const words = ['--only', 'boot,kernels', '--vmm', 'off,tsvmm', '--kernels', 'alu,crc32'];
  const { parts, vmms, guestVmms, kernels } = parse(...words);
  expect(parts).toEqual(['kernels', 'boot']);
  expect(vmms).toEqual(['tsvmm', 'off']);
  expect(guestVmms).toEqual(vmms);
  expect(kernels).toEqual(['alu', 'crc32']);
});

test('an image with all that it may have', () => {
  const append = 'netdev.ip={guest}/24:{host} fstab=[ "initrd0:/:extract,,x" ] -- -c /a=b';
  const text = `web=kernel,append=${append},initrd=disk.cpio,memory=128M,port=8080,file64k=/a,file1m=/b`;
  expect(parse('--image', text).images).toEqual([
    {
      name: 'web',
      kind: 'http',
      kernel: join(folder, 'kernel'),
      initrd: join(folder, 'disk.cpio'),
      append: append.replace(',,', ','),
      memory: '128M',
      port: 8080,
      file64k: '/a',
      file1m: '/b',
      expect: undefined,
    },
  ]);
});

test('a Redis image listens on its own port', () => {
  expect(parse('--image', 'r=kernel,kind=redis').images[0].port).toBe(6379);
});

test.each([
  [['--only', 'kernals'], /--only kernals: it is not one of kernels/],
  [['--vmm', 'bochs'], /--vmm bochs/],
  [['--pairs', '0'], /--pairs 0/],
  [['--pairs', 'x'], /--pairs x/],
  [['--nonsense'], /--nonsense/],
  [['--image', 'kernel'], /NAME=KERNEL is wanted/],
  [['--image', 'a=missing'], /there is no file missing/],
  [['--image', 'a=kernel,kind=ftp'], /kind/],
  [['--image', 'a=kernel,apend=x'], /Invalid parameter 'apend'/],
])('%j is refused', (words, message) => {
  expect(() => parse(...words)).toThrow(UserError);
  expect(() => parse(...words)).toThrow(message);
});
