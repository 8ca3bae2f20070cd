/**
 * The functions that called the one at RIP, by the chain of frame pointers (System V ABI 3.2.2). Guests may be built
 * without, and use RBP for anything: so what is not certainly a frame ends the chain.
 */

import type { Cpu } from '../../cpu/cpu.ts';
import { codeSize } from '../../cpu/mode.ts';
import { gprOffset, RAM_BASE, S_MODE } from '../../cpu/state.ts';
import { pagingOf } from '../cpu-text.ts';
import { translate } from '../monitor/page-tables.ts';
import { linearAddress, type Symbols } from './symbols.ts';

const RBP = gprOffset(5);
const DEPTH_MOST = 64;
/** Nobody's frame is larger. */
const FRAME_MOST = 1 << 20;
const CALL_NEAR = 0xe8;
const CALL_NEAR_LENGTH = 5;
/** FF /2 by its length: ModRM, with SIB and displacement or without. */
const GROUP_5 = 0xff;
const CALL_INDIRECT_LENGTHS = [2, 3, 4, 6, 7];

/** @returns addresses behind calls, innermost first */
export function returnAddresses(cpu: Cpu, symbols: Symbols): number[] {
  const size = codeSize(cpu.i32[S_MODE >> 2]);
  if (size === 2) {
    return [];
  }
  const paging = pagingOf(cpu);
  const readPhysical = (address: number) => (address < cpu.ramSize ? cpu.u8[RAM_BASE + address] : undefined);
  const byte = (linear: number): number => {
    const extended = BigInt.asUintN(size * 8, BigInt.asIntN(48, BigInt(linear)));
    const physical = translate(paging, readPhysical, extended);
    return (physical === undefined ? undefined : readPhysical(physical)) ?? 0;
  };
  const word = (linear: number): number => {
    let value = 0;
    // A linear address has 48 bits.
    for (let i = Math.min(size, 6) - 1; i >= 0; i--) {
      value = value * 256 + byte(linear + i);
    }
    return value;
  };
  const isCalled = (address: number) =>
    byte(address - CALL_NEAR_LENGTH) === CALL_NEAR ||
    CALL_INDIRECT_LENGTHS.some(
      (length) => byte(address - length) === GROUP_5 && ((byte(address - length + 1) >> 3) & 7) === 2,
    );
  const found: number[] = [];
  let frame = linearAddress(cpu.i32[RBP >> 2], size === 8 ? cpu.i32[(RBP + 4) >> 2] : 0);
  while (found.length < DEPTH_MOST && frame !== 0 && frame % size === 0) {
    const address = word(frame + size);
    if (symbols.find(address) === undefined || !isCalled(address)) {
      break;
    }
    found.push(address);
    const next = word(frame);
    if (next <= frame || next > frame + FRAME_MOST) {
      break;
    }
    frame = next;
  }
  return found;
}
