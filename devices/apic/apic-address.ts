/** Which messages a local APIC is the destination of: its physical and logical IDs (SDM vol. 3 §11.6.2, §11.12.10). */

import type { ApicMode } from './apic-mode.ts';

/** DFR's upper four bits: the flat model; otherwise clusters. */
const DFR_FLAT = 0xf;
const DFR_RESERVED = 0x0fffffff;

export class ApicAddress {
  private readonly id: number;
  private readonly mode: ApicMode;
  private ldrValue = 0;
  private dfrModel = DFR_FLAT;

  constructor(id: number, mode: ApicMode) {
    this.id = id;
    this.mode = mode;
  }

  reset(): void {
    this.ldrValue = 0;
    this.dfrModel = DFR_FLAT;
  }

  /** The ID register. */
  get idRegister(): number {
    return this.mode.x2apic ? this.id : (this.id << 24) >>> 0;
  }

  get ldr(): number {
    return this.mode.x2apic ? (((this.id >>> 4) << 16) | (1 << (this.id & 0xf))) >>> 0 : this.ldrValue;
  }

  set ldr(value: number) {
    this.ldrValue = (value & 0xff000000) >>> 0;
  }

  get dfr(): number {
    return ((this.dfrModel << 28) | DFR_RESERVED) >>> 0;
  }

  set dfr(value: number) {
    this.dfrModel = value >>> 28;
  }

  /** Is this APIC meant? `destination` is 8 bits wide, or 32 from an x2APIC; all ones is everybody. */
  isMeant(destination: number, logical: boolean): boolean {
    if (destination === 0xff || destination === 0xffffffff) return true;
    if (!logical) return destination === this.id;
    const { ldr } = this;
    if (this.mode.x2apic) return destination >>> 16 === ldr >>> 16 && (destination & ldr & 0xffff) !== 0;
    const own = ldr >>> 24;
    if (this.dfrModel === DFR_FLAT) return (destination & own) !== 0;
    return destination >> 4 === own >> 4 && (destination & own & 0xf) !== 0;
  }
}
