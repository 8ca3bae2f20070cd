/** SSE arithmetic and comparison by the exact library, for what generated code leaves out (SDM vol. 1, 11.5; vol. 2). */
import type { Cpu } from '../cpu.ts';
import { HELPER_NEXT } from '../exits.ts';
import { fp } from '../fpu/float.ts';
import {
  SSE_ADD,
  SSE_DIV,
  SSE_MAX,
  SSE_MIN,
  SSE_MUL,
  SSE_SUB,
  sseAddSub,
  sseArithmetic,
  sseCompare,
  sseCompareFlags,
  sseDotProduct,
  sseHorizontal,
  sseRound,
  sseSqrt,
} from '../fpu/sse.ts';
import { setStatusFlags } from './flags.ts';
import { immediate } from './operands.ts';
import { defineHelpers, type Helper } from './registry.ts';
import { begin, destination, finish, raiseExceptions, source } from './sse-operands.ts';

function arithmetic(operation: number, double: boolean, lanes: number): Helper {
  return (cpu, op) => {
    const from = source(cpu, op);
    const to = destination(cpu, op);
    begin(cpu);
    return finish(cpu, sseArithmetic(operation, double, lanes, cpu.i32, to, to, from));
  };
}

function squareRoot(double: boolean, lanes: number): Helper {
  return (cpu, op) => {
    const from = source(cpu, op);
    begin(cpu);
    return finish(cpu, sseSqrt(double, lanes, cpu.i32, destination(cpu, op), from));
  };
}

function compare(double: boolean, lanes: number): Helper {
  return (cpu, op) => {
    const from = source(cpu, op);
    const to = destination(cpu, op);
    begin(cpu);
    return finish(cpu, sseCompare(immediate(cpu, op) & 7, double, lanes, cpu.i32, to, to, from));
  };
}

function round(double: boolean, lanes: number): Helper {
  return (cpu, op) => {
    const from = source(cpu, op);
    begin(cpu);
    return finish(cpu, sseRound(double, lanes, immediate(cpu, op), cpu.i32, destination(cpu, op), from));
  };
}

function compareFlags(quiet: boolean, double: boolean): Helper {
  return (cpu, op) => {
    const from = source(cpu, op);
    begin(cpu);
    const bits = sseCompareFlags(quiet, double, cpu.i32, destination(cpu, op), from);
    raiseExceptions(cpu, fp.flags);
    setStatusFlags(cpu, bits);
    return HELPER_NEXT;
  };
}

type Binary = (cpu: Cpu, op: number, to: number, from: number) => number;

function binary(operation: Binary): Helper {
  return (cpu, op) => {
    const from = source(cpu, op);
    begin(cpu);
    return finish(cpu, operation(cpu, op, destination(cpu, op), from));
  };
}

const helpers: Record<string, Helper> = {
  HADDPS: binary((cpu, _, to, from) => sseHorizontal(SSE_ADD, false, cpu.i32, to, to, from)),
  HADDPD: binary((cpu, _, to, from) => sseHorizontal(SSE_ADD, true, cpu.i32, to, to, from)),
  HSUBPS: binary((cpu, _, to, from) => sseHorizontal(SSE_SUB, false, cpu.i32, to, to, from)),
  HSUBPD: binary((cpu, _, to, from) => sseHorizontal(SSE_SUB, true, cpu.i32, to, to, from)),
  ADDSUBPS: binary((cpu, _, to, from) => sseAddSub(false, cpu.i32, to, to, from)),
  ADDSUBPD: binary((cpu, _, to, from) => sseAddSub(true, cpu.i32, to, to, from)),
  DPPS: binary((cpu, op, to, from) => sseDotProduct(false, immediate(cpu, op), cpu.i32, to, to, from)),
  DPPD: binary((cpu, op, to, from) => sseDotProduct(true, immediate(cpu, op), cpu.i32, to, to, from)),
  COMISS: compareFlags(false, false),
  COMISD: compareFlags(false, true),
  UCOMISS: compareFlags(true, false),
  UCOMISD: compareFlags(true, true),
};

const OPERATIONS = { ADD: SSE_ADD, SUB: SSE_SUB, MUL: SSE_MUL, DIV: SSE_DIV, MIN: SSE_MIN, MAX: SSE_MAX };
for (const [suffix, double, lanes] of [
  ['SS', false, 1],
  ['SD', true, 1],
  ['PS', false, 4],
  ['PD', true, 2],
] as const) {
  for (const [name, operation] of Object.entries(OPERATIONS))
    helpers[name + suffix] = arithmetic(operation, double, lanes);
  helpers[`SQRT${suffix}`] = squareRoot(double, lanes);
  helpers[`CMP${suffix}`] = compare(double, lanes);
  helpers[`ROUND${suffix}`] = round(double, lanes);
}
defineHelpers(helpers);
