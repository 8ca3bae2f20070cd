/**
 * How a PC/AT reports x87 errors while CR0.NE = 0 (SDM vol. 1 §D.2.1.2, "MS-DOS compatibility"; 82371SB datasheet
 * §2.3.2.1, COPROCESSOR ERROR): FERR# raises IRQ 13, and any write to port 0xF0 ends it.
 *
 * IGNNE# is not modelled: the CPU executes the instruction that reported the error, and until the handler has cleared
 * the exception, each waiting instruction after the write to 0xF0 reports it anew.
 */

import type { AccessSize, BusDevice, IrqLine } from '../bus.ts';
import { allOnes } from '../port-bus.ts';

export class CoprocessorError implements BusDevice {
  private readonly line: IrqLine;

  constructor(line: IrqLine) {
    this.line = line;
  }

  /** FERR# of the CPU. */
  raise(): void {
    this.line.set(true);
  }

  read(_offset: number, size: AccessSize): number {
    return allOnes(size);
  }

  write(): void {
    this.line.set(false);
  }

  reset(): void {
    this.line.set(false);
  }
}
