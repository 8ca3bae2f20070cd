/** Cache lines: CLFLUSH, CLFLUSHOPT, CLWB (Intel SDM vol. 2A). No cache is modelled; the address must be readable. */
import type { Cpu } from '../cpu.ts';
import { HELPER_NEXT } from '../exits.ts';
import { high, linearAddress, low } from './operands.ts';
import { defineHelpers } from './registry.ts';

function touch(cpu: Cpu, op: number): number {
  linearAddress(cpu, op);
  cpu.mmu.probe(low, high, 1, false);
  return HELPER_NEXT;
}

defineHelpers({ CLFLUSH: touch, CLFLUSHOPT: touch, CLWB: touch });
