/** Reset control register of the PIIX3, port 0xcf9 (Intel 82371SB datasheet §2.5.3). */

import type { AccessSize, BusDevice } from '../bus.ts';

const RCR_SYSTEM_RESET = 0x02;
const RCR_RESET_CPU = 0x04;

export class ResetControl implements BusDevice {
  private readonly onReset: () => void;
  private value = 0;

  constructor(onReset: () => void) {
    this.onReset = onReset;
  }

  read(_offset: number, _size: AccessSize): number {
    return this.value;
  }

  /** A rise of RCPU resets; whether "hard" or "soft" is the same to this machine. */
  write(_offset: number, _size: AccessSize, value: number): void {
    this.value = value & RCR_SYSTEM_RESET;
    if (value & RCR_RESET_CPU) this.onReset();
  }

  reset(): void {
    this.value = 0;
  }
}
