/**
 * Layout of the machine's one WebAssembly memory (Design §3): the vCPU's state block at fixed low offsets, its tables,
 * and guest RAM last. The single table of these offsets; TypeScript, WebAssembly and JavaScript code all use it.
 * All offsets are bytes from the start of the memory.
 */

/** u32: size of guest RAM in bytes. */
export const S_RAM_SIZE = 0x40;
/** i32 each: where the next block's records go (S_OPS …), and where those of regions begin (… S_OPS_END). */
export const S_OPS_NEXT = 0x44;
export const S_OPS_LIMIT = 0x98;
/** i32: executions after which a block is reported as hot. */
export const S_HOT_THRESHOLD = 0x48;
/** i32: blocks decoded. */
export const S_BLOCKS_DECODED = 0x4c;
/** i32: nonzero when there are regions. */
export const S_HAS_REGIONS = 0x50;
/** i32 each: entries in S_CODE_PAGES, and kinds of large pages among them, as bits. */
export const S_CODE_PAGE_COUNT = 0x68;
export const S_CODE_PAGE_SIZES = 0x6c;
/** Physical addresses of the paging-structure entries that a walk has passed, a u32 for each level. */
export const S_WALK = 0x58;

/** i32: size of the largest page that the TLBs hold parts of. Behind: a set of large pages with parts there (mmu.ts). */
export const S_TLB_LARGEST = 0x70;
/** i32: nonzero when the TLB for user accesses has entries. */
export const S_TLB_USER_USED = 0x74;
export const S_TLB_LARGE = 0xa0;
export const TLB_LARGE_BITS = 256;

/** i32: nonzero while somebody watches the CPU: TypeScript then does what compiled helpers otherwise would. */
export const S_OBSERVED = 0x54;
/** i32: instructions executed by compiled helpers, and exceptions delivered by them (helpers/compiled.ts). */
export const S_COMPILED_CALLS = 0x78;
export const S_COMPILED_EXCEPTIONS = 0x7c;
/** i32: set when code that was compiled ahead of time left for TypeScript (aot/compile.ts). */
export const S_LEFT = 0x90;
/** i32: regions or mappings were invalidated: regions that called out, or one another, leave for the dispatcher. */
export const S_STALE = 0x94;

/** General registers RAX…R15 in encoding order, 8 bytes each. */
export const S_GPR = 0x100;
/** Eight bytes that are always zero: base, index or segment base of an address that has none. */
export const S_ZERO = 0x180;
/** i64 linear address computed ahead of an instruction (interpreter's EA pre-operation). */
export const S_EA = 0x188;
/** i64 instruction pointer of the next instruction. */
export const S_RIP = 0x190;

/** Lazy status flags: a CC_* kind (i32) and its operands (i64, sign-extended from the operation's width). */
export const S_CC_OP = 0x198;
export const S_CC_A = 0x1a0;
export const S_CC_B = 0x1a8;
export const S_CC_RES = 0x1b0;
/** i32: RFLAGS without the six status flags (bit 1 set). */
export const S_RFLAGS = 0x1b8;

/** i32: instructions that may run until the run loop wants control again; may go below zero. */
export const S_BUDGET = 0x1bc;
/** i32: nonzero while an interrupt waits for RFLAGS.IF (or its shadow); makes STI and POPF take their slow path. */
export const S_INTR_PENDING = 0x1c0;
/** i32: nonzero when MXCSR lets SSE arithmetic run as plain IEEE operations (round to nearest, PE already set …). */
export const S_SSE_FAST = 0x1c4;
/** i32: the mode word (mode.ts): all that decoding and block identity depend on besides the address. */
export const S_MODE = 0x1c8;
/** i32: offset of the TLB in use (S_TLB_SUPERVISOR, S_TLB_USER or S_TLB_STRICT). */
export const S_TLB_BASE = 0x1cc;
/** i32: offset of the exit site that EXIT_SITE is about. */
export const S_EXIT_SITE = 0x1d0;
/** i32: record of the operation that EXIT_EXCEPTION is about. */
export const S_FAULT_OP = 0x1d4;
/** Mailbox of the slow memory path: i64 linear address, 16 bytes of value. */
export const S_SLOW_ADDRESS = 0x1d8;
export const S_SLOW_VALUE = 0x1e0;

/** i64: address of the block that the interpreter is in. */
export const S_BLOCK_RIP = 0x1f0;

