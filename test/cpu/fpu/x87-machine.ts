/** The x87 model, driven by oracle records as the CPU would drive it. */
import { bytesInMode, execute, retire } from '../../../cpu/fpu/x87.ts';
import { STORES, x87Form } from '../../../cpu/fpu/x87-forms.ts';
import { OPERAND_BYTES, X87State } from '../../../cpu/fpu/x87-state.ts';
import { S_FPU_OPERAND } from '../../../cpu/state.ts';
import { EFLAGS, hex, MEMORY, RAX, X87_IMAGE, X87_MEMORY } from './oracle.ts';

export const IMAGE_BYTES = 108;
export const x = new X87State(new ArrayBuffer(S_FPU_OPERAND + OPERAND_BYTES));

/** Loads the state from a FRSTOR image. */
export function restore(image: Uint8Array): void {
  x.operand.set(image);
  execute(x, 0xdd, 0x26);
}

/** Stores the state as FNSAVE does. */
export function save(image: Uint8Array): void {
  execute(x, 0xdd, 0x36);
  image.set(x.operand.subarray(0, IMAGE_BYTES));
  retire(x, 0xdd, 0x36);
}

/** Runs one instruction of the record as the CPU would. */
export function run(record: Uint8Array, words: Int32Array, opcode: number, modrm: number): void {
  const image = record.subarray(X87_IMAGE, X87_IMAGE + IMAGE_BYTES);
  const form = x87Form(opcode, modrm);
  restore(image);
  x.eflags = words[EFLAGS / 4] & 0x45;
  if (!(form & STORES)) x.operand.set(record.subarray(X87_MEMORY, X87_MEMORY + bytesInMode(x, form)));
  execute(x, opcode, modrm);
  const target = modrm >= 0xc0 ? RAX : X87_MEMORY;
  record.set(x.operand.subarray(0, x.storeBytes), target);
  if (form & STORES) retire(x, opcode, modrm);
  words[EFLAGS / 4] = (words[EFLAGS / 4] & ~0x45) | x.eflags;
  save(image);
}

/** The parts of a record that matter, for a failing test's message. */
export function describeState(bytes: Uint8Array, at: number): string {
  const image = at + X87_IMAGE;
  const registers = [0, 1, 2].map((i) => hex(bytes, image + 28 + 10 * i, 10)).join(' ');
  return `cw ${hex(bytes, image, 2)} sw ${hex(bytes, image + 4, 2)} tw ${hex(bytes, image + 8, 2)} st ${registers} mem ${hex(bytes, at + X87_MEMORY, 10)} ax ${hex(bytes, at + RAX, 2)} fl ${hex(bytes, at + EFLAGS, 1)}`;
}

/** Byte ranges of a record that have to agree: all but the instruction and operand pointers. */
export const COMPARED = [
  [RAX, EFLAGS],
  [X87_IMAGE, X87_IMAGE + 12],
  [X87_IMAGE + 28, X87_MEMORY + MEMORY],
];
