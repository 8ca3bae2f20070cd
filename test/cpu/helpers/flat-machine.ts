/**
 * A CPU in flat 32-bit protected mode without paging, at CPL 0, for instructions whose effect depends on control
 * registers. Every exception ends the run with its vector.
 */
import { Cpu, STOP_HALT } from '../../../cpu/cpu.ts';
import { RAM_BASE, S_CR0, S_CR4, S_GDTR, S_GPR, S_IDTR, S_RIP } from '../../../cpu/state.ts';
import { cacheSegment } from '../../../cpu/system/descriptors.ts';
import { updateMode } from '../../../cpu/system/mode-word.ts';
import { accelerated } from '../core.ts';

const RAM_SIZE = 1 << 20;
const GDT = 0x1000;
const IDT = 0x2000;
const HANDLERS = 0x3000;
const CODE = 0x4000;
const STACK = 0x8000;
/** Where tests keep their operands. */
export const DATA = 0x5000;

const CODE_DESCRIPTOR = [0x0000ffff, 0x00cf9b00] as const;
const DATA_DESCRIPTOR = [0x0000ffff, 0x00cf9300] as const;
const HLT = 0xf4;
const BUDGET = 1000;

/** The run came to the end of the code. */
export const NO_EXCEPTION = -1;

export interface Outcome {
  /** Vector of the exception, or NO_EXCEPTION. */
  readonly vector: number;
  /** Offset in the code of the instruction that raised it. */
  readonly offset: number;
}

export class FlatMachine {
  readonly cpu: Cpu;
  readonly ram: DataView;
  /** How often FERR# was signalled. */
  coprocessorErrors = 0;

  constructor() {
    this.cpu = new Cpu(
      { ramSize: RAM_SIZE, ...accelerated() },
      {
        ports: { read: () => 0xffffffff, write: () => {} },
        mmio: { read: () => 0xffffffff, write: () => {} },
        interrupts: { pending: () => false, acknowledge: () => 0 },
        tsc: { low: 0, high: 0, read() {} },
        tscKHz: 2_000_000,
        coprocessorError: () => {
          this.coprocessorErrors++;
        },
      },
    );
    this.ram = new DataView(this.cpu.buffer, RAM_BASE, RAM_SIZE);
  }

  /** Executes the code given in hexadecimal, from reset, with these control registers (CR0 besides PE). */
  run(hex: string, cr0: number, cr4 = 0x600): Outcome {
    const { cpu, ram } = this;
    const { i32 } = cpu;
    cpu.reset();
    this.coprocessorErrors = 0;
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    for (const [i, byte] of [...bytes, HLT].entries()) ram.setUint8(CODE + i, byte);
    ram.setUint32(GDT + 8, CODE_DESCRIPTOR[0], true);
    ram.setUint32(GDT + 12, CODE_DESCRIPTOR[1], true);
    for (let vector = 0; vector < 32; vector++) {
      ram.setUint32(IDT + vector * 8, (8 << 16) | (HANDLERS + vector), true);
      ram.setUint32(IDT + vector * 8 + 4, 0x8e00, true);
      ram.setUint8(HANDLERS + vector, HLT);
    }
    i32[S_GDTR >> 2] = GDT;
    i32[S_IDTR >> 2] = IDT;
    i32[(S_GDTR + 8) >> 2] = i32[(S_IDTR + 8) >> 2] = 0xffff;
    i32[S_CR0 >> 2] = cr0 | 1;
    i32[S_CR4 >> 2] = cr4;
    i32[S_RIP >> 2] = CODE;
    i32[(S_GPR + 4 * 8) >> 2] = STACK;
    for (let n = 0; n < 6; n++) {
      const [low, high] = n === 1 ? CODE_DESCRIPTOR : DATA_DESCRIPTOR;
      cacheSegment(cpu, n, n === 1 ? 8 : 16, low, high);
    }
    updateMode(cpu, 0);
    if (cpu.run(BUDGET) !== STOP_HALT) throw new Error('does not end');
    const halted = i32[S_RIP >> 2] - 1;
    if (halted === CODE + bytes.length) return { vector: NO_EXCEPTION, offset: bytes.length };
    const frame = i32[(S_GPR + 4 * 8) >> 2];
    const vector = halted - HANDLERS;
    return { vector, offset: ram.getUint32(frame + (vector === 13 ? 4 : 0), true) - CODE };
  }
}
