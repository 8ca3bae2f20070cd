/** Every x87 instruction against the host CPU: registers, tags, status, control, memory and EFLAGS, bit for bit. */
import { Decoder, DecoderOptions, Formatter, FormatterSyntax } from 'iced-x86';
import { describe, expect, test } from 'vitest';
import * as f from '../../../cpu/fpu/x87-forms.ts';
import {
  type Batch,
  batch,
  double,
  EFLAGS,
  extended,
  ORACLE_AVAILABLE,
  Random,
  single,
  X87_IMAGE,
  X87_MEMORY,
} from './oracle.ts';
import { COMPARED, describeState, run } from './x87-machine.ts';

const CASES = Number(process.env.FPU_CASES ?? 2000);

/** Compared elsewhere: transcendental.test.ts. */
const TRANSCENDENTAL = [f.F2XM1, f.FYL2X, f.FPTAN, f.FPATAN, f.FYL2XP1, f.FSINCOS, f.FSIN, f.FCOS];
/** Operations that push. */
const PUSHING = [f.FLD, f.FLDCONST, f.FXTRACT];

/** Fills the memory operand with what the form reads. */
function fillOperand(random: Random, input: Batch, index: number, form: number): void {
  const operand = form & f.OPERAND;
  const operation = form & f.OPERATION;
  const at = index * input.stride + X87_MEMORY;
  const word = input.word(index, X87_MEMORY);
  for (let i = 0; i < 32; i++) input.words[word + i] = random.word();
  if (operand === f.M32FP) input.words[word] = single(random);
  else if (operand === f.M64FP) double(random, input.words, word);
  else if (operand === f.M80FP) extended(random, input.bytes, at);
  else if (operand === f.M80BCD) {
    for (let i = 0; i < 9; i++) input.bytes[at + i] = random.below(10) * 16 + random.below(10);
    for (let i = random.below(10); i < 9; i++) input.bytes[at + i] = 0;
  } else if (operation === f.FLDCW) {
    input.words[word] &= ~0x3f;
    input.words[word] |= 0x3f & random.word();
  } else if (operation === f.FLDENV || operation === f.FRSTOR) {
    input.words[word] |= 0x3f;
    for (let i = 0; i < 8; i++) extended(random, input.bytes, at + 28 + 10 * i);
  } else {
    input.words[word + 1] = input.words[word] >> 31;
    input.words[word] >>= random.below(32);
  }
}

/** A state: control and status words, tags, registers that are often close relatives of ST(0). */
function fillState(random: Random, input: Batch, index: number, form: number): void {
  const operation = form & f.OPERATION;
  const at = index * input.stride + X87_IMAGE;
  const word = input.word(index, X87_IMAGE);
  const masks = random.chance(0.7) ? 0x3f : random.below(64);
  const control = (random.below(4) << 10) | (random.pick([0, 2, 3, 3, 3]) << 8);
  input.words[word] = 0xffff0000 | control | 0x40 | masks;
  const conditions = random.word() & 0x4700;
  const flags = random.chance(0.9) ? 0 : random.below(128) & (masks | 0x40);
  const top = random.below(8);
  input.words[word + 1] = 0xffff0000 | conditions | (top << 11) | flags;
  let tags = 0;
  for (let r = 0; r < 8; r++) if (random.chance(operation === f.FLD ? 0.6 : 0.08)) tags |= 3 << (2 * r);
  // A push needs room, usually.
  if (PUSHING.includes(operation) && random.chance(0.9)) tags |= 3 << (2 * ((top + 7) & 7));
  input.words[word + 2] = 0xffff0000 | tags;
  for (let i = 0; i < 8; i++) {
    const register = at + 28 + 10 * i;
    extended(random, input.bytes, register);
    if (i > 0 && random.chance(0.2)) {
      input.bytes.copyWithin(register, at + 28, at + 38);
      input.bytes[register] ^= random.below(2);
      if (random.chance(0.5)) input.bytes[register + 9] ^= 0x80;
    }
    // FSCALE and FPREM ask for small exponents and for near ones.
    if (i === 1 && operation === f.FSCALE && random.chance(0.8)) {
      input.bytes[register + 9] = (input.bytes[register + 9] & 0x80) | 0x40;
      input.bytes[register + 8] = random.below(18);
      if (random.chance(0.2)) input.bytes[register + 9] ^= 0x7f;
    }
  }
}

function nameOf(opcode: number, modrm: number): string {
  return new Formatter(FormatterSyntax.Intel).format(
    new Decoder(32, Uint8Array.of(opcode, modrm), DecoderOptions.None).decode(),
  );
}

/** Opcode, ModRM and name of one instance of every form. */
const forms: [string, number, number][] = [];
for (let opcode = 0xd8; opcode <= 0xdf; opcode++) {
  for (let modrm = 0x06; modrm <= 0xff; modrm = modrm < 0xc0 ? modrm + 8 : modrm + 1) {
    if (modrm >= 0x40 && modrm < 0xc0) modrm = 0xc0;
    const form = f.x87Form(opcode, modrm);
    const operation = form & f.OPERATION;
    if (operation === 0 || TRANSCENDENTAL.includes(operation)) continue;
    // Of ST(i) forms, ST(0) to ST(2) and one far register will do.
    const byIndex = modrm >= 0xc0 && f.x87Form(opcode, modrm & 0xf8) === f.x87Form(opcode, modrm | 7);
    if (byIndex && ![0, 1, 2, 5].includes(modrm & 7)) continue;
    forms.push([`${nameOf(opcode, modrm)} (${opcode.toString(16)} ${modrm.toString(16)})`, opcode, modrm]);
  }
}

describe.skipIf(!ORACLE_AVAILABLE)('x87 equals the host CPU', () => {
  test.each(forms)('%s', (_title, opcode, modrm) => {
    const form = f.x87Form(opcode, modrm);
    const random = new Random(opcode * 256 + modrm);
    const input = batch('x87', CASES);
    for (let i = 0; i < CASES; i++) {
      input.setCode(i, [opcode, modrm]);
      fillState(random, input, i, form);
      fillOperand(random, input, i, form);
      input.words[input.word(i, EFLAGS)] = 0x202 | (random.word() & 0x45);
    }
    const output = input.run();
    const mismatches: string[] = [];
    for (let i = 0; i < CASES && mismatches.length < 6; i++) {
      const start = i * input.stride;
      const record = input.bytes.slice(start, start + input.stride);
      run(record, new Int32Array(record.buffer), opcode, modrm);
      const native = output.bytes.subarray(start, start + input.stride);
      const same =
        ((record[EFLAGS] ^ native[EFLAGS]) & 0x45) === 0 &&
        COMPARED.every(([from, to]) => Buffer.compare(record.subarray(from, to), native.subarray(from, to)) === 0);
      if (same) continue;
      mismatches.push(
        `in:     ${describeState(input.bytes, start)}\nnative: ${describeState(native, 0)}\nours:   ${describeState(record, 0)}`,
      );
    }
    expect(mismatches.join('\n')).toBe('');
  });
});
