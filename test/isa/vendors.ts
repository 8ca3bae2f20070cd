/**
 * What vendors do differently where the architecture leaves it open, or where one of them departs from its manual: the one
 * place where tests depend on the vendor of the host. Our CPU does it one way. On hosts of the vendor that does it the
 * other way an entry of {@link INTEL} or {@link AMD} takes exactly the state in question from our result, for exactly the
 * instructions in question, and leaves everything else to the comparison; {@link avoided} has what must not get into a
 * case at all.
 */
import { readFileSync } from 'node:fs';
import { ATTR_MMX, ATTR_X87, type OpcodeRow } from '../../cpu/isa/table.ts';
import { fsw, withFault, withNaNsOf, withState, withTopOf } from './adjust.ts';
import { RCX, RDI, RSI } from './builder.ts';
import { type CaseResult, RSP } from './case.ts';
import type { GeneratedCase, Instruction } from './generate.ts';
import { before, takeBytes } from './memory.ts';
import { prefixesOf } from './prefixes.ts';

export type Vendor = 'Intel' | 'AMD';

/** Everything that is not Intel's is taken for AMD's; Hygon's CPUs are. */
export const host: Vendor = /^vendor_id\s*: GenuineIntel$/m.test(readFileSync('/proc/cpuinfo', 'utf8'))
  ? 'Intel'
  : 'AMD';

/** Two results of a case, which end at the same instruction or at different ones. */
interface Pair {
  readonly testCase: GeneratedCase;
  /** The instruction that ended the case in ours; the only one if there is only one. */
  readonly instruction: Instruction;
  readonly native: CaseResult;
  readonly ours: CaseResult;
}

interface VendorDifference {
  /** What the vendor's CPUs do and ours does not. */
  readonly what: string;
  readonly manual: string;
  readonly instructions: RegExp;
  /** Does it count wherever in a sequence the instruction stands, not only at its end? */
  readonly anywhere?: true;
  /** @returns the native result as it would be if the host did it our way; undefined if that cannot be known. */
  readonly adjust: (pair: Pair) => CaseResult | undefined;
}

const BOUND_RANGE = 5;
const NOT_PRESENT = 11;
const STACK_FAULT = 12;
const PROTECTION = 13;
const PAGE_FAULT = 14;
const ALIGNMENT = 17;
const MEMORY_FAULTS: readonly number[] = [STACK_FAULT, PROTECTION, PAGE_FAULT, ALIGNMENT];

const STATUS_FLAGS = 0x8d5;
const FSW_ES = 0x80;
/** MXCSR_MASK in the FXSAVE image: only AMD's CPUs have MXCSR.MM, misaligned SSE operands. */
const MXCSR_MASK_MM = 0x0002_0000_0000_0000n;
const PAGE = 4096n;
/** The implementation may choose which of several faults of an instruction it reports. */
const PRIORITY = 'SDM vol. 3A, 6.9: exceptions within one class of table 6-2 are implementation-dependent';

/** Is the operand of PUSH or POP a segment register? */
export const namesSegment = ({ operands }: OpcodeRow): boolean => /^[CDEFGS]S$/.test(operands[0].mode);

/** Do both end in the same way at the same place? */
const endAlike = ({ native, ours }: Pair): boolean => native.trap === ours.trap && native.state.rip === ours.state.rip;

/** Bytes of a slot on the stack. */
function slotSize({ testCase: { state }, instruction: { row, bytes } }: Pair): number {
  const { operand16, wide } = prefixesOf(bytes, state.mode64);
  if (wide) return 8;
  if (operand16) return 2;
  return state.mode64 && row.mnemonic === 'POP' ? 8 : 4;
}

/** Did ours fault only because it accessed more than the first two bytes of the stack slot at `slot`? */
function isBeyondSelector({ native, ours }: Pair, slot: bigint, size: number): boolean {
  if (ours.trap === ALIGNMENT) return native.trap !== ALIGNMENT && slot % 2n === 0n;
  return ours.trap === PAGE_FAULT && ours.cr2 > slot + 1n && ours.cr2 < slot + BigInt(size);
}

/** Where the selector lies that RETF and IRET return to. */
const selectorSlot = (pair: Pair): bigint => pair.testCase.state.gpr[RSP] + BigInt(slotSize(pair));

