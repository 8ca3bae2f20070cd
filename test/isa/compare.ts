/**
 * Compares two executors case by case, shrinks a case on which they differ, and says how they differ.
 *
 * What an instruction leaves undefined is not compared: flags by the opcode table's column, and what
 * {@link estimates} and {@link isTranscendental} name. What vendors do differently is a matter of vendors.ts. A result
 * that the reference does not repeat does not count.
 */
import { Decoder, DecoderOptions, Formatter, FormatterSyntax } from 'iced-x86';
import { ATTR_END, FLAG_O } from '../../cpu/isa/table.ts';
import { RCX } from './builder.ts';
import {
  type CaseResult,
  type CpuState,
  type Executor,
  FX_FCW,
  FX_FSW,
  FX_FTW,
  FX_MXCSR,
  FX_ST0,
  FX_XMM0,
  GPR_NAMES,
  initialState,
  SEGMENT_NAMES,
  TRAP_NONE,
  TRAP_SYSCALL,
  TRAP_TIMEOUT,
} from './case.ts';
import { assemble, type GeneratedCase, type Instruction, isTranscendental, writesOnCondition } from './generate.ts';
import { RUNNER_PAGES } from './layout.ts';
import { host, reconcile } from './vendors.ts';

const FSW_C1 = 0x200;
const RFLAGS_RF = 0x10000;
const PAGE_FAULT = 14;
/** Bit P of a #PF's error code. */
const PRESENT = 1;

/** Where Linux' part of the address space begins: the last page of the lower half (arch/x86/include/asm/page_64_types.h). */
const TASK_SIZE_MAX = 0x7fff_ffff_f000n;

/** One place where two results differ; the values are printable. */
export interface Difference {
  readonly where: string;
  /** Before the case, where that means something. */
  readonly input: string;
  readonly expected: string;
  readonly actual: string;
}

export interface Mismatch {
  readonly testCase: GeneratedCase;
  readonly differences: readonly Difference[];
}

/** RCPPS and the like: the result is any within 1.5 × 2⁻¹² of the true one (SDM vol. 2B), and vendors differ. */
const estimates = new Set(['RCPPS', 'RCPSS', 'RSQRTPS', 'RSQRTSS']);

const SHIFTS = new Set('ROL ROR RCL RCR SHL SHR SAR SHLD SHRD'.split(' '));

/** Operands of many pieces: which piece is accessed first, and so reported by a #PF, is the processor's choice. */
const inPieces = new Set('FLDENV FNSTENV FRSTOR FNSAVE FXRSTOR FXSAVE XRSTOR XSAVE XSAVEOPT'.split(' '));
const OPERAND_BYTES = 1024n;

const F2XM1 = 0xf0;
const FYL2XP1 = 0xf9;
/** Exponents, biased, of 1 and ¼. */
const EXPONENT_1 = 0x3fff;
const EXPONENT_QUARTER = 0x3ffd;
/** Infinities and NaNs. */
const EXPONENT_SPECIAL = 0x7fff;

/** F2XM1 of more than 1 and FYL2XP1 of more than √2 − 1 (here: of ¼ or more): result and flags are undefined. */
function isOutOfDomain({ instructions, state }: GeneratedCase): boolean {
  const exponent = (state.fxsave[FX_ST0 + 8] | (state.fxsave[FX_ST0 + 9] << 8)) & 0x7fff;
  return instructions.filter(isTranscendental).some(({ bytes }) => {
    const operation = bytes.at(-1);
    const limit = operation === F2XM1 ? EXPONENT_1 : EXPONENT_QUARTER;
    return (operation === F2XM1 || operation === FYL2XP1) && exponent >= limit && exponent < EXPONENT_SPECIAL;
  });
}

/** Bits that a case of one shift or rotate instruction moves by, undefined for all else. */
function shiftCount({ instructions: [{ row, bytes }], state }: GeneratedCase): number | undefined {
  if (!SHIFTS.has(row.mnemonic)) return undefined;
  return (row.operands.at(-1)!.code === 'CL' ? Number(state.gpr[RCX] & 63n) : bytes.at(-1)!) & 63;
}

