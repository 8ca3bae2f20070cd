/**
 * How stored regions are laid out in a file, in little-endian 32-bit words: a header; then, part by part, its machine code
 * and its regions, each with its numbers, how long its lists are, the lists, and its bytes, padded.
 */
import { checksum } from '../checksum.ts';
import type { StoredMachineCode, StoredPart, StoredRegion } from './stored-regions.ts';

const WORD = 4;
/** Header: what it is, of which make, the words that follow, their checksum. */
const MAGIC = 0x52767374;
const HEADER = 4;
/** Of a part: its regions; how long it ran; bytes of the machine code's host (0: there is none), module and code; when it was taken. */
const PART = 6;
/** Numbers of a region before its lists. */
const NUMBERS = 8;
const LISTS = [
  'entries',
  'inside',
  'followed',
  'jumps',
  'pages',
  'ranges',
  'sites',
  'links',
  'relocations',
  'hints',
] as const;
const BYTES = ['original', 'code'] as const;
const LENGTHS = LISTS.length + BYTES.length;
const NOTHING = new Uint8Array(0);

function wordsFor(bytes: number): number {
  return Math.ceil(bytes / WORD);
}

// --- writing --------------------------------------------------------------------------------------------------------

/** @param make of the program: what another one wrote is not read */
export function encodeParts(parts: readonly StoredPart[], make: number): Uint8Array {
  const size = wordsOfParts(parts);
  const words = new Int32Array(size);
  const bytes = new Uint8Array(words.buffer);
  let at = HEADER;
  const put = (...values: number[]) => {
    words.set(values, at);
    at += values.length;
  };
  const putBytes = (source: Uint8Array) => {
    bytes.set(source, at * WORD);
    at += wordsFor(source.length);
  };
  for (const { regions, ran, machineCode } of parts) {
    const pieces = piecesOf(machineCode);
    put(regions.length, ran, ...pieces.map(({ length }) => length), machineCode?.ran ?? 0);
    for (const piece of pieces) putBytes(piece);
    for (const region of regions) {
      const { ripLow, ripHigh, mode, generation, window, locals, instructions } = region;
      put(ripLow, ripHigh, mode, generation, window.low, window.length, locals, instructions);
      put(...[...LISTS, ...BYTES].map((name) => region[name].length));
      for (const name of LISTS) {
        words.set(region[name], at);
        at += region[name].length;
      }
      for (const name of BYTES) putBytes(region[name]);
    }
  }
  words.set([MAGIC, make, size - HEADER, checksum(bytes.subarray(HEADER * WORD))]);
  return bytes;
}

/** Host, module and code. */
function piecesOf(machineCode: StoredMachineCode | undefined): readonly Uint8Array[] {
  if (machineCode === undefined) return [NOTHING, NOTHING, NOTHING];
  return [new TextEncoder().encode(machineCode.host), machineCode.module, machineCode.bytes];
}

/** Bytes that a file of parts has. */
export function sizeOfParts(parts: readonly StoredPart[]): number {
  return wordsOfParts(parts) * WORD;
}

function wordsOfParts(parts: readonly StoredPart[]): number {
  return parts.reduce((sum, part) => sum + wordsOfPart(part), HEADER);
}

function wordsOfPart({ regions, machineCode }: StoredPart): number {
  const words = piecesOf(machineCode).reduce((sum, { length }) => sum + wordsFor(length), PART);
  return regions.reduce((sum, region) => sum + wordsOfRegion(region), words);
}

function wordsOfRegion(region: StoredRegion): number {
  let words = NUMBERS + LENGTHS;
  for (const name of LISTS) words += region[name].length;
  for (const name of BYTES) words += wordsFor(region[name].length);
  return words;
}

// --- reading --------------------------------------------------------------------------------------------------------

/** @returns undefined when that is not, or no longer, a whole file of this make. It shares the memory of `file`. */
export function decodeParts(file: Uint8Array, make: number): StoredPart[] | undefined {
  if (file.length < HEADER * WORD || file.byteOffset % WORD !== 0) return undefined;
  const words = new Int32Array(file.buffer, file.byteOffset, Math.floor(file.length / WORD));
  const end = HEADER + words[2];
  if (words[0] !== MAGIC || words[1] !== make || words[2] < 0 || end > words.length) return undefined;
  if (checksum(file.subarray(HEADER * WORD, end * WORD)) !== words[3]) return undefined;
  const reader = new Reader(file, words, end);
  const parts: StoredPart[] = [];
  try {
    while (reader.at < end) parts.push(reader.part());
  } catch {
    return undefined;
  }
  return parts;
}

class Reader {
  at = HEADER;
  private readonly file: Uint8Array;
  private readonly words: Int32Array;
  private readonly end: number;

  constructor(file: Uint8Array, words: Int32Array, end: number) {
    this.file = file;
    this.words = words;
    this.end = end;
  }

  part(): StoredPart {
    const [count, ran, ...rest] = this.list(PART);
    const [host, module, bytes] = rest.slice(0, 3).map((size) => this.bytes(size));
    const taken = { host: new TextDecoder().decode(host), module, bytes, ran: rest[3] };
    const machineCode = host.length === 0 ? undefined : taken;
    const regions: StoredRegion[] = [];
    while (regions.length !== count) regions.push(this.region());
    return { regions, ran, machineCode };
  }

  private region(): StoredRegion {
    const [ripLow, ripHigh, mode, generation, low, length, locals, instructions] = this.list(NUMBERS);
    const lengths = this.list(LENGTHS);
    const lists = {} as Record<(typeof LISTS)[number], Int32Array>;
    for (const [i, name] of LISTS.entries()) lists[name] = this.list(lengths[i]);
    const bytes = {} as Record<(typeof BYTES)[number], Uint8Array>;
    for (const [i, name] of BYTES.entries()) bytes[name] = this.bytes(lengths[LISTS.length + i]);
    const window = { low: low >>> 0, length: length >>> 0 };
    return { ripLow, ripHigh, mode, generation, window, locals, instructions, ...lists, ...bytes };
  }

  /** Goes on behind so many words. @returns where they begin */
  private take(words: number): number {
    if (words < 0 || this.at + words > this.end) throw new RangeError('behind the end');
    this.at += words;
    return this.at - words;
  }

  private list(length: number): Int32Array {
    return this.words.subarray(this.take(length), this.at);
  }

  private bytes(length: number): Uint8Array {
    const start = this.take(length < 0 ? length : wordsFor(length)) * WORD;
    return this.file.subarray(start, start + length);
  }
}
