/** CVTPI2PS and its kin: conversions between MMX and XMM registers, by MXCSR (SDM vol. 1, 10.4.4; vol. 2A). */
import { HELPER_NEXT } from '../exits.ts';
import { sseFromInt32, sseToInt32 } from '../fpu/sse.ts';
import { enterMmx, markMmxWrite } from '../fpu/x87-control.ts';
import { S_X87 } from '../state.ts';
import { isMemory, regOffset } from './operands.ts';
import { defineHelpers, type Helper } from './registry.ts';
import { begin, destination, finish, raiseExceptions, source } from './sse-operands.ts';
import { reportPending } from './x87.ts';

function fromMmx(double: boolean): Helper {
  return (cpu, op) => {
    // With an operand in memory no MMX register is touched: MMX is not entered, nor an x87 exception reported.
    const usesMmx = !isMemory(cpu, op);
    if (usesMmx) reportPending(cpu);
    const from = source(cpu, op);
    if (usesMmx) enterMmx(cpu.x87);
    begin(cpu);
    return finish(cpu, sseFromInt32(double, 2, cpu.i32, destination(cpu, op), from));
  };
}

function toMmx(truncate: boolean, double: boolean): Helper {
  return (cpu, op) => {
    reportPending(cpu);
    const from = source(cpu, op);
    const to = regOffset(cpu, op);
    enterMmx(cpu.x87);
    begin(cpu);
    raiseExceptions(cpu, sseToInt32(truncate, double, 2, 2, cpu.i32, to >> 2, from));
    markMmxWrite(cpu.x87, (to - S_X87) >> 4);
    return HELPER_NEXT;
  };
}

defineHelpers({
  CVTPI2PS: fromMmx(false),
  CVTPI2PD: fromMmx(true),
  CVTPS2PI: toMmx(false, false),
  CVTTPS2PI: toMmx(true, false),
  CVTPD2PI: toMmx(false, true),
  CVTTPD2PI: toMmx(true, true),
});
