/**
 * The CPU model `tsvmm` as CPUID tells it (Intel SDM vol. 2A, CPUID): what is there and nothing else. Family, model and
 * leaves are those of an Intel Skylake client core, the first with leaves 0x15 and 0x16, without AVX, TSX and PCID.
 */
import type { Cpu } from '../cpu.ts';
import { S_CR4 } from '../state.ts';

/**
 * Is XSAVE offered? It works, but guests that find it save more state per context switch than FXSAVE does, for nothing:
 * there is no state beyond SSE.
 */
export const XSAVE_PRESENT = false;

/** Family 6, model 0x5e, stepping 3. */
export const SIGNATURE = 0x000506e3;

const VENDOR = 'GenuineIntel';
const HYPERVISOR = 'TSVMMTSVMM  ';
const BRAND = 'tsvmm virtual x86-64 CPU';

const MAX_BASIC = 0x16;
const MAX_HYPERVISOR = 0x40000010;
const MAX_EXTENDED = 0x80000008 | 0;

/** Bits of leaf 1 EDX. */
const FPU = 1 << 0;
const DE = 1 << 2;
const PSE = 1 << 3;
const TSC = 1 << 4;
const MSR = 1 << 5;
const PAE = 1 << 6;
const MCE = 1 << 7;
const CX8 = 1 << 8;
const APIC = 1 << 9;
const SEP = 1 << 11;
const MTRR = 1 << 12;
const PGE = 1 << 13;
const MCA = 1 << 14;
const CMOV = 1 << 15;
const PAT = 1 << 16;
const PSE36 = 1 << 17;
const CLFSH = 1 << 19;
const MMX = 1 << 23;
const FXSR = 1 << 24;
const SSE = 1 << 25;
const SSE2 = 1 << 26;
const SS = 1 << 27;

/** Bits of leaf 1 ECX. */
const SSE3 = 1 << 0;
const SSSE3 = 1 << 9;
const CX16 = 1 << 13;
const SSE41 = 1 << 19;
const SSE42 = 1 << 20;
const X2APIC = 1 << 21;
const MOVBE = 1 << 22;
const POPCNT = 1 << 23;
const TSC_DEADLINE = 1 << 24;
const XSAVE = 1 << 26;
const OSXSAVE = 1 << 27;
const RDRAND = 1 << 30;
const HYPERVISOR_PRESENT = 1 << 31;

/** Bits of leaf 7 EBX. */
const FSGSBASE = 1 << 0;
const BMI1 = 1 << 3;
const SMEP = 1 << 7;
const BMI2 = 1 << 8;
const ERMS = 1 << 9;
const RDSEED = 1 << 18;
const ADX = 1 << 19;
const SMAP = 1 << 20;
const CLFLUSHOPT = 1 << 23;
const CLWB = 1 << 24;
/** Leaf 7 ECX. */
const RDPID = 1 << 22;
/** Leaf 7 EDX: IA32_ARCH_CAPABILITIES exists. */
const ARCH_CAPABILITIES = 1 << 29;

/** Leaf 6 EAX: the APIC timer runs in every idle state. */
const ARAT = 1 << 2;

/** Bits of leaf 0x80000001. */
const LAHF_LM = 1 << 0;
const LZCNT = 1 << 5;
const PREFETCHW = 1 << 8;
const SYSCALL = 1 << 11;
const NX = 1 << 20;
const PDPE1GB = 1 << 26;
const RDTSCP = 1 << 27;
const LM = 1 << 29;
/** Leaf 0x80000007 EDX. */
const INVARIANT_TSC = 1 << 8;

export const PHYSICAL_BITS = 40;
const LINEAR_BITS = 48;

const CR4_OSXSAVE = 1 << 18;

/** Frequency at which the local APIC's timer counts, kHz; also the crystal's of leaf 0x15. */
const APIC_KHZ = 1_000_000;

/** x87 and SSE state: the legacy region and the header of an XSAVE image. */
const XSAVE_BYTES = 576;
const XSAVEOPT = 1 << 0;

/**
 * Leaf 4: first- and second-level caches as guests expect some (C libraries size their copies by them).
 * Type, level, ways, sets; 64-byte lines.
 */
const CACHES = [
  { type: 1, level: 1, ways: 8, sets: 64 },
  { type: 2, level: 1, ways: 8, sets: 64 },
  { type: 3, level: 2, ways: 4, sets: 1024 },
  { type: 3, level: 3, ways: 16, sets: 8192 },
];

/** EAX, EBX, ECX, EDX of the last {@link readCpuid}. */
export const result = new Int32Array(4);

function set(eax: number, ebx: number, ecx: number, edx: number): void {
  result[0] = eax;
  result[1] = ebx;
  result[2] = ecx;
  result[3] = edx;
}

/** Four characters from `at` on as a register. */
function characters(text: string, at: number): number {
  let value = 0;
  for (let i = 3; i >= 0; i--) value = (value << 8) | (at + i < text.length ? text.charCodeAt(at + i) : 0);
  return value;
}

