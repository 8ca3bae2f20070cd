/** SSE conversions by the exact library, for what generated code leaves out. */
import { HELPER_NEXT } from '../exits.ts';
import { integer } from '../fpu/convert.ts';
import {
  sseDoubleToSingle,
  sseFromInt32,
  sseFromInt64,
  sseSingleToDouble,
  sseToInt32,
  sseToInteger,
} from '../fpu/sse.ts';
import * as r from '../record.ts';
import { high, info, low, readRm, regOffset, writeRegister } from './operands.ts';
import { defineHelpers, type Helper } from './registry.ts';
import { begin, destination, finish, isSse, raiseExceptions, source } from './sse-operands.ts';

/** CVTSI2SS, CVTSI2SD. */
function fromGeneral(double: boolean): Helper {
  return (cpu, op) => {
    const wide = (info(cpu, op) & r.INFO_REXW) !== 0;
    readRm(cpu, op, wide ? 8 : 4);
    begin(cpu);
    return finish(cpu, sseFromInt64(double, cpu.i32, destination(cpu, op), low, wide ? high : low >> 31));
  };
}

/** CVTSS2SI, CVTSD2SI and their truncating twins. */
function toGeneral(truncate: boolean, double: boolean): Helper {
  return (cpu, op) => {
    const from = source(cpu, op);
    const wide = (info(cpu, op) & r.INFO_REXW) !== 0;
    begin(cpu);
    raiseExceptions(cpu, sseToInteger(truncate, double, wide ? 64 : 32, cpu.i32, from));
    writeRegister(cpu, regOffset(cpu, op), wide ? 8 : 4, integer.lo, integer.hi);
    return HELPER_NEXT;
  };
}

function toIntegers(truncate: boolean, double: boolean): Helper {
  return (cpu, op) => {
    const from = source(cpu, op);
    begin(cpu);
    return finish(cpu, sseToInt32(truncate, double, double ? 2 : 4, 4, cpu.i32, destination(cpu, op), from));
  };
}

function betweenFormats(convert: typeof sseSingleToDouble, lanes: number): Helper {
  return (cpu, op) => {
    const from = source(cpu, op);
    begin(cpu);
    return finish(cpu, convert(lanes, cpu.i32, destination(cpu, op), from));
  };
}

defineHelpers(
  {
    CVTSI2SS: fromGeneral(false),
    CVTSI2SD: fromGeneral(true),
    CVTSS2SI: toGeneral(false, false),
    CVTSD2SI: toGeneral(false, true),
    CVTTSS2SI: toGeneral(true, false),
    CVTTSD2SI: toGeneral(true, true),
    CVTSS2SD: betweenFormats(sseSingleToDouble, 1),
    CVTPS2PD: betweenFormats(sseSingleToDouble, 2),
    CVTSD2SS: betweenFormats(sseDoubleToSingle, 1),
    CVTPD2PS: betweenFormats(sseDoubleToSingle, 2),
    CVTPS2DQ: toIntegers(false, false),
    CVTTPS2DQ: toIntegers(true, false),
    CVTPD2DQ: toIntegers(false, true),
    CVTTPD2DQ: toIntegers(true, true),
    CVTDQ2PS: (cpu, op) => {
      const from = source(cpu, op);
      begin(cpu);
      return finish(cpu, sseFromInt32(false, 4, cpu.i32, destination(cpu, op), from));
    },
  },
  isSse,
);
