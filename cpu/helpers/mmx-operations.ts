/**
 * What the MMX instructions compute (SDM vol. 1 ch. 9; MMX, the integer part of SSE, SSE2 and SSSE3): each operation
 * takes `first` (the destination's old value) and `second` (the source) to `result`, lane by lane. Stores to the lanes
 * of a typed array wrap as the instructions do.
 */

/** A 64-bit value in all its lanes. */
class Lanes {
  readonly i8: Int8Array;
  readonly u8: Uint8Array;
  readonly i16: Int16Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly u64: BigUint64Array;

  constructor() {
    const buffer = new ArrayBuffer(8);
    this.i8 = new Int8Array(buffer);
    this.u8 = new Uint8Array(buffer);
    this.i16 = new Int16Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.u64 = new BigUint64Array(buffer);
  }
}

export const first = new Lanes();
export const second = new Lanes();
export const result = new Lanes();

/** Fills `result` from `first` and `second`; `immediate` is the instruction's, if it has one. */
export type Operation = (immediate: number) => void;

type LaneType = Exclude<keyof Lanes, 'u64'>;

/** The same function of both operands in every lane. */
function each(type: LaneType, f: (x: number, y: number) => number): Operation {
  const x = first[type];
  const y = second[type];
  const z = result[type];
  return () => {
    for (let i = 0; i < z.length; i++) z[i] = f(x[i], y[i]);
  };
}

function saturate(value: number, least: number, most: number): number {
  return Math.max(least, Math.min(value, most));
}
const toI8 = (value: number): number => saturate(value, -0x80, 0x7f);
const toU8 = (value: number): number => saturate(value, 0, 0xff);
const toI16 = (value: number): number => saturate(value, -0x8000, 0x7fff);
const toU16 = (value: number): number => saturate(value, 0, 0xffff);

const add = (x: number, y: number): number => x + y;
const subtract = (x: number, y: number): number => x - y;
const equal = (x: number, y: number): number => (x === y ? -1 : 0);
const greater = (x: number, y: number): number => (x > y ? -1 : 0);
const average = (x: number, y: number): number => (x + y + 1) >> 1;
const absolute = (_: number, y: number): number => Math.abs(y);
const withSign = (x: number, y: number): number => (y < 0 ? -x : y === 0 ? 0 : x);

/** The lanes of both operands made half as wide: the first's become the lower ones. */
function pack(from: 'i16' | 'i32', to: 'i8' | 'u8' | 'i16', narrow: (value: number) => number): Operation {
  const half = first[from].length;
  return () => {
    for (let i = 0; i < half; i++) {
      result[to][i] = narrow(first[from][i]);
      result[to][half + i] = narrow(second[from][i]);
    }
  };
}

/** The lanes of the lower or upper halves in turn. */
function unpack(type: 'u8' | 'u16' | 'u32', upper: boolean): Operation {
  const half = first[type].length / 2;
  const start = upper ? half : 0;
  return () => {
    for (let i = 0; i < half; i++) {
      result[type][2 * i] = first[type][start + i];
      result[type][2 * i + 1] = second[type][start + i];
    }
  };
}

/** Neighbours of the first operand, then those of the second. */
function horizontal(type: 'i16' | 'i32', f: (x: number, y: number) => number): Operation {
  const half = first[type].length / 2;
  return () => {
    for (let i = 0; i < half; i++) {
      result[type][i] = f(first[type][2 * i], first[type][2 * i + 1]);
      result[type][half + i] = f(second[type][2 * i], second[type][2 * i + 1]);
    }
  };
}

/** Every lane shifted by the number in `second`, all 64 bits of it; `f` gets at most the lane's width. */
function shift(type: 'i16' | 'u16' | 'i32' | 'u32', f: (x: number, count: number) => number): Operation {
  const x = first[type];
  const z = result[type];
  const width = 8 * z.BYTES_PER_ELEMENT;
  return () => {
    const count = second.u32[1] !== 0 ? width : Math.min(second.u32[0], width);
    for (let i = 0; i < z.length; i++) z[i] = f(x[i], count);
  };
}
const left = (width: number) => (x: number, count: number) => (count === width ? 0 : x << count);
const right = (width: number) => (x: number, count: number) => (count === width ? 0 : x >>> count);
const rightSigned = (width: number) => (x: number, count: number) => x >> Math.min(count, width - 1);

function multiplyAddUnsigned(): void {
  const { u8: x } = first;
  const { i8: y } = second;
  for (let i = 0; i < 4; i++) result.i16[i] = toI16(x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1]);
}

function sumOfDifferences(): void {
  let sum = 0;
  for (let i = 0; i < 8; i++) sum += Math.abs(first.u8[i] - second.u8[i]);
  result.u32[0] = sum;
  result.u32[1] = 0;
}