/** Leaf `leaf`, sub-leaf `subleaf`, into {@link result}. */
export function readCpuid(cpu: Cpu, leaf: number, subleaf: number): void {
  const group = leaf >>> 28;
  set(0, 0, 0, 0);
  if (group === 4) {
    if (leaf <= MAX_HYPERVISOR) hypervisorLeaf(cpu, leaf);
  } else if (group === 8) {
    if (leaf <= MAX_EXTENDED) extendedLeaf(leaf);
  } else basicLeaf(cpu, leaf >>> 0 > MAX_BASIC ? MAX_BASIC : leaf, subleaf);
}

function basicLeaf(cpu: Cpu, leaf: number, subleaf: number): void {
  const apic = cpu.env.apic !== undefined;
  switch (leaf) {
    case 0:
      set(MAX_BASIC, characters(VENDOR, 0), characters(VENDOR, 8), characters(VENDOR, 4));
      break;
    case 1: {
      const edx =
        FPU | DE | PSE | TSC | MSR | PAE | MCE | CX8 | SEP | MTRR | PGE | MCA | CMOV | PAT | PSE36 | CLFSH | MMX | FXSR;
      const ecx = SSE3 | SSSE3 | CX16 | SSE41 | SSE42 | MOVBE | POPCNT | RDRAND | HYPERVISOR_PRESENT;
      const osxsave = cpu.i32[S_CR4 >> 2] & CR4_OSXSAVE ? OSXSAVE : 0;
      // EBX: 64-byte CLFLUSH lines, one logical processor, APIC ID 0.
      set(
        SIGNATURE,
        (8 << 8) | (1 << 16),
        ecx | (apic ? X2APIC | TSC_DEADLINE : 0) | (XSAVE_PRESENT ? XSAVE | osxsave : 0),
        edx | SSE | SSE2 | SS | (apic ? APIC : 0),
      );
      break;
    }
    case 2:
      // Descriptor 0xff: caches are told by leaf 4.
      set(0x00ff01, 0, 0, 0);
      break;
    case 4:
      cacheLeaf(subleaf);
      break;
    case 6:
      set(apic ? ARAT : 0, 0, 0, 0);
      break;
    case 7:
      if (subleaf === 0)
        set(
          0,
          FSGSBASE | BMI1 | SMEP | BMI2 | ERMS | RDSEED | ADX | SMAP | CLFLUSHOPT | CLWB,
          RDPID,
          ARCH_CAPABILITIES,
        );
      break;
    case 0xb:
      // One thread of one core: level types 1 (SMT) and 2 (core).
      if (apic) set(0, subleaf < 2 ? 1 : 0, (subleaf & 0xff) | (subleaf < 2 ? (subleaf + 1) << 8 : 0), 0);
      break;
    case 0xd:
      if (!XSAVE_PRESENT) break;
      if (subleaf === 0) set(3, XSAVE_BYTES, XSAVE_BYTES, 0);
      else if (subleaf === 1) set(XSAVEOPT, 0, 0, 0);
      break;
    case 0x15: {
      // TSC = crystal × EBX ÷ EAX, in lowest terms: guests multiply in 32 bits.
      const divisor = gcd(cpu.env.tscKHz, APIC_KHZ);
      set(APIC_KHZ / divisor, cpu.env.tscKHz / divisor, APIC_KHZ * 1000, 0);
      break;
    }
    case 0x16: {
      const mhz = Math.round(cpu.env.tscKHz / 1000);
      set(mhz, mhz, 100, 0);
      break;
    }
  }
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

function cacheLeaf(subleaf: number): void {
  const cache = CACHES[subleaf];
  if (cache === undefined) return;
  const { type, level, ways, sets } = cache;
  const selfInitializing = 1 << 8;
  set(type | (level << 5) | selfInitializing, 63 | ((ways - 1) << 22), sets - 1, 0);
}

function hypervisorLeaf(cpu: Cpu, leaf: number): void {
  if (leaf === 0x40000000)
    set(MAX_HYPERVISOR, characters(HYPERVISOR, 0), characters(HYPERVISOR, 4), characters(HYPERVISOR, 8));
  else if (leaf === MAX_HYPERVISOR) set(cpu.env.tscKHz, APIC_KHZ, 0, 0);
}

function extendedLeaf(leaf: number): void {
  switch (leaf & 0xff) {
    case 0:
      set(MAX_EXTENDED, 0, 0, 0);
      break;
    case 1:
      set(0, 0, LAHF_LM | LZCNT | PREFETCHW, SYSCALL | NX | PDPE1GB | RDTSCP | LM);
      break;
    case 2:
    case 3:
    case 4: {
      const at = ((leaf & 0xff) - 2) * 16;
      set(characters(BRAND, at), characters(BRAND, at + 4), characters(BRAND, at + 8), characters(BRAND, at + 12));
      break;
    }
    case 6:
      // The second-level cache: 256 KiB, 4 ways, 64-byte lines.
      set(0, 0, (256 << 16) | (4 << 12) | 64, 0);
      break;
    case 7:
      set(0, 0, 0, INVARIANT_TSC);
      break;
    case 8:
      set(PHYSICAL_BITS | (LINEAR_BITS << 8), 0, 0, 0);
      break;
  }
}
