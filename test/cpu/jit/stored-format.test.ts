import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checksum } from '../../../cpu/checksum.ts';
import { decodeParts, encodeParts } from '../../../cpu/jit/stored-format.ts';
import type { StoredPart } from '../../../cpu/jit/stored-regions.ts';

const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const uint32 = fc.nat(2 ** 32 - 1);
const list = fc.array(int32, { maxLength: 9 });
const bytes = fc.uint8Array({ maxLength: 21 });
const region = fc.record({
  ripLow: int32,
  ripHigh: int32,
  mode: int32,
  generation: int32,
  window: fc.record({ low: uint32, length: uint32 }),
  locals: int32,
  instructions: int32,
  entries: list,
  inside: list,
  followed: list,
  jumps: list,
  pages: list,
  ranges: list,
  sites: list,
  links: list,
  relocations: list,
  hints: list,
  original: bytes,
  code: bytes,
});
const machineCode = fc.record({
  host: fc.string({ minLength: 1, maxLength: 9 }),
  ran: int32,
  module: bytes,
  bytes: fc.uint8Array({ minLength: 1, maxLength: 9 }),
});
const parts = fc.array(
  fc.record({
    regions: fc.array(region, { maxLength: 4 }),
    ran: int32,
    machineCode: fc.option(machineCode, { nil: undefined }),
  }),
  { maxLength: 3 },
);

/** The same with plain lists. */
const plain = (read: readonly StoredPart[] | undefined) =>
  JSON.parse(JSON.stringify(read, (_, value) => (ArrayBuffer.isView(value) ? Array.from(value as Uint8Array) : value)));

test('what was written is read', () => {
  fc.assert(
    fc.property(parts, int32, (written, make) => {
      expect(plain(decodeParts(encodeParts(written, make), make))).toEqual(plain(written));
    }),
  );
});

test('a file that is cut short, changed or of another make is not read', () => {
  fc.assert(
    fc.property(parts, fc.nat(), fc.integer({ min: 1, max: 255 }), (written, where, change) => {
      const file = encodeParts(written, 3);
      expect(decodeParts(file, 4)).toBeUndefined();
      expect(decodeParts(file.subarray(0, where % file.length), 3)).toBeUndefined();
      const other = file.slice();
      other[where % file.length] ^= change;
      expect(decodeParts(other, 3)).toBeUndefined();
      // What stood behind an earlier, longer one does not matter.
      expect(plain(decodeParts(Uint8Array.of(...file, 1, 2, 3), 3))).toEqual(plain(written));
    }),
  );
});

test('lists that would reach behind the end', () => {
  const file = encodeParts([{ regions: [], ran: 1, machineCode: undefined }], 3);
  const words = new Int32Array(file.buffer);
  // How many regions there are, and how large three pieces of machine code are.
  for (const value of [-1, 1, 2 ** 31 - 1])
    for (const i of [4, 6, 7, 8]) {
      const old = words[i];
      words[i] = value;
      words[3] = checksum(file.subarray(16));
      expect(decodeParts(file, 3)).toBeUndefined();
      words[i] = old;
    }
});
