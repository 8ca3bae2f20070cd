/** The dump of memory that QEMU's monitor prints for `x /fmt addr` and `xp /fmt addr`. */

const UNIT_SIZES: Readonly<Record<string, number>> = { b: 1, h: 2, w: 4, g: 8 };
const FORMATS = 'xduc';
const COUNT_MAX = 65536;

export interface DumpRequest {
  readonly address: bigint;
  readonly count: number;
  readonly format: string;
  /** Bytes of a unit. */
  readonly size: number;
}

/**
 * Reads `/fmt addr`, fmt being a count, a format (x, d, u or c) and a size (b, h, w or g), each of which may be absent:
 * one, hexadecimal, four bytes.
 * @returns undefined for anything else
 */
export function parseDumpRequest(text: string): DumpRequest | undefined {
  const [, count, letters, number] = /^(?:\/(\d*)([a-z]*)\s+)?(0x[0-9a-f]+|\d+)$/i.exec(text) ?? [];
  if (number === undefined) {
    return undefined;
  }
  let format = 'x';
  let size = 4;
  for (const letter of letters ?? '') {
    if (FORMATS.includes(letter)) {
      format = letter;
    } else if (letter in UNIT_SIZES) {
      size = UNIT_SIZES[letter];
    } else {
      return undefined;
    }
  }
  return {
    address: BigInt.asUintN(64, BigInt(number)),
    count: Math.min(Number(count || 1), COUNT_MAX),
    format,
    size: format === 'c' ? 1 : size,
  };
}

/** @param read a byte of guest memory; undefined where there is none */
export function dumpMemory(request: DumpRequest, read: (address: bigint) => number | undefined): string {
  const { count, format, size } = request;
  const perLine = size === 1 ? 8 : 16 / size;
  const lines: string[] = [];
  for (let first = 0; first < count; first += perLine) {
    let text = `${(request.address + BigInt(first * size)).toString(16).padStart(16, '0')}:`;
    for (let item = first; item < Math.min(first + perLine, count); item++) {
      let value = 0n;
      for (let byte = size - 1; byte >= 0; byte--) {
        const address = request.address + BigInt(item * size + byte);
        const read8 = read(address);
        if (read8 === undefined) {
          return [...lines, `Cannot access memory at address 0x${address.toString(16)}`].join('\n');
        }
        value = (value << 8n) | BigInt(read8);
      }
      text += ` ${unit(value, format, size)}`;
    }
    lines.push(text);
  }
  return lines.join('\n');
}

function unit(value: bigint, format: string, size: number): string {
  const decimalDigits = Math.ceil((size * 80) / 33);
  switch (format) {
    case 'u':
      return String(value).padStart(decimalDigits);
    case 'd':
      return String(BigInt.asIntN(size * 8, value)).padStart(decimalDigits);
    case 'c':
      return character(Number(value));
    default:
      return `0x${value.toString(16).padStart(size * 2, '0')}`;
  }
}

function character(code: number): string {
  const escapes: Readonly<Record<string, string>> = { "'": "\\'", '\\': '\\\\', '\n': '\\n', '\r': '\\r' };
  const printable = code >= 0x20 && code < 0x7f;
  const text = String.fromCharCode(code);
  return `'${escapes[text] ?? (printable ? text : `\\x${code.toString(16).padStart(2, '0')}`)}'`;
}
