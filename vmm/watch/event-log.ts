/** `-d int,cpu_reset`: exceptions and interrupts as they go through the IDT, and resets, in the form of QEMU's log. */

import type { Cpu } from '../../cpu/cpu.ts';
import { SEG_CS, SEG_SS } from '../../cpu/decode/insn.ts';
import { VECTOR_PF } from '../../cpu/fault.ts';
import { codeSize, privilegeLevel } from '../../cpu/mode.ts';
import { gprOffset, S_CR2, S_MODE, S_RIP, SEGMENT_BASE, SEGMENT_SELECTOR, segmentOffset } from '../../cpu/state.ts';
import { describeCpu } from '../cpu-text.ts';
import type { Log } from '../log.ts';
import { type WatchedMachine, type Watcher, wrap } from './watch.ts';

const RAX = gprOffset(0);
const RSP = gprOffset(4);

interface Wanted {
  readonly events: boolean;
  readonly resets: boolean;
}

export class EventLog implements Watcher {
  private readonly log: Log;
  private readonly wanted: Wanted;
  private cpu: Cpu | undefined;
  private count = 0;

  constructor(log: Log, wanted: Wanted) {
    this.log = log;
    this.wanted = wanted;
  }

  watchMachine({ cpu, interrupts }: WatchedMachine): void {
    const { log, wanted } = this;
    this.cpu = cpu;
    if (wanted.events) {
      wrap(interrupts, 'acknowledge', (acknowledge) => () => {
        const vector = acknowledge();
        log.line(`Servicing hardware INT=0x${hex(vector, 2)}`);
        return vector;
      });
    }
    if (wanted.resets) {
      wrap(cpu, 'reset', (reset) => () => {
        log.line(`${cpu.shutdown ? 'Triple fault\n' : ''}CPU Reset (CPU 0)`);
        log.line(describeCpu(cpu).trimEnd());
        reset();
      });
    }
  }

  delivering(vector: number, errorCode: number, isSoftware: boolean): void {
    if (this.cpu === undefined || !this.wanted.events) {
      return;
    }
    const { i32, u16 } = this.cpu;
    const quad = (offset: number) => hex(i32[(offset + 4) >> 2], 8) + hex(i32[offset >> 2], 8);
    const selector = (n: number) => hex(u16[(segmentOffset(n) + SEGMENT_SELECTOR) >> 1], 4);
    const mode = i32[S_MODE >> 2];
    const base = codeSize(mode) === 8 ? 0 : i32[(segmentOffset(SEG_CS) + SEGMENT_BASE) >> 2];
    const pc = base === 0 ? quad(S_RIP) : hex(base + i32[S_RIP >> 2], 16);
    const cause = vector === VECTOR_PF ? `CR2=${quad(S_CR2)}` : `env->regs[R_EAX]=${quad(RAX)}`;
    this.log.line(
      `${String(this.count++).padStart(6)}: v=${hex(vector, 2)} e=${hex(Math.max(errorCode, 0), 4)} i=${isSoftware ? 1 : 0} ` +
        `cpl=${privilegeLevel(mode)} IP=${selector(SEG_CS)}:${quad(S_RIP)} pc=${pc} SP=${selector(SEG_SS)}:${quad(RSP)} ${cause}`,
    );
    this.log.line(describeCpu(this.cpu).trimEnd());
  }
}

function hex(value: number, digits: number): string {
  return (value >>> 0).toString(16).padStart(digits, '0');
}