/** The flags that the case may leave undefined, wherever among its instructions a fault may have happened. */
export function undefinedFlags(testCase: GeneratedCase, finished: boolean): number {
  const { instructions } = testCase;
  // A count of one defines OF, a count of zero leaves all as it was; which it is, is not known within a sequence.
  if (instructions.length === 1 && (shiftCount(testCase) ?? 2) <= 1) return instructions[0].row.undefined & ~FLAG_O;
  let now = 0;
  let ever = 0;
  // Behind a branch it is not known here which instructions were executed.
  if (instructions.some(({ row }) => row.attributes & ATTR_END)) finished = false;
  // Nor behind the end of the code region, which cuts the code off.
  if (testCase.code.length < instructions.reduce((sum, { bytes }) => sum + bytes.length, 0)) finished = false;
  for (const { row } of instructions) {
    // Flags that are written only if a count is not zero stay as undefined as they were.
    if (!writesOnCondition(row)) now &= ~row.written;
    now |= row.undefined;
    ever |= now;
  }
  return finished ? now : ever;
}

const hex = (value: bigint | number, digits = 1): string => value.toString(16).padStart(digits, '0');

function trapName(trap: number): string {
  if (trap === TRAP_NONE) return 'none';
  if (trap === TRAP_SYSCALL) return 'system call';
  if (trap === TRAP_TIMEOUT) return 'timeout';
  const names = [
    'DE',
    'DB',
    'NMI',
    'BP',
    'OF',
    'BR',
    'UD',
    'NM',
    'DF',
    '9',
    'TS',
    'NP',
    'SS',
    'GP',
    'PF',
    '15',
    'MF',
    'AC',
  ];
  return `#${names[trap] ?? (trap === 19 ? 'XM' : trap)}`;
}

/** A null selector's RPL is lost when the host's kernel switches tasks. */
function selectorText(selector: number): string {
  return selector < 4 ? 'null' : hex(selector, 4);
}

/** Did the case fault on a page that only the host has, because its runner needs it? */
function hitsRunner({ trap, cr2 }: CaseResult): boolean {
  return trap === PAGE_FAULT && RUNNER_PAGES.includes(Number(cr2 & ~0xfffn));
}

/**
 * @returns where `actual`, the emulated CPU's, differs from `expected`, that of a CPU of `vendor`, in what the
 * architecture defines and vendors do alike.
 */
export function differences(
  testCase: GeneratedCase,
  expected: CaseResult,
  actual: CaseResult,
  vendor = host,
): Difference[] {
  if (hitsRunner(actual)) return [];
  const found = plainDifferences(testCase, expected, actual);
  if (found.length === 0) return found;
  const reconciled = reconcile(testCase, expected, actual, vendor);
  return reconciled ? plainDifferences(testCase, reconciled, actual) : [];
}

