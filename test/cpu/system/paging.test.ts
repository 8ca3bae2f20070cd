/** The page walker in its three forms against the rules of SDM vol. 3A 4.6 and 4.7, and the TLB in front of it. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { VECTOR_GP, VECTOR_PF } from '../../../cpu/fault.ts';
import {
  ACCESS_FETCH,
  ACCESS_IMPLICIT,
  ACCESS_READ,
  ACCESS_USER,
  ACCESS_WRITE,
  walk,
  walked,
} from '../../../cpu/mmu/walk.ts';
import { RAM_BASE, S_CR0, S_CR3, S_CR4, S_EFER, S_RAM_SIZE, S_RFLAGS } from '../../../cpu/state.ts';
import { BareCpu, CODE, DATA, PD, PT, RAX, RBX } from './bare-cpu.ts';

const P = 1;
const W = 2;
const U = 4;
const A = 0x20;
const D = 0x40;
const PS = 0x80;

const CR0_PG = 0x80000001 | 0;
const CR0_WP = 1 << 16;
const CR4_PSE = 1 << 4;
const CR4_PAE = 1 << 5;
const CR4_SMEP = 1 << 20;
const CR4_SMAP = 1 << 21;
const EFER_LONG = 0x500;
const EFER_NXE = 1 << 11;
const RFLAGS_AC = 1 << 18;

const PF = 14;

/** A memory of a state block and 64 KiB of RAM, with a root at 0x1000. */
class Tables {
  readonly i32 = new Int32Array((RAM_BASE + 0x10000) >> 2);

  constructor() {
    this.i32[S_RAM_SIZE >> 2] = 0x10000;
  }

  set(cr0: number, cr4: number, efer: number, rflags = 0): void {
    this.i32[S_CR0 >> 2] = CR0_PG | cr0;
    this.i32[S_CR4 >> 2] = cr4;
    this.i32[S_EFER >> 2] = efer;
    this.i32[S_CR3 >> 2] = 0x1000;
    this.i32[S_RFLAGS >> 2] = rflags;
  }

  put(address: number, low: number, high = 0): void {
    this.i32[(RAM_BASE + address) >> 2] = low;
    this.i32[(RAM_BASE + address + 4) >> 2] = high;
  }

  get(address: number): number {
    return this.i32[(RAM_BASE + address) >> 2];
  }

  /** @returns the physical address, or the error code (as −1 − code) of a page fault. */
  walk(low: number, access: number, high = 0): number {
    if (walk(this, low, high, access)) return walked.high * 2 ** 32 + (walked.low >>> 0);
    expect(walked.vector).toBe(VECTOR_PF);
    return -1 - walked.errorCode;
  }
}

const memory = new Tables();

/** Entries of each level, leaf first, for linear address 0x00403000 + offset; the leaf maps 0x5000. */
const FORMS = {
  '32-bit': {
    cr4: CR4_PSE,
    efer: 0,
    levels: 2,
    hasNx: false,
    build: (flags: number[]) => {
      memory.put(0x1000 + 4, 0x2000 | flags[1]);
      memory.put(0x2000 + 3 * 4, 0x5000 | flags[0]);
    },
    addresses: [0x200c, 0x1004],
  },
  PAE: {
    cr4: CR4_PAE,
    efer: 0,
    levels: 2,
    hasNx: true,
    build: (flags: number[], nx: boolean[]) => {
      memory.put(0x1000, 0x2001);
      memory.put(0x2000 + 2 * 8, 0x3000 | flags[1], nx[1] ? 0x80000000 : 0);
      memory.put(0x3000 + 3 * 8, 0x5000 | flags[0], nx[0] ? 0x80000000 : 0);
    },
    addresses: [0x3018, 0x2010],
  },
  '4-level': {
    cr4: CR4_PAE,
    efer: EFER_LONG,
    levels: 4,
    hasNx: true,
    build: (flags: number[], nx: boolean[]) => {
      memory.put(0x1000, 0x2000 | flags[3], nx[3] ? 0x80000000 : 0);
      memory.put(0x2000, 0x3000 | flags[2], nx[2] ? 0x80000000 : 0);
      memory.put(0x3000 + 2 * 8, 0x4000 | flags[1], nx[1] ? 0x80000000 : 0);
      memory.put(0x4000 + 3 * 8, 0x5000 | flags[0], nx[0] ? 0x80000000 : 0);
    },
    addresses: [0x4018, 0x3010, 0x2000, 0x1000],
  },
};

