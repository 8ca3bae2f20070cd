/** From power-on through the modes, by the instructions that guests use; and what the processor says of itself. */
import { describe, expect, test } from 'vitest';
import { codeSize, MODE_LONG, MODE_PROTECTED } from '../../../cpu/mode.ts';
import { S_CR0, S_CR4, S_EFER, S_MODE, S_RFLAGS } from '../../../cpu/state.ts';
import { BareCpu, CODE, CODE32, CS, GDT, RAX, RBX, RCX, RDX, RSP } from './bare-cpu.ts';

const GP = 13;
const UD = 6;

describe('mode switches', () => {
  test('real to protected to long mode and back to compatibility mode', () => {
    const bare = new BareCpu().long();
    bare.real();
    const { view } = bare;
    view.setUint16(0x500, 0x7f, true);
    view.setUint32(0x502, GDT, true);
    // lgdt [0x500]; mov eax, cr0; or al, 1; mov cr0, eax; jmp far CODE32:0x6000
    bare.put(0x600, '0f 01 16 00 05 0f 20 c0 0c 01 0f 22 c0 66 ea 00 60 00 00 08 00');
    // mov eax, 0x18; mov ds, ax; mov ss, ax; mov esp, 0x9000; mov eax, 0x20; mov cr4, eax; mov eax, PML4; mov cr3, eax;
    // mov ecx, EFER; rdmsr; or ah, 1; wrmsr; mov eax, cr0; bts eax, 31; mov cr0, eax; jmp far CODE64:0x7000
    bare.put(
      0x6000,
      `b8 18 00 00 00 8e d8 8e d0 bc 00 90 00 00 b8 20 00 00 00 0f 22 e0 b8 00 00 01 00 0f 22 d8
       b9 80 00 00 c0 0f 32 80 cc 01 0f 30 0f 20 c0 0f ba e8 1f 0f 22 c0 ea 00 70 00 00 10 00`,
    );
    // mov rbx, 0x1122334455667788; push CODE32; push 0x7800; retf (through a far return of 64-bit operands)
    bare.put(0x7000, '48 bb 88 77 66 55 44 33 22 11 6a 08 68 00 78 00 00 48 cb');
    // In compatibility mode: inc eax is one byte here.
    bare.put(0x7800, 'b8 05 00 00 00 40');
    expect(bare.go(0x600)).toMatchObject({ vector: -1, rip: 0x7807 });
    const { i32 } = bare.cpu;
    expect(bare.gpr64(RBX)).toBe(0x1122334455667788n);
    expect(bare.gpr(RAX)).toBe(6);
    expect(bare.selector(CS)).toBe(CODE32);
    const mode = i32[S_MODE >> 2];
    expect(mode & (MODE_LONG | MODE_PROTECTED)).toBe(MODE_LONG | MODE_PROTECTED);
    expect(codeSize(mode)).toBe(4);
    expect(i32[S_EFER >> 2] & 0x500).toBe(0x500);
    expect(bare.gpr(RSP)).toBe(0x9000);
  });

  test('leaving paging in compatibility mode leaves long mode', () => {
    const bare = new BareCpu().long();
    // push CODE32; push 0x7800; retfq
    bare.put(0x7000, '6a 08 68 00 78 00 00 48 cb');
    // mov eax, cr0; btr eax, 31; mov cr0, eax; mov ecx, EFER; rdmsr
    bare.put(0x7800, '0f 20 c0 0f ba f0 1f 0f 22 c0 b9 80 00 00 c0 0f 32');
    expect(bare.go(0x7000).vector).toBe(-1);
    expect(bare.gpr(RAX) & 0x400).toBe(0);
    expect(bare.cpu.i32[S_MODE >> 2] & MODE_LONG).toBe(0);
  });

  test.each([
    ['CR0: PG without PE', '0f 20 c0 24 fe 0f 22 c0'],
    ['CR0: NW without CD', '0f 20 c0 0f ba e8 1d 0f 22 c0'],
    ['CR0: bit 32', '0f 20 c0 48 0f ba e8 20 0f 22 c0'],
    ['CR0: clearing PG in 64-bit code', '0f 20 c0 0f ba f0 1f 0f 22 c0'],
    ['CR4: clearing PAE in long mode', '0f 20 e0 0f ba f0 05 0f 22 e0'],
    ['CR4: a reserved bit', '0f 20 e0 0f ba e8 1f 0f 22 e0'],
    ['CR3: beyond the physical address', '0f 20 d8 48 0f ba e8 28 0f 22 d8'],
    ['EFER: changing LME while paging', 'b9 80 00 00 c0 0f 32 80 e4 fe 0f 30'],
    ['EFER: a reserved bit', 'b9 80 00 00 c0 0f 32 83 c8 02 0f 30'],
    ['CR8: above 15', 'b8 10 00 00 00 44 0f 22 c0'],
    ['DR7: its upper half', '48 b8 00 04 00 00 01 00 00 00 0f 23 f8'],
    ['WRMSR: FS base that is not canonical', 'b9 00 01 00 c0 31 c0 ba 00 80 00 00 0f 30'],
    ['WRMSR: a PAT type that does not exist', 'b9 77 02 00 00 b8 02 00 00 00 31 d2 0f 30'],
    ['WRMSR: an MTRR of an unknown type', 'b9 00 02 00 00 b8 03 00 00 00 31 d2 0f 30'],
    ['WRMSR: MTRRCAP', 'b9 fe 00 00 00 0f 30'],
    ['RDMSR: unknown', 'b9 34 12 00 00 0f 32'],
    ['RDMSR: x2APIC without an APIC', 'b9 02 08 00 00 0f 32'],
    ['RDPMC', '31 c9 0f 33'],
  ])('#GP(0) by %s', (_, code) => {
    const bare = new BareCpu().long();
    const { i32 } = bare.cpu;
    const before = [i32[S_CR0 >> 2], i32[S_CR4 >> 2], i32[S_EFER >> 2]];
    expect(bare.run(code)).toMatchObject({ vector: GP, error: 0 });
    expect([i32[S_CR0 >> 2], i32[S_CR4 >> 2], i32[S_EFER >> 2]]).toEqual(before);
  });

  test.each([
    ['CR1', '0f 20 c8'],
    ['CR5', '0f 22 e8'],
    ['DR8', '44 0f 21 c0'],
    ['XGETBV without CR4.OSXSAVE', '0f 01 d0'],
    ['XSAVE without CR4.OSXSAVE', '0f ae 23'],
    ['RSM', '0f aa'],
    ['UD0', '0f ff c0'],
    ['UD1', '0f b9 c0'],
    ['UD2', '0f 0b'],
  ])('#UD by %s', (_, code) => {
    expect(new BareCpu().long().run(code)).toMatchObject({ vector: UD, rip: CODE });
  });

  test('DR4 is DR6, but #UD with CR4.DE', () => {
    const bare = new BareCpu().long();
    expect(bare.run('b8 0f 00 00 00 0f 23 e0 0f 21 f3').vector).toBe(-1);
    expect(bare.gpr(RBX)).toBe(0xffff0fff);
    bare.cpu.i32[S_CR4 >> 2] |= 8;
    expect(bare.run('0f 23 e0').vector).toBe(UD);
  });

  test('DR7.GD turns a MOV from DR into #DB, and itself off', () => {
    const bare = new BareCpu().long();
    expect(bare.run('b8 00 20 00 00 0f 23 f8 0f 21 c3')).toMatchObject({ vector: 1, rip: CODE + 8 });
    expect(bare.run('0f 21 f0 0f 21 fb').vector).toBe(-1);
    expect(bare.gpr(RAX) & (1 << 13)).toBe(1 << 13);
    expect(bare.gpr(RBX)).toBe(0x400);
  });

  test('LMSW sets PE and never clears it; SMSW reads', () => {
    const bare = new BareCpu().long();
    expect(bare.run('31 c0 0f 01 f0 0f 01 e3').vector).toBe(-1);
    expect(bare.gpr(RBX) & 0xf).toBe(1);
  });
});

