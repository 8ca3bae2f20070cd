/**
 * The translation of representative code, pinned: IR and WebAssembly as text in pinned/*.txt, so that a change for the
 * worse is seen as one. When a change is meant, `npx vitest run test/cpu/jit/pinned -u` writes the files anew.
 */
import { describe, expect, it } from 'vitest';
import { type Listing, wasmText, wasmTextBetween } from '../../../cpu/text/wasm-text.ts';
import { assemble } from './pinned/assemble.ts';
import { MIX, PIECES, type Piece, PROGRAMS, WHOLES } from './pinned/cases.ts';
import { lift, translate, translateRunning } from './pinned/translator.ts';

/** What R14 is set to before a piece, and R15 behind it. */
const BEFORE = 0x5e471a81;
const BEHIND = 0x5e471a82;
/** Bytes of the instruction that sets R14. */
const HEAD = 7;

/** The instructions of a piece of source. */
const instructionsOf = (source: string): string[] =>
  source
    .split(/[;\n]/)
    .map((text) => text.replace(/^\s*(\d+:\s*)*/, '').trim())
    .filter((text) => text !== '' && !text.startsWith('.'));

const indented = (lines: readonly string[]): string => lines.map((line) => `      ${line}\n`).join('');

/** One case: its instructions, with their IR if wanted, and the code made of them. */
function page(title: string, source: string, code: Uint8Array, { text, bytes }: Listing, irFrom?: number): string {
  const instructions = instructionsOf(source);
  const lifted = lift(code, irFrom ?? 0, instructions.length);
  const shown = lifted.map(({ bytes, ir = ['by its helper'] }, i) => {
    const line = `  ${instructions[i]} | ${bytes}\n`;
    return irFrom === undefined ? line : line + indented(ir);
  });
  return `== ${title}\n${shown.join('')}  WebAssembly, ${bytes} bytes\n${indented(text)}`;
}

const marked = ({ code }: Piece): string => `mov r14, ${BEFORE}; ${code}; mov r15, ${BEHIND}; 1: test r14, r14`;

describe('pieces', () => {
  it.each(Object.entries(PIECES))('%s', async (file, pieces) => {
    const codes = assemble(pieces.map(marked));
    const pages = pieces.map((piece, i) => {
      const listing = wasmTextBetween(translate(codes[i], piece), BEFORE, BEHIND);
      return page(piece.paged ? `${piece.code} (paged)` : piece.code, piece.code, codes[i], listing, HEAD);
    });
    await expect(pages.join('\n')).toMatchFileSnapshot(`pinned/${file}.txt`);
  });
});

describe('regions', () => {
  it('of code that did not run', async () => {
    const codes = assemble(WHOLES.map(({ code }) => code));
    const pages = WHOLES.map((whole, i) => {
      const { title, code } = whole;
      return page(title, code, codes[i], wasmText(translate(codes[i], whole)));
    });
    await expect(pages.join('\n')).toMatchFileSnapshot('pinned/regions.txt');
  });

  it('with indirect jumps, grown to where these went', async () => {
    const codes = assemble(PROGRAMS.map(({ code }) => code));
    const pages = PROGRAMS.map(({ title, code }, i) =>
      page(title, code, codes[i], wasmText(translateRunning(codes[i]))),
    );
    await expect(pages.join('\n')).toMatchFileSnapshot('pinned/indirect.txt');
  });
});

/** Most bytes of WebAssembly per guest instruction, entry and exit included; lower them when the code gets smaller. */
const LIMITS: readonly (readonly [what: string, limit: number, paged: boolean])[] = [
  ['memory in a direct window', 47, false],
  ['memory by the TLB', 67, true],
];

describe('bytes of WebAssembly per guest instruction', () => {
  it.each(LIMITS)('%s: at most %i', (_, limit, paged) => {
    const [code] = assemble([MIX]);
    const bytes = translate(code, { paged }).length;
    expect(bytes / instructionsOf(MIX).length).toBeLessThanOrEqual(limit);
  });
});
