/** Feature bits of all devices (virtio 1.2 §6) and sets of them. Those of one device type stand with that device. */

/** Legacy only: the device takes any descriptor layout (§6.3). */
export const VIRTIO_F_ANY_LAYOUT = 27;
export const VIRTIO_F_INDIRECT_DESC = 28;
export const VIRTIO_F_EVENT_IDX = 29;
export const VIRTIO_F_VERSION_1 = 32;

const WORDS = 4;

/** A set of feature bits 0…127, which drivers see in words of 32. */
export class FeatureSet {
  private readonly words = new Uint32Array(WORDS);

  constructor(bits: readonly number[] = []) {
    for (const bit of bits) this.add(bit);
  }

  has(bit: number): boolean {
    return (this.words[bit >>> 5] & (1 << (bit & 31))) !== 0;
  }

  add(bit: number): void {
    this.words[bit >>> 5] |= 1 << (bit & 31);
  }

  clear(): void {
    this.words.fill(0);
  }

  /** Bits 32·index … 32·index+31; zero beyond the last word. */
  word(index: number): number {
    return index < WORDS ? this.words[index] : 0;
  }

  setWord(index: number, value: number): void {
    if (index < WORDS) this.words[index] = value;
  }

  isSubsetOf(other: FeatureSet): boolean {
    return this.words.every((word, i) => (word & ~other.words[i]) === 0);
  }

  without(other: FeatureSet): FeatureSet {
    const rest = new FeatureSet();
    for (let i = 0; i < WORDS; i++) rest.words[i] = this.words[i] & ~other.words[i];
    return rest;
  }
}
