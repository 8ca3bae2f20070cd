/**
 * What finds and decodes blocks exists twice, compiled ahead of time and as TypeScript, from one source: both must leave
 * the same memory behind.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BlockCache } from '../../cpu/blocks.ts';
import { GuestFault } from '../../cpu/fault.ts';
import { Mmu } from '../../cpu/mmu/mmu.ts';
import {
  CODE_16,
  CODE_32,
  CODE_64,
  MODE_CPL_SHIFT,
  MODE_IOPL,
  MODE_LONG,
  MODE_MMX_UD,
  MODE_NO_X87,
  MODE_ONE,
  MODE_PROTECTED,
  MODE_SSE_NM,
  MODE_SSE_UD,
  MODE_STACK_SHIFT,
} from '../../cpu/mode.ts';
import {
  RAM_BASE,
  S_CR0,
  S_CR3,
  S_CR4,
  S_EFER,
  S_JUMP_CACHE,
  S_MODE,
  S_OPS,
  S_OPS_NEXT,
  S_PAGE_FLAGS,
  S_RIP,
  S_SEGMENTS,
  S_TABLES,
  SEGMENT_LIMIT,
  SEGMENT_STRIDE,
} from '../../cpu/state.ts';
import { buildCoreModule } from '../../cpu/wasm/interpreter.ts';

const RAM_SIZE = 0x20000;
const PAGES = (RAM_BASE + RAM_SIZE) / 65536;
const core = new WebAssembly.Module(buildCoreModule());
const RUNS = process.env.TSVMM_LONG ? 20_000 : 150;

/** Page tables: a PML4 at 0x1000, PDPT 0x2000, page directory 0x3000, page table 0x4000. */
const PML4 = 0x1000;
const CODE_START = 0x10000;
const CODE_BYTES = 0x3000;

class Side {
  readonly memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
  readonly u8 = new Uint8Array(this.memory.buffer);
  readonly i32 = new Int32Array(this.memory.buffer);
  readonly mmu = new Mmu(this.memory.buffer, RAM_SIZE, { read: () => 0, write: () => {} });
  readonly blocks = new BlockCache(this.mmu, this.memory.buffer);
  readonly atRip: () => number;

  constructor() {
    const none = () => 0;
    const imports = { helper: none, load: none, store: none, portIn: none, portOut: none, regionAt: none };
    const instance = new WebAssembly.Instance(core, { e: { ...imports, m: this.memory } });
    this.atRip = instance.exports.atRip as () => number;
  }

  prepare(code: Uint8Array, { kind, flags, flagsOfPage }: Setting): void {
    const { i32, u8 } = this;
    this.blocks.flush();
    u8.fill(0, RAM_BASE, RAM_BASE + RAM_SIZE);
    u8.fill(0, S_OPS, S_OPS + 0x10000);
    const put = (address: number, value: number) => {
      i32[(RAM_BASE + address) >> 2] = value;
    };
    for (const [level, address] of [PML4, PML4 + 0x1000, PML4 + 0x2000].entries())
      put(address, (PML4 + (level + 1) * 0x1000) | 7);
    for (let page = 0; page < RAM_SIZE >> 12; page++) put(PML4 + 0x3000 + page * 8, (page << 12) | 7);
    // The page behind the first one with code, as the setting wants it: elsewhere, absent …
    put(PML4 + 0x3000 + ((CODE_START >> 12) + 1) * 8, (CODE_START + 0x2000) | flagsOfPage);
    u8.set(code, RAM_BASE + CODE_START);
    u8.set(code, RAM_BASE + CODE_START + 0x1ff0);
    i32[S_CR0 >> 2] = kind.paging ? 0x80000001 : 1;
    i32[S_CR3 >> 2] = PML4;
    i32[S_CR4 >> 2] = 1 << 5;
    i32[S_EFER >> 2] = kind.paging ? 0x500 : 0;
    i32[S_MODE >> 2] = kind.mode | flags;
    i32[(S_SEGMENTS + SEGMENT_STRIDE + SEGMENT_LIMIT) >> 2] = kind.limit;
  }

  start(rip: number): void {
    this.i32[S_RIP >> 2] = rip;
    this.i32[(S_RIP + 4) >> 2] = 0;
  }
}

