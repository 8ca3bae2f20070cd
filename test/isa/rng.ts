/** A seeded generator of pseudo-random numbers (xorshift128): a seed names a test case for ever. */
export class Rng {
  private readonly s: Uint32Array;

  constructor(seed: number) {
    this.s = Uint32Array.of(seed, seed ^ 0x9e3779b9, 0x243f6a88, 0xb7e15162);
    for (let i = 0; i < 16; i++) this.u32();
  }

  u32(): number {
    const s = this.s;
    let t = s[3];
    t ^= t << 11;
    t ^= t >>> 8;
    s[3] = s[2];
    s[2] = s[1];
    s[1] = s[0];
    s[0] ^= t ^ (s[1] >>> 19);
    return s[0];
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }

  /** @returns 0 … n-1. */
  below(n: number): number {
    return Math.floor((this.u32() / 2 ** 32) * n);
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)];
  }

  /** Picks a key by its weight. */
  weighted<T>(from: readonly (readonly [T, number])[]): T {
    let total = 0;
    for (const [, weight] of from) total += weight;
    let at = this.below(total);
    for (const [value, weight] of from) if ((at -= weight) < 0) return value;
    throw new Error('no weights');
  }
}
