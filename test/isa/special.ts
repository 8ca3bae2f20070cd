/**
 * What some instructions need beside explicit operands, lest they nearly always fault or do nothing: implicit pointers,
 * counts, selectors, images in memory.
 */
import { ATTR_MMX, ATTR_REP, ATTR_X87, type OpcodeRow } from '../../cpu/isa/table.ts';
import { type CaseBuilder, RAX, RBP, RBX, RCX, RDI, RDX, RSI } from './builder.ts';
import { RSP, STATE_SIZE } from './case.ts';
import type { Choices, Encoded } from './encode.ts';
import { randomMxcsr, randomSse, randomX87 } from './fpstate.ts';
import { CODE, CS32, CS64, DS, STACK } from './layout.ts';
import { integer, qword } from './values.ts';
import { avoided } from './vendors.ts';

const RFLAGS_AC = 0x40000n;

/** Selectors: null ones, the user segments with several RPLs, kernel segments, and beyond the limits. */
const SELECTORS = [0, 1, 3, DS, DS, DS & ~3, CS32, CS32, CS64, CS64, 0x10, 0x18, 0x30, 0x2c, 0x808, 0xfff8];

export function selector(builder: CaseBuilder): bigint {
  return BigInt(builder.rng.pick(SELECTORS));
}

/** Mostly one that a far transfer accepts. */
function codeSelector(builder: CaseBuilder): bigint {
  return builder.rng.chance(75) ? BigInt(builder.rng.pick([CS32, CS64])) : selector(builder);
}

/** An address in the code region but not in the code: arriving there is seen as an INT3 with that RIP. */
function codeTarget(builder: CaseBuilder): bigint {
  const offset = builder.rng.below(0x700);
  return BigInt(offset + (builder.codeAddress < CODE.address + CODE.length / 4 ? CODE.address + 0x800 : CODE.address));
}

function flags(builder: CaseBuilder): bigint {
  const { rng } = builder;
  // All but VM at random; TF seldom, since it ends the case one instruction later.
  return BigInt((rng.u32() & 0x3dfeff) | (rng.chance(5) ? 0x100 : 0)) & ~0x20000n;
}

/** A pointer register of a string instruction, to an operand of up to 8 bytes. */
function pointTo(builder: CaseBuilder, register: number): void {
  if (builder.isCommitted(register)) return;
  builder.elementKind = builder.rng.pick(['integer', 'bytes']);
  const linear = builder.target(8, builder.mode64 ? 8 : 4);
  builder.commit(register, linear);
  for (let at = -64; at < 64; at += 8) builder.poke(Number(linear) + at, qword(builder.rng, builder.elementKind));
}

