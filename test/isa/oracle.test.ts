import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rows } from '../../cpu/isa/table.ts';
import {
  type CaseResult,
  type CpuState,
  FX_FCW,
  FX_FSW,
  FX_FTW,
  FX_MXCSR,
  FX_ST0,
  FX_XMM0,
  initialState,
  type MemoryWord,
  RSP,
  type TestCase,
  TRAP_NONE,
  TRAP_SYSCALL,
  TRAP_TIMEOUT,
} from './case.ts';
import { compare, disassemble, report, shrink } from './compare.ts';
import { testable, untested } from './coverage.ts';
import { assemble, sequence, single, undefinedForm } from './generate.ts';
import { CODE, CS32, CS64, contents, DATA, DS, HIGH, LOW, READ_ONLY, STACK, UNMAPPED } from './layout.ts';
import { NativeOracle } from './native/oracle.ts';

let oracle: NativeOracle;
beforeAll(() => {
  oracle = new NativeOracle();
});
afterAll(() => oracle.close());

const MIDDLE = STACK.address + 0x800;

function makeCase(code: number[], change: (state: CpuState) => void = () => {}, memory: MemoryWord[] = []): TestCase {
  const state = initialState();
  state.gpr[RSP] = BigInt(MIDDLE);
  change(state);
  return { state, codeAddress: Number(state.rip), code: Uint8Array.from(code), memory };
}

const in32 = (state: CpuState) => state.segments.set([DS, CS32, DS, DS, 0, 0]);

async function run(...args: Parameters<typeof makeCase>): Promise<CaseResult> {
  const [result] = await oracle.run([makeCase(...args)]);
  return result;
}

function word(address: number): bigint {
  const region = [DATA, STACK].find((r) => address >= r.address && address < r.address + r.length)!;
  return new DataView(contents(region).buffer).getBigUint64(address - region.address, true);
}

