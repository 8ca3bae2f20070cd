/** The disassembler: texts that are known, and mnemonics against iced-x86 for random instructions. */
import { Decoder, DecoderOptions, FormatMnemonicOptions, Formatter, FormatterSyntax } from 'iced-x86';
import { describe, expect, it, test } from 'vitest';
import { decode, MAX_LENGTH } from '../../../cpu/decode/decoder.ts';
import { Insn } from '../../../cpu/decode/insn.ts';
import { ENTRY_UD } from '../../../cpu/isa/table.ts';
import { disassemble } from '../../../cpu/text/disassembler.ts';
import { Rng } from '../../isa/rng.ts';

const IP = 0x10_0000;
const insn = new Insn();

/** @returns undefined for what is no instruction */
function textOf(bytes: readonly number[] | Uint8Array, codeSize = 8): string | undefined {
  const code = new Uint8Array(32);
  code.set(bytes);
  const length = decode(insn, code, 0, codeSize, codeSize);
  return insn.row === ENTRY_UD || length > MAX_LENGTH ? undefined : disassemble(insn, IP + length, 0);
}

test.each([
  ['48 89 e5', 'mov rbp, rsp'],
  ['8b 45 fc', 'mov eax, dword ptr [rbp-0x4]'],
  ['48 8d 84 8b 78 56 34 12', 'lea rax, [rbx+rcx*4+0x12345678]'],
  ['48 8b 05 10 00 00 00', 'mov rax, qword ptr [0x100017]'],
  ['64 48 8b 04 25 28 00 00 00', 'mov rax, qword ptr fs:[0x28]'],
  ['e8 fb ff ff ff', 'call 0x100000'],
  ['75 fe', 'jne 0x100000'],
  ['0f 93 c0', 'setae al'],
  ['40 b6 05', 'mov sil, 0x5'],
  ['b6 05', 'mov dh, 0x5'],
  ['66 83 c0 ff', 'add ax, 0xffff'],
  ['48 83 c0 ff', 'add rax, 0xffffffffffffffff'],
  ['48 b8 88 77 66 55 44 33 22 11', 'mov rax, 0x1122334455667788'],
  ['f0 48 0f b1 0f', 'lock cmpxchg qword ptr [rdi], rcx'],
  ['48 0f c7 0f', 'cmpxchg16b xmmword ptr [rdi]'],
  ['f3 48 ab', 'rep stosq'],
  ['f3 a6', 'repe cmpsb'],
  ['f2 ae', 'repne scasb'],
  ['66 0f 6f 04 24', 'movdqa xmm0, xmmword ptr [rsp]'],
  ['f2 0f 58 c1', 'addsd xmm0, xmm1'],
  ['0f 20 d8', 'mov rax, cr3'],
  ['0f 01 38', 'invlpg [rax]'],
  ['8e d8', 'mov ds, ax'],
  ['ec', 'in al, dx'],
  ['e6 80', 'out 0x80, al'],
  ['48 98', 'cdqe'],
  ['d1 e0', 'shl eax, 1'],
  ['d3 e8', 'shr eax, cl'],
  ['c8 10 00 01', 'enter 0x10, 0x1'],
  ['8f 44 24 08', 'pop qword ptr [rsp+0x8]'],
  ['c4 e2 f9 f7 c3', 'shlx rax, rbx, rax'],
  ['dd 45 f8', 'fld qword ptr [rbp-0x8]'],
  ['de c1', 'faddp st(1), st(0)'],
  ['d9 e8', 'fld1'],
  ['d9 c9', 'fxch st(1)'],
  ['f4', 'hlt'],
  ['0f 0b', 'ud2'],
])('%s is %s', (bytes, text) => {
  expect(textOf(bytes.split(' ').map((byte) => Number.parseInt(byte, 16)))).toBe(text);
});

test.each([
  ['ea 78 56 34 12 08 00', 4, 'jmp far 0x8:0x12345678'],
  ['26 8b 07', 4, 'mov eax, dword ptr es:[edi]'],
  ['67 8b 42 05', 4, 'mov eax, dword ptr [bp+si+0x5]'],
  ['8b 1e 34 12', 2, 'mov bx, word ptr [0x1234]'],
  ['e2 fe', 2, 'loop 0x0'],
])('%s in %i-byte code is %s', (bytes, codeSize, text) => {
  expect(
    textOf(
      bytes.split(' ').map((byte) => Number.parseInt(byte, 16)),
      codeSize,
    ),
  ).toBe(text);
});

/** Names that both are right. */
const SAME: Readonly<Record<string, string>> = {
  pushaw: 'pusha',
  popaw: 'popa',
  pushfw: 'pushf',
  popfw: 'popf',
  iretw: 'iret',
  sal: 'shl',
  fwait: 'wait',
  sysretd: 'sysret',
  sysexitd: 'sysexit',
};
/** Hints that are NOPs to this CPU, and undocumented aliases. */
const HINTS = /^(prefetch|nop|reservednop|endbr|cldemote|rdssp|fstpnce|fneni|fndisi|fnsetpm|fnop)/;

describe('mnemonics', () => {
  it.each([64, 32, 16])('are those of iced in %i-bit code', (bits) => {
    const rng = new Rng(bits);
    const formatter = new Formatter(FormatterSyntax.Intel);
    formatter.usePseudoOps = false;
    const bytes = new Uint8Array(32);
    let compared = 0;
    for (let n = 0; n < 30_000; n++) {
      for (let i = 0; i < bytes.length; i++) bytes[i] = rng.u32();
      bytes[0] = rng.pick([bytes[0], bytes[0], 0x0f, 0x0f, 0x48, 0xd8 | rng.below(8)]);
      const ours = textOf(bytes, bits / 8);
      if (ours === undefined) continue;
      const decoder = new Decoder(bits, bytes, DecoderOptions.None);
      const iced = decoder.decode();
      const theirs = formatter.formatMnemonicOptions(iced, FormatMnemonicOptions.NoPrefixes);
      iced.free();
      decoder.free();
      if (HINTS.test(theirs) || ours === 'nop') continue;
      const bare = ours.replace(/^((rep\w*|lock|[cdefgs]s) )+/, '');
      const expected = SAME[theirs] ?? theirs;
      expect(bare === expected || bare.startsWith(`${expected} `), `${ours} is ${theirs}`).toBe(true);
      compared++;
    }
    formatter.free();
    expect(compared).toBeGreaterThan(10_000);
  });
});
