/** Guests of a few bytes of 32-bit code, as multiboot kernels: enough to see how the program around them behaves. */

import { multibootHeader } from '../firmware/build-kernel.ts';

const BASE = 0x100000;

/** A flat multiboot image with `code` at its entry point. */
function kernel(...code: readonly number[]): Uint8Array {
  const header = multibootHeader(0x10000, [BASE, BASE, 0, 0, BASE + 32]);
  return Uint8Array.from([...header, ...code]);
}

const movDx = (port: number) => [0x66, 0xba, port & 0xff, port >> 8];
const movAl = (value: number) => [0xb0, value];
const OUT_AL = 0xee;
const IN_AL = 0xec;
const HLT = 0xf4;
/** Jump back to the first of `length` bytes, this jump included. */
const loop = (length: number) => [0xeb, (256 - length) & 0xff];
const POWER_OFF = [...movDx(0x604), 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef, 0xfa, HLT];

const print = (text: string) => [...Buffer.from(text)].flatMap((byte) => [...movAl(byte), OUT_AL]);

const outImmediate = (port: number, value: number) => [...movAl(value), 0xe6, port];
const le32 = (value: number) => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
/** `mov $0xd0000000, %eax; jmp *%eax` */
const JUMP_AWAY = [0xb8, ...le32(0xd0000000), 0xff, 0xe0];

/** HLT until the PIT's interrupt, whose handler is given. */
function wokenUp(...handler: readonly number[]): Uint8Array {
  const entry = BASE + 32 + 2;
  const pointer = entry + handler.length;
  const idt = 0x30000;
  const gate = idt + 0x20 * 8;
  return kernel(
    ...[0xeb, handler.length + 6], // jump over handler and IDT pointer
    ...handler,
    ...[0xff, 0x07, ...le32(idt)],
    ...[0xbc, ...le32(0x20000)], // mov …, %esp
    ...[0xc7, 0x05, ...le32(gate), ...le32(entry & 0xffff)], // movl …, gate
    ...[0x8c, 0x0d, ...le32(gate + 2)], // mov %cs, gate + 2
    ...[0xc7, 0x05, ...le32(gate + 4), ...le32(((entry >>> 16) << 16) | 0x8e00)],
    ...[0x0f, 0x01, 0x1d, ...le32(pointer)], // lidt
    ...[0x20, 0x21, 0x21, 0x21, 0x21].flatMap((port, i) => outImmediate(port, [0x11, 0x20, 0x04, 0x01, 0xfe][i])),
    ...[0x43, 0x40, 0x40].flatMap((port, i) => outImmediate(port, [0x34, 0, 0][i])),
    ...[0xfb, HLT, 0xeb, 0xfd], // sti; 1: hlt; jmp 1b
  );
}

export const GUESTS = {
  POWERS_OFF: kernel(...movDx(0x3f8), ...print('hello\r\n'), ...POWER_OFF),
  SPINS: kernel(...movDx(0x3f8), ...print('spin\n'), ...loop(2)),
  /** CLI, HLT: nothing can wake it. */
  HALTS: kernel(...movDx(0x3f8), ...print('halt\n'), 0xfa, HLT, ...loop(4)),
  DEBUG_EXIT: kernel(...movDx(0x501), ...movAl(0x29), OUT_AL, ...loop(2)),
  RESETS: kernel(...movDx(0x3f8), ...print('boot\n'), ...movDx(0x64), ...movAl(0xfe), OUT_AL, ...loop(2)),
  /** INT3 with an IDT of no entries: `push 0; push 0; lidt (%esp); int3`. */
  TRIPLE_FAULTS: kernel(0xbc, 0, 0, 2, 0, 0x6a, 0, 0x6a, 0, 0x0f, 0x01, 0x1c, 0x24, 0xcc),
  /** Jumps to 0xd0000000: `mov $0xd0000000, %eax; jmp *%eax`. */
  LEAVES_RAM: kernel(...JUMP_AWAY),
  /** The same in the handler of the timer's interrupt, which wakes it from HLT. */
  LEAVES_RAM_LATER: wokenUp(...JUMP_AWAY),
  /** Prints x without end. */
  FLOODS: kernel(...movDx(0x3f8), ...movAl(0x78), OUT_AL, ...loop(3)),
  /** Prints 200,000 characters, then powers off: `mov $200000, %ecx; 1: out %al, %dx; loop 1b`. */
  PRINTS_MUCH: kernel(
    ...[0xb9, 0x40, 0x0d, 0x03, 0x00],
    ...movDx(0x3f8),
    ...movAl(0x78),
    ...[OUT_AL, 0xe2, 0xfd],
    ...POWER_OFF,
  ),
  /** Writes what it reads from COM1 back; `q` powers off. */
  ECHOES: kernel(
    ...movDx(0x3fd), // wait for LSR.DR
    ...[IN_AL, 0xa8, 0x01, 0x74, 0xfb],
    ...movDx(0x3f8),
    ...[IN_AL, OUT_AL, 0x3c, 0x71], // in, out, cmp $'q'
    ...[0x75, 0xed], // jne back to the start
    ...POWER_OFF,
  ),
} as const;
