/** Which blocks go when bytes of RAM change: those that were made from them, and no others. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BLOCK_BYTES, BLOCK_SIZE } from '../../cpu/record.ts';
import { BLOCK_PAGE_KEYS, PAGE_SIZE, RAM_BASE, S_MODE, S_PAGE_FLAGS } from '../../cpu/state.ts';
import { BareCpu, DATA, PT } from './system/bare-cpu.ts';

/** `mov rax, imm64`, `jmp $`: a block of twelve bytes. */
const CODE = [0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 0xeb, 0xfe];

/** Bytes of two pages, from any on, or such that they cross from one into the other. */
const place = fc.oneof(fc.nat(2 * PAGE_SIZE - CODE.length), fc.integer({ min: 0xff0, max: 0x100f }));
const length = fc.oneof(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: PAGE_SIZE }));

test.each([
  ['behind each other', DATA + PAGE_SIZE],
  ['apart', DATA + 3 * PAGE_SIZE],
  ['in the same list', DATA + BLOCK_PAGE_KEYS * PAGE_SIZE],
])('of two pages that are %s', (_, second) => {
  const { cpu, view } = new BareCpu({}, { ramSize: 32 << 20 }).long();
  view.setUint32(PT + (DATA / PAGE_SIZE + 1) * 8, second | 7, true);
  const physical = (at: number) => (at < PAGE_SIZE ? DATA + at : second + at - PAGE_SIZE);
  fc.assert(
    fc.property(
      fc.uniqueArray(place, { minLength: 1, maxLength: 30 }),
      fc.array(fc.tuple(place, length), { minLength: 1, maxLength: 4 }),
      (starts, writes) => {
        cpu.blocks.flush();
        for (let at = 0; at < 2 * PAGE_SIZE; at++) cpu.u8[RAM_BASE + physical(at)] = 0xf4;
        for (const start of starts)
          for (const [i, byte] of CODE.entries()) cpu.u8[RAM_BASE + physical(start + i)] = byte;
        const find = (start: number) => cpu.blocks.lookup(DATA + start, 0, cpu.i32[S_MODE >> 2]);
        const bytes = (block: number) => cpu.i32[(block - BLOCK_SIZE + BLOCK_BYTES) >> 2];
        const blocks = starts.map(find);
        for (const [from, wanted] of writes) {
          // What is written lies in one page.
          const end = Math.min(from + wanted, from < PAGE_SIZE ? PAGE_SIZE : 2 * PAGE_SIZE);
          cpu.ramWritten(physical(from), end - from);
          for (const [i, start] of starts.entries()) {
            const before = blocks[i];
            blocks[i] = find(start);
            expect(blocks[i] !== before).toBe(from < start + bytes(before) && start < end);
          }
        }
        for (const page of [DATA, second]) {
          cpu.ramWritten(page, PAGE_SIZE);
          expect(cpu.u8[S_PAGE_FLAGS + page / PAGE_SIZE]).toBe(0);
        }
      },
    ),
    { numRuns: 200 },
  );
});

test('a page whose only code went with that of the page before it', () => {
  const { cpu } = new BareCpu({}, { ramSize: 32 << 20 }).long();
  const at = DATA + PAGE_SIZE - 4;
  for (const [i, byte] of CODE.entries()) cpu.u8[RAM_BASE + at + i] = byte;
  cpu.blocks.lookup(at, 0, cpu.i32[S_MODE >> 2]);
  const flags = () => cpu.u8[S_PAGE_FLAGS + DATA / PAGE_SIZE + 1];
  expect(flags()).not.toBe(0);
  cpu.ramWritten(at, 4);
  // Data, far from where the code was.
  cpu.ramWritten(DATA + PAGE_SIZE + 512, 1);
  expect(flags()).toBe(0);
});