/** ModRM.reg of the x87 instructions that store to memory, as a bit each, by opcode. */
const X87_STORES = new Map([
  [0xd9, 0b1100],
  [0xdb, 0b1000_1110],
  [0xdd, 0b1110],
  [0xdf, 0b1100_1110],
]);
/** Those of ten bytes: FSTP m80 and FBSTP. */
const X87_STORES_80 = new Map([
  [0xdb, 0b1000_0000],
  [0xdf, 0b0100_0000],
]);

function isX87Store({ testCase, instruction: { row, bytes } }: Pair, stores: ReadonlyMap<number, number>): boolean {
  const { length } = prefixesOf(bytes, testCase.state.mode64);
  const modrm = bytes[length + 1];
  const ofOpcode = stores.get(bytes[length]) ?? 0;
  return (row.attributes & ATTR_X87) !== 0 && modrm < 0xc0 && ((ofOpcode >> ((modrm >> 3) & 7)) & 1) === 1;
}

const INTEL: readonly VendorDifference[] = [
  {
    what: 'PUSH of a segment register moves 16 bits into its slot of 32 and leaves the upper half',
    manual: 'SDM vol. 2B, PUSH: either is allowed, recent processors do this',
    instructions: /^PUSH$/,
    adjust: (pair) => {
      const { testCase, instruction, native, ours } = pair;
      if (!namesSegment(instruction.row) || testCase.state.mode64 || slotSize(pair) !== 4) return native;
      // A fault leaves the stack pointer as it was.
      const fault = MEMORY_FAULTS.includes(ours.trap);
      const slot = (fault ? ours : testCase).state.gpr[RSP] - 4n;
      if (fault) return isBeyondSelector(pair, slot, 4) ? undefined : native;
      // In a sequence there were zeros before (`avoided.segmentPushes`).
      return testCase.instructions.length > 1 ? native : takeBytes(testCase, native, ours, Number(slot) + 2, 2);
    },
  },
  {
    what: 'POP of a segment register, RETF and IRET read the 16 bits of a selector from its slot and nothing more',
    manual: 'SDM vol. 2B, POP and RET: the rest of the slot is discarded',
    instructions: /^(POP|RETF|IRET)$/,
    adjust: (pair) => {
      const { instruction, native, ours } = pair;
      const size = slotSize(pair);
      const { mnemonic } = instruction.row;
      if (mnemonic !== 'POP') {
        // IRET's SS lies three slots above its CS.
        const slots = [selectorSlot(pair), selectorSlot(pair) + BigInt(3 * size)];
        return slots.some((slot) => isBeyondSelector(pair, slot, size)) ? undefined : native;
      }
      return namesSegment(instruction.row) && isBeyondSelector(pair, ours.state.gpr[RSP], size) ? undefined : native;
    },
  },
  {
    what: 'RETF and IRET check the selector that they return to before they read the outer stack pointer',
    manual: PRIORITY,
    instructions: /^(RETF|IRET)$/,
    adjust: (pair) => {
      const { testCase, native, ours } = pair;
      if (![PROTECTION, NOT_PRESENT].includes(native.trap) || !MEMORY_FAULTS.includes(ours.trap)) return native;
      const selector = before(testCase, Number(selectorSlot(pair)), 2);
      return native.error === (selector & 0xfffc) ? withFault(native, ours) : native;
    },
  },
  {
    what: 'CALL to a target that is not canonical has pushed its return address when it faults',
    manual: 'departs from SDM vol. 2A, CALL, which has the check first',
    instructions: /^CALL$/,
    adjust: ({ testCase, native, ours }) =>
      native.trap === PROTECTION && ours.trap === PROTECTION
        ? takeBytes(testCase, native, ours, Number(testCase.state.gpr[RSP]) - 8, 8)
        : native,
  },
  {
    what: 'MASKMOVDQU may write its upper half first',
    manual: 'SDM vol. 2B, MASKMOVDQU says nothing of an order',
    instructions: /^MASKMOVDQU$/,
    adjust: ({ native, ours }) => {
      const distance = native.cr2 - ours.cr2;
      const both = native.trap === PAGE_FAULT && ours.trap === PAGE_FAULT;
      return both && distance > -16n && distance < 16n ? withFault(native, ours) : native;
    },
  },
  {
    what: 'a repeated string instruction with 32-bit addresses cuts RCX, RSI and RDI to 32 bits before it has done anything',
    manual: 'SDM vol. 2B, REP does not say when they are',
    instructions: /^(MOVS|STOS|LODS|CMPS|SCAS|INS|OUTS)$/,
    adjust: ({ testCase, instruction, native, ours }) => {
      const { repeated, address } = prefixesOf(instruction.bytes, testCase.state.mode64);
      if (!repeated || !address || !testCase.state.mode64) return native;
      return withState(native, ({ gpr }) => {
        for (const r of [RCX, RSI, RDI]) {
          const value = ours.state.gpr[r];
          if (value === testCase.state.gpr[r] && gpr[r] === (value & 0xffff_ffffn)) gpr[r] = value;
        }
      });
    },
  },
  {
    what: 'an x87 store with an unmasked exception does not access memory, so its operand cannot fault',
    manual: PRIORITY,
    instructions: /^X87$/,
    adjust: (pair) => {
      const { native, ours } = pair;
      const accessed = endAlike(pair) || !(fsw(native) & FSW_ES) || !MEMORY_FAULTS.includes(ours.trap);
      return accessed || !isX87Store(pair, X87_STORES) ? native : undefined;
    },
  },
  {
    what: 'an x87 store of ten bytes across the end of a page has stored what lies before it when it faults',
    manual: 'departs from SDM vol. 3A, 6.5: a fault leaves the state as it was',
    instructions: /^X87$/,
    adjust: (pair) => {
      const { testCase, native, ours } = pair;
      const across = native.trap === PAGE_FAULT && ours.trap === PAGE_FAULT && ours.cr2 % PAGE === 0n;
      if (!across || !isX87Store(pair, X87_STORES_80)) return native;
      return takeBytes(testCase, native, ours, Number(ours.cr2) - 10, 10);
    },
  },
  {
    what: 'an MMX store that faults has set TOP to 0 before',
    manual:
      'SDM vol. 1, 9.5.1 has MMX instructions set it; departs from vol. 3A, 6.5: a fault leaves the state as it was',
    instructions: /^(MOVD|MOVQ|MOVNTQ)$/,
    adjust: ({ instruction: { row }, native, ours }) => {
      const stores = row.attributes & ATTR_MMX && row.operands[1].mode === 'P';
      const faults = native.trap === ours.trap && MEMORY_FAULTS.includes(ours.trap);
      return stores && faults && (fsw(native) & 0x3800) === 0 ? withTopOf(native, ours) : native;
    },
  },
  {
    what: 'FXSAVE, FXRSTOR, XSAVE and XRSTOR with an operand that is not aligned raise #AC where that is enabled',
    manual: 'SDM vol. 2A, FXSAVE, and vol. 2D, XSAVE: whether it is #AC or #GP may vary with implementation',
    instructions: /^(FX|X)(SAVE|RSTOR)/,
    adjust: ({ native, ours }) =>
      native.trap === ALIGNMENT && ours.trap === PROTECTION ? withFault(native, ours) : native,
  },
  {
    what: 'XRSTOR reads the legacy region before it checks the header',
    manual: PRIORITY,
    instructions: /^XRSTOR$/,
    adjust: ({ native, ours }) =>
      native.trap === PAGE_FAULT && ours.trap === PROTECTION ? withFault(native, ours) : native,
  },
  {
    what: 'CMPXCHG16B checks alignment before it finds that the address is not canonical',
    manual: PRIORITY,
    instructions: /^CMPXCHG8B$/,
    adjust: ({ testCase, instruction: { bytes }, native, ours }) =>
      prefixesOf(bytes, testCase.state.mode64).wide && native.trap === PROTECTION && ours.trap === STACK_FAULT
        ? withFault(native, ours)
        : native,
  },
  {
    what: 'BOUND checks the lower bound before it reads the upper one',
    manual: PRIORITY,
    instructions: /^BOUND$/,
    adjust: ({ native, ours }) =>
      native.trap === BOUND_RANGE && MEMORY_FAULTS.includes(ours.trap) ? withFault(native, ours) : native,
  },
  {
    what: 'the element of DPPS and DPPD in which a NaN ends up, and which of several NaNs',
    manual: 'SDM vol. 2A, DPPS: horizontal propagation of NaNs is implementation-dependent',
    instructions: /^DPP[SD]$/,
    adjust: ({ instruction: { row }, native, ours }) => withNaNsOf(native, ours, row.mnemonic === 'DPPS' ? 4 : 8),
  },
  {
    what: 'operands of 16 bytes that need no alignment are never #AC',
    manual: 'SDM vol. 3A, 6.15, interrupt 17: may or may not be generated',
    instructions: /^(MOVUPS|MOVUPD|MOVDQU|LDDQU|PCMP[EI]STR[IM])$/,
    adjust: (pair) => (pair.ours.trap === ALIGNMENT && !endAlike(pair) ? undefined : pair.native),
  },
];