describe('the native oracle', () => {
  it('executes instructions and reports registers, flags and RIP at the end', async () => {
    // add rax, rcx
    const result = await run([0x48, 0x01, 0xc8], (s) => {
      s.gpr[0] = 0x7fff_ffff_ffff_ffffn;
      s.gpr[1] = 1n;
      s.gpr[15] = 0xf00dn;
    });
    expect(result.trap).toBe(TRAP_NONE);
    expect(result.state.gpr[0]).toBe(0x8000_0000_0000_0000n);
    expect(result.state.gpr[15]).toBe(0xf00dn);
    expect(result.state.rflags).toBe(0x202 | 0x800 | 0x80 | 0x10 | 0x4); // OF SF AF PF
    expect(result.state.rip).toBe(BigInt(CODE.address + 3));
    expect(result.state.segments[1]).toBe(CS64);
    expect(result.state.segments[2]).toBe(DS);
    expect(result.memory).toEqual([]);
  });

  it('keeps the sixteen registers apart, at the end as in a fault', async () => {
    const distinct = (s: CpuState) =>
      s.gpr.set(Array.from({ length: 16 }, (_, i) => 0x0101_0101_0101_0101n * BigInt(i + 1)));
    for (const code of [[0x90], [0x0f, 0x0b]]) {
      const { state } = await run(code, distinct);
      expect([...state.gpr]).toEqual([...makeCase(code, distinct).state.gpr]);
    }
  });

  it('reports changed memory and starts each case from the same contents', async () => {
    const store = makeCase([0x89, 0x07, 0x48, 0x8b, 0x1f], (s) => {
      s.gpr[0] = 0xdead_beefn;
      s.gpr[7] = BigInt(DATA.address + 12);
    });
    const load = makeCase([0x48, 0x8b, 0x1f], (s) => (s.gpr[7] = BigInt(DATA.address + 8)));
    const [stored, loaded] = await oracle.run([store, load]);
    const before = word(DATA.address + 8);
    expect(stored.memory).toEqual([
      { address: DATA.address + 8, value: (before & 0xffff_ffffn) | 0xdead_beef_0000_0000n },
    ]);
    expect(loaded.state.gpr[3]).toBe(before);
    expect(loaded.memory).toEqual([]);
  });

  it('puts the memory of a case in place for that case only', async () => {
    const load = (memory: MemoryWord[]) =>
      makeCase([0x48, 0x8b, 0x1f], (s) => (s.gpr[7] = BigInt(DATA.address)), memory);
    const [patched, plain] = await oracle.run([load([{ address: DATA.address, value: 0x1234n }]), load([])]);
    expect(patched.state.gpr[3]).toBe(0x1234n);
    expect(patched.memory).toEqual([]);
    expect(plain.state.gpr[3]).toBe(word(DATA.address));
  });

  it('reaches regions beyond 4 GiB and below 64 KiB', async () => {
    const high = await run([0x48, 0x89, 0x07], (s) => {
      s.gpr[0] = 5n;
      s.gpr[7] = BigInt(HIGH.address);
    });
    expect(high.memory).toEqual([{ address: HIGH.address, value: 5n }]);
    // mov byte [bx+si], al
    const low = await run([0x67, 0x88, 0x00], (s) => {
      in32(s);
      s.gpr[0] = 0x5an;
      s.gpr[3] = 0xabcd_8fffn;
      s.gpr[6] = 0x1n;
    });
    expect(low.memory.map(({ address, value }) => [address, value & 0xffn])).toEqual([[LOW.address, 0x5an]]);
  });

  const faults: [string, number[], Parameters<typeof makeCase>[1], Partial<CaseResult>][] = [
    ['#DE', [0xf7, 0xf1], undefined, { trap: 0, error: 0 }],
    ['#UD', [0x0f, 0x0b], undefined, { trap: 6, error: 0 }],
    ['#GP of HLT', [0xf4], undefined, { trap: 13, error: 0 }],
    ['#GP of INT 0x20', [0xcd, 0x20], undefined, { trap: 13, error: 0x102 }],
    ['#GP of a non-canonical address', [0x8b, 0x00], (s) => (s.gpr[0] = 1n << 63n), { trap: 13, error: 0 }],
    ['#SS of a non-canonical stack', [0x58], (s) => (s.gpr[RSP] = 1n << 63n), { trap: 12, error: 0 }],
    [
      '#PF of a read',
      [0x8b, 0x00],
      (s) => (s.gpr[0] = BigInt(UNMAPPED)),
      { trap: 14, error: 4, cr2: BigInt(UNMAPPED) },
    ],
    [
      '#PF of a write',
      [0x88, 0x00],
      (s) => (s.gpr[0] = BigInt(UNMAPPED)),
      { trap: 14, error: 6, cr2: BigInt(UNMAPPED) },
    ],
    [
      '#PF of a write to read-only memory',
      [0x88, 0x00],
      (s) => (s.gpr[0] = BigInt(READ_ONLY.address)),
      { trap: 14, error: 7, cr2: BigInt(READ_ONLY.address) },
    ],
    [
      '#PF across the end of a region',
      [0x48, 0x8b, 0x00],
      (s) => (s.gpr[0] = BigInt(DATA.address + DATA.length - 3)),
      { trap: 14, error: 4, cr2: BigInt(DATA.address + DATA.length) },
    ],
    [
      '#AC',
      [0x8b, 0x00],
      (s) => {
        s.gpr[0] = BigInt(DATA.address + 1);
        s.rflags |= 0x40000;
      },
      { trap: 17, error: 0 },
    ],
    [
      '#XM',
      [0xf3, 0x0f, 0x5e, 0xc1],
      (s) => {
        s.fxsave.fill(0, FX_MXCSR, FX_MXCSR + 4);
      },
      { trap: 19, error: 0 },
    ],
    [
      '#MF',
      [0x9b],
      (s) => {
        s.fxsave.set([0x7e, 3, 0x81, 0x80], FX_FCW);
      },
      { trap: 16, error: 0 },
    ],
    [
      '#BR',
      [0x62, 0x00],
      (s) => {
        in32(s);
        s.gpr[0] = BigInt(DATA.address);
      },
      { trap: 5, error: 0 },
    ],
  ];
  it.each(faults)('reports %s with the state before the instruction', async (_name, code, change, wanted) => {
    const result = await run([0x90, ...code], change, [{ address: DATA.address, value: 0x0000_0005_0000_0004n }]);
    expect(result).toMatchObject(wanted);
    expect(result.state.rip).toBe(BigInt(CODE.address + 1));
    expect(result.memory).toEqual([]);
  });

  it('reports the #PF of a jump to where nothing is executable', async () => {
    const result = await run([0xff, 0xe0], (s) => (s.gpr[0] = BigInt(DATA.address)));
    expect(result).toMatchObject({ trap: 14, error: 0x15, cr2: BigInt(DATA.address) });
    expect(result.state.rip).toBe(BigInt(DATA.address));
  });

  it('reports traps behind the instruction', async () => {
    expect(await run([0xcc])).toMatchObject({ trap: 3 });
    const overflow = await run([0xce], (s) => {
      in32(s);
      s.rflags |= 0x800;
    });
    expect(overflow).toMatchObject({ trap: 4 });
    expect(overflow.state.rip).toBe(BigInt(CODE.address + 1));
    // push 0x302; popf; nop
    const step = await run([0x68, 2, 3, 0, 0, 0x9d, 0x90, 0x90]);
    expect(step).toMatchObject({ trap: 1 });
    expect(step.state.rip).toBe(BigInt(CODE.address + 7));
  });

  it('takes TF, AC, DF and NT set by the last instruction as they are, and is not disturbed by them', async () => {
    const flags = 0x302 | 0x40000 | 0x400 | 0x4000;
    const cases = [0, 1].map(() =>
      makeCase([0x9d, 0x90].slice(0, 1), undefined, [{ address: MIDDLE, value: BigInt(flags) }]),
    );
    for (const result of await oracle.run(cases)) {
      expect(result.trap).toBe(TRAP_NONE);
      expect(result.state.rflags).toBe(flags);
      expect(result.state.rip).toBe(BigInt(CODE.address + 1));
    }
    const next = await run([0x9c]);
    expect(next.memory).toEqual([{ address: MIDDLE - 8, value: 0x202n }]);
  });

  it('refuses system calls and ends endless loops', async () => {
    expect(await run([0x0f, 0x05])).toMatchObject({ trap: TRAP_SYSCALL });
    expect(await run([0xcd, 0x80])).toMatchObject({ trap: TRAP_SYSCALL });
    const loop = await run([0xeb, 0xfe], (s) => (s.gpr[9] = 99n));
    expect(loop).toMatchObject({ trap: TRAP_TIMEOUT });
    expect(loop.state.gpr[9]).toBe(99n);
  });

  it('is not disturbed by the ticks of its timer', async () => {
    // dec ecx; jnz: some milliseconds each, together many ticks
    const loop = (s: CpuState) => {
      s.gpr[1] = 5_000_000n;
      s.fsBase = 0x1234_5678_9abcn;
      s.rflags |= 0x244400; // ID, AC, NT, DF
    };
    const results = await oracle.run(Array.from({ length: 60 }, () => makeCase([0xff, 0xc9, 0x75, 0xfc], loop)));
    for (const { trap, state } of results) {
      expect(trap).toBe(TRAP_NONE);
      expect(state.gpr[1]).toBe(0n);
      expect(state.fsBase).toBe(0x1234_5678_9abcn);
      expect(state.rflags).toBe(0x244646); // and ZF, PF of the last DEC
    }
  });

  it('executes 32-bit code', async () => {
    // inc eax; pusha; aam
    const result = await run([0x40, 0x60, 0xd4, 10], (s) => {
      in32(s);
      s.gpr[0] = 41n;
    });
    expect(result.trap).toBe(TRAP_NONE);
    expect(result.state.segments[1]).toBe(CS32);
    expect(result.state.gpr[0]).toBe(0x402n);
    expect(result.state.gpr[RSP]).toBe(BigInt(MIDDLE - 32));
    expect(result.memory.find(({ address }) => address === MIDDLE - 8)!.value >> 32n).toBe(42n);
  });

  it('follows far transfers into the other mode', async () => {
    // retf to the end of the code, in 32-bit mode
    const result = await run([0xcb], undefined, [
      { address: MIDDLE, value: BigInt(CODE.address + 1) | (BigInt(CS32) << 32n) },
    ]);
    expect(result.trap).toBe(TRAP_NONE);
    expect(result.state.segments[1]).toBe(CS32);
    expect(result.state.rip).toBe(BigInt(CODE.address + 1));
  });

  it('executes code that modifies itself', async () => {
    // mov byte [rip+0], 0xfd; stc → std
    const result = await run([0xc6, 0x05, 0, 0, 0, 0, 0xfd, 0xf9]);
    expect(result.state.rflags & 0x401).toBe(0x400);
  });

  it('runs code up to the end of its region', async () => {
    const atEnd = (code: number[], bytes: number) =>
      makeCase(code, (s) => (s.rip = BigInt(CODE.address + CODE.length - bytes)));
    const [fits, short, inside] = await oracle.run([
      atEnd([0x90, 0xf9], 2),
      atEnd([0x90, 0x0f], 2),
      atEnd([0x90, 0xf9], 4),
    ]);
    const end = BigInt(CODE.address + CODE.length);
    for (const result of [fits, inside]) expect(result).toMatchObject({ trap: TRAP_NONE, error: 0, cr2: 0n });
    expect(fits.state.rip).toBe(end);
    expect(inside.state.rip).toBe(end - 2n);
    expect(short).toMatchObject({ trap: 14, error: 0x14, cr2: end });
    expect(short.state.rip).toBe(end - 1n);
  });

  it('carries x87, MMX, SSE state, FS and GS through', async () => {
    const set = (s: CpuState) => {
      const fx = new DataView(s.fxsave.buffer, s.fxsave.byteOffset);
      for (let i = 0; i < 8; i++) {
        fx.setBigUint64(FX_ST0 + i * 16, 0x8000_0000_0000_0000n | BigInt(i), true);
        fx.setUint16(FX_ST0 + i * 16 + 8, 0x3fff + i, true);
      }
      for (let i = 0; i < 32; i++)
        fx.setBigUint64(FX_XMM0 + i * 8, (BigInt(i) * 0x0123_4567_89ab_cdefn) & 0xffff_ffff_ffff_ffffn, true);
      fx.setUint16(FX_FCW, 0x77e, true);
      fx.setUint16(FX_FSW, 0x2900, true);
      fx.setUint8(FX_FTW, 0x5a);
      fx.setUint32(FX_MXCSR, 0xff80, true);
      s.fsBase = 0x1234_5678_9abcn;
      s.gsBase = 0xffff_8000_0000_0123n;
    };
    const nop = makeCase([0x90], set);
    const fault = makeCase([0x0f, 0x0b], set);
    for (const { state } of await oracle.run([nop, fault])) {
      expect(state.fxsave.subarray(0, 24)).toEqual(nop.state.fxsave.subarray(0, 24));
      expect(state.fxsave.subarray(FX_ST0, FX_XMM0 + 256)).toEqual(nop.state.fxsave.subarray(FX_ST0, FX_XMM0 + 256));
      expect(state.fxsave.subarray(FX_MXCSR, FX_MXCSR + 4)).toEqual(nop.state.fxsave.subarray(FX_MXCSR, FX_MXCSR + 4));
      expect(state.fsBase).toBe(nop.state.fsBase);
      expect(state.gsBase).toBe(nop.state.gsBase);
    }
    // mov rax, fs:[rcx]
    const result = await run([0x64, 0x48, 0x8b, 0x01], (s) => {
      s.fsBase = BigInt(DATA.address);
      s.gpr[1] = 8n;
    });
    expect(result.state.gpr[0]).toBe(word(DATA.address + 8));
  });
});

