/**
 * Model-specific registers (Intel SDM vol. 4): those of the features that CPUID tells, and the few that guests touch
 * without asking. All others are #GP(0), as are values that a register cannot hold.
 */
import type { Cpu } from '../cpu.ts';
import { SEG_FS, SEG_GS } from '../decode/insn.ts';
import {
  S_CSTAR,
  S_EFER,
  S_KERNEL_GS_BASE,
  S_LSTAR,
  S_MISC_ENABLE,
  S_MTRR_DEF_TYPE,
  S_MTRR_FIXED,
  S_MTRR_VARIABLE,
  S_PAT,
  S_SFMASK,
  S_STAR,
  S_SYSENTER_CS,
  S_SYSENTER_EIP,
  S_SYSENTER_ESP,
  S_TSC_AUX,
  S_TSC_OFFSET,
  SEGMENT_BASE,
  segmentOffset,
} from '../state.ts';
import { writeEfer } from './control.ts';
import { PHYSICAL_BITS } from './cpu-model.ts';

const IA32_P5_MC_ADDR = 0x00;
const IA32_P5_MC_TYPE = 0x01;
const IA32_TIME_STAMP_COUNTER = 0x10;
const IA32_PLATFORM_ID = 0x17;
const IA32_APIC_BASE = 0x1b;
const IA32_FEATURE_CONTROL = 0x3a;
const IA32_BIOS_UPDT_TRIG = 0x79;
const IA32_BIOS_SIGN_ID = 0x8b;
const MSR_PLATFORM_INFO = 0xce;
const IA32_MTRRCAP = 0xfe;
const IA32_ARCH_CAPABILITIES = 0x10a;
const IA32_SYSENTER_CS = 0x174;
const IA32_SYSENTER_ESP = 0x175;
const IA32_SYSENTER_EIP = 0x176;
const IA32_MCG_CAP = 0x179;
const IA32_MCG_STATUS = 0x17a;
const IA32_MISC_ENABLE = 0x1a0;
const IA32_DEBUGCTL = 0x1d9;
const IA32_MTRR_PHYSBASE0 = 0x200;
const IA32_MTRR_FIX64K_00000 = 0x250;
const IA32_MTRR_FIX16K_80000 = 0x258;
const IA32_MTRR_FIX4K_C0000 = 0x268;
const IA32_PAT = 0x277;
const IA32_MTRR_DEF_TYPE = 0x2ff;
const IA32_TSC_DEADLINE = 0x6e0;
const X2APIC_FIRST = 0x800;
const X2APIC_LAST = 0x8ff;
const IA32_EFER = 0xc0000080 | 0;
const IA32_STAR = 0xc0000081 | 0;
const IA32_LSTAR = 0xc0000082 | 0;
const IA32_CSTAR = 0xc0000083 | 0;
const IA32_FMASK = 0xc0000084 | 0;
const IA32_FS_BASE = 0xc0000100 | 0;
const IA32_GS_BASE = 0xc0000101 | 0;
const IA32_KERNEL_GS_BASE = 0xc0000102 | 0;
const IA32_TSC_AUX = 0xc0000103 | 0;

const MTRR_PAIRS = 8;
/** Write-combining, fixed ranges, eight variable ones. */
const MTRRCAP_VALUE = (1 << 10) | (1 << 8) | MTRR_PAIRS;
const MTRR_DEF_TYPE_DEFINED = 0xcff;
const MTRR_ENABLE = 1 << 11;
const MTRR_FIXED_ENABLE = 1 << 10;
/** In the mask of a variable range. */
const MTRR_VALID = 1 << 11;
const UNCACHED = 0;
const WRITE_BACK = 6;
/** Where bits of the upper half of a physical address end. */
const PHYSICAL_HIGH = (1 << (PHYSICAL_BITS - 32)) - 1;

/**
 * Nothing is executed speculatively: RDCL_NO, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO,
 * FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO.
 */
const ARCH_CAPABILITIES_VALUE = 0x0d10e179;

/** Fast strings; the bits that guests may change are kept. */
const MISC_ENABLE_WRITABLE = 0x00410089;

/** What a register is made of. */
const PLAIN = 0;
/** Must be canonical. */
const ADDRESS = 1;
/** The upper half must be zero. */
const LOW_ONLY = 2;

