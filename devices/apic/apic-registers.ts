/**
 * The registers of a local APIC and their bits (SDM vol. 3 chapter 11), numbered as in x2APIC: register n is at offset
 * 16·n of the memory window and is MSR 0x800 + n.
 */

// Table 11-6.
export const ID = 0x02;
export const VERSION = 0x03;
export const TPR = 0x08;
export const APR = 0x09;
export const PPR = 0x0a;
export const EOI = 0x0b;
export const LDR = 0x0d;
export const DFR = 0x0e;
export const SVR = 0x0f;
export const ISR = 0x10;
export const TMR = 0x18;
export const IRR = 0x20;
export const ESR = 0x28;
export const ICR_LOW = 0x30;
export const ICR_HIGH = 0x31;
export const LVT_TIMER = 0x32;
export const LVT_LINT0 = 0x35;
export const LVT_LINT1 = 0x36;
export const LVT_ERROR = 0x37;
export const INITIAL_COUNT = 0x38;
export const CURRENT_COUNT = 0x39;
export const DIVIDE_CONFIGURATION = 0x3e;
export const SELF_IPI = 0x3f;

/** Version 0x14, six LVT entries. */
export const VERSION_VALUE = 0x00050014;
export const SVR_ENABLE = 0x100;
export const SVR_MASK = 0x1ff;

export const LVT_MASKED = 0x10000;
/** Bits that can be written in LVT_TIMER … LVT_ERROR. */
export const LVT_WRITABLE = [0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff];
export const LVT_TIMER_MODE_SHIFT = 17;

export const ESR_SEND_ILLEGAL_VECTOR = 0x20;
export const ESR_RECEIVE_ILLEGAL_VECTOR = 0x40;
export const ESR_ILLEGAL_REGISTER = 0x80;
/** Vectors below are exceptions. */
export const FIRST_LEGAL_VECTOR = 16;
