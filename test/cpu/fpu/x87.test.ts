/** Every x87 instruction against the host CPU: registers, tags, status, control, memory and EFLAGS, bit for bit. */
import { describe, expect, test } from 'vitest';
import { execute, operandBytes, retire, x87Form } from '../../../cpu/fpu/x87.ts';
import { X87State } from '../../../cpu/fpu/x87-state.ts';
import {
  type Batch,
  batch,
  double,
  EFLAGS,
  extended,
  hex,
  ORACLE_AVAILABLE,
  RAX,
  Random,
  single,
  X87_IMAGE,
  X87_MEMORY,
} from './oracle.ts';

const CASES = Number(process.env.FPU_CASES ?? 2000);
const IMAGE_BYTES = 108;

/** Compared elsewhere: transcendental.test.ts. */
const TRANSCENDENTAL = /^(F2XM1|FYL2X|FPTAN|FPATAN|FYL2XP1|FSINCOS|FSIN|FCOS)$/;

const layout = { registers: 0, fcw: 128, fsw: 130, ftw: 132, fop: 134, fip: 136, fcs: 144, fds: 146, fdp: 152 };
const x = new X87State(new ArrayBuffer(256), layout);

/** Loads the state from a FRSTOR image. */
function restore(image: Uint8Array): void {
  x.operand.set(image);
  execute(x, 0xdd, 0x26);
}

/** Stores the state as FNSAVE does. */
function save(image: Uint8Array): void {
  execute(x, 0xdd, 0x36);
  image.set(x.operand.subarray(0, IMAGE_BYTES));
  retire(x, 0xdd, 0x36);
}

/** Runs one instruction of the record as the CPU would. */
function run(record: Uint8Array, words: Int32Array, opcode: number, modrm: number): void {
  const image = record.subarray(X87_IMAGE, X87_IMAGE + IMAGE_BYTES);
  const form = x87Form(opcode, modrm)!;
  restore(image);
  x.eflags = words[EFLAGS / 4] & 0x45;
  x.operand.set(record.subarray(X87_MEMORY, X87_MEMORY + operandBytes(x, form.loads)));
  execute(x, opcode, modrm);
  const target = modrm >= 0xc0 ? RAX : X87_MEMORY;
  record.set(x.operand.subarray(0, x.storeBytes), target);
  if (form.stores !== 0) retire(x, opcode, modrm);
  words[EFLAGS / 4] = (words[EFLAGS / 4] & ~0x45) | x.eflags;
  save(image);
}

/** Fills the memory operand with what the form reads. */
function fillOperand(random: Random, input: Batch, index: number, name: string): void {
  const at = index * input.stride + X87_MEMORY;
  const word = input.word(index, X87_MEMORY);
  for (let i = 0; i < 32; i++) input.words[word + i] = random.word();
  if (name.includes('m32fp')) input.words[word] = single(random);
  else if (name.includes('m64fp')) double(random, input.words, word);
  else if (name.includes('m80fp')) extended(random, input.bytes, at);
  else if (name.includes('bcd')) {
    for (let i = 0; i < 9; i++) input.bytes[at + i] = random.below(10) * 16 + random.below(10);
    for (let i = random.below(10); i < 9; i++) input.bytes[at + i] = 0;
  } else if (name === 'FLDCW') {
    input.words[word] &= ~0x3f;
    input.words[word] |= 0x3f & random.word();
  } else if (name === 'FLDENV' || name === 'FRSTOR') {
    input.words[word] |= 0x3f;
    for (let i = 0; i < 8; i++) extended(random, input.bytes, at + 28 + 10 * i);
  } else {
    input.words[word + 1] = input.words[word] >> 31;
    input.words[word] >>= random.below(32);
  }
}

/** A state: control and status words, tags, registers that are often close relatives of ST(0). */
function fillState(random: Random, input: Batch, index: number, name: string): void {
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
  for (let r = 0; r < 8; r++) if (random.chance(name.startsWith('FLD') ? 0.6 : 0.08)) tags |= 3 << (2 * r);
  // A push needs room, usually.
  if (/^(FLD|FILD|FBLD|FXTRACT)/.test(name) && random.chance(0.9)) tags |= 3 << (2 * ((top + 7) & 7));
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
    if (i === 1 && name === 'FSCALE' && random.chance(0.8)) {
      input.bytes[register + 9] = (input.bytes[register + 9] & 0x80) | 0x40;
      input.bytes[register + 8] = random.below(18);
      if (random.chance(0.2)) input.bytes[register + 9] ^= 0x7f;
    }
  }
}

/** Opcode, ModRM and name of one instance of every form. */
const forms: [string, number, number][] = [];
for (let opcode = 0xd8; opcode <= 0xdf; opcode++) {
  for (let modrm = 0x06; modrm <= 0xff; modrm = modrm < 0xc0 ? modrm + 8 : modrm + 1) {
    if (modrm >= 0x40 && modrm < 0xc0) modrm = 0xc0;
    const form = x87Form(opcode, modrm);
    if (!form || TRANSCENDENTAL.test(form.name)) continue;
    // Of ST(i) forms, ST(0) to ST(2) and one far register will do.
    const registerForm = modrm >= 0xc0 && x87Form(opcode, modrm & 0xf8) === x87Form(opcode, modrm | 7);
    if (registerForm && ![0, 1, 2, 5].includes(modrm & 7)) continue;
    forms.push([`${form.name} (${opcode.toString(16)} ${modrm.toString(16)})`, opcode, modrm]);
  }
}

function describeState(bytes: Uint8Array, at: number): string {
  const image = at + X87_IMAGE;
  const registers = [0, 1, 2].map((i) => hex(bytes, image + 28 + 10 * i, 10)).join(' ');
  return `cw ${hex(bytes, image, 2)} sw ${hex(bytes, image + 4, 2)} tw ${hex(bytes, image + 8, 2)} st ${registers} mem ${hex(bytes, at + X87_MEMORY, 10)} ax ${hex(bytes, at + RAX, 2)} fl ${hex(bytes, at + EFLAGS, 1)}`;
}

/** Byte ranges of a record that have to agree: all but the instruction and operand pointers. */
const COMPARED = [
  [RAX, EFLAGS],
  [X87_IMAGE, X87_IMAGE + 12],
  [X87_IMAGE + 28, X87_MEMORY + 128],
];

describe.skipIf(!ORACLE_AVAILABLE)('x87 equals the host CPU', () => {
  test.each(forms)('%s', (_title, opcode, modrm) => {
    const { name } = x87Form(opcode, modrm)!;
    const random = new Random(opcode * 256 + modrm);
    const input = batch('x87', CASES);
    for (let i = 0; i < CASES; i++) {
      input.setCode(i, [opcode, modrm]);
      fillState(random, input, i, name);
      fillOperand(random, input, i, name);
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
