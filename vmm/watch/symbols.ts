/** Functions of the guest by address, from the symbol table of an ELF file (System V ABI, chapter 4). */

import { readU64, viewOf } from '../../firmware/bytes.ts';
import { isElf } from '../../firmware/elf.ts';

const ELFCLASS64 = 2;
const SHT_SYMTAB = 2;
const SHF_EXECINSTR = 4;
const STT_NOTYPE = 0;
const STT_FUNC = 2;

interface SymbolEntry {
  readonly name: string;
  readonly start: number;
  /** Bytes; 0: it does not say. */
  readonly size: number;
  readonly isFunction: boolean;
}

/** A linear address from its halves, by the 48 bits that are translated: a double holds these exactly. */
export function linearAddress(low: number, high: number): number {
  return (high & 0xffff) * 2 ** 32 + (low >>> 0);
}

export class Symbols {
  private readonly entries: readonly SymbolEntry[];

  constructor(entries: readonly SymbolEntry[]) {
    this.entries = entries;
  }

  get count(): number {
    return this.entries.length;
  }

  /** The function that an address lies in. */
  find(address: number): SymbolEntry | undefined {
    const { entries } = this;
    let low = 0;
    let high = entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (entries[middle].start <= address) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    const entry = entries[low - 1];
    // Labels of assembly have no size: they reach to the next symbol.
    return entry !== undefined && (entry.size === 0 || address < entry.start + entry.size) ? entry : undefined;
  }

  /** `name+0x12`, or nothing. */
  place(address: number): string {
    const entry = this.find(address);
    if (entry === undefined) {
      return '';
    }
    return address === entry.start ? entry.name : `${entry.name}+0x${(address - entry.start).toString(16)}`;
  }
}

/**
 * Reads the symbols of functions, and labels in executable sections.
 * @param bytes any file: of one that is no ELF file, or a damaged one, there are none
 */
export function readSymbols(bytes: Uint8Array): Symbols {
  try {
    return new Symbols(isElf(bytes) ? sorted(entriesOf(bytes)) : []);
  } catch (error) {
    // Offsets beyond the end of the file.
    if (error instanceof RangeError) {
      return new Symbols([]);
    }
    throw error;
  }
}

/** One entry for each address: a function rather than a label, else the first. */
function sorted(entries: SymbolEntry[]): SymbolEntry[] {
  entries.sort((a, b) => a.start - b.start || Number(b.isFunction) - Number(a.isFunction));
  return entries.filter((entry, i) => i === 0 || entry.start !== entries[i - 1].start);
}

function entriesOf(bytes: Uint8Array): SymbolEntry[] {
  const view = viewOf(bytes);
  const wide = bytes[4] === ELFCLASS64;
  const word = (at: number, offset32: number, offset64: number) =>
    wide ? readU64(view, at + offset64) : view.getUint32(at + offset32, true);
  const shoff = word(0, 32, 40);
  const shentsize = view.getUint16(wide ? 58 : 46, true);
  const shnum = view.getUint16(wide ? 60 : 48, true);
  const section = (index: number) => {
    const at = shoff + index * shentsize;
    return {
      type: view.getUint32(at + 4, true),
      flags: word(at, 8, 8),
      offset: word(at, 16, 24),
      size: word(at, 20, 32),
      link: view.getUint32(at + (wide ? 40 : 24), true),
    };
  };
  const sections = Array.from({ length: shnum }, (_, index) => section(index));
  const entries: SymbolEntry[] = [];
  for (const { type, offset, size, link } of sections) {
    if (type !== SHT_SYMTAB || sections[link] === undefined) {
      continue;
    }
    const names = sections[link].offset;
    const entrySize = wide ? 24 : 16;
    for (let at = offset; at + entrySize <= Math.min(offset + size, bytes.length); at += entrySize) {
      const kind = view.getUint8(at + (wide ? 4 : 12)) & 15;
      const home = sections[view.getUint16(at + (wide ? 6 : 14), true)];
      const isLabel = kind === STT_NOTYPE && home !== undefined && (home.flags & SHF_EXECINSTR) !== 0;
      const name = text(bytes, names + view.getUint32(at, true));
      if ((kind === STT_FUNC || isLabel) && home !== undefined && name !== '') {
        const low = view.getUint32(at + (wide ? 8 : 4), true);
        const start = linearAddress(low, wide ? view.getUint32(at + 12, true) : 0);
        entries.push({ name, start, size: word(at, 8, 16), isFunction: kind === STT_FUNC });
      }
    }
  }
  return entries;
}

function text(bytes: Uint8Array, start: number): string {
  const end = bytes.indexOf(0, start);
  return end < 0 ? '' : Buffer.from(bytes.subarray(start, end)).toString();
}