/** Segment registers ES CS SS DS FS GS, then LDTR and TR: SEGMENT_STRIDE bytes each. */
export const S_SEGMENTS = 0x200;
export const SEGMENT_STRIDE = 32;
/** Within a segment: i64 base. */
export const SEGMENT_BASE = 0;
/** u32 limit in bytes (granularity applied). */
export const SEGMENT_LIMIT = 8;
/** u32 descriptor attributes: bits 8…15 and 20…23 of the descriptor's second dword, in place. */
export const SEGMENT_ATTR = 12;
/** u16 selector. */
export const SEGMENT_SELECTOR = 16;
/** u32: 1 when every access needs a limit or type check (not a flat, writable segment). */
export const SEGMENT_CHECKED = 20;
export const SEGMENT_LDTR = 6;
export const SEGMENT_TR = 7;

/** i64 base, u32 limit each. */
export const S_GDTR = 0x300;
export const S_IDTR = 0x310;

/** Control registers, i64 each. */
export const S_CR0 = 0x320;
export const S_CR2 = 0x328;
export const S_CR3 = 0x330;
export const S_CR4 = 0x338;
export const S_CR8 = 0x340;
export const S_EFER = 0x348;
export const S_XCR0 = 0x350;
/** Debug registers DR0…DR7, i64 each. */
export const S_DR = 0x358;
/** Model-specific registers kept as plain i64 values. */
export const S_STAR = 0x398;
export const S_LSTAR = 0x3a0;
export const S_CSTAR = 0x3a8;
export const S_SFMASK = 0x3b0;
export const S_KERNEL_GS_BASE = 0x3b8;
export const S_TSC_AUX = 0x3c0;
export const S_SYSENTER_CS = 0x3c8;
export const S_SYSENTER_ESP = 0x3d0;
export const S_SYSENTER_EIP = 0x3d8;
export const S_PAT = 0x3e0;
export const S_MISC_ENABLE = 0x3e8;
/** i64 added to the clock's TSC. */
export const S_TSC_OFFSET = 0x3f0;

/** XMM0…XMM15, 16 bytes each. */
export const S_XMM = 0x400;
/** u32 MXCSR. */
export const S_MXCSR = 0x500;
/** x87 registers R0…R7 in physical order, 16 bytes each (64-bit significand, then 16-bit sign and exponent). */
export const S_X87 = 0x510;
/** u16 each: control word, status word (with TOP), abridged tag word (one bit per physical register: not empty). */
export const S_FCW = 0x590;
export const S_FSW = 0x592;
export const S_FTW = 0x594;
/** u16 last opcode; i64 last instruction and data pointer; u16 their selectors. */
export const S_FOP = 0x596;
export const S_FIP = 0x598;
export const S_FDP = 0x5a0;
export const S_FCS = 0x5a8;
export const S_FDS = 0x5aa;
/** Memory operands of x87 instructions, FXSAVE and their kin on their way: 512 bytes. */
export const S_FPU_OPERAND = 0x600;
/**
 * MTRRs, i64 each and plain storage: IA32_MTRR_DEF_TYPE, eight pairs of base and mask, then the eleven fixed ones in the
 * order of their MSRs.
 */
export const S_MTRR_DEF_TYPE = 0x800;
export const S_MTRR_VARIABLE = 0x808;
export const S_MTRR_FIXED = 0x888;

/** The guest's exception that waits to be delivered (mmu/noted-fault.ts): i32 each, and an i64 address. */
export const S_FAULT_VECTOR = 0x940;
export const S_FAULT_ERROR_CODE = 0x944;
export const S_FAULT_NOT_CANONICAL = 0x948;
export const S_FAULT_ADDRESS = 0x950;
/** i32, truth values: interrupts wait for one more instruction (STI, MOV SS); a triple fault; NMIs are blocked. */
export const S_INTERRUPT_SHADOW = 0x958;
export const S_SHUTDOWN = 0x95c;
export const S_NMI_BLOCKED = 0x960;
/** i32: base of CS that the jump cache's entries were made with. */
export const S_CODE_BASE = 0x964;
/** Bytes that the CPU reads by itself where they cannot be reached in place: 64. */
export const S_SYSTEM_COPY = 0x980;

/** Address spaces whose direct window is known (mmu/spaces.ts); i32: the active one, plus one; number of the window in use. */
export const S_SPACES = 0xa00;
export const MOST_SPACES = 8;
export const S_ACTIVE_SPACE = 0xb00;
export const S_WINDOW_USED = 0xb04;

/** An instruction that reaches into the next page, on its way to the decoder: 64 bytes. */
export const S_CODE_COPY = 0x900;

