/** `-d in_asm`: the instructions of each block when it is decoded. */

import type { CoreFactory } from '../../cpu/core.ts';
import type { Cpu } from '../../cpu/cpu.ts';
import { decode } from '../../cpu/decode/decoder.ts';
import { Insn } from '../../cpu/decode/insn.ts';
import { codeSize, stackSize } from '../../cpu/mode.ts';
import * as r from '../../cpu/record.ts';
import { PAGE_SIZE, RAM_BASE, S_OPS, S_OPS_NEXT } from '../../cpu/state.ts';
import { disassemble } from '../../cpu/text/disassembler.ts';
import type { Log } from '../log.ts';
import { linearAddress, type Symbols } from './symbols.ts';
import { type WatchedMachine, type Watcher, wrap } from './watch.ts';

/** Bytes that the decoder may look at behind the last instruction. */
const DECODER_REACH = 32;
/** An instruction's bytes in the listing. */
const BYTES_WIDTH = 24;

/**
 * Generated code decodes blocks by itself; each is put behind the last one in the arena of operations (blocks.ts). So
 * those that came since are found there whenever the core comes back, and before anything else is put there.
 */
export class BlockLog implements Watcher {
  private readonly log: Log;
  private readonly symbols: Symbols;
  private readonly insn = new Insn();
  private cpu: Cpu | undefined;
  /** Where the next block will stand in the arena. */
  private next = S_OPS;

  constructor(log: Log, symbols: Symbols) {
    this.log = log;
    this.symbols = symbols;
  }

  watchCore(core: CoreFactory): CoreFactory {
    return (size, imports) => {
      const made = core(size, imports);
      wrap(made, 'run', (run) => (op) => {
        this.blocksSoFar();
        const code = run(op);
        this.blocksSoFar();
        return code;
      });
      return made;
    };
  }

  watchMachine({ cpu }: WatchedMachine): void {
    this.cpu = cpu;
    wrap(cpu.blocks, 'singleStep', (singleStep) => (insn, nextLow, nextHigh) => {
      this.blocksSoFar();
      const record = singleStep(insn, nextLow, nextHigh);
      this.next = cpu.i32[S_OPS_NEXT >> 2];
      return record;
    });
    wrap(cpu.blocks, 'flush', (flush) => () => {
      this.blocksSoFar();
      flush();
      this.next = S_OPS;
    });
  }

  private blocksSoFar(): void {
    const { cpu } = this;
    while (cpu !== undefined && this.next < cpu.i32[S_OPS_NEXT >> 2]) {
      this.block(cpu, this.next);
      this.next = cpu.i32[(this.next + r.BLOCK_END) >> 2];
    }
  }

  private block(cpu: Cpu, block: number): void {
    const { insn, log } = this;
    const word = (offset: number) => cpu.i32[(block + offset) >> 2];
    const mode = word(r.BLOCK_MODE);
    const code = bytesOf(cpu, word(r.BLOCK_ADDRESS) >>> 0, word(r.BLOCK_ADDRESS2) >>> 0, word(r.BLOCK_BYTES));
    let low = word(r.BLOCK_RIP);
    const high = word(r.BLOCK_RIP + 4);
    log.line('----------------');
    log.line(`IN: ${this.symbols.place(linearAddress(low, high))}`.trimEnd());
    for (let at = 0; at < word(r.BLOCK_BYTES); at += insn.length) {
      decode(insn, code, at, codeSize(mode), stackSize(mode));
      const bytes = Buffer.from(code.subarray(at, at + insn.length))
        .toString('hex')
        .replace(/..(?=.)/g, '$& ');
      const next = (low + insn.length) | 0;
      const nextHigh = next >>> 0 < low >>> 0 ? high + 1 : high;
      log.line(`0x${address(low, high)}:  ${bytes.padEnd(BYTES_WIDTH)} ${disassemble(insn, next, nextHigh)}`);
      low = next;
    }
    log.line('');
  }
}

/** 16 digits, or 8 when the upper half is 0. */
export function address(low: number, high: number): string {
  const text = (low >>> 0).toString(16).padStart(8, '0');
  return high === 0 ? text : (high >>> 0).toString(16).padStart(8, '0') + text;
}

/** A block's bytes as they are in RAM now, which may reach into a second page; with room for the decoder. */
function bytesOf(cpu: Cpu, start: number, secondPage: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length + DECODER_REACH);
  const first = Math.min(length, PAGE_SIZE - (start % PAGE_SIZE));
  bytes.set(cpu.u8.subarray(RAM_BASE + start, RAM_BASE + start + first));
  if (length > first) {
    bytes.set(cpu.u8.subarray(RAM_BASE + secondPage, RAM_BASE + secondPage + length - first), first);
  }
  return bytes;
}
