/** Which rows of the opcode table are tested against the host's CPU, and why the others are not. */
import { helperOf } from '../../cpu/helpers/all.ts';
import { ATTR_I64, ATTR_O64, type OpcodeRow, rows } from '../../cpu/isa/table.ts';
import { definitionOf } from '../../cpu/lift/lift.ts';

/** Results that depend on the host, its kernel or the moment, by mnemonic. */
const UNTESTABLE: Readonly<Record<string, string>> = {
  SYSCALL: "enters the host's kernel",
  SYSENTER: "enters the host's kernel, or is undefined in 64-bit mode on AMD's CPUs",
  CPUID: "describes the host's CPU",
  XGETBV: "tells the host's XCR0",
  RDTSC: "reads the host's clock",
  RDTSCP: "reads the host's clock",
  RDPID: "tells the host's processor number",
  RDRAND: 'random',
  RDSEED: 'random',
  RDPMC: "depends on the host's CR4.PCE",
  SGDT: 'UMIP: emulated by the host kernel',
  SIDT: 'UMIP: emulated by the host kernel',
  SLDT: 'UMIP: emulated by the host kernel',
  STR: 'UMIP: emulated by the host kernel',
  SMSW: 'UMIP: emulated by the host kernel',
  LAR: "reads the host kernel's descriptors",
  LSL: "reads the host kernel's descriptors",
  VERR: "reads the host kernel's descriptors",
  VERW: "reads the host kernel's descriptors",
  XSAVEOPT: 'what it need not store is for the processor to know',
  INT1: 'hypervisors report the wrong RIP for it',
};

/** @returns why `row` cannot be tested in this mode, or undefined if it can. */
export function untestable(row: OpcodeRow, mode64: boolean): string | undefined {
  if (row.attributes & (mode64 ? ATTR_I64 : ATTR_O64)) return mode64 ? 'not in 64-bit mode' : 'only in 64-bit mode';
  return UNTESTABLE[row.mnemonic];
}

/** The rows to test in a mode. */
export function testable(mode64: boolean): OpcodeRow[] {
  return rows.slice(1).filter((row) => untestable(row, mode64) === undefined);
}

/** #UD, so far as user mode can see. */
const ALWAYS_UD = new Set(['UD0', 'UD1', 'UD2', 'RSM']);

/** Does the CPU have a meaning for `row`? */
export function implemented(row: OpcodeRow): boolean {
  return definitionOf(row.index) !== undefined || helperOf(row.index) !== undefined || ALWAYS_UD.has(row.mnemonic);
}

/** The rows that are tested in neither mode, as `mnemonic operands: reason`. */
export function untested(): string[] {
  return rows
    .slice(1)
    .filter((row) => untestable(row, true) && untestable(row, false))
    .map((row) => `${rowName(row)}: ${UNTESTABLE[row.mnemonic] ?? untestable(row, true)}`);
}

const MAP_NAMES = ['', '0f ', '0f38 ', '0f3a ', 'vex 0f38 ', 'vex 0f3a '];

/** @returns e.g. `81 ADD Ev,Iz`. */
export function rowName(row: OpcodeRow): string {
  const opcode = row.opcode.toString(16).padStart(2, '0');
  const operands = row.operands.map(({ code }) => code).join(',');
  return `${MAP_NAMES[row.map]}${opcode} ${row.mnemonic} ${operands}`.trimEnd();
}