/** Prepares registers and memory before the row is encoded. */
export function prepare(builder: CaseBuilder, row: OpcodeRow): Choices {
  const { rng } = builder;
  const modes = row.operands.map(({ mode }) => mode);
  if (modes.includes('X')) pointTo(builder, RSI);
  if (modes.includes('Y')) pointTo(builder, RDI);
  if (row.attributes & ATTR_REP && !builder.sequence)
    builder.prefer(RCX, rng.chance(95) ? BigInt(rng.below(24)) : integer(rng));
  switch (row.mnemonic) {
    case 'XLAT':
      pointTo(builder, RBX);
      return {};
    case 'MASKMOVQ':
    case 'MASKMOVDQU':
      pointTo(builder, RDI);
      return {};
    case 'LOOP':
    case 'LOOPE':
    case 'LOOPNE':
    case 'JCXZ':
      if (rng.chance(80)) builder.prefer(RCX, BigInt(rng.below(3)) | (rng.chance(20) ? BigInt(rng.u32()) << 32n : 0n));
      return {};
    case 'DIV':
    case 'IDIV':
      // A dividend that is not far too large.
      if (rng.chance(70)) {
        const low = integer(rng) >> BigInt(rng.pick([0, 0, 32, 48, 56]));
        builder.prefer(RAX, low);
        builder.prefer(
          RDX,
          row.mnemonic === 'IDIV' && low >> 63n ? -1n & 0xffff_ffff_ffff_ffffn : BigInt(rng.below(2)),
        );
      }
      return {};
    case 'ENTER':
      stack(builder, () => integer(rng));
      builder.prefer(RBP, BigInt(STACK.address + 0x400 + rng.below(64)));
      return { immediate: BigInt(rng.below(64)), level: BigInt(rng.pick([0, 0, 1, 2, 3, 31, 32])) };
    case 'RET':
      stack(builder, () => (rng.chance(90) ? codeTarget(builder) : integer(rng)));
      return { immediate: BigInt(rng.below(64)) };
    case 'RETF':
    case 'IRET':
      builder.useStack();
      return { immediate: BigInt(rng.below(64)) };
    case 'POPF':
      stack(builder, () => flags(builder));
      return {};
    case 'POP':
    case 'POPA':
    case 'LEAVE':
      if (row.mnemonic === 'LEAVE') builder.prefer(RBP, BigInt(STACK.address + 0x400 + rng.below(64)));
      stack(builder, () => (modes.some((mode) => mode.endsWith('S')) ? selector(builder) : integer(rng)));
      return {};
    case 'PUSH':
    case 'PUSHA':
    case 'PUSHF':
      builder.useStack();
      return {};
    case 'CALL':
      // Vendors differ in which fault comes first, the stack's or that of a target that is not canonical.
      if (modes[0] === 'E') builder.prefer(RSP, BigInt(STACK.address + STACK.length / 2 + rng.below(64)));
      builder.useStack();
      return {};
    case 'CALLF':
    case 'JMPF':
      builder.useStack();
      // AMD has no m16:64.
      return { noRexW: true, immediate: codeTarget(builder) | (codeSelector(builder) << 32n) };
    case 'LES':
    case 'LDS':
    case 'LSS':
    case 'LFS':
    case 'LGS':
      return { noRexW: true };
    case 'INT':
      // Not 0x80, which is Linux' system call.
      return { immediate: BigInt(rng.pick([0, 1, 2, 3, 4, 5, 6, 8, 13, 14, 0x20, 0x7f, 0x81, 0xff])) };
    case 'XSAVE':
    case 'XSAVEOPT':
    case 'XRSTOR':
      // Only the x87 and SSE components: the host may have more.
      builder.prefer(RAX, BigInt(rng.pick([3, 3, 3, 1, 2, 0])));
      builder.prefer(RDX, 0n);
      return {};
    default:
      return {};
  }
}

/** Fills the stack from RSP on, at every width. */
function stack(builder: CaseBuilder, value: () => bigint): void {
  const top = builder.useStack();
  for (let at = 0; at < 64; at += 8) builder.poke(top + at, value());
}

/** What RETF and IRET pop, in slots of `stride` bytes. */
function farFrame(builder: CaseBuilder, interrupt: boolean, stride: number): void {
  const { rng } = builder;
  const top = builder.useStack();
  const frame = [codeTarget(builder), codeSelector(builder)];
  if (interrupt) {
    const unaligned = top % stride !== 0 && avoided.iretToAlignmentChecks;
    frame.push(flags(builder) & (unaligned ? ~RFLAGS_AC : -1n), BigInt(STACK.address + 0x800 + rng.below(64)));
    frame.push(rng.chance(80) ? BigInt(DS) : selector(builder));
  }
  for (const [i, value] of frame.entries()) builder.poke(top + i * stride, value);
}

/** Gives the operands of an encoded instruction values that suit it. */
export function fillOperands(builder: CaseBuilder, row: OpcodeRow, encoded: Encoded): void {
  if (row.mnemonic === 'RETF' || row.mnemonic === 'IRET')
    farFrame(builder, row.mnemonic === 'IRET', encoded.operandSize);
  if (encoded.memory) fillMemory(builder, row, encoded, encoded.memory);
  else if (encoded.rm >= 0) fillRegister(builder, row, encoded.rm);
}

function fillRegister(builder: CaseBuilder, row: OpcodeRow, register: number): void {
  const { rng } = builder;
  switch (row.mnemonic) {
    case 'CALL':
    case 'JMP':
      if (rng.chance(90)) builder.prefer(register, codeTarget(builder));
      return;
    case 'MOV_TO_SREG':
      builder.prefer(register, selector(builder));
      return;
    case 'WRFSBASE':
    case 'WRGSBASE':
      if (rng.chance(85)) builder.prefer(register, BigInt.asUintN(64, BigInt.asIntN(47, rng.u64())));
      return;
  }
}

