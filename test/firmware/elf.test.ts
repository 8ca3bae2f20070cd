import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BootError, writeBootImage } from '../../firmware/boot-state.ts';
import { EM_386, EM_X86_64, findNote, loadElf, parseElf } from '../../firmware/elf.ts';
import { buildElf, elfNote } from './build-kernel.ts';

const MIB = 2 ** 20;

describe.each([32, 64] as const)('ELF%i', (bits) => {
  const machine = bits === 32 ? EM_386 : EM_X86_64;

  test('segments go to their physical addresses, followed by zeroed bss', () => {
    const file = buildElf(bits, machine, 0x100004, [
      { paddr: 0x100000, bytes: Uint8Array.of(1, 2, 3), memsz: 6 },
      { paddr: 0x101000, bytes: Uint8Array.of(9) },
    ]);
    const image = loadElf(parseElf(file), 2 * MIB);
    expect(image).toMatchObject({ low: 0x100000, high: 0x101001, entry: 0x100004 });
    const ram = new Uint8Array(2 * MIB).fill(0xff);
    writeBootImage(ram, image.writes);
    expect([...ram.subarray(0x100000, 0x100007)]).toEqual([1, 2, 3, 0, 0, 0, 0xff]);
    expect(ram[0x101000]).toBe(9);
  });

  test('on fresh RAM bss is zero too, where an earlier segment was', () => {
    const file = buildElf(bits, machine, 0x100004, [
      { paddr: 0x100000, bytes: Uint8Array.of(1, 2, 3, 4, 5, 6) },
      { paddr: 0x100001, bytes: Uint8Array.of(9), memsz: 4 },
    ]);
    const { writes } = loadElf(parseElf(file), 2 * MIB);
    const [fresh, used] = [new Uint8Array(2 * MIB), new Uint8Array(2 * MIB)];
    writeBootImage(fresh, writes, true);
    writeBootImage(used, writes);
    expect([...fresh.subarray(0x100000, 0x100007)]).toEqual([1, 9, 0, 0, 0, 6, 0]);
    expect(Buffer.compare(fresh, used)).toBe(0);
  });

  test('a virtual entry point follows its text segment', () => {
    const file = buildElf(bits, machine, 0x80100010, [
      { paddr: 0x100000, vaddr: 0x80100000, bytes: new Uint8Array(0x20) },
    ]);
    expect(loadElf(parseElf(file), 2 * MIB).entry).toBe(0x100010);
  });

  test('a kernel larger than RAM says how much memory it needs', () => {
    const file = buildElf(bits, machine, 0, [{ paddr: 0x100000, bytes: new Uint8Array(1), memsz: 63 * MIB }]);
    expect(() => loadElf(parseElf(file), 32 * MIB)).toThrow(/up to 64 MiB, but the guest has 32 MiB; .* -m/);
  });

  test('thousands of overlapping segments are refused before any work is done', () => {
    const segments = Array.from({ length: 3000 }, () => ({ paddr: 0, bytes: new Uint8Array(0), memsz: 32 * MIB }));
    expect(() => loadElf(parseElf(buildElf(bits, machine, 0, segments)), 32 * MIB)).toThrow(BootError);
  });

  test.each([
    ['truncated headers', (file: Uint8Array) => file.subarray(0, 60)],
    ['truncated segments', (file: Uint8Array) => file.subarray(0, file.length - 1)],
    ['another machine', (file: Uint8Array) => file.fill(40, 18, 19)],
    ['big-endian', (file: Uint8Array) => file.fill(2, 5, 6)],
    ['an unknown class', (file: Uint8Array) => file.fill(7, 4, 5)],
  ])('%s are a BootError', (_, damage) => {
    const file = damage(buildElf(bits, machine, 0, [{ paddr: 0x100000, bytes: new Uint8Array(100) }]));
    expect(() => loadElf(parseElf(file), 2 * MIB)).toThrow(BootError);
  });

  test('notes are found by owner and type, behind others', () => {
    const notes = [
      elfNote('GNU', 18, Uint8Array.of(1)),
      elfNote('Xen', 5, Uint8Array.of(2, 2, 2, 2, 2)),
      elfNote('Xen', 18, Uint8Array.of(3)),
    ];
    const bytes = Uint8Array.from(notes.flatMap((note) => [...note]));
    const elf = parseElf(buildElf(bits, machine, 0, [{ type: 4, paddr: 0, bytes, align: 4 }]));
    expect(findNote(elf, 'Xen', 18)).toEqual(Uint8Array.of(3));
    expect(findNote(elf, 'Xen', 1)).toBeUndefined();
  });
});

test('damaged files only ever give a BootError or a load inside RAM', () => {
  const base = fc.constantFrom(
    buildElf(32, EM_386, 0x100000, [
      { paddr: 0x100000, bytes: new Uint8Array(64) },
      { type: 4, paddr: 0, bytes: elfNote('Xen', 18, new Uint8Array(4)), align: 4 },
    ]),
    buildElf(64, EM_X86_64, 0x100000, [
      { paddr: 0x100000, bytes: new Uint8Array(64) },
      { type: 4, paddr: 0, bytes: elfNote('Xen', 18, new Uint8Array(8)), align: 4 },
    ]),
  );
  const damage = fc.array(fc.tuple(fc.nat(400), fc.integer({ min: 0, max: 255 })), { maxLength: 12 });
  const ram = new Uint8Array(2 * MIB);
  fc.assert(
    fc.property(base, damage, (original, bytes) => {
      const file = original.slice();
      for (const [at, value] of bytes) {
        file[at % file.length] = value;
      }
      try {
        const elf = parseElf(file);
        findNote(elf, 'Xen', 18);
        writeBootImage(ram, loadElf(elf, ram.length).writes);
      } catch (error) {
        expect(error).toBeInstanceOf(BootError);
      }
    }),
    { numRuns: 2000 },
  );
});
