/** ELF files that hold nothing but symbols, as `-symbols` takes them. */

const SECTION_NAMES = ['', '.text', '.data', '.symtab', '.strtab'];
const TEXT = 1;
const DATA = 2;
const SHF_ALLOC = 2;
const SHF_EXECINSTR = 4;
const STT = { label: 0, object: 1, function: 2 };

export interface TestSymbol {
  readonly name: string;
  readonly start: bigint;
  readonly size?: bigint;
  readonly kind?: keyof typeof STT;
}

export function symbolFile(bits: 32 | 64, symbols: readonly TestSymbol[]): Uint8Array {
  const wide = bits === 64;
  const [ehdr, shdr, entry] = wide ? [64, 64, 24] : [52, 40, 16];
  const names = Buffer.from(`\0${symbols.map(({ name }) => `${name}\0`).join('')}`);
  const symtab = Buffer.alloc(entry * (symbols.length + 1));
  let nameAt = 1;
  for (const [index, { name, start, size = 0n, kind = 'function' }] of symbols.entries()) {
    const at = entry * (index + 1);
    const home = kind === 'object' ? DATA : TEXT;
    symtab.writeUInt32LE(nameAt, at);
    nameAt += name.length + 1;
    symtab.writeUInt8(STT[kind], at + (wide ? 4 : 12));
    symtab.writeUInt16LE(home, at + (wide ? 6 : 14));
    if (wide) {
      symtab.writeBigUInt64LE(start, at + 8);
      symtab.writeBigUInt64LE(size, at + 16);
    } else {
      symtab.writeUInt32LE(Number(start), at + 4);
      symtab.writeUInt32LE(Number(size), at + 8);
    }
  }
  const header = Buffer.alloc(ehdr);
  header.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1]);
  const symtabAt = ehdr;
  const namesAt = symtabAt + symtab.length;
  const sectionsAt = namesAt + names.length;
  if (wide) {
    header.writeBigUInt64LE(BigInt(sectionsAt), 40);
  } else {
    header.writeUInt32LE(sectionsAt, 32);
  }
  header.writeUInt16LE(shdr, wide ? 58 : 46);
  header.writeUInt16LE(SECTION_NAMES.length, wide ? 60 : 48);
  const sections = Buffer.alloc(shdr * SECTION_NAMES.length);
  const section = (index: number, type: number, flags: number, offset: number, size: number, link: number) => {
    const at = index * shdr;
    sections.writeUInt32LE(type, at + 4);
    if (wide) {
      sections.writeBigUInt64LE(BigInt(flags), at + 8);
      sections.writeBigUInt64LE(BigInt(offset), at + 24);
      sections.writeBigUInt64LE(BigInt(size), at + 32);
    } else {
      sections.writeUInt32LE(flags, at + 8);
      sections.writeUInt32LE(offset, at + 16);
      sections.writeUInt32LE(size, at + 20);
    }
    sections.writeUInt32LE(link, at + (wide ? 40 : 24));
  };
  section(TEXT, 1, SHF_ALLOC | SHF_EXECINSTR, 0, 0, 0);
  section(DATA, 1, SHF_ALLOC, 0, 0, 0);
  section(3, 2, 0, symtabAt, symtab.length, 4);
  section(4, 3, 0, namesAt, names.length, 0);
  return Buffer.concat([header, symtab, names, sections]);
}
