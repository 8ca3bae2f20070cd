/**
 * Runs a multiboot image under v86 with its serial port on standard output: `node bench/v86-runner.mjs KERNEL 64M APPEND`.
 * v86 has no power switch, so the guest's line "end" ends it.
 */

import { readFileSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { V86 } from 'v86';

const [kernel, memory, append] = process.argv.slice(2);
const image = readFileSync(kernel);
const machine = new V86({
  wasm_path: fileURLToPath(import.meta.resolve('v86/build/v86.wasm')),
  memory_size: Number.parseInt(memory, 10) << 20,
  vga_memory_size: 2 << 20,
  multiboot: { buffer: image.buffer.slice(image.byteOffset, image.byteOffset + image.length) },
  cmdline: `${kernel} ${append}`,
  autostart: true,
  disable_keyboard: true,
  disable_mouse: true,
  disable_speaker: true,
  log_level: 0,
});
let line = '';
machine.add_listener('serial0-output-byte', (byte) => {
  const character = String.fromCharCode(byte);
  line += character;
  if (character !== '\n') return;
  writeSync(1, line);
  if (line.trim() === 'end') process.exit(0);
  line = '';
});