/** Registers that are fields of the state block: offset and what values they hold. */
const stored = new Map<number, { readonly offset: number; readonly kind: number }>([
  [IA32_STAR, { offset: S_STAR, kind: PLAIN }],
  [IA32_LSTAR, { offset: S_LSTAR, kind: ADDRESS }],
  [IA32_CSTAR, { offset: S_CSTAR, kind: ADDRESS }],
  [IA32_FMASK, { offset: S_SFMASK, kind: LOW_ONLY }],
  [IA32_FS_BASE, { offset: segmentOffset(SEG_FS) + SEGMENT_BASE, kind: ADDRESS }],
  [IA32_GS_BASE, { offset: segmentOffset(SEG_GS) + SEGMENT_BASE, kind: ADDRESS }],
  [IA32_KERNEL_GS_BASE, { offset: S_KERNEL_GS_BASE, kind: ADDRESS }],
  [IA32_TSC_AUX, { offset: S_TSC_AUX, kind: LOW_ONLY }],
  [IA32_SYSENTER_CS, { offset: S_SYSENTER_CS, kind: LOW_ONLY }],
  [IA32_SYSENTER_ESP, { offset: S_SYSENTER_ESP, kind: ADDRESS }],
  [IA32_SYSENTER_EIP, { offset: S_SYSENTER_EIP, kind: ADDRESS }],
]);

/** Registers that always read the same, and what writes to them do. */
const constant = new Map<number, { readonly low: number; readonly high?: number; readonly ignoresWrites?: boolean }>([
  [IA32_P5_MC_ADDR, { low: 0, ignoresWrites: true }],
  [IA32_P5_MC_TYPE, { low: 0, ignoresWrites: true }],
  [IA32_PLATFORM_ID, { low: 0 }],
  // Locked, without VMX.
  [IA32_FEATURE_CONTROL, { low: 1 }],
  // Microcode revision 1; an update does nothing.
  [IA32_BIOS_UPDT_TRIG, { low: 0, ignoresWrites: true }],
  [IA32_BIOS_SIGN_ID, { low: 0, high: 1, ignoresWrites: true }],
  [MSR_PLATFORM_INFO, { low: 0 }],
  [IA32_MTRRCAP, { low: MTRRCAP_VALUE }],
  [IA32_ARCH_CAPABILITIES, { low: ARCH_CAPABILITIES_VALUE }],
  // No bank of machine-check registers.
  [IA32_MCG_CAP, { low: 0 }],
  [IA32_MCG_STATUS, { low: 0, ignoresWrites: true }],
  [IA32_DEBUGCTL, { low: 0, ignoresWrites: true }],
]);

/** Value of the last {@link readMsr}. */
export const msr = { low: 0, high: 0 };

function load(cpu: Cpu, offset: number): boolean {
  msr.low = cpu.i32[offset >> 2];
  msr.high = cpu.i32[(offset + 4) >> 2];
  return true;
}

function store(cpu: Cpu, offset: number, low: number, high: number): boolean {
  cpu.i32[offset >> 2] = low;
  cpu.i32[(offset + 4) >> 2] = high;
  return true;
}

function isApic(index: number): boolean {
  return index === IA32_APIC_BASE || index === IA32_TSC_DEADLINE || (index >= X2APIC_FIRST && index <= X2APIC_LAST);
}

/** State offset of a fixed-range MTRR; −1 for other registers. */
function fixedMtrr(index: number): number {
  if (index === IA32_MTRR_FIX64K_00000) return S_MTRR_FIXED;
  if (index === IA32_MTRR_FIX16K_80000 || index === IA32_MTRR_FIX16K_80000 + 1)
    return S_MTRR_FIXED + 8 * (1 + index - IA32_MTRR_FIX16K_80000);
  if (index >= IA32_MTRR_FIX4K_C0000 && index < IA32_MTRR_FIX4K_C0000 + 8)
    return S_MTRR_FIXED + 8 * (3 + index - IA32_MTRR_FIX4K_C0000);
  return -1;
}

function variableMtrr(index: number): number {
  const n = index - IA32_MTRR_PHYSBASE0;
  return n >= 0 && n < 2 * MTRR_PAIRS ? S_MTRR_VARIABLE + 8 * n : -1;
}

/** The time-stamp counter, with what the guest added to it, into {@link msr}. */
export function readTsc(cpu: Cpu): void {
  const { tsc } = cpu.env;
  tsc.read();
  const sum = (tsc.low >>> 0) + (cpu.i32[S_TSC_OFFSET >> 2] >>> 0);
  msr.low = sum | 0;
  msr.high = (tsc.high + cpu.i32[(S_TSC_OFFSET + 4) >> 2] + (sum > 0xffffffff ? 1 : 0)) | 0;
}

function writeTsc(cpu: Cpu, low: number, high: number): boolean {
  const { tsc } = cpu.env;
  tsc.read();
  const difference = (low >>> 0) - (tsc.low >>> 0);
  return store(cpu, S_TSC_OFFSET, difference | 0, (high - tsc.high - (difference < 0 ? 1 : 0)) | 0);
}

