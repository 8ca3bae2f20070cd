/** Decimal adjustment: DAA DAS AAA AAS AAM AAD (Intel SDM vol. 2A), outside 64-bit mode. */
import type { Cpu } from '../cpu.ts';
import { HELPER_NEXT } from '../exits.ts';
import { raise, VECTOR_DE } from '../fault.ts';
import { FLAG_A, FLAG_C, FLAG_P, FLAG_S, FLAG_Z } from '../isa/table.ts';
import { gprOffset } from '../state.ts';
import { setStatusFlags } from './flags.ts';
import { immediate } from './operands.ts';
import { defineHelpers } from './registry.ts';

const AL = gprOffset(0);
const AH = AL + 1;
const AX = AL >> 1;

/** SF, ZF and PF of a byte. */
function signZeroParity(byte: number): number {
  let parity = byte ^ (byte >> 4);
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return (byte & FLAG_S) | (byte === 0 ? FLAG_Z : 0) | (parity & 1 ? 0 : FLAG_P);
}

/** DAA (`sign` 1) and DAS (−1): packed digits in AL. */
function adjustPacked(cpu: Cpu, sign: number): number {
  const old = cpu.u8[AL];
  const flags = cpu.rflags;
  let al = old;
  let result = 0;
  if ((old & 15) > 9 || flags & FLAG_A) {
    al += 6 * sign;
    result |= FLAG_A | (sign < 0 && al < 0 ? FLAG_C : 0);
  }
  if (old > 0x99 || flags & FLAG_C) {
    al += 0x60 * sign;
    result |= FLAG_C;
  }
  cpu.u8[AL] = al;
  setStatusFlags(cpu, result | signZeroParity(al & 0xff));
  return HELPER_NEXT;
}

/** AAA (`sign` 1) and AAS (−1): one digit in AL, the carry in AH. */
function adjustUnpacked(cpu: Cpu, sign: number): number {
  let result = 0;
  if ((cpu.u8[AL] & 15) > 9 || cpu.rflags & FLAG_A) {
    cpu.u16[AX] += 0x106 * sign;
    result = FLAG_A | FLAG_C;
  }
  cpu.u8[AL] &= 15;
  setStatusFlags(cpu, result | signZeroParity(cpu.u8[AL]));
  return HELPER_NEXT;
}

defineHelpers({
  DAA: (cpu) => adjustPacked(cpu, 1),
  DAS: (cpu) => adjustPacked(cpu, -1),
  AAA: (cpu) => adjustUnpacked(cpu, 1),
  AAS: (cpu) => adjustUnpacked(cpu, -1),
  AAM: (cpu, op) => {
    const base = immediate(cpu, op) & 0xff;
    if (base === 0) raise(VECTOR_DE);
    const al = cpu.u8[AL];
    cpu.u8[AH] = al / base;
    cpu.u8[AL] = al % base;
    setStatusFlags(cpu, signZeroParity(cpu.u8[AL]));
    return HELPER_NEXT;
  },
  AAD: (cpu, op) => {
    cpu.u16[AX] = (cpu.u8[AL] + cpu.u8[AH] * (immediate(cpu, op) & 0xff)) & 0xff;
    setStatusFlags(cpu, signZeroParity(cpu.u8[AL]));
    return HELPER_NEXT;
  },
});
