import { describe, expect, test } from 'vitest';
import { S_FSW, S_FTW, S_MXCSR, S_X87, S_XMM } from '../../../cpu/state.ts';
import { DATA, FlatMachine, NO_EXCEPTION } from './flat-machine.ts';

const UD = 6;
const NM = 7;
const GP = 13;
const MF = 16;

const MP = 1 << 1;
const EM = 1 << 2;
const TS = 1 << 3;
const NE = 1 << 5;

const machine = new FlatMachine();
const { cpu, ram } = machine;

/** ModRM and displacement of [DATA + offset], with `reg` in ModRM. */
function at(reg: number, offset = 0): string {
  const bytes = Buffer.alloc(5);
  bytes[0] = (reg << 3) | 5;
  bytes.writeUInt32LE(DATA + offset, 1);
  return bytes.toString('hex');
}

const FNINIT = 'dbe3';
const FLD1 = 'd9e8';
const FLDZ = 'd9ee';
const FCHS = 'd9e0';
const FSQRT = 'd9fa';
const FWAIT = '9b';
const MOVD_MM0_EAX = '0f6ec0';
const EMMS = '0f77';

describe('disabled units (SDM vol. 3A, 2.5)', () => {
  test.each([
    ['x87', FLD1, EM, NM],
    ['x87', FLD1, TS, NM],
    ['x87 that does nothing', 'dbe0', TS, NM],
    ['x87', FLD1, MP, NO_EXCEPTION],
    ['FWAIT', FWAIT, EM | TS, NO_EXCEPTION],
    ['FWAIT', FWAIT, MP | TS, NM],
    ['MMX', MOVD_MM0_EAX, EM, UD],
    ['MMX', MOVD_MM0_EAX, TS, NM],
    ['FXSAVE', `0fae${at(0)}`, TS, NM],
  ])('%s (%s) with CR0 = %i', (_, code, cr0, vector) => {
    expect(machine.run(code, cr0).vector).toBe(vector);
  });
});

describe('unmasked exceptions', () => {
  /** √−1 with invalid operation unmasked. */
  const INVALID = `${FNINIT}d9${at(5)}${FLD1}${FCHS}${FSQRT}`;
  const before = INVALID.length / 2;

  test.each([
    ['x87', FLD1],
    ['FWAIT', FWAIT],
    ['MMX', MOVD_MM0_EAX],
    ['EMMS', EMMS],
  ])('are reported by the next waiting instruction: %s', (_, next) => {
    ram.setUint16(DATA, 0x37e, true);
    expect(machine.run(INVALID + next, NE)).toEqual({ vector: MF, offset: before });
    expect(machine.coprocessorErrors).toBe(0);
  });

  test('but not by FNSTSW, FNCLEX and moves of XMM registers', () => {
    ram.setUint16(DATA, 0x37e, true);
    // FNSTSW AX; CVTPI2PS XMM0, m64; FNCLEX; FLD1
    const outcome = machine.run(`${INVALID}dfe0 0f2a${at(0, 8)} dbe2${FLD1}`, NE);
    expect(outcome.vector).toBe(NO_EXCEPTION);
    expect(cpu.gprLow(0) & 0x80ff).toBe(0x8081); // B, ES, IE
  });

  test('signal FERR# when CR0.NE is 0', () => {
    ram.setUint16(DATA, 0x37e, true);
    expect(machine.run(INVALID + FWAIT, 0).vector).toBe(NO_EXCEPTION);
    expect(machine.coprocessorErrors).toBe(1);
  });
});

