/**
 * Where a fuzzed program finds things: linear addresses. What lies below {@link MAPPED_END} is mapped page by page to RAM,
 * 1:1 or by pairs of pages swapped (machine.ts); page 0 and the page tables are not mapped.
 */
import * as isa from '../../isa/layout.ts';

export const PAGE = 0x1000;
export const RAM_SIZE = 2 << 20;

export const GDT = 0x1000;
export const IDT = 0x2000;
export const TSS = 0x3000;
/** A stub of HANDLER_STRIDE bytes for each vector, then what they share. */
export const HANDLERS = 0x4000;
export const HANDLER_STRIDE = 16;
/** Variables of handlers and programs, a doubleword or quadword each. */
export const FAULTS = 0x6000;
export const FUEL = 0x6008;
/** Where to go on after a fetch outside CODE has faulted; used once. */
export const RESUME = 0x6010;
/** The address of the program's end. */
export const END_ADDRESS = 0x6018;
export const LOOP_COUNTERS = 0x6100;
/** Quadwords that lead jumps and calls. */
export const TABLES = 0x7000;
export const TABLES_LENGTH = 0x3000;
/** For each byte of CODE: 16-bit offset of the instruction behind the one that starts there. */
export const SKIPS = 0x10000;
export const CODE = 0x20000;
export const CODE_LENGTH = 0x8000;
export const DATA = 0x40000;
export const DATA_LENGTH = 0x10000;
export const STACK = 0x60000;
export const STACK_LENGTH = 0x10000;
/** The counter and the stack of the interrupt handler: what they hold depends on when interrupts come. */
export const EXCLUDED = 0x90000;
export const EXCLUDED_LENGTH = 0x2000;
/** Frames that back the regions of test/isa/layout.ts, whose addresses random instructions use too. */
export const ISA_FRAMES = 0x1a0000;
/** Pages at the end of the direct window, whose mappings programs change. */
export const LATE = 0x1d0000;
export const LATE_PAGES = 4;
/** Page-table entries with this bit stand for pages that the #PF handler makes present. */
export const REPAIRABLE = 0x200;
/** Pages that are missing at first; the #PF handler makes them present. The direct window ends here. */
export const DEMAND = 0x1e0000;
export const DEMAND_PAGES = 8;
/** Pages that show the first pages of CODE, then one of DATA, once more. */
export const ALIASES = 0x1f0000;
export const ALIASED: readonly number[] = [CODE, CODE + PAGE, CODE + 2 * PAGE, DATA + PAGE];
export const READ_ONLY = 0x1f4000;
/** Device memory. */
export const MMIO = 0x1f5000;
export const MMIO_PHYSICAL = 0xfec00000;
/** The page table of the first 2 MiB. */
export const PAGE_TABLE = 0x1f6000;
/** Physical addresses of the page tables. */
export const TABLE_FRAMES = 0x1f7000;
export const MAPPED_END = 0x1f7000;

export const ISA_REGIONS = [isa.DATA, isa.READ_ONLY, isa.STACK, isa.HIGH] as const;

export const CODE64 = 0x10;
export const FLAT = 0x18;
export const TSS_SELECTOR = 0x40;

export const INTERRUPT = 0x30;
/** INT with this vector returns at once. */
export const SOFTWARE_INTERRUPT = 0x31;

/** Faults after which a program is brought to its end. */
export const MOST_FAULTS = 60;
/** A function's frame: RBP stands so far above RSP, and so far below the return address. */
export const FRAME_BELOW = 0x180;
export const FRAME_ABOVE = 0x400;
