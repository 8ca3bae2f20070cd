import { expect, test } from 'vitest';
import { writeBootImage } from '../../firmware/boot-state.ts';
import { parseElf } from '../../firmware/elf.ts';
import { findPvhEntry, loadPvh } from '../../firmware/pvh.ts';
import { buildElf, elfNote } from './build-kernel.ts';

const RAM = 64 * 2 ** 20;

test.each([32, 64] as const)('PVH: an ELF%i is entered at its note, EBX = hvm_start_info', (bits) => {
  const note = elfNote('Xen', 18, new Uint8Array(new BigUint64Array([0x100010n]).buffer));
  const file = buildElf(bits, bits === 32 ? 3 : 62, 0x123456, [
    { paddr: 0x100000, bytes: Uint8Array.of(0xf4) },
    { type: 4, paddr: 0, bytes: note, align: 4 },
  ]);
  const elf = parseElf(file);
  const entry = findPvhEntry(elf);
  expect(entry).toBe(0x100010);
  const state = loadPvh(elf, entry!, { ramSize: RAM, commandLine: 'hello', initrd: Uint8Array.of(5, 6) });
  expect(state).toMatchObject({ rip: 0x100010, cr0: 0x11, registers: { rbx: 0x6000 } });

  const ram = new Uint8Array(RAM);
  writeBootImage(ram, state.writes);
  const view = new DataView(ram.buffer);
  const info = 0x6000;
  expect(view.getUint32(info, true)).toBe(0x336ec578);
  expect(view.getUint32(info + 4, true)).toBe(1);
  expect(view.getUint32(info + 12, true)).toBe(1);
  const [modlist, cmdline, rsdp, memmap] = [16, 24, 32, 40].map((at) => Number(view.getBigUint64(info + at, true)));
  expect(rsdp).toBe(0xf5a00);
  expect(new TextDecoder().decode(ram.subarray(cmdline, cmdline + 6))).toBe('hello\0');
  expect(view.getUint32(info + 48, true)).toBe(7);
  expect(view.getBigUint64(memmap + 3 * 24, true)).toBe(0x100000n);
  expect(view.getUint32(memmap + 3 * 24 + 16, true)).toBe(1);
  const module = Number(view.getBigUint64(modlist, true));
  expect(module).toBe(0x3fdf000);
  expect(view.getBigUint64(modlist + 8, true)).toBe(2n);
  expect([...ram.subarray(module, module + 2)]).toEqual([5, 6]);
});

test('without the note there is no PVH entry', () => {
  expect(findPvhEntry(parseElf(buildElf(64, 62, 0, [{ paddr: 0x100000, bytes: new Uint8Array(1) }])))).toBeUndefined();
});
