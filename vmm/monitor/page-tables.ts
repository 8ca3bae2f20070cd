/**
 * The guest's page tables as a reader sees them (Intel SDM vol. 3A ch. 4), for the monitor: it looks at entries and
 * changes none, other than the CPU's own walker.
 */

export interface PagingState {
  readonly cr0: number;
  /** Physical address and flags, as a double. */
  readonly cr3: number;
  readonly cr4: number;
  readonly efer: number;
}

/** A mapped page. Addresses are doubles. */
export interface Mapping {
  /** Of its first byte: the 48 or 32 bits that are translated. */
  readonly linear: number;
  readonly physical: number;
  readonly size: number;
  /** The low half of the entry that maps it, with write and user permission as all levels together give them. */
  readonly flags: number;
  readonly noExecute: boolean;
}

/** A byte of guest physical memory; undefined where there is none. */
export type ReadByte = (address: number) => number | undefined;

const CR0_PG = 1 << 31;
const CR4_PSE = 1 << 4;
const CR4_PAE = 1 << 5;
const EFER_LMA = 1 << 10;

const PTE_P = 1 << 0;
export const PTE_W = 1 << 1;
export const PTE_U = 1 << 2;
export const PTE_PWT = 1 << 3;
export const PTE_PCD = 1 << 4;
export const PTE_A = 1 << 5;
export const PTE_D = 1 << 6;
export const PTE_PS = 1 << 7;
export const PTE_G = 1 << 8;
const PTE_NX_HIGH = 1 << 31;
/** What an entry allows only if those above it do. */
const PERMISSIONS = PTE_W | PTE_U;

/** Bits 12…51 of an entry of eight bytes, and of an entry of four: the lower half of what is masked, the upper. */
const ADDRESS_LOW = 0xfffff000;
const ADDRESS_HIGH = 0x000fffff;
const PAGE_SIZE = 0x1000;
/** CR3 points at 32 bytes with PAE, at pages otherwise. */
const CR3_PAE_UNIT = 32;

/** One level of the tables. */
interface Level {
  /** Linear addresses that an entry covers, and entries. */
  readonly span: number;
  readonly entries: number;
  /** May an entry be a page? `ps`: if PTE_PS says so. */
  readonly pages: 'never' | 'ps' | 'always';
  /** Have entries permissions? */
  readonly permissions: boolean;
}

const level = (shift: number, bits: number, pages: Level['pages'], permissions = true): Level => ({
  span: 2 ** shift,
  entries: 2 ** bits,
  pages,
  permissions,
});
const FOUR_LEVELS = [level(39, 9, 'never'), level(30, 9, 'ps'), level(21, 9, 'ps'), level(12, 9, 'always')];
const PAE_LEVELS = [level(30, 2, 'never', false), level(21, 9, 'ps'), level(12, 9, 'always')];
const LEGACY_LEVELS = [level(22, 10, 'never'), level(12, 10, 'always')];
const LEGACY_LEVELS_PSE = [level(22, 10, 'ps'), level(12, 10, 'always')];

interface Layout {
  readonly levels: readonly Level[];
  readonly entrySize: 4 | 8;
  readonly root: number;
}

export function isPaged({ cr0 }: PagingState): boolean {
  return (cr0 & CR0_PG) !== 0;
}

function layoutOf({ cr3, cr4, efer }: PagingState): Layout {
  const page = cr3 - (cr3 % PAGE_SIZE);
  if ((efer & EFER_LMA) !== 0) {
    return { levels: FOUR_LEVELS, entrySize: 8, root: page };
  }
  if ((cr4 & CR4_PAE) !== 0) {
    return { levels: PAE_LEVELS, entrySize: 8, root: cr3 - (cr3 % CR3_PAE_UNIT) };
  }
  return { levels: (cr4 & CR4_PSE) !== 0 ? LEGACY_LEVELS_PSE : LEGACY_LEVELS, entrySize: 4, root: page };
}

function readWord(read: ReadByte, address: number): number {
  const byte = (offset: number) => read(address + offset) ?? 0;
  return byte(0) | (byte(1) << 8) | (byte(2) << 16) | (byte(3) << 24);
}

