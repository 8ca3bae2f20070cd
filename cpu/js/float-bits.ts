/**
 * Which floats are the same as which bits, while a function is printed. Vectors are held as int32 parts; making a double
 * of two costs a round trip through memory, so what is known of both forms is kept as long as control flow is straight.
 */
import { NUMBER, name, type Part } from './value.ts';

const view = new DataView(new ArrayBuffer(8));

/** A float as JavaScript writes it; undefined for a NaN, of which there are many. */
function literal(value: number): Part | undefined {
  if (Number.isNaN(value)) return undefined;
  const magnitude = Math.abs(value) === Infinity ? '1/0' : `${Math.abs(value)}`;
  return name(value < 0 || Object.is(value, -0) ? `(-${magnitude})` : `(${magnitude})`, NUMBER);
}

export function doubleLiteral(low: number, high: number): Part | undefined {
  view.setInt32(0, low, true);
  view.setInt32(4, high, true);
  return literal(view.getFloat64(0, true));
}

export function singleLiteral(bits: number): Part | undefined {
  view.setInt32(0, bits, true);
  return literal(view.getFloat32(0, true));
}

export class FloatBits {
  /** Variable of the float whose bits are in these variables (their names joined by a comma). */
  private readonly floats = new Map<string, string>();
  private readonly free: string[] = [];
  /** Variables that no bits belong to any more; what waits to be printed may still name them. */
  private readonly leaving: string[] = [];
  private count = 0;

  /** A variable for a float. */
  take(): string {
    return this.free.pop() ?? `y${this.count++}`;
  }

  find(bits: readonly Part[]): string | undefined {
    return this.floats.get(bits.map(({ text }) => text).join());
  }

  /** `float` is what `bits` (names or numbers) are. */
  note(bits: readonly Part[], float: string): void {
    const key = bits.map(({ text }) => text).join();
    const old = this.floats.get(key);
    if (old !== undefined && old !== float) this.remove(key, old);
    this.floats.set(key, float);
  }

  /** The variable `changed` gets another value. */
  forget(changed: string): void {
    for (const [bits, float] of this.floats) if (bits.split(',').includes(changed)) this.remove(bits, float);
  }

  /** Control flow meets. */
  forgetAll(): void {
    for (const [bits, float] of this.floats) this.remove(bits, float);
  }

  private remove(bits: string, float: string): void {
    this.floats.delete(bits);
    if (![...this.floats.values()].includes(float)) this.leaving.push(float);
  }

  /** Nothing waits to be printed. */
  settled(): void {
    if (this.leaving.length > 0) this.free.push(...this.leaving.splice(0));
  }

  get variables(): string[] {
    return Array.from({ length: this.count }, (_, i) => `y${i}`);
  }
}
