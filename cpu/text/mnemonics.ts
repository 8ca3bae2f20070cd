/**
 * Names of instructions as the manual spells them. The opcode table has one name for what the operand size tells apart
 * (CBW, CWDE and CDQE), names conditions by their flags (JNB), and leaves the x87 to its escape opcodes (Intel SDM vol. 2D,
 * tables ).
 */

import type { Insn } from '../decode/insn.ts';
import type { OpcodeRow } from '../isa/table.ts';

/** By operand size: 2, 4, 8 bytes. */
const BY_SIZE: Readonly<Record<string, string>> = {
  CBW: 'cbw cwde cdqe',
  CWD: 'cwd cdq cqo',
  PUSHF: 'pushf pushfd pushfq',
  POPF: 'popf popfd popfq',
  PUSHA: 'pusha pushad pushad',
  POPA: 'popa popad popad',
  IRET: 'iret iretd iretq',
  INS: 'insw insd insd',
  OUTS: 'outsw outsd outsd',
  MOVS: 'movsw movsd movsq',
  CMPS: 'cmpsw cmpsd cmpsq',
  STOS: 'stosw stosd stosq',
  LODS: 'lodsw lodsd lodsq',
  SCAS: 'scasw scasd scasq',
  SYSRET: 'sysret sysret sysretq',
  SYSEXIT: 'sysexit sysexit sysexitq',
};
/** With REX.W. */
const WIDE: Readonly<Record<string, string>> = {
  MOVD: 'movq',
  PINSRD: 'pinsrq',
  PEXTRD: 'pextrq',
  CMPXCHG8B: 'cmpxchg16b',
  PCMPESTRI: 'pcmpestri64',
  PCMPESTRM: 'pcmpestrm64',
  FXSAVE: 'fxsave64',
  FXRSTOR: 'fxrstor64',
  XSAVE: 'xsave64',
  XRSTOR: 'xrstor64',
  XSAVEOPT: 'xsaveopt64',
};
const OTHERWISE: Readonly<Record<string, string>> = {
  IMUL1: 'imul',
  MOV_FROM_SREG: 'mov',
  MOV_TO_SREG: 'mov',
  MOV_FROM_CR: 'mov',
  MOV_TO_CR: 'mov',
  MOV_FROM_DR: 'mov',
  MOV_TO_DR: 'mov',
  CALLF: 'call far',
  JMPF: 'jmp far',
  RETF: 'ret far',
  FWAIT: 'wait',
};
const CONDITIONS: Readonly<Record<string, string>> = { NB: 'ae', Z: 'e', NZ: 'ne', NBE: 'a', NL: 'ge', NLE: 'g' };
const COUNTERS: Readonly<Record<number, string>> = { 2: 'jcxz', 4: 'jecxz', 8: 'jrcxz' };

/** Memory forms by escape opcode and ModRM.reg; the width of the operand is the table's. */
const X87_MEMORY = [
  'fadd fmul fcom fcomp fsub fsubr fdiv fdivr',
  'fld - fst fstp fldenv fldcw fnstenv fnstcw',
  'fiadd fimul ficom ficomp fisub fisubr fidiv fidivr',
  'fild fisttp fist fistp - fld - fstp',
  'fadd fmul fcom fcomp fsub fsubr fdiv fdivr',
  'fld fisttp fst fstp frstor - fnsave fnstsw',
  'fiadd fimul ficom ficomp fisub fisubr fidiv fidivr',
  'fild fisttp fist fistp fbld fild fbstp fistp',
].map((names) => names.split(' '));
/** Register forms, by the same; `*`: ModRM.rm tells them apart too. */
const X87_REGISTER = [
  'fadd fmul fcom fcomp fsub fsubr fdiv fdivr',
  'fld fxch fnop fstpnce * * * *',
  'fcmovb fcmove fcmovbe fcmovu - fucompp - -',
  'fcmovnb fcmovne fcmovnbe fcmovnu * fucomi fcomi -',
  'fadd fmul fcom fcomp fsubr fsub fdivr fdiv',
  'ffree fxch fst fstp fucom fucomp - -',
  'faddp fmulp fcomp fcompp fsubrp fsubp fdivrp fdivp',
  'ffreep fxch fstp fstp fnstsw fucomip fcomip -',
].map((names) => names.split(' '));
/** D9 E0 … FF. */
const X87_CONSTANT =
  'fchs fabs - - ftst fxam - - fld1 fldl2t fldl2e fldpi fldlg2 fldln2 fldz - f2xm1 fyl2x fptan fpatan fxtract fprem1 fdecstp fincstp fprem fyl2xp1 fsqrt fsincos frndint fscale fsin fcos'.split(
    ' ',
  );
/** DB E0 … E7. */
const X87_CONTROL = 'fneni fndisi fnclex fninit fnsetpm - - -'.split(' ');
/** Register forms without operands. */
const X87_BARE = /^(fnop|fcompp|fucompp|fnstsw)$/;
/** Register forms whose destination is ST(i): those of DC and DE. */
const ESCAPE_DC = 4;
const ESCAPE_DE = 6;

function x87(insn: Insn): string {
  const group = insn.opcode & 7;
  const digit = (insn.modrm >> 3) & 7;
  if (insn.mod !== 3) return X87_MEMORY[group][digit];
  if (insn.modrm >= 0xe0 && group === 1) return X87_CONSTANT[insn.modrm - 0xe0];
  if (digit === 4 && group === 3) return X87_CONTROL[insn.modrm - 0xe0];
  return X87_REGISTER[group][digit];
}

/** The stack registers of an x87 register form, as its only operands. */
export function x87Operands(insn: Insn): string[] {
  const group = insn.opcode & 7;
  const name = x87(insn);
  const single = group === 1 || group === 3 ? insn.modrm >= 0xe0 && name !== 'fucomi' && name !== 'fcomi' : false;
  if (single || X87_BARE.test(name)) return [];
  const register = `st(${insn.modrm & 7})`;
  // What loads, exchanges, stores, frees or compares with ST(0) names one register only.
  if (/^(fld|fxch|ffreep?|fstp?|fucomp?|fcomp?)$/.test(name)) return [register];
  return group === ESCAPE_DC || group === ESCAPE_DE ? [register, 'st(0)'] : ['st(0)', register];
}

/** The name of a decoded instruction, without prefixes. */
export function mnemonicOf(insn: Insn, { mnemonic, operands }: OpcodeRow): string {
  if (mnemonic === 'X87') return x87(insn);
  if (mnemonic === 'JCXZ') return COUNTERS[insn.addressSize];
  if (insn.rexW && WIDE[mnemonic] !== undefined) return WIDE[mnemonic];
  const sizes = BY_SIZE[mnemonic]?.split(' ');
  if (sizes !== undefined && mnemonic === 'SYSEXIT') return insn.rexW ? sizes[2] : sizes[0];
  if (sizes !== undefined) {
    const isByte = operands.some(({ mode, type }) => 'XY'.includes(mode) && type === 'b');
    return isByte ? `${mnemonic.toLowerCase()}b` : sizes[insn.operandSize >> 2];
  }
  const [, family, condition] = /^(J|SET|CMOV)(NB|Z|NZ|NBE|NL|NLE)$/.exec(mnemonic) ?? [];
  if (family !== undefined) return family.toLowerCase() + CONDITIONS[condition];
  return OTHERWISE[mnemonic] ?? mnemonic.toLowerCase();
}