describe('CPUID', () => {
  function cpuid(bare: BareCpu, leaf: number, subleaf = 0): number[] {
    bare.set(RAX, leaf);
    bare.set(RCX, subleaf);
    bare.run('0f a2');
    return [RAX, RBX, RCX, RDX].map((n) => bare.gpr(n));
  }
  const text = (words: number[]) =>
    String.fromCharCode(...words.flatMap((word) => [0, 8, 16, 24].map((shift) => (word >>> shift) & 0xff)));

  test('leaves, and the highest leaf for those beyond', () => {
    const bare = new BareCpu().long();
    const [max, b, c, d] = cpuid(bare, 0);
    expect([max, text([b, d, c])]).toEqual([0x16, 'GenuineIntel']);
    expect(cpuid(bare, 0x17)).toEqual(cpuid(bare, 0x16));
    expect(cpuid(bare, 0x80000000)[0]).toBe(0x80000008);
    expect(cpuid(bare, 0x80000009)).toEqual([0, 0, 0, 0]);
    const brand = [2, 3, 4].flatMap((n) => cpuid(bare, 0x80000000 + n));
    expect(text(brand).replace(/\0+$/, '')).toBe('tsvmm virtual x86-64 CPU');
    expect(cpuid(bare, 0x80000008)[0]).toBe(0x3028);
  });

  test('what is there, and what is not', () => {
    const bare = new BareCpu().long();
    const [, b1, c1, d1] = cpuid(bare, 1);
    expect(b1 >>> 24).toBe(0); // APIC ID
    expect(d1 & (1 << 9)).toBe(0); // no APIC given
    expect(c1 & (1 << 28)).toBe(0); // AVX
    expect(c1 & (1 << 26)).toBe(0); // XSAVE
    expect(c1 >>> 31).toBe(1); // a hypervisor
    const [, b7] = cpuid(bare, 7);
    expect(b7 & 1).toBe(1); // FSGSBASE
    expect(b7 & (1 << 5)).toBe(0); // AVX2
    expect(cpuid(bare, 7, 1)).toEqual([0, 0, 0, 0]);
    const [, , , d81] = cpuid(bare, 0x80000001);
    expect((d81 >>> 26) & 1).toBe(1); // 1 GiB pages
    const apic = { readMsr: () => true, writeMsr: () => true, low: 0, high: 0, taskPriority: 0 };
    const [, , c, d] = cpuid(new BareCpu({ apic }).long(), 1);
    expect([(d >> 9) & 1, (c >> 21) & 1, (c >> 24) & 1]).toEqual([1, 1, 1]);
  });

  test('frequencies: leaves 0x15 and 0x40000010 agree', () => {
    const bare = new BareCpu().long();
    const [denominator, numerator, crystal] = cpuid(bare, 0x15);
    expect((crystal * numerator) / denominator).toBe(2_000_000_000);
    expect(cpuid(bare, 0x40000000)[0]).toBe(0x40000010);
    expect(cpuid(bare, 0x40000010).slice(0, 2)).toEqual([2_000_000, 1_000_000]);
  });
});

