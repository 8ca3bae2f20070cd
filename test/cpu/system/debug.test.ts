/** Single steps and breakpoints (SDM vol. 3B ch. 18). */
import { describe, expect, test } from 'vitest';
import { S_DR, S_RFLAGS } from '../../../cpu/state.ts';
import { updateMode } from '../../../cpu/system/mode-word.ts';
import { BareCpu, CODE, DATA, FLAT, RAX, RBX, RCX, RDI } from './bare-cpu.ts';

const DB = 1;
const TF = 1 << 8;
const RF = 1 << 16;
const BS = 1 << 14;

/** A CPU with breakpoint 0 at `address`; `kind` and `length` as in DR7. */
function watched(address: number, kind: number, length: number): BareCpu {
  const bare = new BareCpu().long();
  const { i32 } = bare.cpu;
  i32[S_DR >> 2] = address;
  i32[(S_DR + 56) >> 2] = 0x402 | (kind << 16) | (length << 18);
  updateMode(bare.cpu);
  return bare;
}

function dr6(bare: BareCpu): number {
  return bare.cpu.i32[(S_DR + 48) >> 2] & 0xe00f;
}

describe('breakpoints', () => {
  test.each([
    ['a write by MOV', '89 04 25 00 00 04 00', 1, 3, DATA],
    ['the last byte of a wider write', '89 04 25 fd ff 03 00', 1, 0, DATA],
    ['a read where reads count', '8b 04 25 02 00 04 00', 3, 3, DATA],
    ['a write of eight bytes', '48 89 04 25 08 00 04 00', 1, 2, DATA + 8],
    ['PUSH', '50', 1, 2, 0x60000 - 8],
    ['a read-modify-write', 'ff 04 25 00 00 04 00', 1, 3, DATA],
    ['CMPXCHG8B', '0f c7 0c 25 00 00 04 00', 1, 3, DATA + 4],
    ['FXSAVE', '0f ae 04 25 00 00 04 00', 1, 3, DATA + 0x20],
  ])('%s traps behind the instruction', (_, code, kind, length, address) => {
    const bare = watched(address, kind, length);
    const size = code.split(' ').length;
    expect(bare.run(`${code} 90`)).toMatchObject({ vector: DB, rip: CODE + size });
    expect(dr6(bare)).toBe(1);
  });

  test.each([
    ['a read where writes count', '8b 04 25 00 00 04 00', 1, 3],
    ['the byte behind', '88 04 25 04 00 04 00', 1, 3],
    ['the byte before', '88 04 25 ff ff 03 00', 1, 3],
    ['a fetch of data', '90', 3, 3],
  ])('%s does not', (_, code, kind, length) => {
    const bare = watched(DATA, kind, length);
    expect(bare.run(`${code} 90`).vector).toBe(-1);
    expect(dr6(bare)).toBe(0);
  });

  test('REP STOSB stops behind the element that meets it', () => {
    const bare = watched(DATA + 5, 1, 0);
    bare.set(RDI, DATA);
    bare.set(RCX, 10);
    expect(bare.run('f3 aa')).toMatchObject({ vector: DB, rip: CODE });
    expect(bare.gpr(RCX)).toBe(4);
  });

  test('an instruction breakpoint comes before its instruction, and RF passes it once', () => {
    const bare = watched(CODE + 1, 0, 0);
    bare.set(RAX, 0);
    // 1: inc eax, twice by a loop
    const code = '90 ff c0 ff cb 75 f9';
    bare.set(RBX, 2);
    const first = bare.run(code);
    expect(first).toMatchObject({ vector: DB, rip: CODE + 1 });
    expect([bare.gpr(RAX), dr6(bare)]).toEqual([0, 1]);
    // The handler returns with RF set: once past it, and caught again in the second round.
    bare.view.setUint32(bare.gpr(4) + 16, first.frame[2] | RF, true);
    bare.put(0x5000, '48 cf');
    expect(bare.go(0x5000)).toMatchObject({ vector: DB, rip: CODE + 1 });
    expect([bare.gpr(RAX), bare.gpr(RBX)]).toEqual([1, 1]);
  });

  test('MOV SS puts off a data breakpoint by one instruction', () => {
    const bare = watched(DATA, 3, 1);
    bare.view.setUint16(DATA, FLAT, true);
    expect(bare.run('8e 14 25 00 00 04 00 90 90')).toMatchObject({ vector: DB, rip: CODE + 8 });
  });
});

describe('RFLAGS.TF', () => {
  test.each([
    ['a plain instruction', '90 90', 1],
    ['a jump', 'eb 01 90 90', 3],
    ['each element of REP', 'f3 aa 90', 0],
    ['MOV SS: behind the next instruction', '8e d0 90 90', 3],
    ['POPF that clears it', '6a 02 9d 90', 2],
  ])('%s', (_, code, offset) => {
    const bare = new BareCpu().long();
    bare.set(RDI, DATA);
    bare.set(RCX, 3);
    bare.set(RAX, FLAT);
    bare.cpu.i32[S_RFLAGS >> 2] |= TF;
    updateMode(bare.cpu);
    expect(bare.run(code)).toMatchObject({ vector: DB, rip: CODE + offset });
    expect(dr6(bare)).toBe(BS);
  });

  test('INT n is not trapped: its handler starts with TF clear', () => {
    const bare = new BareCpu().long();
    bare.cpu.i32[S_RFLAGS >> 2] |= TF;
    updateMode(bare.cpu);
    const outcome = bare.run('cd 60');
    expect(outcome).toMatchObject({ vector: 0x60, rip: CODE + 2 });
    expect(outcome.frame[2] & TF).toBe(TF);
    expect(bare.cpu.rflags & TF).toBe(0);
  });
});
