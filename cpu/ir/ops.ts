/**
 * The intermediate representation: node operations and value types.
 *
 * Pure operations *are* WebAssembly's numeric instructions, by their binary opcodes (core specification §5.4; SIMD ones
 * as 0xfd00 | sub-opcode), so they need no definition of their own. Operations from 0x200 on read and write machine
 * state; those marked "root" have effects and keep their order.
 */

export const T_NONE = 0;
export const T_I32 = 1;
export const T_I64 = 2;
export const T_F32 = 3;
export const T_F64 = 4;
export const T_V128 = 5;

// Core numeric instructions.
export const I32_EQZ = 0x45;
export const I32_EQ = 0x46;
export const I32_NE = 0x47;
export const I32_LT_S = 0x48;
export const I32_LT_U = 0x49;
export const I32_GT_S = 0x4a;
export const I32_GT_U = 0x4b;
export const I32_LE_S = 0x4c;
export const I32_LE_U = 0x4d;
export const I32_GE_S = 0x4e;
export const I32_GE_U = 0x4f;
export const I64_EQZ = 0x50;
export const I64_EQ = 0x51;
export const I64_NE = 0x52;
export const I64_LT_S = 0x53;
export const I64_LT_U = 0x54;
export const I64_GT_S = 0x55;
export const I64_GT_U = 0x56;
export const I64_LE_S = 0x57;
export const I64_LE_U = 0x58;
export const I64_GE_S = 0x59;
export const I64_GE_U = 0x5a;
export const F32_EQ = 0x5b;
export const F32_NE = 0x5c;
export const F32_LT = 0x5d;
export const F32_GT = 0x5e;
export const F32_LE = 0x5f;
export const F32_GE = 0x60;
export const F64_EQ = 0x61;
export const F64_NE = 0x62;
export const F64_LT = 0x63;
export const F64_GT = 0x64;
export const F64_LE = 0x65;
export const F64_GE = 0x66;
export const I32_CLZ = 0x67;
export const I32_CTZ = 0x68;
export const I32_POPCNT = 0x69;
export const I32_ADD = 0x6a;
export const I32_SUB = 0x6b;
export const I32_MUL = 0x6c;
export const I32_DIV_S = 0x6d;
export const I32_DIV_U = 0x6e;
export const I32_REM_S = 0x6f;
export const I32_REM_U = 0x70;
export const I32_AND = 0x71;
export const I32_OR = 0x72;
export const I32_XOR = 0x73;
export const I32_SHL = 0x74;
export const I32_SHR_S = 0x75;
export const I32_SHR_U = 0x76;
export const I32_ROTL = 0x77;
export const I32_ROTR = 0x78;
export const I64_CLZ = 0x79;
export const I64_CTZ = 0x7a;
export const I64_POPCNT = 0x7b;
export const I64_ADD = 0x7c;
export const I64_SUB = 0x7d;
export const I64_MUL = 0x7e;
export const I64_DIV_S = 0x7f;
export const I64_DIV_U = 0x80;
export const I64_REM_S = 0x81;
export const I64_REM_U = 0x82;
export const I64_AND = 0x83;
export const I64_OR = 0x84;
export const I64_XOR = 0x85;
export const I64_SHL = 0x86;
export const I64_SHR_S = 0x87;
export const I64_SHR_U = 0x88;
export const I64_ROTL = 0x89;
export const I64_ROTR = 0x8a;
export const F32_ABS = 0x8b;
export const F32_CEIL = 0x8d;
export const F32_FLOOR = 0x8e;
export const F32_TRUNC = 0x8f;
export const F32_NEAREST = 0x90;
export const F32_SQRT = 0x91;
export const F32_ADD = 0x92;
export const F32_SUB = 0x93;
export const F32_MUL = 0x94;
export const F32_DIV = 0x95;
export const F64_ABS = 0x99;
export const F64_CEIL = 0x9b;
export const F64_FLOOR = 0x9c;
export const F64_TRUNC = 0x9d;
export const F64_NEAREST = 0x9e;
export const F64_SQRT = 0x9f;
export const F64_ADD = 0xa0;
export const F64_SUB = 0xa1;
export const F64_MUL = 0xa2;
export const F64_DIV = 0xa3;
export const I32_WRAP_I64 = 0xa7;
export const I32_TRUNC_F32_S = 0xa8;
export const I32_TRUNC_F64_S = 0xaa;
export const I64_EXTEND_I32_S = 0xac;
export const I64_EXTEND_I32_U = 0xad;
export const I64_TRUNC_F32_S = 0xae;
export const I64_TRUNC_F64_S = 0xb0;
export const F32_CONVERT_I32_S = 0xb2;
export const F32_CONVERT_I64_S = 0xb4;
export const F32_DEMOTE_F64 = 0xb6;
export const F64_CONVERT_I32_S = 0xb7;
export const F64_CONVERT_I64_S = 0xb9;
export const F64_PROMOTE_F32 = 0xbb;
export const I32_REINTERPRET_F32 = 0xbc;
export const I64_REINTERPRET_F64 = 0xbd;
export const F32_REINTERPRET_I32 = 0xbe;
export const F64_REINTERPRET_I64 = 0xbf;
export const I32_EXTEND8_S = 0xc0;
export const I32_EXTEND16_S = 0xc1;
export const I64_EXTEND8_S = 0xc2;
export const I64_EXTEND16_S = 0xc3;
export const I64_EXTEND32_S = 0xc4;

/** `0xfd00 | sub-opcode` is a SIMD instruction; lane immediates stand in the node's `imm`. */
export const SIMD = 0xfd00;

