/** DIV and IDIV in the cases that generated code leaves out: faults and 128-bit dividends (SDM vol. 2A). */
import type { Cpu } from '../cpu.ts';
import { HELPER_NEXT } from '../exits.ts';
import { raise, VECTOR_DE } from '../fault.ts';
import { rowAt } from '../isa/table.ts';
import * as r from '../record.ts';
import { gprOffset } from '../state.ts';
import { high, low, operandSize, readRegister, readRm, writeRegister } from './operands.ts';
import { defineHelpers } from './registry.ts';

const RAX = gprOffset(0);
const RDX = gprOffset(2);

/** Rare enough (#DE, or a dividend over 64 bits) that clarity wins: BigInt. */
function divide(cpu: Cpu, op: number, signed: boolean): number {
  const row = rowAt(cpu.u16[(op + r.R_ROW) >> 1]);
  const size = row.operands[0].type === 'b' ? 1 : operandSize(cpu, op);
  readRm(cpu, op, size);
  if ((low | high) === 0) return cpu.except(op, VECTOR_DE);
  const bits = BigInt(size * 8);
  let divisor = BigInt.asUintN(Number(bits), (BigInt(high) << 32n) | BigInt(low >>> 0));
  readRegister(cpu, RAX, size === 1 ? 2 : size);
  let dividend = BigInt.asUintN(64, (BigInt(high) << 32n) | BigInt(low >>> 0));
  if (size > 1) {
    readRegister(cpu, RDX, size);
    dividend |= BigInt.asUintN(64, (BigInt(high) << 32n) | BigInt(low >>> 0)) << bits;
  }
  let quotient: bigint;
  if (signed) {
    divisor = BigInt.asIntN(Number(bits), divisor);
    dividend = BigInt.asIntN(size === 1 ? 16 : Number(bits) * 2, dividend);
    quotient = dividend / divisor;
    if (quotient !== BigInt.asIntN(Number(bits), quotient)) raise(VECTOR_DE);
  } else {
    quotient = dividend / divisor;
    if (quotient >> bits !== 0n) raise(VECTOR_DE);
  }
  const remainder = dividend - quotient * divisor;
  if (size === 1) writeRegister(cpu, RAX, 2, Number((quotient & 0xffn) | ((remainder & 0xffn) << 8n)));
  else {
    write(cpu, RAX, size, quotient);
    write(cpu, RDX, size, remainder);
  }
  return HELPER_NEXT;
}

function write(cpu: Cpu, offset: number, size: number, value: bigint): void {
  writeRegister(cpu, offset, size, Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n)));
}

defineHelpers({
  DIV: (cpu, op) => divide(cpu, op, false),
  IDIV: (cpu, op) => divide(cpu, op, true),
});
