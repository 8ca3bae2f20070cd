/**
 * The guest's exception that waits to be delivered, in the machine's memory: what finds it and what delivers it may be
 * TypeScript or compiled ahead of time.
 */
import { S_FAULT_ADDRESS, S_FAULT_ERROR_CODE, S_FAULT_NOT_CANONICAL, S_FAULT_VECTOR } from '../state.ts';

export class NotedFault {
  private readonly i32: Int32Array;

  constructor(i32: Int32Array) {
    this.i32 = i32;
  }

  get vector(): number {
    return this.i32[S_FAULT_VECTOR >> 2];
  }

  get errorCode(): number {
    return this.i32[S_FAULT_ERROR_CODE >> 2];
  }

  /** See GuestFault. */
  get notCanonical(): boolean {
    return this.i32[S_FAULT_NOT_CANONICAL >> 2] !== 0;
  }

  get addressLow(): number {
    return this.i32[S_FAULT_ADDRESS >> 2];
  }

  get addressHigh(): number {
    return this.i32[(S_FAULT_ADDRESS + 4) >> 2];
  }

  /** An exception that is about no address. */
  note(vector: number, errorCode: number): void {
    const { i32 } = this;
    i32[S_FAULT_VECTOR >> 2] = vector;
    i32[S_FAULT_ERROR_CODE >> 2] = errorCode;
    i32[S_FAULT_NOT_CANONICAL >> 2] = 0;
  }

  noteAccess(vector: number, errorCode: number, notCanonical: boolean, addressLow: number, addressHigh: number): void {
    const { i32 } = this;
    this.note(vector, errorCode);
    i32[S_FAULT_NOT_CANONICAL >> 2] = notCanonical ? 1 : 0;
    i32[S_FAULT_ADDRESS >> 2] = addressLow;
    i32[(S_FAULT_ADDRESS + 4) >> 2] = addressHigh;
  }
}