function fillMemory(
  builder: CaseBuilder,
  row: OpcodeRow,
  encoded: Encoded,
  { linear, size }: { readonly linear: bigint; readonly size: number },
): void {
  const { rng } = builder;
  const address = Number(linear);
  switch (row.mnemonic) {
    case 'BT':
    case 'BTS':
    case 'BTR':
    case 'BTC':
      // The bit offset in a register reaches far.
      if (rng.chance(90)) builder.prefer(encoded.register, BigInt.asUintN(64, BigInt(rng.below(4000) - 2000)));
      break;
    case 'CALL':
    case 'JMP':
      builder.poke(address, rng.chance(90) ? codeTarget(builder) : integer(rng));
      return;
    case 'CALLF':
    case 'JMPF':
    case 'LES':
    case 'LDS':
    case 'LSS':
    case 'LFS':
    case 'LGS':
      builder.poke(address, codeTarget(builder));
      builder.poke(
        address + encoded.operandSize,
        row.mnemonic.endsWith('F') ? codeSelector(builder) : selector(builder),
      );
      return;
    case 'MOV_TO_SREG':
      builder.poke(address, selector(builder));
      return;
    case 'LDMXCSR':
      builder.poke(address, BigInt(rng.chance(90) ? randomMxcsr(rng) : rng.u32()));
      return;
    case 'FXRSTOR':
      builder.pokeBytes(address, fxsaveImage(builder));
      return;
    case 'XSAVE':
    case 'XSAVEOPT':
    case 'XRSTOR':
      builder.pokeBytes(address, fxsaveImage(builder));
      for (let at = 512; at < 576; at += 8) builder.poke(address + at, 0n);
      builder.poke(address + 512, BigInt(rng.chance(95) ? rng.below(4) : rng.u32()));
      if (rng.chance(5)) builder.poke(address + 520, 1n << BigInt(rng.below(64)));
      return;
    case 'FRSTOR':
    case 'FLDENV':
      builder.pokeBytes(address, fsaveImage(builder));
      return;
    case 'CMPXCHG':
    case 'CMPXCHG8B':
      builder.fill(linear, size);
      if (rng.chance(60)) equalAccumulator(builder, address, row.mnemonic === 'CMPXCHG8B', encoded.operandSize === 8);
      return;
  }
  if (row.attributes & ATTR_X87) builder.elementKind = rng.pick(['integer', size === 4 ? 'float32' : 'float64']);
  if (row.attributes & ATTR_MMX && builder.elementKind !== 'bytes') builder.elementKind = 'integer';
  builder.fill(linear, size);
}

/** Makes the comparison of CMPXCHG succeed. */
function equalAccumulator(builder: CaseBuilder, address: number, double: boolean, wide: boolean): void {
  const value = integer(builder.rng);
  builder.prefer(RAX, value);
  if (double) builder.prefer(RDX, integer(builder.rng));
  const [low, high] = [builder.state.gpr[RAX], builder.state.gpr[RDX]];
  if (!double || wide) builder.poke(address, low);
  else builder.poke(address, (low & 0xffff_ffffn) | (high << 32n));
  if (double && wide) builder.poke(address + 8, high);
}

function fxsaveImage(builder: CaseBuilder): Uint8Array {
  const { rng } = builder;
  const image = new Uint8Array(new ArrayBuffer(STATE_SIZE), 0, 512);
  randomX87(image, rng);
  randomSse(image, rng, 'integer');
  if (rng.chance(5)) image[26] = 1; // a reserved bit of MXCSR
  return image;
}

/** The 32-bit image of FSAVE (SDM vol. 1, figure 8-11); FLDENV reads its first 28 bytes. */
function fsaveImage(builder: CaseBuilder): Uint8Array {
  const { rng } = builder;
  const fx = new Uint8Array(new ArrayBuffer(STATE_SIZE), 0, 512);
  randomX87(fx, rng);
  const image = new Uint8Array(112);
  const from = new DataView(fx.buffer);
  const to = new DataView(image.buffer);
  to.setUint16(0, from.getUint16(0, true), true);
  to.setUint16(4, from.getUint16(2, true), true);
  to.setUint16(8, rng.u32() & 0xffff, true);
  for (let i = 0; i < 8; i++) for (let b = 0; b < 10; b++) image[28 + i * 10 + b] = fx[32 + i * 16 + b];
  return image;
}
