/** 256 bits, one for each vector, as IRR, ISR and TMR are laid out: eight registers of 32. */

export class VectorSet {
  readonly words = new Uint32Array(8);

  clear(): void {
    this.words.fill(0);
  }

  has(vector: number): boolean {
    return (this.words[vector >> 5] & (1 << (vector & 31))) !== 0;
  }

  set(vector: number, member: boolean): void {
    const bit = 1 << (vector & 31);
    if (member) this.words[vector >> 5] |= bit;
    else this.words[vector >> 5] &= ~bit;
  }

  /** @returns the highest vector, or −1. */
  highest(): number {
    const { words } = this;
    for (let word = 7; word >= 0; word--) {
      if (words[word] !== 0) return 32 * word + 31 - Math.clz32(words[word]);
    }
    return -1;
  }
}
