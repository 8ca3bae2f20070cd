/** Assembles small pieces of 64-bit code by the host's GNU assembler, all of them at once. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Room for each piece; what it does not fill is HLT. */
const ROOM = 4096;
const HLT = 0xf4;

/**
 * @param sources Intel syntax; instructions, labels and directives divided by `;`
 * @returns the code of each, padded with HLT
 */
export function assemble(sources: readonly string[]): Uint8Array[] {
  const folder = mkdtempSync(join(tmpdir(), 'tsvmm-pinned-'));
  try {
    const [source, object, code] = ['source.s', 'object.o', 'code.bin'].map((name) => join(folder, name));
    const pieces = sources.map((text, i) => `.org ${i * ROOM}, ${HLT}\n${text}\n`);
    writeFileSync(source, `.intel_syntax noprefix\n${pieces.join('')}.org ${sources.length * ROOM}, ${HLT}\n`);
    execFileSync('as', ['--64', '-o', object, source]);
    execFileSync('objcopy', ['-O', 'binary', '-j', '.text', object, code]);
    const bytes = readFileSync(code);
    return sources.map((_, i) => bytes.subarray(i * ROOM, (i + 1) * ROOM));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
