/** Transfers between segments and rings: call gates, RETF and IRET in their forms, SYSENTER from 32-bit code, ports. */
import { describe, expect, test } from 'vitest';
import { STOP_BUDGET } from '../../../cpu/cpu.ts';
import { codeSize, privilegeLevel } from '../../../cpu/mode.ts';
import {
  S_MODE,
  S_RFLAGS,
  S_RIP,
  S_SYSENTER_CS,
  S_SYSENTER_EIP,
  S_SYSENTER_ESP,
  SEGMENT_TR,
} from '../../../cpu/state.ts';
import { cacheSegment } from '../../../cpu/system/descriptors.ts';
import { updateMode } from '../../../cpu/system/mode-word.ts';
import { setSegment } from '../../../cpu/system/reset.ts';
import {
  BareCpu,
  CODE,
  CODE32,
  CODE64,
  CS,
  DATA,
  DS,
  FLAT,
  GDT,
  HANDLERS,
  IDT,
  INNER_STACK,
  KERNEL_STACK,
  RAX,
  RCX,
  RDX,
  RSP,
  SPARE,
  SS,
  TSS,
  TSS_SELECTOR,
  USER_CODE32,
  USER_CODE64,
  USER_DATA,
} from './bare-cpu.ts';

const NMI = 2;
const UD = 6;
const TS = 10;
const NP = 11;
const GP = 13;
const PF = 14;

const TARGET = 0x30000;
/** Conforming ring-0 code. */
const CONFORMING = 0x70;
const NT = 1 << 14;

function cpl(bare: BareCpu): number {
  return privilegeLevel(bare.cpu.i32[S_MODE >> 2]);
}

/** A call gate at SPARE. `access`: its present bit, DPL and type. */
function gate(bare: BareCpu, selector: number, access: number, parameters = 0, upper = 0): void {
  const low = BigInt(TARGET & 0xffff) | (BigInt(selector) << 16n) | (BigInt(parameters) << 32n);
  bare.view.setBigUint64(GDT + SPARE, low | (BigInt(access) << 40n) | (BigInt(TARGET >>> 16) << 48n), true);
  bare.view.setBigUint64(GDT + SPARE + 8, BigInt(upper), true);
}

function stack32(bare: BareCpu, count: number): number[] {
  return Array.from({ length: count }, (_, i) => bare.view.getUint32(bare.gpr(RSP) + i * 4, true));
}

function stack64(bare: BareCpu, count: number): number[] {
  return Array.from({ length: count }, (_, i) => Number(bare.view.getBigUint64(bare.gpr(RSP) + i * 8, true)));
}

/** Pushes 32-bit values, the first one deepest. */
function push(...values: number[]): string {
  const bytes = (value: number) =>
    [0, 8, 16, 24].map((shift) => ((value >>> shift) & 0xff).toString(16).padStart(2, '0'));
  return values.map((value) => `68 ${bytes(value).join(' ')}`).join(' ');
}

