/** Interprocessor interrupts, as the interrupt command register asks for them (SDM vol. 3 §11.6.1). */

import {
  type ApicBus,
  DELIVERY_INIT,
  DELIVERY_LOWEST_PRIORITY,
  MESSAGE_LEVEL_TRIGGERED,
  MESSAGE_MODE_SHIFT,
  MESSAGE_VECTOR,
} from './apic-bus.ts';
import { ESR_SEND_ILLEGAL_VECTOR, FIRST_LEGAL_VECTOR } from './apic-registers.ts';
import type { LocalApic } from './local-apic.ts';

export const ICR_WRITABLE = 0xccfff;
const ICR_LOGICAL = 0x800;
const ICR_ASSERT = 0x4000;
const ICR_SHORTHAND_SHIFT = 18;
const SHORTHAND_SELF = 1;
const SHORTHAND_ALL = 2;
const SHORTHAND_OTHERS = 3;

/** ICR_LOW of an IPI to oneself, but for its vector. */
export const ICR_SELF = SHORTHAND_SELF << ICR_SHORTHAND_SHIFT;

/** Sends what `command` (ICR_LOW) says, from `apic` to where that and its ICR_HIGH say. */
export function sendIpi(apic: LocalApic, bus: ApicBus, command: number): void {
  const vector = command & MESSAGE_VECTOR;
  const mode = (command >>> MESSAGE_MODE_SHIFT) & 7;
  const level = (command & MESSAGE_LEVEL_TRIGGERED) !== 0;
  if (mode <= DELIVERY_LOWEST_PRIORITY && vector < FIRST_LEGAL_VECTOR) {
    apic.error(ESR_SEND_ILLEGAL_VECTOR);
    return;
  }
  // "INIT level de-assert" is for APIC buses of old.
  if (mode === DELIVERY_INIT && level && (command & ICR_ASSERT) === 0) return;
  // IPIs are edges, whatever the trigger bit says.
  switch ((command >>> ICR_SHORTHAND_SHIFT) & 3) {
    case SHORTHAND_SELF:
      apic.accept(mode, vector, false);
      break;
    case SHORTHAND_ALL:
      bus.broadcast(undefined, mode, vector, false);
      break;
    case SHORTHAND_OTHERS:
      bus.broadcast(apic, mode, vector, false);
      break;
    default: {
      const destination = apic.mode.x2apic ? apic.icrHigh : apic.icrHigh >>> 24;
      bus.deliver(destination, (command & ICR_LOGICAL) !== 0, mode, vector, false);
    }
  }
}
