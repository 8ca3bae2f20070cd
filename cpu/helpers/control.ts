/**
 * Control and debug registers, translations and caches: MOV CR, MOV DR, SMSW, LMSW, CLTS, INVLPG, INVD, WBINVD, CLAC, STAC
 * (Intel SDM vol. 2).
 */
import type { Cpu } from '../cpu.ts';
import { CANNOT, EXIT_EVENT, HELPER_JUMP, HELPER_NEXT } from '../exits.ts';
import { raise, VECTOR_DB, VECTOR_GP, VECTOR_UD } from '../fault.ts';
import { S_CR0, S_CR2, S_CR3, S_CR4, S_CR8, S_DR, S_GPR, S_RFLAGS } from '../state.ts';
import { CR4_DE, writeCr0, writeCr3, writeCr4 } from '../system/control.ts';
import { DR6_BD, DR7_GD, dr6Image, dr7Image } from '../system/debug.ts';
import { CR0_EM, CR0_MP, CR0_PE, CR0_TS, currentPrivilegeLevel, updateMode } from '../system/mode-word.ts';
import { requirePrivilege } from './interrupt.ts';
import {
  advanceRip,
  high,
  isMemory,
  isMode64,
  linearAddress,
  low,
  operandSize,
  readRegister,
  readRm,
  regOffset,
  rmOffset,
  writeRegister,
  writeRm,
} from './operands.ts';
import { defineHelpers } from './registry.ts';

const RFLAGS_AC = 1 << 18;

/** Number of the control or debug register in ModRM.reg; the record holds the general register's offset. */
function registerNumber(cpu: Cpu, op: number): number {
  return (regOffset(cpu, op) - S_GPR) >> 3;
}

/** State offset of a control register; −1 for CR8 behind an APIC. @throws GuestFault #UD when there is no such register. */
function controlRegister(number: number): number {
  switch (number) {
    case 0:
      return S_CR0;
    case 2:
      return S_CR2;
    case 3:
      return S_CR3;
    case 4:
      return S_CR4;
    case 8:
      return S_CR8;
    default:
      return raise(VECTOR_UD);
  }
}

function width(cpu: Cpu, op: number): number {
  return isMode64(cpu, op) ? 8 : 4;
}

/** CR8 is the task priority of the APIC; without one, a register of its own. */
function readTaskPriority(cpu: Cpu): number {
  return cpu.env.apic?.taskPriority ?? cpu.i32[S_CR8 >> 2];
}

function writeTaskPriority(cpu: Cpu, valueLow: number, valueHigh: number): void {
  if (valueHigh !== 0 || valueLow & ~15) raise(VECTOR_GP, 0);
  if (cpu.env.apic !== undefined) cpu.env.apic.taskPriority = valueLow;
  else cpu.i32[S_CR8 >> 2] = valueLow;
}

/** Goes on behind the instruction by looking its address up: mode or mapping may have changed. */
function again(cpu: Cpu, op: number): number {
  advanceRip(cpu, op);
  return HELPER_JUMP;
}

/** State offset of a debug register, after the checks common to both directions. */
function debugRegister(cpu: Cpu, op: number): number {
  requirePrivilege(cpu);
  let number = registerNumber(cpu, op);
  if (number > 7) raise(VECTOR_UD);
  if (number === 4 || number === 5) {
    if (cpu.i32[S_CR4 >> 2] & CR4_DE) raise(VECTOR_UD);
    number += 2;
  }
  if (cpu.i32[(S_DR + 7 * 8) >> 2] & DR7_GD) {
    cpu.i32[(S_DR + 6 * 8) >> 2] |= DR6_BD;
    cpu.i32[(S_DR + 7 * 8) >> 2] &= ~DR7_GD;
    raise(VECTOR_DB);
  }
  return S_DR + number * 8;
}

function setAlignmentCheck(cpu: Cpu, op: number, on: boolean): number {
  // Above ring 0 they are undefined, not merely forbidden.
  if (currentPrivilegeLevel(cpu) !== 0) raise(VECTOR_UD);
  if (on) cpu.i32[S_RFLAGS >> 2] |= RFLAGS_AC;
  else cpu.i32[S_RFLAGS >> 2] &= ~RFLAGS_AC;
  updateMode(cpu);
  return again(cpu, op);
}

// --- compiled ahead of time too ---------------------------------------------------------------------------------------