const LINEAR = 0x00403000;

describe.each(Object.entries(FORMS))('%s paging', (_, form) => {
  test('permissions, accessed and dirty bits are those of the manual', () => {
    const flag = fc.constantFrom(P | W | U, P | W, P | U, P, W | U);
    fc.assert(
      fc.property(
        fc.array(flag, { minLength: form.levels, maxLength: form.levels }),
        fc.array(fc.boolean(), { minLength: form.levels, maxLength: form.levels }),
        fc.constantFrom(ACCESS_READ, ACCESS_WRITE, ACCESS_FETCH),
        fc.constantFrom(0, ACCESS_USER, ACCESS_IMPLICIT),
        fc.record({ wp: fc.boolean(), nxe: fc.boolean(), smep: fc.boolean(), smap: fc.boolean(), ac: fc.boolean() }),
        (flags, nx, kind, who, { wp, nxe, smep, smap, ac }) => {
          const useNx = form.hasNx && nxe;
          const nxBits = nx.map((bit) => bit && useNx);
          memory.set(
            wp ? CR0_WP : 0,
            form.cr4 | (smep ? CR4_SMEP : 0) | (smap ? CR4_SMAP : 0),
            form.efer | (nxe ? EFER_NXE : 0),
            ac ? RFLAGS_AC : 0,
          );
          form.build(flags, nxBits);
          const access = kind | who;
          const user = who === ACCESS_USER;
          const result = memory.walk(LINEAR + 0x123, access);

          const reported =
            (kind === ACCESS_WRITE ? 2 : 0) | (user ? 4 : 0) | (kind === ACCESS_FETCH && (useNx || smep) ? 16 : 0);
          // From the root down, the first entry that is not present ends the walk.
          const present = flags.every((bits) => bits & P);
          const all = flags.reduce((a, b) => a & b);
          const executeDisabled = nxBits.some(Boolean);
          let allowed: boolean;
          if (kind === ACCESS_FETCH) {
            allowed = !executeDisabled && (user ? (all & U) !== 0 : !(smep && all & U));
          } else {
            const smapped = !user && smap && (all & U) !== 0 && (who === ACCESS_IMPLICIT || !ac);
            const writable = kind !== ACCESS_WRITE || (all & W) !== 0 || (!user && !wp);
            allowed = (!user || (all & U) !== 0) && !smapped && writable;
          }
          if (!present) expect(-1 - result).toBe(reported);
          else if (!allowed) expect(-1 - result).toBe(reported | P);
          else {
            expect(result).toBe(0x5123);
            const [leaf, ...tables] = form.addresses.map((at) => memory.get(at));
            expect(leaf & (A | D)).toBe(kind === ACCESS_WRITE ? A | D : A);
            for (const entry of tables) expect(entry & (A | D)).toBe(A);
          }
        },
      ),
      { numRuns: 3000 },
    );
  });
});

