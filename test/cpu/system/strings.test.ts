/** Repeated string instructions against a model that does one element after the other. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { setRflags } from '../../../cpu/helpers/flags.ts';
import { S_RFLAGS } from '../../../cpu/state.ts';
import { BareCpu, CODE, DATA, PT, RAX, RCX, RDI, RSI } from './bare-cpu.ts';

const DF = 1 << 10;
const PF = 14;

const bare = new BareCpu().long();
const LENGTH = 0x3000;
const pattern = Uint8Array.from({ length: LENGTH }, (_, i) => (i * 131) ^ (i >> 7));

const prefix = (width: number) => ({ 1: '', 2: '66', 4: '', 8: '48' })[width];
const opcode = (byte: number, width: number) => (byte + (width === 1 ? 0 : 1)).toString(16);

test('REP MOVS moves element by element, whatever overlaps and whichever way', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(1, 2, 4, 8),
      fc.nat(700),
      fc.integer({ min: 0x1000, max: 0x1fff }),
      fc.oneof(fc.integer({ min: -40, max: 40 }), fc.integer({ min: -0x800, max: 0x800 })),
      fc.boolean(),
      (width, wanted, source, distance, down) => {
        const room = Math.floor(0x800 / width);
        const count = Math.min(wanted, room);
        const model = pattern.slice();
        bare.ram.set(pattern, DATA);
        let from = source;
        let to = source + distance;
        const step = down ? -width : width;
        for (let i = 0; i < count; i++, from += step, to += step) model.set(model.slice(from, from + width), to);
        bare.set(RSI, DATA + source);
        bare.set(RDI, DATA + source + distance);
        bare.set(RCX, count);
        bare.cpu.i32[S_RFLAGS >> 2] = down ? 2 | DF : 2;
        expect(bare.run(`f3 ${prefix(width)} ${opcode(0xa4, width)}`).vector).toBe(-1);
        expect([bare.gpr(RCX), bare.gpr(RSI) - DATA, bare.gpr(RDI) - DATA]).toEqual([0, from, to]);
        expect(Buffer.compare(bare.ram.subarray(DATA, DATA + LENGTH), model)).toBe(0);
      },
    ),
    { numRuns: 1500 },
  );
});

test('REP STOS fills, and stops where the page ends', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(1, 2, 4, 8),
      fc.nat(3000),
      fc.nat(0x1000),
      fc.boolean(),
      (width, count, start, down) => {
        const cpu = new BareCpu().long();
        // The third and the first page are absent.
        cpu.view.setBigUint64(PT + ((DATA + 0x2000) >> 12) * 8, 0n, true);
        cpu.view.setBigUint64(PT + ((DATA - 0x1000) >> 12) * 8, 0n, true);
        cpu.set(RAX, 0x1a2b3c4d5e6f);
        cpu.set(RDI, DATA + start);
        cpu.set(RCX, count);
        cpu.cpu.i32[S_RFLAGS >> 2] = down ? 2 | DF : 2;
        const outcome = cpu.run(`f3 ${prefix(width)} ${opcode(0xaa, width)}`);
        const fits = down
          ? start + width > 0x2000
            ? 0
            : Math.floor(start / width) + 1
          : Math.max(0, Math.floor((0x2000 - start) / width));
        const done = Math.min(count, fits);
        expect(outcome.vector).toBe(done < count ? PF : -1);
        if (done < count) expect(outcome).toMatchObject({ error: 2, rip: CODE });
        expect([cpu.gpr(RCX), cpu.gpr(RDI)]).toEqual([count - done, DATA + start + (down ? -1 : 1) * done * width]);
        const first = down ? start - (done - 1) * width : start;
        const value = [0x6f, 0x5e, 0x4d, 0x3c, 0x2b, 0x1a, 0, 0].slice(0, width);
        for (let i = 0; i < done * width; i++) expect(cpu.ram[DATA + first + i]).toBe(value[i % width]);
      },
    ),
    { numRuns: 60 },
  );
});

test('REPNE SCASB and REPE CMPSB end where a loop would', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.nat(255), fc.nat(0x1fff), (bytes, value, start) => {
      bare.cpu.i32[S_RFLAGS >> 2] = 2;
      const at = DATA + start;
      bare.ram.fill(0, DATA, DATA + LENGTH);
      bare.ram.set(bytes, at);
      bare.set(RAX, value);
      bare.set(RDI, at);
      bare.set(RCX, bytes.length);
      bare.run('f2 ae');
      const found = bytes.indexOf(value);
      const looked = found < 0 ? bytes.length : found + 1;
      expect([bare.gpr(RDI) - at, bare.gpr(RCX)]).toEqual([looked, bytes.length - looked]);
      expect((bare.cpu.rflags >> 6) & 1).toBe(found < 0 ? 0 : 1);
      // Against a copy that differs at one place.
      const other = DATA + 0x10000;
      bare.ram.set(bytes, other);
      const place = value % bytes.length;
      bare.ram[other + place] ^= 0x80;
      bare.set(RSI, at);
      bare.set(RDI, other);
      bare.set(RCX, bytes.length);
      bare.run('f3 a6');
      expect([bare.gpr(RSI) - at, bare.gpr(RCX)]).toEqual([place + 1, bytes.length - place - 1]);
      expect((bare.cpu.rflags >> 6) & 1).toBe(0);
    }),
    { numRuns: 300 },
  );
});

test('a fault in the middle of REPE CMPS or REPNE SCAS leaves the flags as before the instruction', () => {
  const cpu = new BareCpu().long();
  // The second page is absent.
  cpu.view.setBigUint64(PT + ((DATA + 0x1000) >> 12) * 8, 0n, true);
  cpu.ram.fill(1, DATA, DATA + 0x1000);
  for (const code of ['f3 a6', 'f2 ae']) {
    setRflags(cpu.cpu, 0x8d7); // all status flags
    cpu.set(RAX, 0);
    cpu.set(RSI, DATA);
    cpu.set(RDI, DATA + 0x1000 - 20);
    cpu.set(RCX, 100);
    expect(cpu.run(code)).toMatchObject({ vector: PF, rip: CODE });
    expect([cpu.gpr(RCX), cpu.gpr(RDI)]).toEqual([80, DATA + 0x1000]);
    expect(cpu.cpu.rflags & 0x8d5).toBe(0x8d5);
  }
});

test('an interrupt comes in the middle of a long REP, which then goes on', () => {
  const cpu = new BareCpu().long();
  cpu.cpu.i32[S_RFLAGS >> 2] |= 0x200;
  cpu.set(RDI, 0x200000);
  cpu.set(RCX, 0x400000);
  cpu.set(RAX, 0x55);
  cpu.put(CODE, 'f3 aa');
  cpu.ram.set([0x48, 0xcf], 0x3000 + 0x40); // IRETQ
  cpu.cpu.i32[0x190 >> 2] = CODE;
  // A slice of a few instructions, then an interrupt, until the end.
  let interrupts = 0;
  while (!cpu.cpu.halted) {
    cpu.waiting.push(0x40);
    cpu.cpu.run(3);
    interrupts++;
  }
  expect(interrupts).toBeGreaterThan(10);
  expect(cpu.gpr(RCX)).toBe(0);
  expect([cpu.ram[0x200000], cpu.ram[0x5fffff], cpu.ram[0x600000]]).toEqual([0x55, 0x55, 0]);
});

test('device memory is reached element by element', () => {
  const accesses: [number, number][] = [];
  const cpu = new BareCpu({
    mmio: {
      read: (address, size) => {
        accesses.push([address, size]);
        return 0x01020304 >>> (8 * (4 - size));
      },
      write: (address, size) => void accesses.push([-address, size]),
    },
  }).long();
  const PDPT = 0x11000;
  cpu.view.setBigUint64(PDPT + 8, 0xc0000087n, true); // 1 GiB at 0x40000000
  cpu.set(RSI, 0x40000000);
  cpu.set(RDI, DATA);
  cpu.set(RCX, 2);
  cpu.run('f3 a5');
  expect(accesses).toEqual([
    [0xc0000000, 4],
    [0xc0000004, 4],
  ]);
  expect(cpu.view.getUint32(DATA + 4, true)).toBe(0x01020304);
  cpu.set(RDI, 0x40000010);
  cpu.set(RCX, 1);
  cpu.run('f3 66 ab');
  expect(accesses[2]).toEqual([-0xc0000010, 2]);
});
