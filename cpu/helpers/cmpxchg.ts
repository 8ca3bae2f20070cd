/** CMPXCHG8B and CMPXCHG16B (Intel SDM vol. 2A). */
import { HELPER_NEXT } from '../exits.ts';
import { raise, VECTOR_GP } from '../fault.ts';
import { FLAG_Z } from '../isa/table.ts';
import { INFO_REXW } from '../record.ts';
import { gprOffset } from '../state.ts';
import { mergeStatusFlags } from './flags.ts';
import {
  add64,
  high,
  info,
  isCanonical,
  linearAddress,
  loadMemory,
  low,
  readRegister,
  set64,
  storeMemory,
  writeRegister,
} from './operands.ts';
import { defineHelpers } from './registry.ts';

const RAX = gprOffset(0);
const RCX = gprOffset(1);
const RDX = gprOffset(2);
const RBX = gprOffset(3);

defineHelpers({
  /** Memory is written whatever the outcome: with RCX:RBX, or with what it held. */
  CMPXCHG8B: (cpu, op) => {
    const half = info(cpu, op) & INFO_REXW ? 8 : 4;
    linearAddress(cpu, op);
    const addressLow = low;
    const addressHigh = high;
    if (half === 8 && addressLow & 15 && isCanonical(addressHigh)) raise(VECTOR_GP, 0);
    else cpu.mmu.checkAlignment(addressLow, addressHigh, 8);
    cpu.mmu.probe(addressLow, addressHigh, 2 * half, true);
    add64(half, 0);
    const upperLow = low;
    const upperHigh = high;
    loadMemory(cpu, addressLow, addressHigh, half);
    const a = { low, high };
    loadMemory(cpu, upperLow, upperHigh, half);
    const d = { low, high };
    readRegister(cpu, RAX, half);
    let equal = low === a.low && high === a.high;
    readRegister(cpu, RDX, half);
    equal &&= low === d.low && high === d.high;
    set64(a.low, a.high);
    if (equal) readRegister(cpu, RBX, half);
    storeMemory(cpu, addressLow, addressHigh, half, low, high);
    set64(d.low, d.high);
    if (equal) readRegister(cpu, RCX, half);
    storeMemory(cpu, upperLow, upperHigh, half, low, high);
    if (!equal) {
      writeRegister(cpu, RAX, half, a.low, a.high);
      writeRegister(cpu, RDX, half, d.low, d.high);
    }
    mergeStatusFlags(cpu, FLAG_Z, equal ? FLAG_Z : 0);
    return HELPER_NEXT;
  },
});
