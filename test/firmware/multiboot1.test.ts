import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BootError, type BootState, writeBootImage } from '../../firmware/boot-state.ts';
import { loadMultiboot } from '../../firmware/multiboot1.ts';
import { buildElf, multibootHeader } from './build-kernel.ts';

const MIB = 2 ** 20;
const RAM = 64 * MIB;

function inRam(state: BootState, size = RAM) {
  const ram = new Uint8Array(size);
  writeBootImage(ram, state.writes);
  const view = new DataView(ram.buffer);
  return {
    ram,
    u32: (address: number) => view.getUint32(address, true),
    words: (address: number, count: number) =>
      Array.from({ length: count }, (_, i) => view.getUint32(address + i * 4, true)),
    string: (address: number) => new TextDecoder().decode(ram.subarray(address, ram.indexOf(0, address))),
  };
}

/** 64 bytes of text at 1 MiB and bss up to 0x101278, so that tables start on the page at 0x102000. */
function elfKernel(memsz = 0x1278): Uint8Array {
  const bytes = Uint8Array.from({ length: 64 }, (_, index) => index);
  return buildElf(32, 3, 0x10000c, [{ paddr: 0x100000, bytes, memsz }], multibootHeader(3));
}

const text = (value: string) => new TextEncoder().encode(value);

describe('what a guest under qemu-system-x86_64 7.2 -m 64 found in its memory', () => {
  const state = loadMultiboot(elfKernel(), {
    ramSize: RAM,
    commandLine: 'dump.elf a  b -- c',
    modules: [
      { commandLine: 'm1 arg1 arg2', bytes: text('mod one\n') },
      { commandLine: 'm2', bytes: text('mod two x\n') },
    ],
  });
  const { u32, words, string, ram } = inRam(state);

  test('registers', () => {
    expect(state.registers).toEqual({ rax: 0x2badb002, rbx: 0x9500, rcx: 0x10000c });
    expect(state).toMatchObject({ rip: 0x10000c, cr0: 0x11, cr4: 0, efer: 0, gdtr: { limit: 0x27 } });
    expect(state.cs).toEqual({ selector: 8, base: 0, limit: 0xffffffff, access: 0xc09b });
    expect(state.data).toEqual({ selector: 0x10, base: 0, limit: 0xffffffff, access: 0xc093 });
  });

  test('the multiboot information', () => {
    expect(words(0x9500, 22)).toEqual([
      0x24f, 0x27f, 0xfb80, 0x8000ffff, 0x102030, 2, 0x102000, 0, 0, 0, 0, 0xa8, 0x9000, 0, 0, 0, 0x102043, 0, 0, 0, 0,
      0,
    ]);
  });

  test('the memory map', () => {
    expect(words(0x9000, 42)).toEqual(
      [
        [0x14, 0, 0, 0x9fc00, 0, 1],
        [0x14, 0x9fc00, 0, 0x400, 0, 2],
        [0x14, 0xf0000, 0, 0x10000, 0, 2],
        [0x14, 0x100000, 0, 0x3ee0000, 0, 1],
        [0x14, 0x3fe0000, 0, 0x20000, 0, 2],
        [0x14, 0xfffc0000, 0, 0x40000, 0, 2],
        [0x14, 0, 0xfd, 0, 3, 2],
      ].flat(),
    );
  });

  test('strings and modules', () => {
    expect(string(u32(0x9510))).toBe('dump.elf a  b -- c');
    expect(string(u32(0x9540))).toBe('qemu');
    expect(words(0x102000, 8)).toEqual([0x103000, 0x103008, 0x102020, 0, 0x104000, 0x10400a, 0x10202d, 0]);
    expect(string(0x102020)).toBe('m1 arg1 arg2');
    expect(string(0x10202d)).toBe('m2');
    expect(string(0x103000)).toBe('mod one\n');
    expect(string(0x104000)).toBe('mod two x\n');
  });

  test('the kernel', () => {
    expect([...ram.subarray(0x10000a, 0x10000c)]).toEqual([10, 11]);
  });
});

test('the address kludge loads a flat piece of any file, clears bss, and enters at entry_addr', () => {
  const kernel = new Uint8Array(0x3000).fill(0xee);
  kernel.set(multibootHeader(0x10003, [0x200100, 0x200000, 0x201000, 0x203000, 0x200180]), 0x1100);
  const state = loadMultiboot(kernel, { ramSize: RAM, commandLine: 'k ', modules: [] });
  expect(state.rip).toBe(0x200180);
  const ram = new Uint8Array(RAM).fill(0x55);
  writeBootImage(ram, state.writes);
  // File offset 0x1000 is load_addr: the header stands 0x100 into what is loaded.
  expect(ram[0x200000]).toBe(0xee);
  expect(ram[0x200100]).toBe(0x02);
  expect(ram[0x200fff]).toBe(0xee);
  expect(ram.subarray(0x201000, 0x203000).every((byte) => byte === 0)).toBe(true);
});

test('the address kludge lets an ELF64 file through', () => {
  const kernel = buildElf(64, 62, 0, [], multibootHeader(0x10003, [0x100040, 0x100000, 0, 0, 0x100050]));
  expect(loadMultiboot(kernel, { ramSize: RAM, commandLine: 'k ', modules: [] }).rip).toBe(0x100050);
});

test.each([
  ['ELF64', buildElf(64, 62, 0x100000, [{ paddr: 0x100000, bytes: new Uint8Array(8) }], multibootHeader(3)), /32-bit/],
  ['no header', new Uint8Array(9000), /no multiboot header/],
  ['no ELF', multibootHeader(3), /neither ELF/],
  ['no RAM', elfKernel(70 * MIB), /-m/],
  ['kludge: short header', multibootHeader(0x10003), /truncated/],
  ['kludge: load_addr', multibootHeader(0x10003, [0x1000, 0x2000, 0, 0, 0]), /load_addr/],
  ['kludge: before the file', multibootHeader(0x10003, [0x2000, 0x1000, 0, 0, 0]), /load_addr/],
  ['kludge: load_end', multibootHeader(0x10003, [0x1000, 0x1000, 0x9000, 0, 0]), /load_end_addr/],
  ['kludge: bss_end', multibootHeader(0x10003, [0x1000, 0x1000, 0x1010, 0x1008, 0]), /bss_end_addr/],
])('refuses %s', (_, kernel, message) => {
  expect(() => loadMultiboot(kernel, { ramSize: RAM, commandLine: 'k ', modules: [] })).toThrow(message);
});

test('modules that do not fit ask for memory', () => {
  const modules = [{ commandLine: 'm', bytes: new Uint8Array(2 * MIB) }];
  expect(() => loadMultiboot(elfKernel(), { ramSize: 3 * MIB, commandLine: 'k ', modules })).toThrow(
    /need memory up to 4 MiB/,
  );
});

test('random headers and fields only ever give a BootError or a load inside RAM', () => {
  const ram = new Uint8Array(2 * MIB);
  const field = fc.oneof(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 0, max: 0x10000 }));
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 300 }),
      fc.boolean(),
      fc.array(field, { maxLength: 5 }),
      (noise, kludge, fields) => {
        const header = multibootHeader(kludge ? 0x10003 : 3, fields);
        const at = noise.length & ~3;
        const kernel = new Uint8Array(at + header.length + 50);
        kernel.set(noise);
        kernel.set(header, at);
        try {
          writeBootImage(ram, loadMultiboot(kernel, { ramSize: ram.length, commandLine: 'k ', modules: [] }).writes);
        } catch (error) {
          expect(error).toBeInstanceOf(BootError);
        }
      },
    ),
    { numRuns: 1000 },
  );
});