/** Software TLBs: TLB_ENTRIES entries of TLB_STRIDE bytes for supervisor and for user accesses. */
export const S_TLB_SUPERVISOR = 0x10000;
export const S_TLB_USER = 0x14000;
/** A third one that is always empty: every access takes the slow path, which checks more (alignment, breakpoints). */
export const S_TLB_STRICT = 0x18000;
export const TLB_ENTRIES = 512;
export const TLB_STRIDE = 32;
/** Within an entry: i64 page address whose reads (writes) are allowed, or TLB_NEVER; i32 added to the address. */
export const TLB_READ = 0;
export const TLB_WRITE = 8;
export const TLB_ADDEND = 16;
/** Matches no page address: its low bits are set. */
export const TLB_NEVER_LOW = -1;

/** Constant tables of code that was compiled ahead of time (aot/compile.ts). */
export const S_TABLES = 0x1c000;
export const S_TABLES_END = 0x40000;

/** Jump cache: JUMP_SETS sets, indexed by a hash of RIP, of JUMP_WAYS entries of JUMP_STRIDE bytes. */
export const S_JUMP_CACHE = 0x140000;
export const JUMP_SETS = 4096;
export const JUMP_WAYS = 4;
export const JUMP_STRIDE = 32;
/** Within an entry: i64 RIP, i32 mode word, i32 first operation (0: none), i32 region's table index (0: none). */
export const JUMP_RIP = 0;
export const JUMP_MODE = 8;
export const JUMP_OP = 12;
export const JUMP_REGION = 16;

/** One byte per 4 KiB page of RAM: nonzero when translations depend on its contents (stores take the slow path). */
export const S_PAGE_FLAGS = 0x40000;

/** Decoded blocks by address and by page (blocks.ts): i32 first block of a list, for each of so many keys. */
export const S_BLOCKS_BY_ADDRESS = 0x1c0000;
export const BLOCK_ADDRESS_KEYS = 16384;
export const S_BLOCKS_BY_PAGE = 0x1d0000;
export const BLOCK_PAGE_KEYS = 4096;
/** Where in its pages the blocks of each such list have code: an i32, a bit for each 128 bytes. */
export const S_BLOCK_PARTS = 0x1d6000;

/** Linear pages that code came from (mmu/code-pages.ts): CODE_PAGES entries of 16 bytes. */
export const S_CODE_PAGES = 0x1d4000;
export const CODE_PAGES = 512;

/** Pre-decoded operations (record.ts). */
export const S_OPS = 0x1da000;
export const S_OPS_END = 0xf00000;

/** Exit sites of regions (jit/sites.ts), SITE_STRIDE bytes each, then those of indirect links, SITE_WAYS such pieces each. */
export const S_SITES = 0xf00000;
export const S_INDIRECT_SITES = 0xf60000;
export const S_SITES_END = 0xfa0000;
export const SITE_WAYS = 8;
/**
 * Within a site: i32 exits until it is full (counted up to zero); within each of its pieces: i8 how many regions may have
 * called each other before its link is used (0: there is none) and i24 the link's index in its module's table, i64 RIP that
 * it is for.
 */
export const SITE_COUNT = 0;
export const SITE_DEPTH = 4;
export const SITE_SLOT_SHIFT = 8;
export const SITE_RIP = 8;
export const SITE_STRIDE = 16;

/** Targets that indirect jumps were seen to take (jit/jump-targets.ts): low halves in slots chosen by a hash, for each jump. */
export const S_JUMP_TARGETS = 0xfa0000;
export const S_JUMP_TARGETS_END = 0x1000000;
export const JUMP_TARGET_COUNT = 64;
export const JUMP_TARGETS_STRIDE = JUMP_TARGET_COUNT * 4;

/** Guest RAM: guest physical address 0. */
export const RAM_BASE = 0x1000000;

export const PAGE_SIZE = 4096;

/** Byte offset of the 64-bit general register `n`. */
export function gprOffset(n: number): number {
  return S_GPR + n * 8;
}

/** Byte offset of segment `n` (SEG_* of decode/insn.ts). */
export function segmentOffset(n: number): number {
  return S_SEGMENTS + n * SEGMENT_STRIDE;
}

/**
 * Kinds of lazy flags (S_CC_OP). A, B and RES are sign-extended to 64 bits from the operation's width, which keeps
 * signed and unsigned order, so the kinds need no width.
 */
/** All six flags stand in B at their RFLAGS positions. */
export const CC_EXPLICIT = 0;
/** ZF SF PF from RES; CF OF AF stand in B at their RFLAGS positions. */
export const CC_RESULT = 1;
/** RES = A + B. */
export const CC_ADD = 2;
/** RES = A - B. */
export const CC_SUB = 3;
/** ZF SF PF from RES; CF = OF = AF = 0. */
export const CC_LOGIC = 4;
/** RES = A + 1; CF is bit 0 of B. */
export const CC_INC = 5;
/** RES = A - 1; CF is bit 0 of B. */
export const CC_DEC = 6;