const KINDS = {
  '16 bits': { mode: CODE_16 | (2 << MODE_STACK_SHIFT), paging: false, limit: 0x1ffff },
  '32 bits': { mode: CODE_32 | (4 << MODE_STACK_SHIFT) | MODE_PROTECTED, paging: false, limit: -1 },
  'compatibility mode': {
    mode: CODE_32 | (4 << MODE_STACK_SHIFT) | MODE_PROTECTED | MODE_LONG,
    paging: true,
    limit: -1,
  },
  '64 bits': { mode: CODE_64 | (8 << MODE_STACK_SHIFT) | MODE_PROTECTED | MODE_LONG, paging: true, limit: 0 },
};

interface Setting {
  kind: (typeof KINDS)['64 bits'];
  flags: number;
  flagsOfPage: number;
}

const compiled = new Side();
const typescript = new Side();

/** All of the memory but the tables that only the compiled form has, and scratch space. */
function expectSameMemory(): void {
  const next = compiled.i32[S_OPS_NEXT >> 2];
  expect(typescript.i32[S_OPS_NEXT >> 2]).toBe(next);
  const same = (from: number, end: number) =>
    expect(
      Buffer.compare(compiled.u8.subarray(from, end), typescript.u8.subarray(from, end)),
      `0x${from.toString(16)}`,
    );
  same(0, S_TABLES).toBe(0);
  same(S_PAGE_FLAGS, S_PAGE_FLAGS + 0x1000).toBe(0);
  same(S_JUMP_CACHE, S_OPS).toBe(0);
  same(S_OPS, next).toBe(0);
  same(RAM_BASE, RAM_BASE + RAM_SIZE).toBe(0);
}

function lookup(rip: number): number | GuestFault {
  try {
    return typescript.blocks.lookup(rip, 0, typescript.i32[S_MODE >> 2]);
  } catch (fault) {
    if (fault instanceof GuestFault) return fault;
    throw fault;
  }
}

const code = fc.uint8Array({ minLength: 64, maxLength: 200 });
const prefixed = fc
  .array(
    fc.tuple(
      fc.constantFrom(0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x64, 0x48, 0x4d, 0x0f, 0xc5, 0x90),
      fc.uint8Array({ maxLength: 6 }),
    ),
    { minLength: 20, maxLength: 40 },
  )
  .map((pieces) => Uint8Array.from(pieces.flatMap(([prefix, rest]) => [prefix, ...rest])));
const flags = fc
  .tuple(
    fc.subarray([MODE_NO_X87, MODE_MMX_UD, MODE_SSE_NM, MODE_SSE_UD, MODE_IOPL, MODE_ONE]),
    fc.constantFrom(0, 3 << MODE_CPL_SHIFT),
  )
  .map(([bits, privilege]) => bits.reduce((all, bit) => all | bit, privilege));
/** Where to decode from: anywhere in the code, and over the end of its page. */
const starts = fc.array(
  fc.oneof(fc.integer({ min: 0, max: 150 }), fc.integer({ min: 0xff0, max: 0xfff }), fc.constant(CODE_BYTES)),
  { minLength: 1, maxLength: 8 },
);

describe.each(Object.entries(KINDS))('%s', (_, kind) => {
  test('decoded, found again and dropped alike', () => {
    let decoded = 0;
    fc.assert(
      fc.property(
        fc.oneof(code, prefixed),
        flags,
        fc.constantFrom(7, 3, 6),
        starts,
        (bytes, modeFlags, flagsOfPage, offsets) => {
          for (const side of [compiled, typescript]) side.prepare(bytes, { kind, flags: modeFlags, flagsOfPage });
          for (const offset of [...offsets, ...offsets]) {
            const rip = CODE_START + offset;
            for (const side of [compiled, typescript]) side.start(rip);
            const found = compiled.atRip();
            if (found >= S_OPS) {
              expect(lookup(rip)).toBe(found);
              decoded++;
            } else if (kind.mode & CODE_64) expect(lookup(rip)).toBeInstanceOf(GuestFault);
            else {
              // A fault, or checks of segments, which are TypeScript's: it sees to this one on both sides.
              const there = lookup(rip);
              if (there instanceof GuestFault) continue;
              expect(compiled.blocks.lookup(rip, 0, compiled.i32[S_MODE >> 2])).toBe(there);
            }
            expectSameMemory();
          }
          for (const side of [compiled, typescript]) side.blocks.written(CODE_START + 40, 8);
          expectSameMemory();
        },
      ),
      { numRuns: RUNS },
    );
    expect(decoded).toBeGreaterThan(RUNS);
  });
});