const AMD: readonly VendorDifference[] = [
  {
    what: 'a repeated CMPS or SCAS that faults midway leaves the flags of its last iteration',
    manual: 'SDM vol. 2B, REP has them restored to what they were before; APM vol. 3, 1.2.6 does not',
    instructions: /^(CMPS|SCAS)$/,
    adjust: ({ testCase, instruction, native, ours }) => {
      const { repeated } = prefixesOf(instruction.bytes, testCase.state.mode64);
      if (!repeated || native.trap !== ours.trap || !MEMORY_FAULTS.includes(ours.trap)) return native;
      return withState(native, (state) => {
        state.rflags = (state.rflags & ~STATUS_FLAGS) | (ours.state.rflags & STATUS_FLAGS);
      });
    },
  },
  {
    what: 'MXCSR.MM is among the bits of MXCSR_MASK',
    manual: 'APM vol. 1, 4.2.2; Intel has no such bit',
    instructions: /^(FX|X)SAVE/,
    anywhere: true,
    adjust: ({ native, ours }) => {
      const own = new Map(ours.memory.map(({ address, value }) => [address, value]));
      const memory = native.memory.map((word) => {
        const value = own.get(word.address);
        return value !== undefined && (value ^ word.value) === MXCSR_MASK_MM ? { ...word, value } : word;
      });
      return memory.some((word, i) => word !== native.memory[i]) ? { ...native, memory } : native;
    },
  },
  {
    what: 'loading FS or GS with a null selector leaves the base in long mode',
    manual: 'APM vol. 3, CPUID Fn8000_0021 EAX[6]: only some clear it',
    instructions: /^(MOV_TO_SREG|POP|L[FG]S)$/,
    anywhere: true,
    adjust: ({ native, ours }) =>
      withState(native, (state) => {
        if (state.segments[4] < 4) state.fsBase = ours.state.fsBase;
        if (state.segments[5] < 4) state.gsBase = ours.state.gsBase;
      }),
  },
];

