/** A local APIC as MSRs show it: IA32_APIC_BASE, IA32_TSC_DEADLINE, and all registers in x2APIC mode (§11.12.1.2). */

import { MESSAGE_VECTOR } from './apic-bus.ts';
import { ICR_SELF, sendIpi } from './apic-ipi.ts';
import { APR, DFR, EOI, ESR, ICR_HIGH, ICR_LOW, ID, LDR, SELF_IPI } from './apic-registers.ts';
import type { LocalApic } from './local-apic.ts';

const MSR_APIC_BASE = 0x1b;
const MSR_TSC_DEADLINE = 0x6e0;
const MSR_X2APIC_FIRST = 0x800;
const MSR_X2APIC_LAST = 0x8ff;

const NONE = -1;

export class ApicMsrs {
  /** Result of the last {@link read}. */
  low = 0;
  high = 0;
  private readonly apic: LocalApic;

  constructor(apic: LocalApic) {
    this.apic = apic;
  }

  /** Reads into {@link low} and {@link high}. @returns false for #GP. */
  read(index: number): boolean {
    const { apic } = this;
    this.high = 0;
    if (index === MSR_APIC_BASE) {
      this.low = apic.mode.base;
    } else if (index === MSR_TSC_DEADLINE) {
      this.low = apic.timer.tscDeadlineLo;
      this.high = apic.timer.tscDeadlineHi;
    } else {
      const register = this.register(index);
      const value = register === NONE || register === EOI ? undefined : apic.readRegister(register);
      if (value === undefined) return false;
      this.low = value;
      if (register === ICR_LOW) this.high = apic.icrHigh;
    }
    return true;
  }

  /** @returns false for #GP. */
  write(index: number, lo: number, hi: number): boolean {
    const { apic } = this;
    lo >>>= 0;
    hi >>>= 0;
    if (index === MSR_APIC_BASE) return apic.writeBase(lo, hi);
    if (index === MSR_TSC_DEADLINE) {
      apic.timer.setTscDeadline(lo, hi);
      return true;
    }
    const register = this.register(index);
    if (register === ICR_LOW) {
      apic.icrHigh = hi;
    } else if (hi !== 0) {
      return false;
    }
    switch (register) {
      case NONE:
      case ID:
      case LDR:
        return false;
      case EOI:
      case ESR:
        if (lo !== 0) return false;
        break;
      case SELF_IPI:
        sendIpi(apic, apic.bus, ICR_SELF | (lo & MESSAGE_VECTOR));
        return true;
    }
    return apic.writeRegister(register, lo);
  }

  /** The register that an MSR is in x2APIC mode; −1 for those that are none, DFR and ICR_HIGH among them. */
  private register(index: number): number {
    if (!this.apic.mode.x2apic || index < MSR_X2APIC_FIRST || index > MSR_X2APIC_LAST) return NONE;
    const register = index - MSR_X2APIC_FIRST;
    return register === DFR || register === ICR_HIGH || register === APR ? NONE : register;
  }
}
