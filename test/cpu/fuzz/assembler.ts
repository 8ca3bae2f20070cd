/** A program as a list of items, each of which can be left out, and its bytes. */

/** The address of a label (by its number) to be put into an instruction, `add` bytes behind it. */
export interface Reference {
  /** Index of its first byte within the instruction. */
  readonly at: number;
  readonly label: number;
  /** 4-byte distance from the end of the instruction, or 4- or 8-byte address. */
  readonly kind: 'relative' | 'address32' | 'address64';
  readonly add?: number;
}

/** What stands in the code: an instruction, or data that nothing runs. */
export interface Instruction {
  readonly bytes: readonly number[];
  readonly references?: readonly Reference[];
  /** A label that stands before it. */
  readonly label?: undefined;
}

/** A label, or padding (never executed) up to `before` bytes before the end of a page. */
export type Item = Instruction | { readonly label: number } | { readonly before: number; readonly label?: undefined };

/** Quadwords of labels' addresses in memory. */
export interface Table {
  readonly address: number;
  readonly labels: readonly number[];
}

export interface Assembled {
  readonly code: Uint8Array;
  readonly labels: ReadonlyMap<number, number>;
  /** Offsets of the instructions, and of what stands behind them. */
  readonly instructions: readonly (readonly [number, number])[];
}

const INT3 = 0xcc;
const PAGE = 0x1000;

/** @param origin address of the first byte */
export function assemble(items: readonly Item[], origin: number, room: number): Assembled {
  const code = new Uint8Array(room).fill(INT3);
  const labels = new Map<number, number>();
  const instructions: [number, number][] = [];
  const references: [Reference, number, number][] = [];
  let at = 0;
  for (const item of items) {
    if ('before' in item) at += (PAGE - item.before - (at & (PAGE - 1)) + PAGE) & (PAGE - 1);
    else if (item.label !== undefined) labels.set(item.label, origin + at);
    else {
      if (at + item.bytes.length > room) throw new RangeError('program too long');
      code.set(item.bytes, at);
      for (const reference of item.references ?? [])
        references.push([reference, at + reference.at, at + item.bytes.length]);
      instructions.push([at, at + item.bytes.length]);
      at += item.bytes.length;
    }
  }
  const view = new DataView(code.buffer);
  for (const [{ kind, label, add = 0 }, offset, end] of references) {
    const target = labels.get(label)! + add;
    if (kind === 'relative') view.setInt32(offset, target - (origin + end), true);
    else view.setUint32(offset, target, true);
    if (kind === 'address64') view.setUint32(offset + 4, 0, true);
  }
  return { code, labels, instructions };
}

/** Little-endian bytes. */
export const le = (value: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => (i < 4 ? (value >> (8 * i)) & 0xff : 0));

/** Bytes written in hexadecimal, and doublewords. */
export function hex(text: string, ...immediates: number[]): number[] {
  const bytes = text
    .split(' ')
    .filter((byte) => byte !== '')
    .map((byte) => Number.parseInt(byte, 16));
  return [...bytes, ...immediates.flatMap((value) => le(value, 4))];
}