describe('large pages', () => {
  test('4 MiB: bits 39…32 of the address stand in bits 20…13 (PSE-36)', () => {
    memory.set(0, CR4_PSE, 0);
    memory.put(0x1000 + 4, 0x00800000 | (0x12 << 13) | PS | P | W | U);
    expect(memory.walk(LINEAR + 5, ACCESS_WRITE | ACCESS_USER)).toBe(0x12 * 2 ** 32 + 0x00803005);
    expect(walked.pageSize).toBe(0x400000);
    expect(memory.get(0x1004) & (A | D)).toBe(A | D);
    memory.set(0, 0, 0);
    // Without CR4.PSE the same entry names a table.
    expect(memory.walk(LINEAR, ACCESS_READ)).toBe(-1);
  });

  test('2 MiB and 1 GiB', () => {
    memory.set(0, CR4_PAE, EFER_LONG);
    memory.put(0x1000, 0x2007);
    memory.put(0x2000, 0x3007);
    memory.put(0x3000 + 2 * 8, 0x00a00087, 1);
    expect(memory.walk(LINEAR + 5, ACCESS_READ)).toBe(2 ** 32 + 0x00a03005);
    expect(walked.pageSize).toBe(0x200000);
    memory.put(0x2000, 0x40000087);
    expect(memory.walk(LINEAR + 5, ACCESS_READ)).toBe(0x40403005);
    expect(walked.pageSize).toBe(0x40000000);
  });
});

describe('reserved bits', () => {
  const RESERVED = -1 - (8 | P);
  test.each([
    ['address bit 40 in the leaf', 0x4018, 0x5007, 0x100],
    ['address bit 51 in the PML4 entry', 0x1000, 0x2007, 0x80000],
    ['NX without EFER.NXE', 0x4018, 0x5007, 0x80000000],
    ['PS in the PML4 entry', 0x1000, 0x2087, 0],
    ['an address within 2 MiB', 0x3010, 0x00803087, 0],
    ['an address within 1 GiB', 0x2000, 0x00200087, 0],
  ])('4-level: %s', (_, at, low, high) => {
    memory.set(0, CR4_PAE, EFER_LONG);
    FORMS['4-level'].build([7, 7, 7, 7], []);
    memory.put(at, low, high);
    expect(memory.walk(LINEAR, ACCESS_READ)).toBe(RESERVED);
    expect(memory.walk(LINEAR, ACCESS_WRITE | ACCESS_USER)).toBe(RESERVED - 6);
    // The accessed bits are not touched by a walk that fails.
    for (const address of FORMS['4-level'].addresses) expect(memory.get(address) & A).toBe(0);
  });

  test('PAE: permission bits of a page-directory pointer', () => {
    memory.set(0, CR4_PAE, 0);
    FORMS.PAE.build([7, 7], []);
    memory.put(0x1000, 0x2003);
    expect(memory.walk(LINEAR, ACCESS_READ)).toBe(RESERVED);
  });
});

test('addresses that are not canonical are #GP(0) in long mode', () => {
  memory.set(0, CR4_PAE, EFER_LONG);
  for (const high of [0x8000, 0x7fffffff, 0xffff7fff | 0])
    expect([walk(memory, 0, high, ACCESS_READ), walked.vector, walked.errorCode]).toEqual([false, VECTOR_GP, 0]);
});