export function moveFromControl(cpu: Cpu, op: number): number {
  const number = registerNumber(cpu, op);
  const from = controlRegister(number);
  requirePrivilege(cpu);
  if (number === 8) writeRegister(cpu, rmOffset(cpu, op), 8, readTaskPriority(cpu), 0);
  else writeRegister(cpu, rmOffset(cpu, op), width(cpu, op), cpu.i32[from >> 2], cpu.i32[(from + 4) >> 2]);
  return HELPER_NEXT;
}

/** MOV to CR3; CANNOT if it is another one. */
export function loadCr3(cpu: Cpu, op: number): number {
  if (registerNumber(cpu, op) !== 3) return CANNOT;
  requirePrivilege(cpu);
  readRegister(cpu, rmOffset(cpu, op), width(cpu, op));
  return writeCr3(cpu, low, high) ? again(cpu, op) : HELPER_NEXT;
}

/** A non-canonical address makes it a no-operation. */
export function invalidatePage(cpu: Cpu, op: number): number {
  requirePrivilege(cpu);
  linearAddress(cpu, op);
  return cpu.pageRemapped(low, high) ? again(cpu, op) : HELPER_NEXT;
}

// ----------------------------------------------------------------------------------------------------------------------

defineHelpers({
  MOV_FROM_CR: moveFromControl,
  MOV_TO_CR: (cpu, op) => {
    const number = registerNumber(cpu, op);
    if (number === 3) return loadCr3(cpu, op);
    controlRegister(number);
    requirePrivilege(cpu);
    readRegister(cpu, rmOffset(cpu, op), width(cpu, op));
    const valueLow = low;
    const valueHigh = high;
    switch (number) {
      case 0:
        writeCr0(cpu, valueLow, valueHigh);
        break;
      case 2:
        cpu.i32[S_CR2 >> 2] = valueLow;
        cpu.i32[(S_CR2 + 4) >> 2] = valueHigh;
        return HELPER_NEXT;
      case 4:
        writeCr4(cpu, valueLow, valueHigh);
        break;
      case 8:
        writeTaskPriority(cpu, valueLow, valueHigh);
        advanceRip(cpu, op);
        return EXIT_EVENT;
    }
    return again(cpu, op);
  },
  MOV_FROM_DR: (cpu, op) => {
    const from = debugRegister(cpu, op);
    writeRegister(cpu, rmOffset(cpu, op), width(cpu, op), cpu.i32[from >> 2], cpu.i32[(from + 4) >> 2]);
    return HELPER_NEXT;
  },
  MOV_TO_DR: (cpu, op) => {
    const to = debugRegister(cpu, op);
    readRegister(cpu, rmOffset(cpu, op), width(cpu, op));
    const fixed = to >= S_DR + 6 * 8;
    if (fixed && high !== 0) raise(VECTOR_GP, 0);
    cpu.i32[to >> 2] = to === S_DR + 6 * 8 ? dr6Image(low) : fixed ? dr7Image(low) : low;
    cpu.i32[(to + 4) >> 2] = high;
    updateMode(cpu);
    return again(cpu, op);
  },
  /** The low half of CR0: 16 bits to memory, the operand size to a register. */
  SMSW: (cpu, op) => {
    writeRm(cpu, op, isMemory(cpu, op) ? 2 : operandSize(cpu, op), cpu.i32[S_CR0 >> 2]);
    return HELPER_NEXT;
  },
  /** PE can be set but not cleared. */
  LMSW: (cpu, op) => {
    requirePrivilege(cpu);
    readRm(cpu, op, 2);
    const old = cpu.i32[S_CR0 >> 2];
    const mask = CR0_MP | CR0_EM | CR0_TS;
    writeCr0(cpu, (old & ~mask) | (low & mask) | (low & CR0_PE), 0);
    return again(cpu, op);
  },
  CLTS: (cpu, op) => {
    requirePrivilege(cpu);
    cpu.i32[S_CR0 >> 2] &= ~CR0_TS;
    updateMode(cpu);
    return again(cpu, op);
  },
  INVLPG: invalidatePage,
  INVD: (cpu) => {
    requirePrivilege(cpu);
    return HELPER_NEXT;
  },
  WBINVD: (cpu) => {
    requirePrivilege(cpu);
    return HELPER_NEXT;
  },
  CLAC: (cpu, op) => setAlignmentCheck(cpu, op, false),
  STAC: (cpu, op) => setAlignmentCheck(cpu, op, true),
});