describe('generated cases', () => {
  it.each([true, false])(
    'exist for every testable row, and the CPU repeats their results (64-bit: %s)',
    async (mode64) => {
      const cases = testable(mode64).flatMap((row) =>
        Array.from({ length: 6 }, (_, i) => {
          const testCase = single(row, mode64, row.index * 101 + i);
          if (!testCase) throw new Error(`no encoding of ${row.mnemonic}`);
          return testCase;
        }),
      );
      const mismatches = await compare(oracle, oracle, cases);
      expect(mismatches.map((mismatch) => report(mismatch)).join('\n')).toBe('');
    },
  );

  it('execute on the whole: most rows reach the end of the code often', async () => {
    const never: string[] = [];
    for (const row of testable(true)) {
      const cases = Array.from({ length: 12 }, (_, i) => single(row, true, i)!);
      const results = await oracle.run(cases);
      if (results.every(({ trap }) => trap !== TRAP_NONE)) never.push(row.mnemonic);
    }
    // What user mode may not do, and what leaves the code.
    const expected =
      'CALLF CLAC CLI CLTS HLT IN INS INT INT3 INVD INVLPG IRET JMPF LGDT LIDT LLDT LMSW LTR MOV_FROM_CR MOV_FROM_DR MOV_TO_CR MOV_TO_DR OUT OUTS RDMSR RET RETF RSM STAC STI SWAPGS SYSEXIT SYSRET UD0 UD1 UD2 WBINVD WRMSR XSETBV CALL JMP';
    expect([...new Set(never)].filter((name) => !expected.split(' ').includes(name))).toEqual([]);
  });

  it.each([true, false])('of undefined forms raise #UD (64-bit: %s)', async (mode64) => {
    const cases = rows.slice(1).flatMap((row) => {
      const tries = Array.from({ length: 4 }, (_, i) => undefinedForm(row, mode64, row.index * 13 + i));
      // Cut off by the end of the region, the instruction faults in another way.
      return tries.filter((c) => c !== undefined).filter((c) => c.code.length === c.instructions[0].bytes.length);
    });
    const results = await oracle.run(cases);
    const wrong = cases.filter((_, i) => results[i].trap !== 6);
    expect(wrong.map((c) => `${c.name}\n${disassemble(c)}`).join('\n')).toBe('');
    expect(cases.length).toBeGreaterThan(1500);
  });

  it('form sequences, of which most reach their end', async () => {
    const cases = Array.from({ length: 2000 }, (_, i) => sequence(i % 3 !== 0, i, 1 + (i % 12)));
    const results = await oracle.run(cases);
    expect(results.filter(({ trap }) => trap === TRAP_NONE).length).toBeGreaterThan(1200);
    expect(await compare(oracle, oracle, cases)).toEqual([]);
  });

  it('lists the rows that are not tested with their reasons', () => {
    expect(untested()).toContain("0f a2 CPUID: describes the host's CPU");
    expect(untested().length).toBeLessThan(25);
  });
});

