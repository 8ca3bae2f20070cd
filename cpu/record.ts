/**
 * A pre-decoded operation as the interpreter runs it: RECORD_SIZE bytes in the operation arena. Register fields hold
 * byte offsets into the state block, so that a handler needs no register numbers (AH…BH are offsets plus one).
 */
export const RECORD_SIZE = 40;
/** u16: index of the handler. The only field that may change while the operation runs (self-modifying code). */
export const R_HANDLER = 0;
/** u16: offset of the register named by ModRM.reg. */
export const R_REG = 2;
/** u16: offset of the register operand in ModRM.rm or in the opcode. */
export const R_RM = 4;
/** u16: offset of the base register of a memory operand (the same field: an operand is one or the other). */
export const R_BASE = 4;
/** u16: offset of the index register, S_ZERO for none. */
export const R_INDEX = 6;
/** u16: offset of the segment base to add, S_ZERO for none. */
export const R_SEGMENT = 8;
/** u8: log2 of the index' factor. */
export const R_SCALE = 10;
/** u8: length of the instruction in bytes. */
export const R_LENGTH = 11;
/** u16: offset of the register in VEX.vvvv. */
export const R_AUX = 12;
/** u16: bytes from the start of the block to this instruction. */
export const R_RIP_OFFSET = 14;
/** i64: displacement (absolute for RIP-relative operands). */
export const R_DISP = 16;
/** i64: immediate; for a direct branch the absolute target. */
export const R_IMM = 24;
/** u32: for helpers: operand size, repeat prefix … packed as INFO_*. */
export const R_INFO = 32;
/** u16: row of the opcode table. */
export const R_ROW = 36;
/** u16: ModRM byte and second immediate are kept for helpers: imm2 of ENTER and far pointers. */
export const R_IMM2 = 38;

/** In front of a block's records stands what is known of the block, BLOCK_SIZE bytes: i64 RIP, i32 mode word. */
export const BLOCK_SIZE = 40;
export const BLOCK_RIP = 0;
export const BLOCK_MODE = 8;
/** u32: physical address of the first byte, and of the second page that the block reaches into (-1: none). */
export const BLOCK_ADDRESS = 12;
export const BLOCK_ADDRESS2 = 16;
/** i32: end of its records. */
export const BLOCK_END = 20;
/** i32: length of its code in bytes. */
export const BLOCK_BYTES = 24;
/** i32: next block in the list by address; next link (blocks.ts) in those by page, for either page. */
export const BLOCK_NEXT = 28;
export const BLOCK_NEXT_IN_PAGE = 32;
export const BLOCK_NEXT_IN_PAGE2 = 36;

/** The first record of a block is its head: R_IMM low = number of instructions, R_DISP = see HEAD_*. */
export const HEAD_COUNT = R_IMM;
/** i32: executions until the block is reported as hot. */
export const HEAD_COUNTER = R_DISP;
/** i32: by how much HEAD_COUNTER was changed since other than by executions. */
export const HEAD_GIVEN_TIME = R_DISP + 4;

/** Of an address pre-operation: u32 mask of the effective address, i64 mask of the linear address. */
export const PRE_ADDRESS_MASK = R_IMM;
export const PRE_LINEAR_MASK = R_INFO;

export const INFO_SIZE_MASK = 0x0f;
export const INFO_MEMORY = 1 << 4;
export const INFO_REPE = 1 << 5;
export const INFO_REPNE = 1 << 6;
/** Address size in bytes, shifted. */
export const INFO_ADDRESS_SHIFT = 8;
/** Stack-address size in bytes, shifted. */
export const INFO_STACK_SHIFT = 12;
export const INFO_MODRM_SHIFT = 16;
export const INFO_SEGMENT_SHIFT = 24;
export const INFO_MODE64 = 1 << 28;
export const INFO_LOCK = 1 << 29;
export const INFO_REXW = 1 << 30;
