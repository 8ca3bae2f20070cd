/** XSAVE and XRSTOR (SDM vol. 1 ch. 13). CPUID does not offer them, so CR4.OSXSAVE is set behind the guest's back. */
import { beforeEach, expect, test } from 'vitest';
import { S_CR0, S_CR4, S_FCW, S_MXCSR, S_XCR0, S_XMM } from '../../../cpu/state.ts';
import { updateMode } from '../../../cpu/system/mode-word.ts';
import { BareCpu, CODE, DATA, RAX, RBX, RCX, RDX } from './bare-cpu.ts';

const GP = 13;
const NM = 7;

const XSAVE = '0f ae 23';
const XRSTOR = '0f ae 2b';
const HEADER = DATA + 512;

let bare: BareCpu;

beforeEach(() => {
  bare = new BareCpu().long();
  bare.cpu.i32[S_CR4 >> 2] |= 1 << 18;
  bare.cpu.i32[S_XCR0 >> 2] = 3;
  updateMode(bare.cpu);
  bare.ram.fill(0xee, DATA, DATA + 1024);
  bare.ram.fill(0, HEADER, HEADER + 64);
  bare.set(RBX, DATA);
  bare.set(RAX, 3);
  bare.set(RDX, 0);
  bare.cpu.u8.fill(0x5a, S_XMM, S_XMM + 256);
  bare.cpu.u16[S_FCW >> 1] = 0x27f;
});

test('what is saved comes back', () => {
  expect(bare.run(XSAVE).vector).toBe(-1);
  expect(bare.view.getUint32(HEADER, true)).toBe(3);
  expect(bare.view.getUint16(DATA, true)).toBe(0x27f);
  expect(bare.view.getUint32(DATA + 24, true)).toBe(0x1f80);
  expect(bare.ram[DATA + 415]).toBe(0x5a);
  // Behind the registers nothing is touched.
  expect(bare.ram[DATA + 416]).toBe(0xee);
  bare.cpu.u8.fill(0, S_XMM, S_XMM + 256);
  bare.cpu.u16[S_FCW >> 1] = 0x37f;
  bare.view.setUint32(DATA + 24, 0x1fa0, true);
  expect(bare.run(XRSTOR).vector).toBe(-1);
  expect([bare.cpu.u8[S_XMM + 255], bare.cpu.u16[S_FCW >> 1], bare.cpu.i32[S_MXCSR >> 2]]).toEqual([
    0x5a, 0x27f, 0x1fa0,
  ]);
});

test('only the components asked for are saved, the others keep their bit', () => {
  bare.view.setUint32(HEADER, 2, true);
  bare.set(RAX, 1);
  bare.run(XSAVE);
  expect(bare.view.getUint32(HEADER, true)).toBe(3);
  expect([bare.view.getUint16(DATA, true), bare.ram[DATA + 160], bare.ram[DATA + 24]]).toEqual([0x27f, 0xee, 0xee]);
});

test('a component without its bit in the header is initialized; MXCSR is loaded all the same', () => {
  bare.run(XSAVE);
  bare.view.setUint32(HEADER, 0, true);
  bare.view.setUint32(DATA + 24, 0x1f81, true);
  expect(bare.run(XRSTOR).vector).toBe(-1);
  expect([bare.cpu.u8[S_XMM + 7], bare.cpu.u16[S_FCW >> 1], bare.cpu.i32[S_MXCSR >> 2]]).toEqual([0, 0x37f, 0x1f81]);
});

test.each([
  ['an area that is not aligned to 64', () => bare.set(RBX, DATA + 32), XSAVE],
  ['a component that XCR0 has not', () => bare.view.setUint32(HEADER, 4, true), XRSTOR],
  ['the compacted form', () => bare.view.setUint32(HEADER + 12, 0x80000000, true), XRSTOR],
  ['a header with reserved bytes', () => bare.view.setUint8(HEADER + 23, 1), XRSTOR],
  ["MXCSR's reserved bits", () => bare.view.setUint32(DATA + 24, 0x10000, true), XRSTOR],
])('#GP(0) by %s', (_, spoil, code) => {
  bare.run(XSAVE);
  bare.set(RBX, DATA);
  spoil();
  bare.cpu.u8.fill(0x77, S_XMM, S_XMM + 256);
  expect(bare.run(code)).toMatchObject({ vector: GP, error: 0, rip: CODE });
  expect(bare.cpu.u8[S_XMM]).toBe(0x77);
});

test('#NM with CR0.TS', () => {
  bare.cpu.i32[S_CR0 >> 2] |= 8;
  updateMode(bare.cpu);
  expect(bare.run(XSAVE).vector).toBe(NM);
});

test('XSETBV keeps x87 on and knows no others than SSE', () => {
  const set = (value: number) => {
    bare.set(RCX, 0);
    bare.set(RAX, value);
    return bare.run('0f 01 d1').vector;
  };
  expect([set(1), set(3), set(2), set(7)]).toEqual([-1, -1, GP, GP]);
  bare.set(RCX, 0);
  expect(bare.run('0f 01 d0').vector).toBe(-1);
  expect(bare.gpr(RAX)).toBe(3);
});