function plainDifferences(testCase: GeneratedCase, expected: CaseResult, actual: CaseResult): Difference[] {
  const found: Difference[] = [];
  const differ = (where: string, input: string, e: string, a: string) => {
    if (e !== a) found.push({ where, input, expected: e, actual: a });
  };
  const before = testCase.state;
  const [e, a] = [expected.state, actual.state];
  differ('trap', '', trapName(expected.trap), trapName(actual.trap));
  // Linux reports every #PF from there on as a protection violation, whatever the page tables say.
  const errorMask = expected.trap === PAGE_FAULT && expected.cr2 >= TASK_SIZE_MAX ? ~PRESENT : ~0;
  differ('error code', '', hex(expected.error & errorMask), hex(actual.error & errorMask));
  const distance = expected.cr2 - actual.cr2;
  const near = distance > -OPERAND_BYTES && distance < OPERAND_BYTES;
  if (!near || !testCase.instructions.some(({ row }) => inPieces.has(row.mnemonic)))
    differ('cr2', '', hex(expected.cr2), hex(actual.cr2));
  differ('rip', hex(before.rip), hex(e.rip), hex(a.rip));

  // Across a change of mode, and in 32-bit mode, the upper halves are undefined.
  const wide = before.mode64 && e.mode64;
  for (let r = 0; r < (wide ? 16 : 8); r++) {
    const cut = (value: bigint) => hex(wide ? value : value & 0xffff_ffffn, wide ? 16 : 8);
    differ(GPR_NAMES[r], cut(before.gpr[r]), cut(e.gpr[r]), cut(a.gpr[r]));
  }
  const mask = ~(undefinedFlags(testCase, expected.trap === TRAP_NONE) | RFLAGS_RF);
  differ('rflags', flagNames(before.rflags & mask), flagNames(e.rflags & mask), flagNames(a.rflags & mask));
  for (const [s, name] of SEGMENT_NAMES.entries())
    differ(name, hex(before.segments[s], 4), selectorText(e.segments[s]), selectorText(a.segments[s]));
  differ('fs.base', hex(before.fsBase), hex(e.fsBase), hex(a.fsBase));
  differ('gs.base', hex(before.gsBase), hex(e.gsBase), hex(a.gsBase));
  fpuDifferences(testCase, e, a, differ);

  const memory = new Map(testCase.memory.map(({ address, value }) => [address, value]));
  const [em, am] = [expected, actual].map((result) => new Map(result.memory.map((w) => [w.address, hex(w.value, 16)])));
  for (const address of [...new Set([...em.keys(), ...am.keys()])].sort((x, y) => x - y)) {
    const value = memory.get(address);
    const input = value === undefined ? 'unchanged' : hex(value, 16);
    differ(`[${hex(address)}]`, input, em.get(address) ?? input, am.get(address) ?? input);
  }
  return found;
}

type Differ = (where: string, input: string, expected: string, actual: string) => void;

function fpuDifferences(testCase: GeneratedCase, e: CpuState, a: CpuState, differ: Differ): void {
  const views = [testCase.state, e, a].map(({ fxsave }) => new DataView(fxsave.buffer, fxsave.byteOffset));
  if (isOutOfDomain(testCase)) return;
  const each = (where: string, read: (view: DataView) => string) => {
    const [input, expected, actual] = views.map(read);
    differ(where, input, expected, actual);
  };
  each('fcw', (view) => hex(view.getUint16(FX_FCW, true), 4));
  const transcendental = testCase.instructions.some(isTranscendental);
  // Where a result may be one off, so may the direction of its rounding.
  const fswMask = transcendental ? ~FSW_C1 : ~0;
  each('fsw', (view) => hex(view.getUint16(FX_FSW, true) & fswMask, 4));
  each('ftw', (view) => hex(view.getUint8(FX_FTW), 2));
  each('mxcsr', (view) => hex(view.getUint32(FX_MXCSR, true), 4));
  for (let i = 0; i < 8; i++) {
    const at = FX_ST0 + i * 16;
    if (transcendental && nearlyEqual80(views[1], views[2], at)) continue;
    each(`st${i}`, (view) => `${hex(view.getUint16(at + 8, true), 4)}.${hex(view.getBigUint64(at, true), 16)}`);
  }
  const estimate = testCase.instructions.some(({ row }) => estimates.has(row.mnemonic));
  for (let i = 0; i < 16; i++) {
    const at = FX_XMM0 + i * 16;
    if (estimate && nearlyEqual32(views[1], views[2], at)) continue;
    each(`xmm${i}`, (view) => `${hex(view.getBigUint64(at + 8, true), 16)}_${hex(view.getBigUint64(at, true), 16)}`);
  }
}

/** Within one unit in the last place, as 80-bit extended reals. */
function nearlyEqual80(x: DataView, y: DataView, at: number): boolean {
  const value = (view: DataView) =>
    (BigInt(view.getUint16(at + 8, true) & 0x7fff) << 63n) | (view.getBigUint64(at, true) & ~(1n << 63n));
  const distance = value(x) - value(y);
  return x.getUint8(at + 9) >> 7 === y.getUint8(at + 9) >> 7 && distance >= -1n && distance <= 1n;
}

