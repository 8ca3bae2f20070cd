/** IA32_APIC_BASE, and the mode of a local APIC that it selects: off, xAPIC or x2APIC (SDM vol. 3 §11.4.3, §11.12.1). */

const APIC_BASE_BSP = 0x100;
const APIC_BASE_X2APIC = 0x400;
const APIC_BASE_ENABLE = 0x800;
const APIC_BASE_ADDRESS = 0xfee00000;

export class ApicMode {
  /** IA32_APIC_BASE, low half; the high one is 0. */
  base = 0;
  private readonly id: number;

  constructor(id: number) {
    this.id = id;
    this.reset();
  }

  reset(): void {
    this.base = (APIC_BASE_ADDRESS | APIC_BASE_ENABLE | (this.id === 0 ? APIC_BASE_BSP : 0)) >>> 0;
  }

  /** The global enable bit: without it there is no local APIC. */
  get enabled(): boolean {
    return (this.base & APIC_BASE_ENABLE) !== 0;
  }

  get x2apic(): boolean {
    return (this.base & APIC_BASE_X2APIC) !== 0;
  }

  /** §11.4.4, §11.12.5: the window cannot be moved, and x2APIC is left only by way of off. @returns false for #GP */
  write(lo: number, hi: number): boolean {
    const mode = lo & (APIC_BASE_ENABLE | APIC_BASE_X2APIC);
    const known = APIC_BASE_ADDRESS | APIC_BASE_BSP | APIC_BASE_ENABLE | APIC_BASE_X2APIC;
    if (hi !== 0 || (lo & ~known) !== 0 || (lo & 0xfffff000) >>> 0 !== APIC_BASE_ADDRESS) return false;
    if (mode === APIC_BASE_X2APIC) return false;
    if (this.x2apic && mode === APIC_BASE_ENABLE) return false;
    if (!this.enabled && mode === (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) return false;
    this.base = (APIC_BASE_ADDRESS | (this.base & APIC_BASE_BSP) | mode) >>> 0;
    return true;
  }
}
