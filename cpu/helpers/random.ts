/** RDRAND and RDSEED (Intel SDM vol. 2B): always ready, from the host's cryptographic generator. */
import type { Cpu } from '../cpu.ts';
import { HELPER_NEXT } from '../exits.ts';
import { FLAG_C } from '../isa/table.ts';
import { setStatusFlags } from './flags.ts';
import { operandSize, rmOffset, writeRegister } from './operands.ts';
import { defineHelpers } from './registry.ts';

const pool = new Int32Array(1024);
let used = pool.length;

function randomWord(): number {
  if (used === pool.length) {
    crypto.getRandomValues(pool);
    used = 0;
  }
  return pool[used++];
}

function random(cpu: Cpu, op: number): number {
  writeRegister(cpu, rmOffset(cpu, op), operandSize(cpu, op), randomWord(), randomWord());
  setStatusFlags(cpu, FLAG_C);
  return HELPER_NEXT;
}

defineHelpers({ RDRAND: random, RDSEED: random });