describe('call gates, 32-bit', () => {
  const CALL = '9a 00 00 00 00 50 00';

  test('from ring 3: the stack of the TSS, the parameters, and RETF back', () => {
    const bare = new BareCpu().protected(3);
    gate(bare, CODE32, 0xec, 2);
    bare.put(TARGET, '');
    expect(bare.run(`6a 11 6a 22 ${CALL}`)).toMatchObject({ vector: -1, rip: TARGET + 1 });
    expect([cpl(bare), bare.selector(CS), bare.selector(SS)]).toEqual([0, CODE32, FLAT]);
    expect(bare.gpr(RSP)).toBe(INNER_STACK - 24);
    expect(stack32(bare, 6)).toEqual([CODE + 11, USER_CODE32, 0x22, 0x11, KERNEL_STACK - 8, USER_DATA]);
    // RETF 8 releases the parameters on both stacks; ring 3's HLT is denied.
    bare.put(TARGET, 'ca 08 00');
    const back = bare.go(TARGET);
    expect(back).toMatchObject({ vector: GP, error: 0, rip: CODE + 11 });
    expect([back.frame[1], back.frame[3], back.frame[4]]).toEqual([USER_CODE32, KERNEL_STACK, USER_DATA]);
  });

  test('from ring 0 the stack stays', () => {
    const bare = new BareCpu().protected(0);
    gate(bare, CODE32, 0x8c, 2);
    bare.put(TARGET, '');
    expect(bare.run(CALL).vector).toBe(-1);
    expect(stack32(bare, 2)).toEqual([CODE + 7, CODE32]);
    expect(bare.gpr(RSP)).toBe(KERNEL_STACK - 8);
  });

  test.each([
    ['of DPL 0 from ring 3', CODE32, 0x8c, GP, SPARE],
    ['that is absent', CODE32, 0x6c, NP, SPARE],
    ['to nowhere', 0, 0xec, GP, 0],
    ['to data', FLAT, 0xec, GP, FLAT],
    ['beyond the GDT', 0x100, 0xec, GP, 0x100],
  ])('a gate %s', (_, selector, access, vector, error) => {
    const bare = new BareCpu().protected(3);
    gate(bare, selector, access);
    expect(bare.run(CALL)).toMatchObject({ vector, error, rip: CODE });
  });

  test.each([
    [
      'without room for the stack',
      (bare: BareCpu) => setSegment(bare.cpu, SEGMENT_TR, TSS_SELECTOR, TSS, 7, 0x8b00),
      TSS_SELECTOR,
    ],
    ['with a null stack', (bare: BareCpu) => bare.view.setUint32(TSS + 8, 0, true), 0],
    ["with ring 3's stack", (bare: BareCpu) => bare.view.setUint32(TSS + 8, USER_DATA, true), USER_DATA & ~3],
    ['with code as its stack', (bare: BareCpu) => bare.view.setUint32(TSS + 8, CODE32, true), CODE32],
  ])('#TS by a TSS %s', (_, spoil, error) => {
    const bare = new BareCpu().protected(3);
    gate(bare, CODE32, 0xec);
    spoil(bare);
    // Exceptions need that stack too, unless their handler conforms to ring 3; there it spins, as HLT is denied.
    bare.view.setBigUint64(GDT + CONFORMING, 0x00cf9f000000ffffn, true);
    bare.view.setUint16(IDT + TS * 8 + 2, CONFORMING, true);
    bare.ram.set([0xeb, 0xfe], HANDLERS + TS);
    bare.put(CODE, CALL);
    bare.cpu.i32[S_RIP >> 2] = CODE;
    expect(bare.cpu.run(100)).toBe(STOP_BUDGET);
    expect(bare.cpu.i32[S_RIP >> 2]).toBe(HANDLERS + TS);
    expect(stack32(bare, 3)).toEqual([error, CODE, USER_CODE32]);
  });

  test('JMP does not change the ring', () => {
    const bare = new BareCpu().protected(3);
    gate(bare, CODE32, 0xec);
    expect(bare.run('ea 00 00 00 00 50 00')).toMatchObject({ vector: GP, error: CODE32 });
  });
});

describe('call gates, 64-bit', () => {
  /** call far [DATA], whose selector is that of the gate. */
  const CALL = 'ff 1c 25 00 00 04 00';
  function prepare(ring: number): BareCpu {
    const bare = new BareCpu().long(ring);
    bare.view.setUint16(DATA + 4, SPARE, true);
    return bare;
  }

  test('from ring 3: a null SS, 64-bit values, and RETF back', () => {
    const bare = prepare(3);
    gate(bare, CODE64, 0xec);
    bare.put(TARGET, '');
    expect(bare.run(CALL)).toMatchObject({ vector: -1, rip: TARGET + 1 });
    expect([cpl(bare), bare.selector(CS), bare.selector(SS)]).toEqual([0, CODE64, 0]);
    expect(bare.gpr(RSP)).toBe(INNER_STACK - 32);
    expect(stack64(bare, 4)).toEqual([CODE + 7, USER_CODE64, KERNEL_STACK, USER_DATA]);
    bare.put(TARGET, '48 cb');
    const back = bare.go(TARGET);
    expect(back).toMatchObject({ vector: GP, rip: CODE + 7 });
    expect(back.frame.slice(3)).toEqual([KERNEL_STACK, USER_DATA]);
  });

  test.each([
    ['to 32-bit code', CODE32, 0xec, 0, GP, CODE32],
    ['to an address that is not canonical', CODE64, 0xec, 0x8000, GP, 0],
    ['of 16 bits', CODE64, 0xe4, 0, GP, SPARE],
    ['to a task', CODE64, 0xe5, 0, GP, SPARE],
  ])('a gate %s', (_, selector, access, upper, vector, error) => {
    const bare = prepare(3);
    gate(bare, selector, access, 0, upper);
    expect(bare.run(CALL)).toMatchObject({ vector, error, rip: CODE });
  });
});

