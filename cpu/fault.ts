/** Exceptions of the guest (Intel SDM vol. 3A ch. 6), and what no exception can report. */

export const VECTOR_DE = 0;
export const VECTOR_DB = 1;
export const VECTOR_NMI = 2;
export const VECTOR_BP = 3;
export const VECTOR_OF = 4;
export const VECTOR_BR = 5;
export const VECTOR_UD = 6;
export const VECTOR_NM = 7;
export const VECTOR_DF = 8;
export const VECTOR_TS = 10;
export const VECTOR_NP = 11;
export const VECTOR_SS = 12;
export const VECTOR_GP = 13;
export const VECTOR_PF = 14;
export const VECTOR_MF = 16;
export const VECTOR_AC = 17;
export const VECTOR_XM = 19;

/** Page-fault error code bits. */
export const PF_PRESENT = 1;
export const PF_WRITE = 2;
export const PF_USER = 4;
export const PF_RESERVED = 8;
export const PF_FETCH = 16;

/** `errorCode` of an exception that pushes none. */
export const NO_ERROR_CODE = -1;

/** The guest went where there is neither RAM nor ROM: nothing can be fetched at RIP, so it cannot go on. */
export class CodeOutsideRam extends Error {
  override readonly name = 'CodeOutsideRam';
}

/**
 * Thrown by TypeScript code that executes part of an instruction when the guest faults; caught where generated code
 * called in. One object, thrown again and again: it carries no stack trace and allocates nothing.
 */
export class GuestFault {
  vector = 0;
  errorCode = NO_ERROR_CODE;
  /** #GP because the address below is not canonical: through the stack segment that is #SS (system/stack-fault.ts). */
  notCanonical = false;
  /** Linear address of a page fault (CR2) or of an access that is not canonical, low and high half. */
  addressLow = 0;
  addressHigh = 0;
}

export const guestFault = new GuestFault();

/** Raises an exception of the guest. */
export function raise(vector: number, errorCode = NO_ERROR_CODE): never {
  guestFault.vector = vector;
  guestFault.errorCode = errorCode;
  guestFault.notCanonical = false;
  throw guestFault;
}

/** An access to an address that is not canonical. */
export function raiseNotCanonical(addressLow: number, addressHigh: number): never {
  guestFault.vector = VECTOR_GP;
  guestFault.errorCode = 0;
  guestFault.notCanonical = true;
  guestFault.addressLow = addressLow;
  guestFault.addressHigh = addressHigh;
  throw guestFault;
}

export function raisePageFault(errorCode: number, addressLow: number, addressHigh: number): never {
  guestFault.addressLow = addressLow;
  guestFault.addressHigh = addressHigh;
  raise(VECTOR_PF, errorCode);
}
