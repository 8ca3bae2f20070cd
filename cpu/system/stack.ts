/**
 * A stack being pushed to or popped from by an instruction that moves several values (far transfers, IRET, ENTER, event
 * delivery): only {@link StackCursor.commit} changes RSP, so that a fault midway leaves it as it was.
 */
import type { AccessSize } from '../../devices/bus.ts';
import type { Cpu } from '../cpu.ts';
import { SEG_SS } from '../decode/insn.ts';
import { raise, VECTOR_SS } from '../fault.ts';
import { stackSize } from '../mode.ts';
import { gprOffset, S_MODE, SEGMENT_BASE, segmentOffset } from '../state.ts';
import { checkSegmentAccess } from './segment-check.ts';

const RSP = gprOffset(4) >> 2;

export class StackCursor {
  /** The pointer's halves: where the last value stands. */
  low = 0;
  high = 0;
  private cpu!: Cpu;
  private base = 0;
  /** Stack-address size in bytes. */
  private size = 8;
  /** Is it the stack of SS, accessed with the rights of the current privilege level? */
  private own = true;

  /** The current stack. */
  current(cpu: Cpu): void {
    this.start(cpu, cpu.i32[RSP], cpu.i32[RSP + 1]);
    this.own = true;
    this.size = stackSize(cpu.i32[S_MODE >> 2]);
    this.base = this.size === 8 ? 0 : cpu.i32[(segmentOffset(SEG_SS) + SEGMENT_BASE) >> 2];
  }

  /** The current stack segment, by another register than RSP. */
  through(cpu: Cpu, register: number): void {
    this.current(cpu);
    this.start(cpu, cpu.gprLow(register), cpu.gprHigh(register));
  }

  /** A stack about to become current, written by the processor itself. `size`: its stack-address size. */
  other(cpu: Cpu, base: number, size: number, low: number, high: number): void {
    this.start(cpu, low, high);
    this.own = false;
    this.size = size;
    this.base = base;
  }

  private start(cpu: Cpu, low: number, high: number): void {
    this.cpu = cpu;
    this.low = low;
    this.high = high;
  }

  /** Moves the pointer by `bytes`, within its size. */
  move(bytes: number): void {
    const sum = (this.low >>> 0) + bytes;
    if (this.size === 2) this.low = (this.low & ~0xffff) | (sum & 0xffff);
    else {
      this.low = sum | 0;
      if (this.size === 8) this.high = (this.high + (sum > 0xffffffff ? 1 : sum < 0 ? -1 : 0)) | 0;
    }
  }

  /** Pushes the low `bytes` (2, 4, 8) of a value. */
  push(bytes: number, valueLow: number, valueHigh = 0): void {
    this.move(-bytes);
    const { cpu } = this;
    const offset = this.check(bytes, true);
    const address = (this.base + offset) | 0;
    const high = this.size === 8 ? this.high : 0;
    if (bytes === 8) cpu.mmu.write64(address, high, valueLow, valueHigh, !this.own);
    else if (this.own) cpu.mmu.write(address, high, bytes as AccessSize, valueLow);
    else cpu.mmu.writeSystem(address, high, bytes as AccessSize, valueLow);
  }

  /** Checks that a value of `bytes` could be written at the pointer. */
  touch(bytes: number): void {
    const { mmu } = this.cpu;
    const address = (this.base + this.check(bytes, true)) | 0;
    const high = this.size === 8 ? this.high : 0;
    mmu.checkAlignment(address, high, bytes);
    mmu.probe(address, high, bytes, true);
  }

  /** Checks that `bytes` at `distance` above the pointer can be read: the value whose fault counts before the others'. */
  expect(distance: number, bytes: number): void {
    this.move(distance);
    this.pop(bytes);
    this.move(-distance - bytes);
  }

  /** Upper half of the last popped value. */
  upper = 0;

  /** Pops a value of `bytes` (2, 4, 8). @returns its low half, zero-extended to int32; {@link upper} has the rest. */
  pop(bytes: number): number {
    const offset = this.check(bytes, false);
    const address = (this.base + offset) | 0;
    const high = this.size === 8 ? this.high : 0;
    const { mmu } = this.cpu;
    let value: number;
    if (bytes === 8) {
      value = mmu.read64(address, high);
      this.upper = mmu.upper;
    } else {
      value = mmu.read(address, high, bytes as AccessSize) | 0;
      this.upper = 0;
    }
    this.move(bytes);
    return value;
  }

  /** Offset of the value at the pointer, once it may be accessed. */
  private check(bytes: number, write: boolean): number {
    if (this.size === 8) {
      if (this.high !== (this.high << 16) >> 16) raise(VECTOR_SS, 0);
      return this.low;
    }
    const offset = this.size === 2 ? this.low & 0xffff : this.low;
    if (this.own) checkSegmentAccess(this.cpu, SEG_SS, offset, bytes, write);
    return offset;
  }

  /** Makes the pointer RSP. */
  commit(): void {
    setStackPointer(this.cpu, this.size, this.low, this.high);
  }
}

/** Sets the part of RSP that a stack of this address size uses. */
export function setStackPointer(cpu: Cpu, size: number, low: number, high: number): void {
  if (size === 2) cpu.u16[RSP * 2] = low;
  else {
    cpu.i32[RSP] = low;
    cpu.i32[RSP + 1] = size === 8 ? high : 0;
  }
}