describe('IRET', () => {
  test('real mode', () => {
    const bare = new BareCpu().real();
    // push 0x0a02; push 0; push 0x700; iret
    bare.put(0x600, '68 02 0a 6a 00 68 00 07 cf');
    bare.put(0x700, '');
    expect(bare.go(0x600)).toMatchObject({ vector: -1, rip: 0x701 });
    expect(bare.cpu.rflags & 0xa00).toBe(0xa00);
  });

  test('32-bit, to ring 3: the inner DS becomes null', () => {
    const bare = new BareCpu().protected(0);
    bare.put(TARGET, '');
    const outcome = bare.run(`${push(USER_DATA, 0x50000, 0x3002, USER_CODE32, TARGET)} cf`);
    expect(outcome).toMatchObject({ vector: GP, rip: TARGET });
    expect(outcome.frame).toEqual([TARGET, USER_CODE32, 0x13002, 0x50000, USER_DATA]);
    expect(bare.selector(DS)).toBe(0);
  });

  test('64-bit code to 32-bit code and to ring 0 with a null SS', () => {
    const bare = new BareCpu().long(0);
    bare.put(TARGET, '');
    const outcome = bare.run(`${push(USER_DATA, 0x50000, 2, USER_CODE32, TARGET)} 48 cf`);
    expect(outcome).toMatchObject({ vector: GP, rip: TARGET });
    expect(outcome.frame[1]).toBe(USER_CODE32);
    const inner = new BareCpu().long(0);
    inner.put(TARGET, '');
    expect(inner.run(`${push(0, 0x50000, 2, CODE64, TARGET)} 48 cf`).vector).toBe(-1);
    expect([inner.selector(SS), inner.gpr(RSP)]).toEqual([0, 0x50000]);
    expect(codeSize(inner.cpu.i32[S_MODE >> 2])).toBe(8);
  });

  test.each([
    ['an inner ring', 3, [USER_DATA, 0x50000, 2, CODE64, TARGET], CODE64],
    ['a null CS', 0, [FLAT, 0x50000, 2, 0, TARGET], 0],
    ['data', 0, [FLAT, 0x50000, 2, FLAT, TARGET], FLAT],
    ['ring 3 with a null SS', 0, [3, 0x50000, 2, USER_CODE64, TARGET], 0],
    ["ring 3 with ring 0's SS", 0, [FLAT, 0x50000, 2, USER_CODE64, TARGET], FLAT],
    ['beyond the GDT', 0, [FLAT, 0x50000, 2, 0x100, TARGET], 0x100],
  ])('#GP by a return to %s', (_, ring, values, error) => {
    const bare = new BareCpu().long(ring);
    expect(bare.run(`${push(...values)} 48 cf`)).toMatchObject({ vector: GP, error, rip: CODE + 25 });
    expect(bare.cpu.shutdown).toBe(false);
  });

  test('#GP by NT in long mode', () => {
    const bare = new BareCpu().long(0);
    bare.cpu.i32[S_RFLAGS >> 2] |= NT;
    expect(bare.run('48 cf')).toMatchObject({ vector: GP, error: 0, rip: CODE });
  });

  test('an NMI waits for the end of the one before', () => {
    const bare = new BareCpu().long(0);
    const { cpu } = bare;
    cpu.nmiPending = true;
    expect(bare.run('90').vector).toBe(NMI);
    cpu.nmiPending = true;
    bare.put(TARGET, '90 48 cf');
    // Still in the handler: HLT does not see the second one.
    bare.put(TARGET - 16, '90');
    expect(bare.go(TARGET - 16).rip).toBe(TARGET - 14);
    // Behind the IRET it comes.
    expect(bare.go(TARGET).vector).toBe(NMI);
  });
});