describe('MSRs', () => {
  test('the TSC counts on from what is written to it', () => {
    const bare = new BareCpu().long();
    bare.tsc.low = 0xfffffff0 | 0;
    bare.tsc.high = 5;
    // mov ecx, 0x10; mov eax, 0x100; mov edx, 7; wrmsr
    bare.run('b9 10 00 00 00 b8 00 01 00 00 ba 07 00 00 00 0f 30');
    bare.tsc.low = 0x10;
    bare.tsc.high = 6;
    bare.run('0f 31');
    expect([bare.gpr(RAX), bare.gpr(RDX)]).toEqual([0x120, 7]);
    bare.run('b9 03 01 00 c0 b8 2a 00 00 00 31 d2 0f 30 0f 01 f9 f3 0f c7 fb');
    expect([bare.gpr(RCX), bare.gpr(RBX)]).toEqual([0x2a, 0x2a]);
  });

  test('SWAPGS exchanges, RDGSBASE and WRGSBASE see the same base', () => {
    const bare = new BareCpu().long();
    // mov rax, 0x123456789; wrgsbase rax; swapgs; rdgsbase rbx; swapgs; rdgsbase rcx
    bare.run('48 b8 89 67 45 23 01 00 00 00 f3 48 0f ae d8 0f 01 f8 f3 48 0f ae cb 0f 01 f8 f3 48 0f ae c9');
    expect([bare.gpr64(RBX), bare.gpr64(RCX)]).toEqual([0n, 0x123456789n]);
  });

  test('a null selector clears the base of GS, as on Intel CPUs', () => {
    const bare = new BareCpu().long();
    // mov eax, 0x1234; wrgsbase rax; xor ecx, ecx; mov gs, ecx; rdgsbase rbx
    bare.run('b8 34 12 00 00 f3 48 0f ae d8 31 c9 8e e9 f3 48 0f ae cb');
    expect(bare.gpr64(RBX)).toBe(0n);
  });

  test('CR8 and APIC registers go to the APIC', () => {
    const written: number[][] = [];
    const apic = {
      low: 0,
      high: 0,
      taskPriority: 3,
      readMsr(index: number) {
        apic.low = index * 2;
        return index !== 0x8ff;
      },
      writeMsr(index: number, low: number, high: number) {
        written.push([index, low, high]);
        return true;
      },
    };
    const bare = new BareCpu({ apic }).long();
    bare.run('44 0f 20 c3 b8 0e 00 00 00 44 0f 22 c0');
    expect([bare.gpr(RBX), apic.taskPriority]).toEqual([3, 14]);
    bare.run('b9 02 08 00 00 0f 32');
    expect(bare.gpr(RAX)).toBe(0x1004);
    expect(bare.run('b9 ff 08 00 00 0f 32').vector).toBe(GP);
    bare.run('b9 0b 08 00 00 31 c0 31 d2 0f 30');
    expect(written).toEqual([[0x80b, 0, 0]]);
  });
});

test('POPF: IF and IOPL by privilege, TF traps behind the next instruction', () => {
  const bare = new BareCpu().long();
  // push 0x3302; popfq; nop; nop
  const outcome = bare.run('68 02 33 00 00 9d 90 90');
  expect(outcome).toMatchObject({ vector: 1, rip: CODE + 7 });
  expect(outcome.frame[2] & 0x3300).toBe(0x3300);
  const user = new BareCpu().long(3);
  user.run('68 02 32 00 00 9d');
  expect(user.cpu.i32[S_RFLAGS >> 2] & 0x3200).toBe(0);
});
