/**
 * ACPI power management registers of the PIIX4 (Intel 82371AB datasheet §7.2; ACPI 6.5 §4.8): PM1 event and control
 * block, PM timer, general-purpose events. There is no SMI, so the machine is in ACPI mode from the start.
 */

import type { AccessSize, BusDevice, Clock, IrqLine, Timer } from '../bus.ts';

// Offsets in the 64-port block.
const PM1_STS = 0x00;
const PM1_EN = 0x02;
const PM1_CNT = 0x04;
const PM_TMR = 0x08;
const GP_STS = 0x0c;
const GP_EN = 0x0e;

const PM1_TMR = 0x0001;
const PM1_GBL = 0x0020;
const PM1_PWRBTN = 0x0100;
const PM1_RTC = 0x0400;
const PM1_STATUS_BITS = 0x8f31;
const PM1_ENABLE_BITS = PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_RTC;

const CNT_SCI_EN = 0x0001;
const CNT_SLP_TYP_SHIFT = 10;
const CNT_SLP_TYP = 0x1c00;
const CNT_SLP_EN = 0x2000;
/** SLP_TYP of S5 in QEMU's DSDT for the PIIX4. */
const SLP_TYP_S5 = 0;

export const PM_TIMER_HZ = 3579545;
const PM_TIMER_TICKS_PER_NS = PM_TIMER_HZ / 1e9;
const PM_TIMER_SIZE = 0x1000000;
/** TMR_STS is set whenever the top bit of the 24 changes. */
const PM_TIMER_HALF = 0x800000;

export class AcpiPm implements BusDevice {
  private readonly clock: Clock;
  private readonly sci: IrqLine;
  private readonly onPowerOff: () => void;
  private readonly timer: Timer;
  private pm1Status = 0;
  private pm1Enable = 0;
  private pm1Control = CNT_SCI_EN;
  private gpEnable = 0;
  /** Count, without wrap, at which the timer's top bit changes next. */
  private nextCarry = 0;

  /** @param sci IRQ 9, level-triggered; `onPowerOff`: the guest entered S5 */
  constructor(clock: Clock, sci: IrqLine, onPowerOff: () => void) {
    this.clock = clock;
    this.sci = sci;
    this.onPowerOff = onPowerOff;
    this.timer = clock.createTimer(() => this.update());
    this.reset();
  }

  reset(): void {
    this.pm1Status = 0;
    this.pm1Enable = 0;
    this.pm1Control = CNT_SCI_EN;
    this.gpEnable = 0;
    this.planCarry();
    this.update();
  }

  /** Someone pressed the power button: the guest is asked to shut down. */
  pressPowerButton(): void {
    this.pm1Status |= PM1_PWRBTN;
    this.update();
  }

  read(offset: number, size: AccessSize): number {
    // The count must not change between its bytes.
    if (offset >= PM_TMR && offset < PM_TMR + 4) {
      const count = (this.ticks() % PM_TIMER_SIZE) >>> (8 * (offset - PM_TMR));
      return size === 4 ? count : count & (size === 2 ? 0xffff : 0xff);
    }
    this.update();
    let value = 0;
    for (let i = 0; i < size; i++) value |= this.readByte(offset + i) << (8 * i);
    return value >>> 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    this.update();
    for (let i = 0; i < size; i++) this.writeByte(offset + i, (value >>> (8 * i)) & 0xff);
    this.update();
  }

  private readByte(offset: number): number {
    const shift = 8 * (offset & 1);
    return (this.register(offset & ~1) >> shift) & 0xff;
  }

  private register(offset: number): number {
    switch (offset) {
      case PM1_STS:
        return this.pm1Status;
      case PM1_EN:
        return this.pm1Enable;
      case PM1_CNT:
        return this.pm1Control;
      case GP_EN:
        return this.gpEnable;
      default:
        // GP_STS: this board raises no general-purpose event. The rest of the block is not modelled.
        return 0;
    }
  }

  private writeByte(offset: number, byte: number): void {
    const shift = 8 * (offset & 1);
    const bits = byte << shift;
    const keep = ~(0xff << shift);
    switch (offset & ~1) {
      case PM1_STS:
        this.pm1Status &= ~bits & PM1_STATUS_BITS;
        if (bits & PM1_TMR) this.planCarry();
        break;
      case PM1_EN:
        this.pm1Enable = ((this.pm1Enable & keep) | bits) & PM1_ENABLE_BITS;
        break;
      case PM1_CNT:
        this.pm1Control = (((this.pm1Control & keep) | bits) & ~CNT_SLP_EN) | CNT_SCI_EN;
        if (bits & CNT_SLP_EN) this.sleep((bits & CNT_SLP_TYP) >> CNT_SLP_TYP_SHIFT);
        break;
      case GP_STS:
        break;
      case GP_EN:
        this.gpEnable = (this.gpEnable & keep) | bits;
        break;
    }
  }

  /** S5 is the only sleeping state there is; others are ignored as unsupported. */
  private sleep(type: number): void {
    if (type === SLP_TYP_S5) this.onPowerOff();
  }

  /** Ticks of the PM timer since the machine was made. */
  private ticks(): number {
    return Math.floor(this.clock.now() * PM_TIMER_TICKS_PER_NS);
  }

  private planCarry(): void {
    this.nextCarry = (Math.floor(this.ticks() / PM_TIMER_HALF) + 1) * PM_TIMER_HALF;
  }

  /** Brings TMR_STS, SCI and the timer for the next carry up to date. */
  private update(): void {
    if (this.ticks() >= this.nextCarry) this.pm1Status |= PM1_TMR;
    this.sci.set((this.pm1Status & this.pm1Enable) !== 0);
    if (this.pm1Enable & PM1_TMR && !(this.pm1Status & PM1_TMR)) {
      this.timer.arm(Math.ceil(this.nextCarry / PM_TIMER_TICKS_PER_NS));
    } else {
      this.timer.cancel();
    }
  }
}