/** Each of the four floats: both are within 1.5 × 2⁻¹² of the truth, or equal bit for bit. */
function nearlyEqual32(x: DataView, y: DataView, at: number): boolean {
  for (let i = at; i < at + 16; i += 4) {
    const [p, q] = [x.getFloat32(i, true), y.getFloat32(i, true)];
    if (x.getUint32(i, true) !== y.getUint32(i, true) && !(Math.abs(p - q) <= Math.abs(p) * 3 * 2 ** -12)) return false;
  }
  return true;
}

const FLAG_NAMES: readonly (readonly [number, string])[] = [
  [0x800, 'OF'],
  [0x400, 'DF'],
  [0x80, 'SF'],
  [0x40, 'ZF'],
  [0x10, 'AF'],
  [0x4, 'PF'],
  [0x1, 'CF'],
  [0x100, 'TF'],
  [0x200, 'IF'],
  [0x3000, 'IOPL'],
  [0x4000, 'NT'],
  [0x10000, 'RF'],
  [0x20000, 'VM'],
  [0x40000, 'AC'],
  [0x80000, 'VIF'],
  [0x100000, 'VIP'],
  [0x200000, 'ID'],
];

function flagNames(rflags: number): string {
  return FLAG_NAMES.filter(([bit]) => rflags & bit)
    .map(([, name]) => name)
    .join(' ');
}

/** Results of a reference that it did not repeat, over all comparisons of a test file. */
const unstableHere: string[] = [];
/** Hosts have a glitch once in millions of cases; more are a mistake of the runner. */
const MOST_UNSTABLE = 3;
/** How often the reference repeats a case on which the two differ. */
const REPETITIONS = 4;

/**
 * Runs `cases` on both; @returns those on which they differ, whatever glitches the reference has: see {@link repeated}.
 * Throws if a case does not end.
 */
export async function compare(
  reference: Executor,
  subject: Executor,
  cases: readonly GeneratedCase[],
  unstable = unstableHere,
): Promise<Mismatch[]> {
  const [expected, actual] = await Promise.all([reference.run(cases), subject.run(cases)]);
  const suspects: number[] = [];
  for (const [i, testCase] of cases.entries()) {
    if (expected[i].trap === TRAP_TIMEOUT) throw new Error(`does not end: ${testCase.name}\n${disassemble(testCase)}`);
    if (differences(testCase, expected[i], actual[i]).length) suspects.push(i);
  }
  const mismatches: Mismatch[] = [];
  for (const i of suspects) {
    const again = await repeated(reference, cases[i], expected[i], unstable);
    const found = differences(cases[i], again, actual[i]);
    if (found.length) mismatches.push({ testCase: cases[i], differences: found });
  }
  return mismatches;
}

/**
 * The result that the reference has most often when it repeats the case. If that is not its `first` one, the case is
 * told as unstable, of which there may be {@link MOST_UNSTABLE}.
 */
async function repeated(
  reference: Executor,
  testCase: GeneratedCase,
  first: CaseResult,
  unstable: string[],
): Promise<CaseResult> {
  const results = await reference.run(Array.from({ length: REPETITIONS }, () => testCase));
  const like = (result: CaseResult) => results.filter((other) => !plainDifferences(testCase, result, other).length);
  if (like(first).length === REPETITIONS) return first;
  const usual = results.reduce((best, result) => (like(result).length > like(best).length ? result : best));
  const told = report({ testCase, differences: plainDifferences(testCase, usual, first) }, 'repeated', 'first');
  console.warn(`unstable on this host: ${told}`);
  if (unstable.push(testCase.name) > MOST_UNSTABLE)
    throw new Error(`${unstable.length} results that ${reference.name} does not repeat: ${unstable.join('; ')}`);
  return usual;
}