/** Reads register `index` into {@link msr}. @returns false when there is none (#GP). */
export function readMsr(cpu: Cpu, index: number): boolean {
  const field = stored.get(index);
  if (field !== undefined) return load(cpu, field.offset);
  const fixed = constant.get(index);
  if (fixed !== undefined) {
    msr.low = fixed.low;
    msr.high = fixed.high ?? 0;
    return true;
  }
  if (isApic(index)) {
    const { apic } = cpu.env;
    if (apic === undefined || !apic.readMsr(index)) return false;
    msr.low = apic.low;
    msr.high = apic.high;
    return true;
  }
  switch (index) {
    case IA32_EFER:
      return load(cpu, S_EFER);
    case IA32_PAT:
      return load(cpu, S_PAT);
    case IA32_MISC_ENABLE:
      return load(cpu, S_MISC_ENABLE);
    case IA32_MTRR_DEF_TYPE:
      return load(cpu, S_MTRR_DEF_TYPE);
    case IA32_TIME_STAMP_COUNTER:
      readTsc(cpu);
      return true;
  }
  const mtrr = Math.max(fixedMtrr(index), variableMtrr(index));
  return mtrr >= 0 && load(cpu, mtrr);
}

/** Writes register `index`. @returns false for #GP; EFER's own checks throw. */
export function writeMsr(cpu: Cpu, index: number, low: number, high: number): boolean {
  const field = stored.get(index);
  if (field !== undefined) {
    if (field.kind === ADDRESS && high !== (high << 16) >> 16) return false;
    if (field.kind === LOW_ONLY && high !== 0) return false;
    return store(cpu, field.offset, low, high);
  }
  const fixed = constant.get(index);
  if (fixed !== undefined) return fixed.ignoresWrites === true;
  if (isApic(index)) return cpu.env.apic?.writeMsr(index, low, high) ?? false;
  switch (index) {
    case IA32_EFER:
      writeEfer(cpu, low, high);
      return true;
    case IA32_PAT:
      return isPat(low) && isPat(high) && store(cpu, S_PAT, low, high);
    case IA32_MISC_ENABLE:
      cpu.i32[S_MISC_ENABLE >> 2] = low & MISC_ENABLE_WRITABLE;
      return true;
    case IA32_TIME_STAMP_COUNTER:
      return writeTsc(cpu, low, high);
    case IA32_MTRR_DEF_TYPE:
      if (high !== 0 || low & ~MTRR_DEF_TYPE_DEFINED || !isMemoryType(low & 0xff)) return false;
      return store(cpu, S_MTRR_DEF_TYPE, low, 0);
  }
  const fixedRange = fixedMtrr(index);
  if (fixedRange >= 0) return areMemoryTypes(low) && areMemoryTypes(high) && store(cpu, fixedRange, low, high);
  const variable = variableMtrr(index);
  if (variable < 0 || high & ~PHYSICAL_HIGH) return false;
  if (index & 1 ? low & 0x7ff : low & 0xf00 || !isMemoryType(low & 0xff)) return false;
  return store(cpu, variable, low, high);
}

/**
 * MTRRs as firmware leaves them: write-back by default, uncached where VGA and, above 3 GiB, devices are. Guests look here
 * for which types they may use.
 */
export function resetMtrrs(cpu: Cpu): void {
  const { i32 } = cpu;
  i32[S_MTRR_DEF_TYPE >> 2] = MTRR_ENABLE | MTRR_FIXED_ENABLE | WRITE_BACK;
  i32.fill(0x06060606, S_MTRR_FIXED >> 2, (S_MTRR_FIXED + 11 * 8) >> 2);
  const vga = fixedMtrr(IA32_MTRR_FIX16K_80000 + 1);
  i32.fill(0, vga >> 2, (vga + 8) >> 2);
  i32[S_MTRR_VARIABLE >> 2] = 0xc0000000 | UNCACHED;
  i32[(S_MTRR_VARIABLE + 8) >> 2] = 0xc0000000 | MTRR_VALID;
  i32[(S_MTRR_VARIABLE + 12) >> 2] = PHYSICAL_HIGH;
}

/** UC, WC, WT, WP, WB. */
function isMemoryType(type: number): boolean {
  return type === 0 || type === 1 || (type >= 4 && type <= 6);
}

function areMemoryTypes(word: number): boolean {
  for (let shift = 0; shift < 32; shift += 8) if (!isMemoryType((word >>> shift) & 0xff)) return false;
  return true;
}

/** Four entries of the PAT: memory types, and UC- (7). */
function isPat(word: number): boolean {
  for (let shift = 0; shift < 32; shift += 8) {
    const type = (word >>> shift) & 0xff;
    if (!isMemoryType(type) && type !== 7) return false;
  }
  return true;
}