describe('comparison', () => {
  it('finds a wrong result and shrinks the case to the instruction that has it', async () => {
    // An executor that gets ADD wrong: it leaves CF as it was whenever ADD occurs in the code.
    const wrong = {
      name: 'wrong',
      run: async (cases: readonly TestCase[]) => {
        const results = await oracle.run(cases);
        for (const [i, { code }] of cases.entries()) {
          const at = code.findIndex((byte, b) => byte === 0x01 && code[b + 1] >= 0xc0);
          if (at >= 0) results[i].state.rflags ^= 1;
        }
        return results;
      },
    };
    const add = testable(true).find((row) => row.opcode === 1 && row.map === 0)!;
    const cases = Array.from({ length: 300 }, (_, i) => {
      const base = sequence(true, i, 8);
      const bytes = Uint8Array.of(0x48, 0x01, 0xc8);
      const instructions = [...base.instructions.slice(0, 3), { row: add, bytes }];
      return { ...base, instructions, code: assemble(base.codeAddress, instructions) };
    });
    const [first] = await compare(oracle, wrong, cases);
    const small = await shrink(oracle, wrong, first);
    expect(small.testCase.instructions.map(({ row }) => row.mnemonic)).toEqual(['ADD']);
    expect(small.differences.map(({ where }) => where)).toEqual(['rflags']);
    expect(report(small)).toMatch(/4801C8 .*add rax,rcx/i);
  });
});
