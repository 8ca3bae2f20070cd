/** REP MOVS and REP STOS as compiled ahead of time against the same in TypeScript, which runs everything while somebody watches. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { setRflags } from '../../../cpu/helpers/flags.ts';
import {
  S_BUDGET,
  S_COMPILED_CALLS,
  S_CR2,
  S_GPR,
  S_MODE,
  S_RIP,
  SEGMENT_BASE,
  segmentOffset,
} from '../../../cpu/state.ts';
import { BareCpu, CODE, DATA, HANDLERS, PT, RAX, RCX, RDI, RSI } from '../system/bare-cpu.ts';

const RUNS = process.env.TSVMM_LONG ? 20_000 : 600;
const DF = 1 << 10;
const FS = 4;
/** Pages that a case reads and writes, and where they stand in RAM: not in order. */
const PAGES = 5;
const ORDER = [2, 3, 0, 4, 1];
const LENGTH = PAGES * 0x1000;
const PATTERN = Uint8Array.from({ length: LENGTH }, (_, i) => (i * 131) ^ (i >> 7));

interface Case {
  stores: boolean;
  width: 1 | 2 | 4 | 8;
  count: number;
  from: number;
  to: number;
  down: boolean;
  accumulator: number;
  /** What is before the opcode. */
  prefix: string;
  user: boolean;
  /** Low bits of entries of the page table. */
  pages: number[];
  /** Pages that code was decoded from. */
  code: number[];
  /** Which pages are device memory. */
  devices: number[];
  budget: number;
}

/** Near the end of a page, so that elements cross it, or anywhere. */
const place = fc.oneof(
  fc.nat(LENGTH - 1),
  fc.tuple(fc.nat(PAGES), fc.integer({ min: -9, max: 9 })).map(([page, at]) => Math.max(0, page * 0x1000 + at)),
);
const few = fc.array(fc.nat(PAGES - 1), { maxLength: 2 });
const input: fc.Arbitrary<Case> = fc
  .record({
    stores: fc.boolean(),
    width: fc.constantFrom(1, 2, 4, 8),
    count: fc.oneof(fc.nat(20), fc.nat(9000)),
    from: place,
    to: place,
    distance: fc.option(fc.integer({ min: -40, max: 40 }), { nil: undefined }),
    down: fc.boolean(),
    accumulator: fc.constantFrom(0, -1, 0x1020304, 0x1010101),
    prefix: fc.constantFrom('', '', '', '64', '67'),
    user: fc.boolean(),
    pages: fc.oneof(
      fc.constant(Array(PAGES).fill(7)),
      fc.array(fc.constantFrom(7, 7, 7, 5, 3, 0), { minLength: PAGES, maxLength: PAGES }),
    ),
    code: fc.oneof(fc.constant([]), few),
    devices: fc.oneof(fc.constant([]), fc.constant([]), few),
    budget: fc.constantFrom(2, 50),
  })
  .map(({ distance, ...c }) => (distance === undefined ? c : { ...c, to: Math.max(0, c.from + distance) })) as never;

class Machine extends BareCpu {
  readonly accesses: [number, number, number][];
  /** Of the last case: helpers that were compiled, and those in TypeScript. */
  calls = [0, 0];

  constructor(options = {}) {
    const accesses: [number, number, number][] = [];
    const mmio = {
      read: (address: number, size: number) => {
        accesses.push([address, size, -1]);
        return (address * 0x1234567) >>> 0;
      },
      write: (address: number, size: number, value: number) => void accesses.push([address, size, value]),
    };
    super({ mmio }, options);
    this.accesses = accesses;
  }

