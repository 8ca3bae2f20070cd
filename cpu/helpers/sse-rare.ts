/**
 * SSE instructions too rare for generated code: RCP and RSQRT estimates, MPSADBW, PHMINPOSUW, MASKMOVDQU, LDMXCSR; CRC32
 * (SDM vol. 2).
 */
import type { Cpu } from '../cpu.ts';
import { HELPER_NEXT } from '../exits.ts';
import { raise, VECTOR_GP } from '../fault.ts';
import { S_MXCSR } from '../state.ts';
import { updateSseFast } from '../system/mode-word.ts';
import { destinationAddress } from './mmx.ts';
import {
  add64,
  high,
  immediate,
  low,
  operandSize,
  readRm,
  regOffset,
  rmOffset,
  rowOf,
  set64,
  storeMemory,
  writeRegister,
} from './operands.ts';
import { defineHelpers, type Helper } from './registry.ts';
import { destination, source } from './sse-operands.ts';
import { MXCSR_MASK } from './x87-fxsave.ts';

// --- estimates --------------------------------------------------------------------------------------------------------

const single = new Float32Array(1);
const singleBits = new Int32Array(single.buffer);

const QUIET = 0x00400000;
const INFINITY = 0x7f800000;
const INDEFINITE = 0xffc00000 | 0;

/** 1/x or 1/√x of a single's bits: denormals count as zeros and become zeros; no exceptions. Exact is near enough. */
function estimate(bits: number, squareRoot: boolean): number {
  const magnitude = bits & 0x7fffffff;
  const sign = bits & 0x80000000;
  if (magnitude > INFINITY) return bits | QUIET;
  if (magnitude < 0x00800000) return sign | INFINITY;
  if (squareRoot && sign) return INDEFINITE;
  singleBits[0] = bits;
  single[0] = squareRoot ? 1 / Math.sqrt(single[0]) : 1 / single[0];
  return (singleBits[0] & 0x7fffffff) < 0x00800000 ? sign : singleBits[0];
}

function estimates(squareRoot: boolean, lanes: number): Helper {
  return (cpu, op) => {
    const from = source(cpu, op);
    const to = destination(cpu, op);
    for (let i = 0; i < lanes; i++) cpu.i32[to + i] = estimate(cpu.i32[from + i], squareRoot);
    return HELPER_NEXT;
  };
}

// --- packed integers --------------------------------------------------------------------------------------------------

const words = new Uint16Array(8);

/** Sums of absolute differences of four source bytes (block imm 1:0) against eight runs of destination bytes (imm 2). */
function multipleSums(cpu: Cpu, op: number): number {
  const from = source(cpu, op) * 4 + (immediate(cpu, op) & 3) * 4;
  const to = destination(cpu, op) * 4;
  const first = to + (immediate(cpu, op) & 4);
  for (let i = 0; i < 8; i++) {
    words[i] = 0;
    for (let k = 0; k < 4; k++) words[i] += Math.abs(cpu.u8[first + i + k] - cpu.u8[from + k]);
  }
  cpu.u16.set(words, to >> 1);
  return HELPER_NEXT;
}

/** The smallest word and its index; zeros above. */
function minimumPosition(cpu: Cpu, op: number): number {
  const from = source(cpu, op) * 2;
  const to = destination(cpu, op);
  let index = 0;
  for (let i = 1; i < 8; i++) if (cpu.u16[from + i] < cpu.u16[from + index]) index = i;
  cpu.i32[to] = cpu.u16[from + index] | (index << 16);
  cpu.i32.fill(0, to + 1, to + 4);
  return HELPER_NEXT;
}

// --- CRC32 ------------------------------------------------------------------------------------------------------------

/** CRC-32C (polynomial 0x11edc6f41, reflected) of each byte. */
const crcTable = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  return crc;
});

function crcOf(crc: number, value: number, bytes: number): number {
  for (let i = 0; i < bytes; i++, value >>>= 8) crc = (crc >>> 8) ^ crcTable[(crc ^ value) & 0xff];
  return crc;
}

function crc32(cpu: Cpu, op: number): number {
  const bytes = rowOf(cpu, op).operands[1].type === 'b' ? 1 : operandSize(cpu, op);
  readRm(cpu, op, bytes);
  const to = regOffset(cpu, op);
  let crc = crcOf(cpu.i32[to >> 2], low, Math.min(bytes, 4));
  if (bytes === 8) crc = crcOf(crc, high, 4);
  writeRegister(cpu, to, 4, crc);
  return HELPER_NEXT;
}

// --- memory -----------------------------------------------------------------------------------------------------------

function loadMxcsr(cpu: Cpu, op: number): number {
  readRm(cpu, op, 4);
  if (low & ~MXCSR_MASK) raise(VECTOR_GP, 0);
  cpu.i32[S_MXCSR >> 2] = low;
  updateSseFast(cpu);
  return HELPER_NEXT;
}

/** MASKMOVDQU: the bytes of the first operand that the second one's top bits choose, to DS:rDI. */
function maskedMove(cpu: Cpu, op: number): number {
  destinationAddress(cpu, op);
  const addressLow = low;
  const addressHigh = high;
  cpu.mmu.checkAlignment(addressLow, addressHigh, 8);
  // All of the operand must be writable, whatever the mask.
  cpu.mmu.probe(addressLow, addressHigh, 16, true);
  const from = regOffset(cpu, op);
  const mask = rmOffset(cpu, op);
  for (let i = 0; i < 16; i++) {
    if (cpu.u8[mask + i] < 0x80) continue;
    set64(addressLow, addressHigh);
    add64(i, 0);
    storeMemory(cpu, low, high, 1, cpu.u8[from + i]);
  }
  return HELPER_NEXT;
}

defineHelpers({
  MASKMOVDQU: maskedMove,
  RCPPS: estimates(false, 4),
  RCPSS: estimates(false, 1),
  RSQRTPS: estimates(true, 4),
  RSQRTSS: estimates(true, 1),
  MPSADBW: multipleSums,
  PHMINPOSUW: minimumPosition,
  CRC32: crc32,
  LDMXCSR: loadMxcsr,
});