/**
 * Calls `visit` with the mapped pages in the order of their linear addresses, as long as it returns true.
 * @param first linear address from which on pages are wanted; those before it are passed over
 * @param tableMax tables to look into at most: a guest can make tables that map each other for ever
 */
export function visitPages(
  state: PagingState,
  read: ReadByte,
  first: number,
  tableMax: number,
  visit: (page: Mapping) => boolean,
): void {
  const { levels, entrySize, root } = layoutOf(state);
  let tables = 0;
  const below = (depth: number, table: number, base: number, above: number): boolean => {
    if (++tables > tableMax) {
      return false;
    }
    const { span, entries, pages, permissions } = levels[depth];
    const skipped = first <= base ? 0 : Math.floor((first - base) / span);
    for (let index = skipped; index < entries; index++) {
      const low = readWord(read, table + index * entrySize);
      if ((low & PTE_P) === 0) {
        continue;
      }
      const high = entrySize === 8 ? readWord(read, table + index * entrySize + 4) : 0;
      const linear = base + index * span;
      const allowed = permissions ? above & low : above;
      const isPage = pages === 'always' || (pages === 'ps' && (low & PTE_PS) !== 0);
      let address = ((low & ADDRESS_LOW) >>> 0) + (high & ADDRESS_HIGH) * 2 ** 32;
      if (!isPage) {
        if (!below(depth + 1, address, linear, allowed)) {
          return false;
        }
        continue;
      }
      address -= address % span;
      // A large page of 32-bit paging has bits 32…39 of its address in 13…20 (PSE-36).
      const physical = entrySize === 4 && span > PAGE_SIZE ? address + ((low >>> 13) & 0xff) * 2 ** 32 : address;
      const flags = (low & ~PERMISSIONS) | allowed;
      if (!visit({ linear, physical, size: span, flags, noExecute: (high & PTE_NX_HIGH) !== 0 })) {
        return false;
      }
    }
    return true;
  };
  below(0, root, 0, PERMISSIONS);
}

/** An entry of the tables. */
export interface TableEntry {
  /** Physical. */
  readonly address: number;
  readonly low: number;
  readonly high: number;
}

/** The entries that a walk for a linear address reads: from the top to the first that is absent or maps a page. */
export function walkedEntries(state: PagingState, read: ReadByte, linear: number): TableEntry[] {
  const { levels, entrySize, root } = layoutOf(state);
  const walked: TableEntry[] = [];
  let table = root;
  for (const { span, entries, pages } of levels) {
    const address = table + (Math.floor(linear / span) % entries) * entrySize;
    const low = readWord(read, address);
    const high = entrySize === 8 ? readWord(read, address + 4) : 0;
    walked.push({ address, low, high });
    if ((low & PTE_P) === 0 || pages === 'always' || (pages === 'ps' && (low & PTE_PS) !== 0)) {
      break;
    }
    table = ((low & ADDRESS_LOW) >>> 0) + (high & ADDRESS_HIGH) * 2 ** 32;
  }
  return walked;
}

const BITS_48 = (1n << 48n) - 1n;

/** @returns the physical address of a linear one of 64 bits; undefined when it is not mapped */
export function translate(state: PagingState, read: ReadByte, linear: bigint): number | undefined {
  if (!isPaged(state)) {
    return Number(linear);
  }
  const isLong = (state.efer & EFER_LMA) !== 0;
  if (BigInt.asUintN(64, BigInt.asIntN(48, linear)) !== linear && isLong) {
    return undefined;
  }
  const address = Number(isLong ? linear & BITS_48 : linear);
  let found: number | undefined;
  visitPages(state, read, address, layoutOf(state).levels.length, ({ linear, physical, size }) => {
    if (linear <= address && address < linear + size) {
      found = physical + (address - linear);
    }
    return false;
  });
  return found;
}

/** A linear address in 16 digits: with 4-level paging, bit 47 is repeated above it. */
export function linearText(linear: number): string {
  return (linear >= 2 ** 47 ? 'ffff' : '0000') + linear.toString(16).padStart(12, '0');
}