  /** What one instruction leaves behind. */
  outcome(c: Case) {
    const { cpu, ram, view, accesses } = this;
    const { i32 } = cpu;
    accesses.length = 0;
    this.long(c.user ? 3 : 0);
    ram.fill(0x90, DATA, DATA + LENGTH + 0x1000);
    ram.set(PATTERN, DATA);
    for (const page of c.code) cpu.blocks.lookup(DATA + page * 0x1000 + 0x800, 0, i32[S_MODE >> 2]);
    for (let page = 0; page < PAGES; page++) {
      const entry = PT + ((DATA >> 12) + page) * 8;
      const isDevice = c.devices.includes(page);
      view.setUint32(
        entry,
        (isDevice ? 0xc0000000 + page * 0x1000 : DATA + ORDER[page] * 0x1000) | c.pages[page],
        true,
      );
    }
    view.setUint32(PT + ((DATA >> 12) + PAGES) * 8, 0, true);
    view.setUint32(PT + ((DATA >> 12) - 1) * 8, 0, true);
    i32[(segmentOffset(FS) + SEGMENT_BASE) >> 2] = 3;
    cpu.mmu.flush();
    this.set(RAX, c.accumulator);
    this.set(RSI, DATA + c.from);
    this.set(RDI, DATA + c.to);
    this.set(RCX, c.count);
    setRflags(cpu, c.down ? 2 | DF : 2);
    const wide = { 1: '', 2: '66', 4: '', 8: '48' }[c.width];
    const opcode = (c.stores ? 0xaa : 0xa4) + (c.width === 1 ? 0 : 1);
    this.put(CODE, `f3 ${c.prefix} ${wide} ${opcode.toString(16)}`);
    i32[S_RIP >> 2] = CODE;
    i32[(S_RIP + 4) >> 2] = 0;
    i32[S_CR2 >> 2] = 0;
    cpu.halted = false;
    const words = (from: number, bytes: number) => [...i32.subarray(from >> 2, (from + bytes) >> 2)];
    const { dropped } = cpu.blocks;
    const before = this.counts();
    const stop = cpu.run(c.budget);
    this.calls = this.counts().map((count, i) => count - before[i]);
    return {
      stop,
      halted: cpu.halted,
      budget: i32[S_BUDGET >> 2],
      registers: words(S_GPR, 16 * 8),
      rip: words(S_RIP, 8),
      flags: cpu.rflags,
      cr2: words(S_CR2, 8),
      memory: Buffer.from(ram.subarray(DATA - 0x1000, DATA + LENGTH + 0x1000)).toString('latin1'),
      entries: Buffer.from(ram.subarray(PT, PT + 0x1000)).toString('latin1'),
      accesses: [...accesses],
      dropped: cpu.blocks.dropped - dropped,
    };
  }

  private counts(): number[] {
    return [this.cpu.i32[S_COMPILED_CALLS >> 2], this.cpu.counters.helperCalls];
  }
}

const usesWasm = !process.env.TSVMM_ACCEL?.includes('jit=js');

describe('compiled string instructions', () => {
  const compiled = new Machine();
  const watched = new Machine({ observer: { delivering() {}, translated() {} } });

  test('leave the same behind', () => {
    let plain = 0;
    fc.assert(
      fc.property(input, (c) => {
        expect(compiled.outcome(c)).toEqual(watched.outcome(c));
        plain += compiled.calls[0];
        expect(watched.calls[0]).toBe(0);
      }),
      { numRuns: RUNS },
    );
    if (usesWasm) expect(plain).toBeGreaterThan(RUNS / 4);
  });

  /** A long instruction that meets nothing. */
  const long: Case = {
    stores: false,
    width: 8,
    count: 0x300,
    from: 5,
    to: 0x2008,
    down: false,
    accumulator: 0,
    prefix: '',
    user: false,
    pages: Array(PAGES).fill(7),
    code: [],
    devices: [],
    budget: 50,
  };

  test.each<[string, Partial<Case>, boolean]>([
    ['elements that are read across pages', {}, true],
    ['elements that are written across pages', { to: 0x2006 }, false],
    ['a fault midway', { pages: [7, 7, 7, 5, 7], count: 0x400 }, false],
    ['an overlap', { width: 1, from: 0, to: 1 }, true],
    ['an overlap within elements', { from: 0, to: 1, count: 0x1ff }, true],
    ['a page with code', { code: [ORDER[2]] }, false],
    ['device memory', { devices: [1] }, false],
    ['device memory to fill', { stores: true, to: 0x1ff0, devices: [2], count: 4 }, false],
    ['an address of 32 bits', { prefix: '67' }, false],
  ])('%s', (_, change, isCompiled) => {
    const c = { ...long, ...change };
    const outcome = compiled.outcome(c);
    expect(outcome).toEqual(watched.outcome(c));
    expect(outcome.dropped).toBe(c.code.length);
    // The HLT at the end is a helper, too.
    if (usesWasm) expect(compiled.calls).toEqual(isCompiled ? [1, 1] : [0, 2]);
  });

  test('let interrupts in after 64 KiB', () => {
    const machine = new Machine().long();
    setRflags(machine.cpu, 0x202);
    machine.set(RAX, 0x55);
    machine.set(RDI, 0x20_0000);
    machine.set(RCX, 0x2_0800);
    machine.put(CODE, 'f3 aa');
    machine.ram.set([0x48, 0xcf], HANDLERS + 0x40); // IRETQ
    machine.cpu.i32[S_RIP >> 2] = CODE;
    const counts: number[] = [];
    while (!machine.cpu.halted) {
      // The block's two instructions, of which the first goes on and on; or an interrupt and its handler's.
      machine.cpu.run(2);
      if (machine.waiting.length === 0) counts.push(machine.gpr(RCX));
      if (counts.length === 1) machine.waiting.push(0x40);
    }
    expect([...new Set(counts)]).toEqual([0x1_0800, 0x800, 0]);
    expect(machine.gpr(RDI)).toBe(0x22_0800);
    expect([machine.ram[0x22_07ff], machine.ram[0x22_0800]]).toEqual([0x55, 0]);
    // HLT's; JavaScript's helpers do the others, as far as there is no region.
    if (usesWasm) expect(machine.cpu.counters.helperCalls).toBe(1);
  });
});
