/** PEXT and PDEP (Intel SDM vol. 2B): bits selected by a mask, one by one. */
import type { Cpu } from '../cpu.ts';
import { HELPER_NEXT } from '../exits.ts';
import { INFO_REXW, R_AUX } from '../record.ts';
import { high, info, low, readRegister, readRm, regOffset, writeRegister } from './operands.ts';
import { defineHelpers } from './registry.ts';

/** Source in VEX.vvvv, mask in ModRM.rm. `deposit`: from the low bits to the mask's places, otherwise the reverse. */
function move(cpu: Cpu, op: number, deposit: boolean): number {
  const size = info(cpu, op) & INFO_REXW ? 8 : 4;
  readRm(cpu, op, size);
  const mask = [low, high];
  readRegister(cpu, cpu.u16[(op + R_AUX) >> 1], size);
  const source = [low, high];
  const result = [0, 0];
  let packed = 0;
  for (let bit = 0; bit < size * 8; bit++) {
    if (!((mask[bit >> 5] >>> (bit & 31)) & 1)) continue;
    const from = deposit ? packed : bit;
    const to = deposit ? bit : packed;
    result[to >> 5] |= ((source[from >> 5] >>> (from & 31)) & 1) << (to & 31);
    packed++;
  }
  writeRegister(cpu, regOffset(cpu, op), size, result[0], result[1]);
  return HELPER_NEXT;
}

defineHelpers({ PEXT: (cpu, op) => move(cpu, op, false), PDEP: (cpu, op) => move(cpu, op, true) });