/** Simpler variants of a case, boldest first. */
function simpler(testCase: GeneratedCase): GeneratedCase[] {
  const variants: GeneratedCase[] = [];
  const { instructions } = testCase;
  if (instructions.length > 1)
    for (const i of instructions.keys()) variants.push(withInstructions(testCase, instructions.toSpliced(i, 1)));
  const withState = (change: (state: CpuState) => void) => {
    const state = testCase.state.clone();
    change(state);
    if (state.bytes.some((byte, i) => byte !== testCase.state.bytes[i])) variants.push({ ...testCase, state });
  };
  const plain = initialState();
  withState((state) => state.fxsave.set(plain.fxsave));
  withState((state) => state.fxsave.set(plain.fxsave.subarray(FX_XMM0), FX_XMM0));
  withState((state) => state.fxsave.set(plain.fxsave.subarray(0, FX_ST0)));
  withState((state) => {
    state.rflags = plain.rflags;
  });
  for (let r = 0; r < 16; r++)
    for (const value of [0n, testCase.state.gpr[r] & 0xffn]) withState((state) => (state.gpr[r] = value));
  if (testCase.memory.length) variants.push({ ...testCase, memory: [] });
  if (testCase.memory.length <= 32)
    for (const i of testCase.memory.keys()) variants.push({ ...testCase, memory: testCase.memory.toSpliced(i, 1) });
  return variants;
}

function withInstructions(testCase: GeneratedCase, instructions: readonly Instruction[]): GeneratedCase {
  return { ...testCase, instructions, code: assemble(testCase.codeAddress, instructions) };
}

/** @returns a mismatch as simple as can be had by leaving things out. */
export async function shrink(reference: Executor, subject: Executor, mismatch: Mismatch): Promise<Mismatch> {
  for (;;) {
    const variants = simpler(mismatch.testCase);
    const [expected, actual] = await Promise.all([reference.run(variants), subject.run(variants)]);
    const next = variants.findIndex(
      (variant, i) => expected[i].trap !== TRAP_TIMEOUT && differences(variant, expected[i], actual[i]).length > 0,
    );
    if (next < 0) return mismatch;
    const testCase = variants[next];
    mismatch = { testCase, differences: differences(testCase, expected[next], actual[next]) };
  }
}

export function disassemble({ code, codeAddress, state }: GeneratedCase): string {
  const decoder = new Decoder(state.mode64 ? 64 : 32, code, DecoderOptions.None);
  decoder.ip = BigInt(codeAddress);
  const formatter = new Formatter(FormatterSyntax.Intel);
  const lines: string[] = [];
  while (decoder.canDecode) {
    const instruction = decoder.decode();
    const start = Number(instruction.ip) - codeAddress;
    const bytes = Buffer.from(code.subarray(start, start + instruction.length)).toString('hex');
    lines.push(`  ${hex(instruction.ip)}  ${bytes.padEnd(24)} ${formatter.format(instruction)}`);
    instruction.free();
  }
  formatter.free();
  decoder.free();
  return lines.join('\n');
}

/** @returns the mismatch for a reader: name, code, registers in, and what differs. */
export function report({ testCase, differences }: Mismatch, expectedName = 'expected', actualName = 'actual'): string {
  const { state } = testCase;
  const registers = GPR_NAMES.slice(0, state.mode64 ? 16 : 8).map((name, r) => `${name}=${hex(state.gpr[r])}`);
  const rows = [
    ['', 'before', expectedName, actualName],
    ...differences.map((d) => [d.where, d.input, d.expected, d.actual]),
  ];
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column].length)));
  return [
    `${testCase.name} (${state.mode64 ? 64 : 32}-bit)`,
    disassemble(testCase),
    `  ${registers.join(' ')}`,
    `  rflags=${flagNames(state.rflags)}${state.fsBase ? ` fs.base=${hex(state.fsBase)}` : ''}${state.gsBase ? ` gs.base=${hex(state.gsBase)}` : ''}`,
    ...rows.map((row) => `  ${row.map((text, i) => text.padEnd(widths[i] ?? 0)).join('  ')}`.trimEnd()),
  ].join('\n');
}
