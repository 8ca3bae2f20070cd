import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BootError, writeBootImage } from '../../firmware/boot-state.ts';
import { boot, fileKeeper } from '../../vmm/boot.ts';
import { UserError } from '../../vmm/errors.ts';
import { buildBzImage, buildElf, elfNote, multibootHeader } from '../firmware/build-kernel.ts';

const RAM = 64 * 2 ** 20;
const text = { paddr: 0x100000, bytes: new Uint8Array(64) };
const files: Record<string, Uint8Array> = {
  bz: buildBzImage(),
  mb: buildElf(32, 3, 0x100000, [text], multibootHeader(3)),
  pvh: buildElf(64, 62, 0x100000, [
    text,
    { type: 4, paddr: 0, bytes: elfNote('Xen', 18, Uint8Array.of(4, 0, 16, 0)), align: 4 },
  ]),
  elf64: buildElf(64, 62, 0x100000, [text]),
  elf32: buildElf(32, 3, 0x100000, [text]),
  wild: buildElf(64, 62, 0x7000000, [text]),
  empty: new Uint8Array(0),
  text: new TextEncoder().encode('#!/bin/sh\n'),
  'a,b': Uint8Array.of(1),
  c: Uint8Array.of(2),
};

function start(kernel: string, extra: Partial<Parameters<typeof boot>[0]> = {}) {
  const options = {
    kernel,
    append: 'x -- y',
    ramSize: RAM,
    cpus: 1,
    machine: 'pc',
    vga: true,
    virtioMmio: [],
    ...extra,
  } as const;
  const state = boot(options, (path) => {
    if (!(path in files)) {
      throw Object.assign(new Error('ENOENT'), { errno: -2 });
    }
    return files[path];
  });
  const ram = new Uint8Array(RAM);
  writeBootImage(ram, state.writes);
  const string = (at: number) => new TextDecoder().decode(ram.subarray(at, ram.indexOf(0, at)));
  return { state, ram, view: new DataView(ram.buffer), string };
}

test.each([
  ['bz', 'pc', 'linux64'],
  ['mb', 'pc', 'multiboot'],
  ['pvh', 'pc', 'pvh'],
  ['elf64', 'microvm', 'linux64'],
] as const)('%s on %s boots by %s, with BDA and ACPI tables', (kernel, machine, protocol) => {
  const { state, ram, string } = start(kernel, { machine });
  expect(state.protocol).toBe(protocol);
  expect(string(0xf5a00).slice(0, 8)).toBe('RSD PTR ');
  expect((ram[0x40f] << 8) | ram[0x40e]).toBe(0x9fc0);
});

test('multiboot: the command line starts with the path, and -initrd is a list of modules', () => {
  const { view, string } = start('mb', { initrd: 'a,,b one two,c' });
  expect(string(view.getUint32(0x9510, true))).toBe('mb x -- y');
  expect(view.getUint32(0x9514, true)).toBe(2);
  const list = view.getUint32(0x9518, true);
  expect([0, 16].map((at) => string(view.getUint32(list + at + 8, true)))).toEqual(['a,b one two', 'c']);
});

test.each([
  ['a=1 b -- c d', 'a=1 b virtio_mmio.device=4K@0xd0000000:5 virtio_mmio.device=4K@0xd0001000:6 -- c d'],
  ['a=1', 'a=1 virtio_mmio.device=4K@0xd0000000:5 virtio_mmio.device=4K@0xd0001000:6'],
  ['', 'virtio_mmio.device=4K@0xd0000000:5 virtio_mmio.device=4K@0xd0001000:6'],
  ['-- c', 'virtio_mmio.device=4K@0xd0000000:5 virtio_mmio.device=4K@0xd0001000:6 -- c'],
])('virtio-mmio devices are named before the application’s arguments: "%s"', (append, expected) => {
  const virtioMmio = [
    { base: 0xd0000000, irq: 5 },
    { base: 0xd0001000, irq: 6 },
  ];
  expect(start('elf64', { machine: 'microvm', append, virtioMmio }).string(0x20000)).toBe(expected);
});

test.each([
  ['elf64', /^cannot boot 'elf64': ELF64 without a PVH note.*-M microvm$/],
  ['elf32', /ELF32 without/],
  ['empty', /the file is empty/],
  ['text', /not a kernel/],
])('refuses %s', (kernel, message) => {
  expect(() => start(kernel)).toThrow(message);
});

test('an entry point outside RAM is refused', () => {
  expect(() => start('wild', { machine: 'microvm' })).toThrow(/entry point 0x7000000/);
});

test('files that cannot be read are named with the reason', () => {
  expect(() => start('nope')).toThrow(new UserError("could not open kernel file 'nope': no such file or directory"));
  expect(() => start('mb', { initrd: 'c,nope x' })).toThrow("could not open initrd 'nope': no such file or directory");
  const directory = mkdtempSync(join(tmpdir(), 'tsvmm-'));
  const read = fileKeeper();
  const real = { append: '', ramSize: RAM, cpus: 1, machine: 'pc', vga: false, virtioMmio: [] } as const;
  expect(() => boot({ ...real, kernel: directory }, read)).toThrow(/not a regular file/);
  const kernel = join(directory, 'k');
  writeFileSync(kernel, files.mb);
  expect(boot({ ...real, kernel }, read).protocol).toBe('multiboot');
  // What is open stays what it is.
  rmSync(kernel);
  expect(boot({ ...real, kernel }, read).protocol).toBe('multiboot');
});

test('random bytes as a kernel are a BootError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 9000 }), fc.constantFrom('pc', 'microvm'), (bytes, machine) => {
      files.random = bytes;
      try {
        start('random', { machine } as never);
      } catch (error) {
        expect(error).toBeInstanceOf(BootError);
      }
    }),
    { numRuns: 100 },
  );
});
