/** String instructions that reach ports: INS OUTS (Intel SDM vol. 2, vol. 1 ch. 19), in all forms, element by element. */
import type { AccessSize } from '../../devices/bus.ts';
import type { Cpu } from '../cpu.ts';
import { SEG_ES } from '../decode/insn.ts';
import { EXIT_EVENT, HELPER_NEXT } from '../exits.ts';
import { gprOffset } from '../state.ts';
import { advanceRip, high, loadMemory, low, segmentNumber, storeMemory } from './operands.ts';
import { checkPort } from './port.ts';
import { advance, begin, countDown, defineStrings, end, interrupted, RDI, RSI, reach, width } from './string-run.ts';

const RDX = gprOffset(2);

/** Most bytes that one call works on before it lets interrupts in. */
const MAX_PORT_BYTES = 1024;

/** Ports are at most four bytes wide; only where the port is allowed. @returns elements to do now */
function beginPorts(cpu: Cpu, op: number, size: number): number {
  const left = begin(cpu, op, Math.min(size, 4), MAX_PORT_BYTES);
  checkPort(cpu, cpu.u16[RDX >> 1], width);
  return left;
}

/** Behind port accesses: at once through the run loop when a device asked for an interrupt. */
function endPorts(cpu: Cpu, op: number): number {
  const next = end(cpu);
  if (!interrupted(cpu)) return next;
  if (next === HELPER_NEXT) advanceRip(cpu, op);
  return EXIT_EVENT;
}

/** INS: memory is asked for permission before the port is read. */
function input(cpu: Cpu, op: number, operandSize: number): number {
  let left = beginPorts(cpu, op, operandSize);
  const port = cpu.u16[RDX >> 1];
  const size = width as AccessSize;
  for (; left > 0; left--) {
    reach(cpu, RDI, SEG_ES, 1, true);
    const toLow = low;
    const toHigh = high;
    cpu.mmu.probe(toLow, toHigh, size, true);
    storeMemory(cpu, toLow, toHigh, size, cpu.env.ports.read(port, size));
    advance(cpu, RDI, 1);
    countDown(cpu, 1);
    if (interrupted(cpu)) break;
  }
  return endPorts(cpu, op);
}

function output(cpu: Cpu, op: number, operandSize: number): number {
  let left = beginPorts(cpu, op, operandSize);
  const port = cpu.u16[RDX >> 1];
  const size = width as AccessSize;
  for (; left > 0; left--) {
    reach(cpu, RSI, segmentNumber(cpu, op), 1, false);
    loadMemory(cpu, low, high, size);
    cpu.env.ports.write(port, size, low >>> 0);
    advance(cpu, RSI, 1);
    countDown(cpu, 1);
    if (interrupted(cpu)) break;
  }
  return endPorts(cpu, op);
}

defineStrings({ INS: input, OUTS: output });
