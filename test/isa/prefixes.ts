/** Reads the prefixes of an instruction (Intel SDM vol. 2A, 2.1.1 and 2.2.1). */

const LEGACY = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);

export interface Prefixes {
  /** Bytes; the opcode follows. */
  readonly length: number;
  readonly operand16: boolean;
  /** Is the address size another than the mode's? */
  readonly address: boolean;
  readonly repeated: boolean;
  /** REX.W */
  readonly wide: boolean;
}

export function prefixesOf(bytes: Uint8Array, mode64: boolean): Prefixes {
  let length = 0;
  while (LEGACY.has(bytes[length])) length++;
  const legacy = bytes.subarray(0, length);
  const rex = mode64 && bytes[length] >> 4 === 4 ? bytes[length++] : 0;
  return {
    length,
    operand16: legacy.includes(0x66),
    address: legacy.includes(0x67),
    repeated: legacy.includes(0xf2) || legacy.includes(0xf3),
    wide: (rex & 8) !== 0,
  };
}