// Leaves.
/** Constant; i32 in `imm`, i64 in `imm` (low) and `imm2` (high). */
export const CONST = 0x200;
/** v128 constant: `imm` indexes the buffer's pool of 16-byte constants. */
export const CONST_V128 = 0x201;
/** Value of a general register: `imm` slot, `imm2` width in bytes. i32 (zero-extended) up to 4 bytes, else i64. */
export const GPR_READ = 0x202;
/** Value of an XMM register: `imm` slot. v128. */
export const XMM_READ = 0x203;
/** Field of the operation record (handlers only): `imm` offset R_*, `imm2` bytes (unsigned). i64 when 8 bytes. */
export const RECORD_READ = 0x204;
/** Field of the state block: `imm` slot, `imm2` bytes (unsigned) | offset from the slot << 8. */
export const FIELD_READ = 0x205;
/** i64: address of this instruction. */
export const RIP_THIS = 0x206;
/** i64: address of the next instruction. */
export const RIP_NEXT = 0x207;

/** select: a if c (i32) is nonzero, else b. */
export const SELECT = 0x208;

// Status flags (see flags.ts).
/** i32 0/1: condition `imm` (0…15 as in Jcc). */
export const FLAGS_CONDITION = 0x210;
/** i32: the status flags of mask `imm` at their RFLAGS positions. */
export const FLAGS_READ = 0x211;
/** Root: all six flags are now those of kind `imm` (CC_*) with a, b, c = A, B, RES. */
export const FLAGS_WRITE = 0x212;
/** Root: the flags of mask `imm` are now the bits of a (i32); the others stay. */
export const FLAGS_MERGE = 0x213;

// Roots.
/** Loads `imm2` bytes at linear address a (i64). `imm` nonzero: the same address will be written (RMW). */
export const LOAD = 0x220;
/** Stores the low `imm2` bytes of b at linear address a. */
export const STORE = 0x221;
/** Register write: `imm` slot, `imm2` width in bytes, value a (i32 up to 4 bytes). 4 bytes clear the upper half. */
export const GPR_WRITE = 0x222;
export const XMM_WRITE = 0x223;
/** Field of the state block: `imm` offset, `imm2` bytes, value a. */
export const FIELD_WRITE = 0x224;
/** If a (i32) is nonzero, nothing of this instruction has happened and its helper executes it instead. */
export const SLOW_IF = 0x225;

/** i32: what port a (i32) reads, `imm2` bytes (zero-extended). A device may ask for the run loop: see PORT_OUT. */
export const PORT_IN = 0x226;
/**
 * Writes the low `imm2` bytes of b (i32) to port a (i32). Behind the instruction the run loop gets its turn if a device
 * asked for it.
 */
export const PORT_OUT = 0x227;

/** Copies c bytes (i64, at most BULK_MOST) from linear address b to a; they do not overlap harmfully. Regions only. */
export const BULK_COPY = 0x228;
/** Fills c bytes (i64, at most BULK_MOST) from linear address a on with the low byte of b (i32). Regions only. */
export const BULK_FILL = 0x229;
/** Most bytes of BULK_COPY and BULK_FILL. */
export const BULK_MOST = 4096;

// Roots that end a block.
/** Goes to a (i64). `imm`: JUMP_* hint. */
export const JUMP = 0x230;
/** If a (i32) goes to b (i64), else to the next instruction. */
export const BRANCH = 0x231;

export const HINT_JUMP = 0;
export const HINT_CALL = 1;
export const HINT_RETURN = 2;

/** Slots of GPR_READ/GPR_WRITE: a byte offset of the state block (a fixed register), or from SLOT_RECORD on the offset
 * of the record field that holds it. */
export const SLOT_RECORD = 0x10000;

/** Result type of a pure operation, and the type of its operands (T_NONE: see the operation). */
export const resultType = new Uint8Array(0x100);
export const operandCount = new Uint8Array(0x100);

function define(first: number, last: number, type: number, operands: number): void {
  resultType.fill(type, first, last + 1);
  operandCount.fill(operands, first, last + 1);
}
define(I32_EQZ, I32_EQZ, T_I32, 1);
define(I32_EQ, I32_GE_U, T_I32, 2);
define(I64_EQZ, I64_EQZ, T_I32, 1);
define(I64_EQ, F64_GE, T_I32, 2);
define(I32_CLZ, I32_POPCNT, T_I32, 1);
define(I32_ADD, I32_ROTR, T_I32, 2);
define(I64_CLZ, I64_POPCNT, T_I64, 1);
define(I64_ADD, I64_ROTR, T_I64, 2);
define(F32_ABS, F32_SQRT, T_F32, 1);
define(F32_ADD, 0x98, T_F32, 2);
define(F64_ABS, F64_SQRT, T_F64, 1);
define(F64_ADD, 0xa6, T_F64, 2);
define(I32_WRAP_I64, 0xab, T_I32, 1);
define(I64_EXTEND_I32_S, 0xb1, T_I64, 1);
define(F32_CONVERT_I32_S, F32_DEMOTE_F64, T_F32, 1);
define(F64_CONVERT_I32_S, F64_PROMOTE_F32, T_F64, 1);
define(I32_REINTERPRET_F32, I32_REINTERPRET_F32, T_I32, 1);
define(I64_REINTERPRET_F64, I64_REINTERPRET_F64, T_I64, 1);
define(F32_REINTERPRET_I32, F32_REINTERPRET_I32, T_F32, 1);
define(F64_REINTERPRET_I64, F64_REINTERPRET_I64, T_F64, 1);
define(I32_EXTEND8_S, I32_EXTEND16_S, T_I32, 1);
define(I64_EXTEND8_S, I64_EXTEND32_S, T_I64, 1);