test('SYSENTER and SYSEXIT, from 32-bit code in long mode and back', () => {
  const bare = new BareCpu().long(3);
  const { cpu } = bare;
  cacheSegment(cpu, CS, USER_CODE32, 0xffff, 0x00cffb00);
  updateMode(cpu, 3);
  cpu.i32[S_SYSENTER_CS >> 2] = CODE64;
  cpu.i32[S_SYSENTER_ESP >> 2] = INNER_STACK;
  cpu.i32[S_SYSENTER_EIP >> 2] = TARGET;
  cpu.i32[S_RFLAGS >> 2] |= 0x200;
  bare.put(TARGET, '');
  expect(bare.run('0f 34')).toMatchObject({ vector: -1, rip: TARGET + 1 });
  expect([cpl(bare), bare.selector(CS), bare.selector(SS), bare.gpr(RSP)]).toEqual([0, CODE64, FLAT, INNER_STACK]);
  expect(codeSize(cpu.i32[S_MODE >> 2])).toBe(8);
  expect(cpu.rflags & 0x200).toBe(0);
  // mov ecx, 0x50000; mov edx, CODE + 0x100; sysexit
  bare.put(CODE + 0x100, '');
  bare.put(TARGET, 'b9 00 00 05 00 ba 00 01 02 00 0f 35');
  const back = bare.go(TARGET);
  expect(back).toMatchObject({ vector: GP, rip: CODE + 0x100 });
  expect(back.frame.slice(1)).toEqual([CODE64 + 16 + 3, back.frame[2], 0x50000, CODE64 + 24 + 3]);
});

test('SYSCALL is #UD without EFER.SCE and in 32-bit code', () => {
  const bare = new BareCpu().protected(0);
  expect(bare.run('0f 05').vector).toBe(UD);
  const long = new BareCpu().long(0);
  long.run('b9 80 00 00 c0 0f 32 24 fe 0f 30');
  expect(long.run('0f 05').vector).toBe(UD);
});

describe('ports', () => {
  test.each([
    ['in al, 0x80; in ax, 0x80', 'e4 80 66 e5 80', 0x79, CODE + 5],
    ['in ax, 0x81: the second port is closed', '66 e5 81', 0x79, CODE],
    ['in al, 0x82', 'e4 82', 0x79, CODE],
    ['the byte behind that of ports 0x88…0x8f lies beyond the limit', 'e4 88', 0x79, CODE],
    ['no bitmap within the limit', 'e4 80', 0x60, CODE],
  ])('the I/O bitmap: %s', (_, code, limit, rip) => {
    const bare = new BareCpu().long(3);
    bare.view.setUint16(TSS + 0x66, 0x68, true);
    bare.ram.fill(0xff, TSS + 0x68, TSS + 0x90);
    bare.ram[TSS + 0x68 + (0x80 >> 3)] = 0xfc;
    bare.ram[TSS + 0x68 + (0x88 >> 3)] = 0;
    setSegment(bare.cpu, SEGMENT_TR, TSS_SELECTOR, TSS, limit, 0x8b00);
    bare.portValue = 0x1234;
    // What is allowed ends at the HLT, which ring 3 may not execute.
    expect(bare.run(code)).toMatchObject({ vector: GP, error: 0, rip });
    expect(bare.gpr(RAX)).toBe(rip === CODE ? 0 : 0x1234);
  });

  test('REP OUTS and INS, and a fault before the port is read', () => {
    const bare = new BareCpu().long(0);
    bare.ram.set([1, 2, 3, 4, 5, 6], DATA);
    bare.set(6, DATA);
    bare.set(RCX, 3);
    bare.set(RDX, 0x1f0);
    bare.run('f3 66 6f');
    expect(bare.portWrites).toEqual([
      [0x1f0, 2, 0x201],
      [0x1f0, 2, 0x403],
      [0x1f0, 2, 0x605],
    ]);
    expect([bare.gpr(RCX), bare.gpr(6)]).toEqual([0, DATA + 6]);
    bare.portValue = 0xa5;
    bare.set(7, 0x7ffffe);
    bare.set(RCX, 5);
    expect(bare.run('f3 6c')).toMatchObject({ vector: PF, error: 2, rip: CODE });
    expect([bare.gpr(RCX), bare.gpr(7), bare.cr2]).toEqual([3, 0x800000, 0x800000]);
    expect([...bare.ram.subarray(0x7ffffe)]).toEqual([0xa5, 0xa5]);
  });
});
