/** A multiplicative hash without collisions for the few targets of a switch, found by trying. */

export interface PerfectHash {
  /** Slot of a value: Math.imul(value, factor) >>> shift. */
  factor: number;
  shift: number;
  /** For each slot the index of its value; the number of values where there is none. */
  slots: number[];
}

const TRIES = 200;

/** @param values distinct int32 values, at least one */
export function perfectHash(values: readonly number[]): PerfectHash {
  for (let bits = Math.max(1, Math.ceil(Math.log2(values.length * 2))); ; bits++) {
    const shift = 32 - bits;
    let factor = 0x9e3779b1 | 0;
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const slots = new Array<number>(1 << bits).fill(values.length);
      const free = values.every((value, index) => {
        const slot = Math.imul(value, factor) >>> shift;
        if (slots[slot] !== values.length) return false;
        slots[slot] = index;
        return true;
      });
      if (free) return { factor, shift, slots };
      // The next odd number of a full-period sequence.
      factor = (Math.imul(factor, 0x5851f42d) + 0x4c957f2e) | 1;
    }
  }
}
