import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BootError, type BootState, writeBootImage } from '../../firmware/boot-state.ts';
import { isLinux, loadBzImage, loadLinuxElf } from '../../firmware/linux.ts';
import { buildBzImage, buildElf } from './build-kernel.ts';

const MIB = 2 ** 20;
const RAM = 64 * MIB;

function viewAfter(state: BootState) {
  const ram = new Uint8Array(RAM);
  writeBootImage(ram, state.writes);
  return { ram, view: new DataView(ram.buffer) };
}

const options = { ramSize: RAM, commandLine: 'console=ttyS0 panic=-1', vga: true };

describe('bzImage', () => {
  test('64-bit entry: long mode, 1:1 pages, RSI = zero page', () => {
    const state = loadBzImage(buildBzImage(), options);
    expect(state).toMatchObject({ protocol: 'linux64', rip: 0x100200, efer: 0x500, cr4: 0x20, cr3: 0x9000 });
    expect(state.cr0).toBe(0x80000011);
    expect(state.registers.rsi).toBe(0x10000);
    expect(state.cs).toEqual({ selector: 0x10, base: 0, limit: 0xffffffff, access: 0xa09b });
    expect(state.data.selector).toBe(0x18);
    const { view } = viewAfter(state);
    expect(view.getBigUint64(0x9000, true)).toBe(0xa003n);
    expect(view.getBigUint64(0xa000, true)).toBe(0xb003n);
    expect(view.getBigUint64(0xb000 + 511 * 8, true)).toBe((511n << 21n) | 0x83n);
    expect(view.getBigUint64(0x500 + 0x10, true)).toBe(0xaf9b000000ffffn);
  });

  test('32-bit entry where there is no 64-bit one', () => {
    const state = loadBzImage(buildBzImage({ xloadflags: 0 }), options);
    expect(state).toMatchObject({ protocol: 'linux', rip: 0x100000, cr0: 0x11, efer: 0 });
    expect(state.cs.selector).toBe(0x10);
    expect(state.registers).toEqual({ rsi: 0x10000 });
  });

  test('zero page: the file’s setup header, the loader’s answers, e820 and the command line', () => {
    const { ram, view } = viewAfter(loadBzImage(buildBzImage(), options));
    const zero = 0x10000;
    expect(view.getUint16(zero + 0x1fe, true)).toBe(0xaa55);
    expect(view.getUint16(zero + 0x206, true)).toBe(0x20f);
    expect(ram[zero + 0x210]).toBe(0xb0);
    expect(ram[zero + 0x211]).toBe(0x81);
    expect(view.getUint32(zero + 0x214, true)).toBe(0x100000);
    expect(view.getUint32(zero + 0x228, true)).toBe(0x20000);
    expect(ram[zero + 0x1e8]).toBe(7);
    expect(view.getBigUint64(zero + 0x2d0 + 3 * 20, true)).toBe(0x100000n);
    expect(view.getBigUint64(zero + 0x2d0 + 3 * 20 + 8, true)).toBe(0x3ee0000n);
    expect(view.getUint32(zero + 0x1e0, true)).toBe(0xfb80);
    expect(ram[zero + 0x0f]).toBe(1);
    expect(view.getUint32(zero + 0x70, true)).toBe(0xf5a00);
    expect(new TextDecoder().decode(ram.subarray(0x20000, 0x20000 + 23))).toBe('console=ttyS0 panic=-1\0');
    expect(ram[0x100000]).toBe(0x90);
  });

  test.each([
    ['below the ACPI tables', 0x7fffffff, 0x3fe0000],
    ['below initrd_addr_max', 0x1ffffff, 0x2000000],
  ])('initrd as high as it may be: %s', (_, initrdMax, end) => {
    const initrd = Uint8Array.from({ length: 5000 }, (_, index) => index);
    const { ram, view } = viewAfter(loadBzImage(buildBzImage({ initrdMax }), { ...options, initrd }));
    const address = view.getUint32(0x10218, true);
    expect(address).toBe(end - 0x2000);
    expect(view.getUint32(0x1021c, true)).toBe(5000);
    expect(ram.subarray(address, address + 5000)).toEqual(initrd);
  });

  test.each([
    ['vga=ask', 0xfffd],
    ['quiet vga=0x305 x', 0x305],
    ['vga=773', 773],
  ])('%s sets the video mode', (commandLine, mode) => {
    const { view } = viewAfter(loadBzImage(buildBzImage(), { ...options, commandLine }));
    expect(view.getUint16(0x101fa, true)).toBe(mode);
  });

  test.each([
    ['old protocol', buildBzImage({ version: 0x201 }), /2\.1 is too old/],
    ['zImage', buildBzImage({ loadflags: 0 }), /too old/],
    ['nothing behind setup', buildBzImage({ code: new Uint8Array(0) }), /truncated/],
    ['short header', buildBzImage().subarray(0, 0x240), /truncated/],
    ['no room', buildBzImage({ initSize: 100 * MIB }), /up to 116 MiB, but the guest has 64 MiB/],
    ['initrd below the kernel', buildBzImage({ initrdMax: 0x1000 }), /no room for an initrd/],
  ])('refuses: %s', (_, kernel, message) => {
    expect(isLinux(kernel)).toBe(true);
    expect(() => loadBzImage(kernel, { ...options, initrd: new Uint8Array(10) })).toThrow(message);
  });

  test('refuses a bad vga= and an endless command line', () => {
    expect(() => loadBzImage(buildBzImage(), { ...options, commandLine: 'vga=blue' })).toThrow(/vga=/);
    expect(() => loadBzImage(buildBzImage(), { ...options, commandLine: 'x'.repeat(0x10000) })).toThrow(/command line/);
  });

  test('any setup header only ever gives a BootError or a load inside RAM', () => {
    const ram = new Uint8Array(4 * MIB);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0x90, maxLength: 0x90 }), fc.nat(3000), (header, length) => {
        const kernel = new Uint8Array(0x290 + length);
        kernel.set(header, 0x1f1);
        kernel.set(buildBzImage().subarray(0x1fe, 0x212), 0x1fe);
        try {
          const state = loadBzImage(kernel, { ...options, ramSize: ram.length, initrd: new Uint8Array(9) });
          writeBootImage(ram, state.writes);
        } catch (error) {
          expect(error).toBeInstanceOf(BootError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('ELF64 as Firecracker boots it', () => {
  const kernel = buildElf(64, 62, 0x200000, [{ paddr: 0x200000, bytes: Uint8Array.of(0xf4) }]);

  test('registers, tables and zero page', () => {
    const state = loadLinuxElf(kernel, { ...options, initrd: Uint8Array.of(1, 2, 3) });
    expect(state.registers).toEqual({ rsp: 0x8ff0, rbp: 0x8ff0, rsi: 0x7000 });
    expect(state).toMatchObject({ rip: 0x200000, gdtr: { base: 0x500, limit: 31 }, idtr: { base: 0x520, limit: 7 } });
    expect(state.cs.selector).toBe(8);
    expect(state.tr).toEqual({ selector: 0x18, base: 0, limit: 0xffffffff, access: 0x808b });
    const { ram, view } = viewAfter(state);
    expect([0, 8, 16, 24].map((at) => view.getBigUint64(0x500 + at, true))).toEqual([
      0n,
      0xaf9b000000ffffn,
      0xcf93000000ffffn,
      0x8f8b000000ffffn,
    ]);
    expect(view.getUint16(0x71fe, true)).toBe(0xaa55);
    expect(view.getUint32(0x7202, true)).toBe(0x53726448);
    expect(ram[0x7210]).toBe(0xff);
    expect(view.getUint32(0x7228, true)).toBe(0x20000);
    expect(view.getUint32(0x7238, true)).toBe(23);
    expect(view.getUint32(0x7218, true)).toBe(0x3fdf000);
    expect(view.getUint32(0x721c, true)).toBe(3);
    expect(ram[0x200000]).toBe(0xf4);
  });
});