describe('the TLB', () => {
  /** mov eax, [DATA] */
  const LOAD = '8b 04 25 00 00 04 00';
  /** invlpg [DATA] */
  const INVLPG = '0f 01 3c 25 00 00 04 00';
  const entry = (page: number, bits: number) => BigInt(page) | BigInt(bits);
  /** Writes to a table as a device does: whoever relies on it is told. */
  const put = (bare: BareCpu, at: number, value: bigint) => {
    bare.view.setBigUint64(at, value, true);
    bare.cpu.ramWritten(at, 8);
  };

  test('a changed entry is seen after INVLPG, and not needed before', () => {
    const bare = new BareCpu().long();
    bare.view.setUint32(DATA, 1, true);
    bare.view.setUint32(DATA + 0x1000, 2, true);
    bare.run(LOAD);
    put(bare, PT + (DATA >> 12) * 8, entry(DATA + 0x1000, 7));
    bare.run(`${INVLPG} ${LOAD}`);
    expect(bare.gpr(RAX)).toBe(2);
    // MOV to CR3 drops everything.
    put(bare, PT + (DATA >> 12) * 8, entry(DATA, 7));
    bare.run(`0f 20 db 0f 22 db ${LOAD}`);
    expect(bare.gpr(RAX)).toBe(1);
    expect(bare.gpr(RBX)).toBe(0x10000);
  });

  test('INVLPG of a large page drops all its parts', () => {
    const bare = new BareCpu().long();
    // Linear 4…6 MiB: first its own frame, then that of 2…4 MiB.
    for (const [at, value] of [
      [0x400000, 1],
      [0x4ff000, 2],
      [0x200000, 3],
      [0x2ff000, 4],
    ])
      bare.view.setUint32(at, value, true);
    const loads = '8b 04 25 00 00 40 00 8b 1c 25 00 f0 4f 00';
    bare.run(loads);
    expect([bare.gpr(RAX), bare.gpr(RBX)]).toEqual([1, 2]);
    put(bare, PD + 16, 0x200087n);
    bare.run(`0f 01 3c 25 00 80 47 00 ${loads}`);
    expect([bare.gpr(RAX), bare.gpr(RBX)]).toEqual([3, 4]);
  });

  test('code that was mapped elsewhere runs after INVLPG', () => {
    const bare = new BareCpu().long();
    bare.put(CODE + 0x1000, 'b8 01 00 00 00');
    bare.put(CODE + 0x2000, 'b8 02 00 00 00');
    bare.go(CODE + 0x1000);
    expect(bare.gpr(RAX)).toBe(1);
    put(bare, PT + ((CODE + 0x1000) >> 12) * 8, entry(CODE + 0x2000, 7));
    bare.run('0f 01 3c 25 00 10 02 00');
    bare.go(CODE + 0x1000);
    expect(bare.gpr(RAX)).toBe(2);
  });

  test('a read enters the page without its dirty bit, which the first write sets', () => {
    // Regions mark the whole of a direct window beforehand.
    const bare = new BareCpu({}, { hotThreshold: 0 }).long();
    const at = PT + (DATA >> 12) * 8;
    bare.run(LOAD);
    expect(bare.view.getUint8(at) & (A | D)).toBe(A);
    bare.run('89 04 25 00 00 04 00');
    expect(bare.view.getUint8(at) & (A | D)).toBe(A | D);
  });

  test('setting CR0.WP takes effect at once', () => {
    const bare = new BareCpu().long();
    bare.view.setBigUint64(PT + (DATA >> 12) * 8, entry(DATA, P | U), true);
    const store = '89 04 25 00 00 04 00';
    // mov rax, cr0; btr eax, 16; mov cr0, rax; store
    expect(bare.run(`0f 20 c0 0f ba f0 10 0f 22 c0 ${store}`).vector).toBe(-1);
    expect(bare.run(`0f 20 c0 0f ba e8 10 0f 22 c0 ${store}`)).toMatchObject({ vector: PF, error: 3, rip: CODE + 10 });
    expect(bare.cr2).toBe(DATA);
  });

  test('STAC opens the pages of ring 3 to ring 0 under SMAP, CLAC closes them', () => {
    const bare = new BareCpu().long();
    // Code and handlers are ring 0's, or SMEP and SMAP would forbid them; SMAP on.
    for (let n = 0; n < 512; n++) if (n !== DATA >> 12) bare.view.setBigUint64(PT + n * 8, entry(n << 12, P | W), true);
    const on = '0f 20 e0 0f ba e8 15 0f 22 e0';
    expect(bare.run(`${on} ${LOAD}`)).toMatchObject({ vector: PF, error: 1, rip: CODE + 10 });
    expect(bare.run(`0f 01 cb ${LOAD} 0f 01 ca`).vector).toBe(-1);
    expect(bare.run(LOAD)).toMatchObject({ vector: PF, error: 1, rip: CODE });
  });
});
