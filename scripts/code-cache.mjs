/**
 * Makes V8's code cache for a bundle: runs a tiny guest, so that the cache holds the functions that every start needs
 * and not only the outermost one.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Script } from 'node:vm';

const bundle = process.argv[2];

/** A multiboot kernel that prints a line feed and powers off. */
function powerOffKernel() {
  const base = 0x100000;
  const code = [
    ...[0x66, 0xba, 0xf8, 0x03], // mov $0x3f8, %dx
    ...[0xb0, 0x0a, 0xee], // mov $'\n', %al; out %al, %dx
    ...[0x66, 0xba, 0x04, 0x06], // mov $0x604, %dx
    ...[0x66, 0xb8, 0x00, 0x20, 0x66, 0xef], // mov $0x2000, %ax; out %ax, %dx
    0xf4, // hlt
  ];
  const kernel = new DataView(new ArrayBuffer(32 + code.length));
  const flags = 0x10000;
  // magic, flags, checksum, header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr
  const header = [0x1badb002, flags, -(0x1badb002 + flags), base, base, 0, 0, base + 32];
  for (const [index, value] of header.entries()) {
    kernel.setUint32(index * 4, value, true);
  }
  const bytes = new Uint8Array(kernel.buffer);
  bytes.set(code, 32);
  return bytes;
}

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-build-'));
const kernel = join(directory, 'kernel');
writeFileSync(kernel, powerOffKernel());

const script = new Script(readFileSync(bundle, 'latin1'), { filename: bundle });
const { main } = script.runInThisContext()(createRequire(import.meta.url));
const status = await main(['-kernel', kernel, '-m', '16M', '-display', 'none', '-nic', 'user', '-no-reboot']);
rmSync(directory, { recursive: true });
if (status !== 0) {
  console.error(`the warm-up guest ended with status ${status}`);
  process.exit(1);
}
writeFileSync(`${bundle}.cache`, script.createCachedData());