describe('operands and pointers', () => {
  test('double precision from memory to memory', () => {
    ram.setFloat64(DATA, 1.5, true);
    ram.setFloat64(DATA + 8, -2.25, true);
    ram.setInt32(DATA + 16, 7, true);
    // FLD m64; FMUL m64; FIADD m32; FSTP m64
    machine.run(`${FNINIT}dd${at(0)}dc${at(1, 8)}da${at(0, 16)}dd${at(3, 24)}`, NE);
    expect(ram.getFloat64(DATA + 24, true)).toBe(1.5 * -2.25 + 7);
    expect(cpu.u8[S_FTW]).toBe(0);
  });

  test('an operand across pages', () => {
    const offset = 0xffc;
    ram.setFloat64(DATA + offset, Math.PI, true);
    machine.run(`${FNINIT}dd${at(0, offset)}dd${at(3, offset + 0x1000 - 3)}`, NE);
    expect(ram.getFloat64(DATA + offset + 0x1000 - 3, true)).toBe(Math.PI);
  });

  test('FNSTENV tells where the last instruction and its operand were', () => {
    const load = `${FNINIT + FLD1}dd${at(0, 8)}`;
    machine.run(`${load}d9${at(6, 0x40)}`, NE);
    expect(ram.getUint32(DATA + 0x40 + 12, true) & 0xff).toBe(4);
    expect(ram.getUint16(DATA + 0x40 + 16, true)).toBe(8);
    expect(ram.getUint16(DATA + 0x40 + 18, true)).toBe(0x505);
    expect(ram.getUint32(DATA + 0x40 + 20, true)).toBe(DATA + 8);
    expect(ram.getUint16(DATA + 0x40 + 24, true)).toBe(16);
  });

  test('FNSTENV of 16-bit operand size has 14 bytes', () => {
    for (let i = 0; i < 28; i++) ram.setUint8(DATA + i, 0xcc);
    machine.run(`${FNINIT}66d9${at(6)}`, NE);
    expect(ram.getUint16(DATA, true)).toBe(0x37f);
    expect(ram.getUint16(DATA + 4, true)).toBe(0xffff);
    expect(ram.getUint16(DATA + 14, true)).toBe(0xcccc);
  });

  test('FNSTSW AX leaves the rest of EAX', () => {
    machine.run(`b878563412 ${FNINIT}${FLD1}dfe0`, NE);
    expect(cpu.gprLow(0)).toBe(0x12343800);
  });
});

test.each([
  ['FPREM', 'd9f8'],
  ['FPREM1', 'd9f5'],
])('%s by an infinity leaves a denormal, without underflow', (_, code) => {
  ram.setUint16(DATA, 0x36f, true); // underflow unmasked
  ram.setFloat32(DATA + 4, Infinity, true);
  ram.setBigUint64(DATA + 8, 9n, true);
  ram.setUint16(DATA + 16, 0, true);
  // FLDCW; FLD m32; FLD m80; the remainder; FNSTSW AX; FSTP m80
  machine.run(`${FNINIT}d9${at(5)}d9${at(0, 4)}db${at(5, 8)}${code}dfe0db${at(7, 8)}`, NE);
  expect(cpu.gprLow(0) & 0xff).toBe(2); // DE
  expect([ram.getBigUint64(DATA + 8, true), ram.getUint16(DATA + 16, true)]).toEqual([9n, 0]);
});

describe('EFLAGS', () => {
  test.each([
    [FLD1 + FLDZ, 0x01],
    [FLDZ + FLD1, 0x00],
    [FLD1 + FLD1, 0x40],
    [`${FLDZ}${FLDZ}d8f1${FLD1}d9c9`, 0x45], // 0/0
  ])('FUCOMI after %s', (loads, flags) => {
    // All status flags set before: OF, SF and AF are cleared.
    machine.run(`${FNINIT}${loads}b8ff080000 50 9d dbe9`, NE);
    expect(cpu.rflags & 0x8d5).toBe(flags);
  });

  test.each([
    ['FCMOVB', 'dac1', '39c0', '0000000000000000'],
    ['FCMOVNB', 'dbc1', '39c0', '8000000000000000'],
    ['FCMOVE', 'dac9', '39c0', '8000000000000000'],
    ['FCMOVNE', 'dbc9', '39c0', '0000000000000000'],
  ])('%s after CMP of equals', (_, move, compare, significand) => {
    machine.run(`${FNINIT}${FLD1}${FLDZ}${compare}${move}`, NE);
    const top = (cpu.u16[S_FSW >> 1] >> 11) & 7;
    const words = new DataView(cpu.buffer, S_X87 + 16 * top);
    expect(words.getBigUint64(0, true).toString(16).padStart(16, '0')).toBe(significand);
  });
});