/** How often each difference was met, by what it is. */
export const met = new Map<string, number>();

/** The instruction of `testCase` at `rip`; the only one if there is only one. */
function instructionAt({ instructions, codeAddress }: GeneratedCase, rip: bigint): Instruction | undefined {
  if (instructions.length === 1) return instructions[0];
  let at = BigInt(codeAddress);
  return instructions.find(({ bytes }) => {
    at += BigInt(bytes.length);
    return at - BigInt(bytes.length) === rip;
  });
}

/**
 * @returns the native result of a host of `vendor` with what its vendor does differently taken from `ours`; undefined if
 * the two cannot be compared.
 */
export function reconcile(
  testCase: GeneratedCase,
  native: CaseResult,
  ours: CaseResult,
  vendor: Vendor,
): CaseResult | undefined {
  let result = native;
  for (const { what, instructions, anywhere, adjust } of vendor === 'Intel' ? INTEL : AMD) {
    const instruction = anywhere
      ? testCase.instructions.find(({ row }) => instructions.test(row.mnemonic))
      : instructionAt(testCase, ours.state.rip);
    if (!instruction || !instructions.test(instruction.row.mnemonic)) continue;
    const adjusted = adjust({ testCase, instruction, native: result, ours });
    if (adjusted !== result) met.set(what, (met.get(what) ?? 0) + 1);
    if (adjusted === undefined) return undefined;
    result = adjusted;
  }
  return result;
}

/** What would tell vendors apart only later in a case, or could not be run at all: cases for this host do without it. */
export const avoided = {
  /**
   * Intel: IRET reads SS and RSP under EFLAGS.AC of the flags that it pops. With that set and a stack that is not aligned
   * it raises #AC with AC clear in the flags saved, which Linux takes for a split lock and repeats for ever
   * (handle_user_split_lock).
   */
  iretToAlignmentChecks: host === 'Intel',
  /**
   * Intel: FNSTENV and FNSAVE store FCS and FDS as 0 (CPUID.7.EBX[13]), FDP only of instructions that had an exception
   * (EBX[6]), FOP only of an unmasked one (SDM vol. 1, 8.1.8 to 8.1.10). Our CPUID has neither bit.
   */
  x87Pointers: host === 'Intel',
  /** Intel: the upper half of a segment register's slot keeps what it was; see the entry of PUSH. */
  segmentPushes: host === 'Intel',
} as const;