/** By mnemonic. */
export const operations: Readonly<Record<string, Operation>> = {
  PADDB: each('u8', add),
  PADDW: each('u16', add),
  PADDD: each('u32', add),
  PADDQ: () => {
    result.u64[0] = first.u64[0] + second.u64[0];
  },
  PADDSB: each('i8', (x, y) => toI8(x + y)),
  PADDSW: each('i16', (x, y) => toI16(x + y)),
  PADDUSB: each('u8', (x, y) => toU8(x + y)),
  PADDUSW: each('u16', (x, y) => toU16(x + y)),
  PSUBB: each('u8', subtract),
  PSUBW: each('u16', subtract),
  PSUBD: each('u32', subtract),
  PSUBQ: () => {
    result.u64[0] = first.u64[0] - second.u64[0];
  },
  PSUBSB: each('i8', (x, y) => toI8(x - y)),
  PSUBSW: each('i16', (x, y) => toI16(x - y)),
  PSUBUSB: each('u8', (x, y) => toU8(x - y)),
  PSUBUSW: each('u16', (x, y) => toU16(x - y)),
  PMULLW: each('i16', Math.imul),
  PMULHW: each('i16', (x, y) => (x * y) >> 16),
  PMULHUW: each('u16', (x, y) => (x * y) >>> 16),
  PMULHRSW: each('i16', (x, y) => (((x * y) >> 14) + 1) >> 1),
  PMULUDQ: () => {
    result.u64[0] = BigInt(first.u32[0]) * BigInt(second.u32[0]);
  },
  PMADDWD: () => {
    const { i16: x } = first;
    const { i16: y } = second;
    for (let i = 0; i < 2; i++) result.i32[i] = x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1];
  },
  PMADDUBSW: multiplyAddUnsigned,
  PSADBW: sumOfDifferences,
  PAVGB: each('u8', average),
  PAVGW: each('u16', average),
  PMINUB: each('u8', Math.min),
  PMAXUB: each('u8', Math.max),
  PMINSW: each('i16', Math.min),
  PMAXSW: each('i16', Math.max),
  PABSB: each('i8', absolute),
  PABSW: each('i16', absolute),
  PABSD: each('i32', absolute),
  PSIGNB: each('i8', withSign),
  PSIGNW: each('i16', withSign),
  PSIGND: each('i32', withSign),
  PCMPEQB: each('u8', equal),
  PCMPEQW: each('u16', equal),
  PCMPEQD: each('u32', equal),
  PCMPGTB: each('i8', greater),
  PCMPGTW: each('i16', greater),
  PCMPGTD: each('i32', greater),
  PAND: each('i32', (x, y) => x & y),
  PANDN: each('i32', (x, y) => ~x & y),
  POR: each('i32', (x, y) => x | y),
  PXOR: each('i32', (x, y) => x ^ y),
  PSLLW: shift('u16', left(16)),
  PSLLD: shift('u32', left(32)),
  PSLLQ: () => {
    result.u64[0] = second.u64[0] > 63n ? 0n : first.u64[0] << second.u64[0];
  },
  PSRLW: shift('u16', right(16)),
  PSRLD: shift('u32', right(32)),
  PSRLQ: () => {
    result.u64[0] = second.u64[0] > 63n ? 0n : first.u64[0] >> second.u64[0];
  },
  PSRAW: shift('i16', rightSigned(16)),
  PSRAD: shift('i32', rightSigned(32)),
  PACKSSWB: pack('i16', 'i8', toI8),
  PACKUSWB: pack('i16', 'u8', toU8),
  PACKSSDW: pack('i32', 'i16', toI16),
  PUNPCKLBW: unpack('u8', false),
  PUNPCKLWD: unpack('u16', false),
  PUNPCKLDQ: unpack('u32', false),
  PUNPCKHBW: unpack('u8', true),
  PUNPCKHWD: unpack('u16', true),
  PUNPCKHDQ: unpack('u32', true),
  PHADDW: horizontal('i16', add),
  PHADDD: horizontal('i32', add),
  PHADDSW: horizontal('i16', (x, y) => toI16(x + y)),
  PHSUBW: horizontal('i16', subtract),
  PHSUBD: horizontal('i32', subtract),
  PHSUBSW: horizontal('i16', (x, y) => toI16(x - y)),
  PSHUFB: () => {
    for (let i = 0; i < 8; i++) result.u8[i] = second.u8[i] & 0x80 ? 0 : first.u8[second.u8[i] & 7];
  },
  PSHUFW: (immediate) => {
    for (let i = 0; i < 4; i++) result.u16[i] = second.u16[(immediate >> (2 * i)) & 3];
  },
  /** Eight bytes from number `immediate` on of the second operand followed by the first. */
  PALIGNR: (immediate) => {
    for (let i = 0; i < 8; i++) {
      const from = immediate + i;
      result.u8[i] = from < 8 ? second.u8[from] : from < 16 ? first.u8[from - 8] : 0;
    }
  },
};