describe('FXSAVE and FXRSTOR', () => {
  test('need an aligned operand', () => {
    expect(machine.run(`0fae${at(0, 8)}`, NE).vector).toBe(GP);
    expect(machine.run(`0fae${at(1, 8)}`, NE).vector).toBe(GP);
  });

  test('keep the state, and outside 64-bit mode leave XMM8 and up alone', () => {
    for (let i = 0; i < 512; i++) ram.setUint8(DATA + i, 0xcc);
    // MOVD XMM7, EAX; FXSAVE; FNINIT; PXOR XMM7, XMM7; FXRSTOR
    machine.run(`b8efbeadde 660f6ef8 ${FNINIT}${FLD1}0fae${at(0)} ${FNINIT} 660fefff 0fae${at(1)}`, NE);
    expect(ram.getUint8(DATA + 4)).toBe(0x80);
    expect(ram.getUint32(DATA + 28, true)).toBe(0xffff);
    expect(ram.getUint8(DATA + 160 + 8 * 16)).toBe(0xcc);
    expect(cpu.u8[S_FTW]).toBe(0x80);
    expect(cpu.i32[(S_X87 + 7 * 16 + 4) >> 2]).toBe(0x80000000 | 0);
    expect(cpu.i32[(S_XMM + 7 * 16) >> 2]).toBe(0xdeadbeef | 0);
  });

  test('refuse reserved bits of MXCSR before anything is loaded', () => {
    for (let i = 0; i < 512; i++) ram.setUint8(DATA + i, 0);
    ram.setUint32(DATA + 24, 0x10000, true);
    expect(machine.run(`${FNINIT}${FLD1}0fae${at(1)}`, NE).vector).toBe(GP);
    expect(cpu.i32[S_MXCSR >> 2]).toBe(0x1f80);
    expect(cpu.u8[S_FTW]).toBe(0x80);
  });
});

describe('MMX', () => {
  test('an instruction makes every register valid, TOP 0 and the exponent ones; EMMS empties them', () => {
    machine.run(`${FNINIT}${FLD1}${MOVD_MM0_EAX}`, NE);
    expect(cpu.u8[S_FTW]).toBe(0xff);
    expect(cpu.u16[S_FSW >> 1] & 0x3800).toBe(0);
    expect(cpu.u16[(S_X87 + 8) >> 1]).toBe(0xffff);
    machine.run(`${FNINIT}${FLD1}${MOVD_MM0_EAX}${EMMS}`, NE);
    expect(cpu.u8[S_FTW]).toBe(0);
  });

  test.each([
    ['PADDUSB', '0fdcc1', 'ff80ff7f00000001', '0180017f10000001', 'fffffffe10000002'],
    ['PSUBSW', '0fe9c1', '800000017fff0005', '0001000180000003', '800000007fff0002'],
    ['PMADDWD', '0ff5c1', '8000800000020003', '8000800000040005', '8000000000000017'],
    ['PACKSSWB', '0f63c1', '7fff800000010002', '00030004fff00100', '0304f07f7f800102'],
    ['PSLLQ by 64', '0ff3c1', 'ffffffffffffffff', '0000000000000040', '0000000000000000'],
    ['PSRAD by more than 32 bits', '0fe2c1', '8000000070000000', '0000000100000000', 'ffffffff00000000'],
    ['PMULUDQ', '0ff4c1', '00000001ffffffff', '00000001ffffffff', 'fffffffe00000001'],
    ['PSHUFB', '0f3800c1', '7766554433221100', '8001020304050607', '0011223344556677'],
    ['PALIGNR 3', '0f3a0fc103', '7766554433221100', 'ffeeddccbbaa9988', '221100ffeeddccbb'],
  ])('%s', (_, code, first, second, result) => {
    ram.setBigUint64(DATA, BigInt(`0x${first}`), true);
    ram.setBigUint64(DATA + 8, BigInt(`0x${second}`), true);
    // MOVQ MM0, m64; MOVQ MM1, m64; the operation; MOVQ m64, MM0
    machine.run(`0f6f${at(0)}0f6f${at(1, 8)}${code}0f7f${at(0, 16)}`, NE);
    expect(
      ram
        .getBigUint64(DATA + 16, true)
        .toString(16)
        .padStart(16, '0'),
    ).toBe(result);
  });
});
