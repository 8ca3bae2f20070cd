/** Operand values at which CPUs go wrong, mixed with random ones. All are little-endian bit patterns. */
import type { Rng } from './rng.ts';

const MASK64 = 0xffff_ffff_ffff_ffffn;

/** An integer for a general register: small, near a power of two, a repeated byte pattern, or random of random width. */
export function integer(rng: Rng): bigint {
  switch (rng.below(6)) {
    case 0:
      return BigInt(rng.below(5) - 2) & MASK64;
    case 1:
      return ((1n << BigInt(rng.below(64))) + BigInt(rng.below(3) - 1)) & MASK64;
    case 2: {
      // The limits of the narrower widths, sign-extended or with rubbish above.
      const bits = BigInt(rng.pick([7, 8, 15, 16, 31, 32]));
      const limit = (1n << bits) - BigInt(rng.below(2));
      return rng.chance(50) ? limit : (-limit & MASK64) ^ ((rng.chance(50) ? rng.u64() << 32n : 0n) & MASK64);
    }
    case 3:
      return BigInt(rng.below(256)) * 0x0101_0101_0101_0101n;
    case 4:
      return rng.u64() >> BigInt(rng.below(64));
    default:
      return rng.u64();
  }
}

const F32_NOTABLE = [
  0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x40000000, 0x3f000000, 0x3fc00000, 0x40490fdb, 0x7f800000,
  0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001, 0xffbfffff, 0x7fffffff, 0x00000001, 0x80000001, 0x007fffff,
  0x00800000, 0x80800000, 0x7f7fffff, 0xff7fffff, 0x4effffff, 0x4f000000, 0xcf000000, 0x4b000000, 0x4b7fffff,
  0x5f000000, 0xdf000000, 0x5effffff, 0x33800000, 0x34000000, 0x3f7fffff, 0x3f800001, 0x40200000, 0xc0200000,
];

export function float32(rng: Rng): number {
  switch (rng.below(5)) {
    case 0:
    case 1:
      return rng.pick(F32_NOTABLE);
    case 2: // of modest size, so that sums neither vanish nor overflow
      return ((rng.u32() & 0x807fffff) | ((100 + rng.below(55)) << 23)) >>> 0;
    case 3: // few significant bits: exact results and ties
      return ((rng.u32() & 0x80780000) | ((120 + rng.below(16)) << 23)) >>> 0;
    default:
      return rng.u32();
  }
}

const F64_NOTABLE = [
  0x0000000000000000n,
  0x8000000000000000n,
  0x3ff0000000000000n,
  0xbff0000000000000n,
  0x4000000000000000n,
  0x3fe0000000000000n,
  0x3ff8000000000000n,
  0x400921fb54442d18n,
  0x7ff0000000000000n,
  0xfff0000000000000n,
  0x7ff8000000000000n,
  0xfff8000000000000n,
  0x7ff0000000000001n,
  0xfff7ffffffffffffn,
  0x7fffffffffffffffn,
  0x0000000000000001n,
  0x8000000000000001n,
  0x000fffffffffffffn,
  0x0010000000000000n,
  0x7fefffffffffffffn,
  0xffefffffffffffffn,
  0x41dfffffffc00000n,
  0x41e0000000000000n,
  0xc1e0000000000000n,
  0xc1e0000000200000n,
  0x43e0000000000000n,
  0xc3e0000000000000n,
  0x43dfffffffffffffn,
  0x4330000000000000n,
  0x4340000000000000n,
  0x3ca0000000000000n,
  0x3fefffffffffffffn,
  0x3ff0000000000001n,
  0x4004000000000000n,
  0x47efffffe0000000n,
  0x47f0000000000000n,
  0x3810000000000000n,
  0x380fffffffffffffn,
  0x36a0000000000000n,
  0x3690000000000000n,
];

export function float64(rng: Rng): bigint {
  switch (rng.below(5)) {
    case 0:
    case 1:
      return rng.pick(F64_NOTABLE);
    case 2:
      return (rng.u64() & 0x800f_ffff_ffff_ffffn) | (BigInt(990 + rng.below(70)) << 52n);
    case 3:
      return (rng.u64() & 0x800f_0000_0000_0000n) | (BigInt(1015 + rng.below(16)) << 52n);
    default:
      return rng.u64();
  }
}

/** An 80-bit extended real: its significand, and its sign and exponent. */
export interface Float80 {
  readonly significand: bigint;
  readonly signExponent: number;
}

export function float80(rng: Rng): Float80 {
  const sign = rng.below(2) << 15;
  const integerBit = 1n << 63n;
  switch (rng.below(8)) {
    case 0: // zero, infinity, NaNs, pseudo-infinity
      return {
        significand: rng.pick([0n, integerBit, 0xc000_0000_0000_0000n, 0x8000_0000_0000_0001n, 0x4000_0000_0000_0000n]),
        signExponent: sign | rng.pick([0, 0x7fff]),
      };
    case 1: // denormals and pseudo-denormals
      return { significand: rng.u64() >> BigInt(rng.below(64)), signExponent: sign };
    case 2: // small integers
      return fromInteger(sign, BigInt(rng.below(1 << rng.below(20))));
    case 3: // integers around the limits of the stored formats
      return fromInteger(sign, (1n << BigInt(rng.below(64))) - BigInt(rng.below(2)));
    case 4: // anything, unnormals included
      return { significand: rng.u64(), signExponent: rng.u32() & 0xffff };
    case 5: // few significant bits
      return {
        significand: integerBit | (BigInt(rng.below(256)) << 55n),
        signExponent: sign | (0x3ff0 + rng.below(32)),
      };
    default: // of modest size
      return { significand: integerBit | rng.u64(), signExponent: sign | (0x3fff - 40 + rng.below(80)) };
  }
}

function fromInteger(sign: number, value: bigint): Float80 {
  if (value === 0n) return { significand: 0n, signExponent: sign };
  const bits = value.toString(2).length;
  return { significand: value << BigInt(64 - bits), signExponent: sign | (0x3fff + bits - 1) };
}

/** What the elements of a vector or of an operand in memory are. */
export type ElementKind = 'integer' | 'float32' | 'float64' | 'bytes';

export function qword(rng: Rng, kind: ElementKind): bigint {
  switch (kind) {
    case 'integer':
      return integer(rng);
    case 'float32':
      return (BigInt(float32(rng)) << 32n) | BigInt(float32(rng));
    case 'float64':
      return float64(rng);
    default: {
      // Saturating and comparing instructions: bytes at their limits, and many alike.
      let value = 0n;
      for (let i = 0; i < 8; i++)
        value = (value << 8n) | BigInt(rng.pick([0, 1, 0x7f, 0x80, 0x81, 0xff, rng.below(256)]));
      return value;
    }
  }
}
