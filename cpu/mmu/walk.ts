/**
 * The page walker (Intel SDM vol. 3A ch. 4): linear → physical for no paging, 32-bit, PAE and 4-level paging, with
 * permissions and accessed/dirty bits. Results and faults stand in `walked`. Compiled ahead of time too (aot/compile.ts).
 */
import {
  PF_FETCH,
  PF_PRESENT,
  PF_RESERVED,
  PF_USER,
  PF_WRITE,
  raiseNotCanonical,
  raisePageFault,
  VECTOR_GP,
  VECTOR_PF,
} from '../fault.ts';
import { RAM_BASE, S_CR0, S_CR3, S_CR4, S_EFER, S_RAM_SIZE, S_RFLAGS, S_WALK, S_ZERO } from '../state.ts';

export const ACCESS_READ = 0;
export const ACCESS_WRITE = PF_WRITE;
export const ACCESS_FETCH = PF_FETCH;
/** The access is made at CPL 3. */
export const ACCESS_USER = PF_USER;
/** Supervisor access that SMAP always checks (descriptor tables …) — explicit ones obey RFLAGS.AC. */
export const ACCESS_IMPLICIT = 0x100;

export const CR0_WP = 1 << 16;
export const CR0_PG = 1 << 31;
export const CR4_PSE = 1 << 4;
export const CR4_PAE = 1 << 5;
export const CR4_SMEP = 1 << 20;
export const CR4_SMAP = 1 << 21;
export const EFER_LMA = 1 << 10;
export const EFER_NXE = 1 << 11;
const RFLAGS_AC = 1 << 18;

const PTE_P = 1 << 0;
const PTE_W = 1 << 1;
const PTE_U = 1 << 2;
const PTE_A = 1 << 5;
const PTE_D = 1 << 6;
const PTE_PS = 1 << 7;
const PTE_G = 1 << 8;
/** NX in the upper half of an entry. */
const PTE_NX = 1 << 31;
/** Physical address bits above 39 (MAXPHYADDR 40) in the upper half. */
const RESERVED_HIGH = 0x000fff00;

/** Result of the last walk. */
export const walked = {
  /** Physical address, low and high 32 bits (unsigned low as int32); after a fault the linear address. */
  low: 0,
  high: 0,
  /** Vector of the fault, #PF or #GP(0) because the address is not canonical; and its error code. */
  vector: 0,
  errorCode: 0,
  /** May this page also be written by such an access, and is its dirty bit set? */
  writable: false,
  global: false,
  /** Size of the page in bytes. */
  pageSize: 4096,
  /** The levels whose entries, at the addresses in S_WALK, were read, also by a walk that faults: first to last. */
  top: -1,
  last: 0,
  /** User page that a supervisor reaches only while SMAP allows: must not be cached. */
  guarded: false,
};

/** The part of the CPU that the walker needs: the whole memory as int32 words. */
export interface WalkContext {
  readonly i32: Int32Array;
}

/**
 * Translates the linear address for an access ACCESS_*.
 * @returns false when it faults
 */
export function walk(c: WalkContext, low: number, high: number, access: number): boolean {
  const { i32 } = c;
  const cr0 = i32[S_CR0 >> 2];
  if (!(cr0 & CR0_PG)) {
    walked.low = low;
    walked.high = high;
    walked.writable = true;
    walked.global = false;
    walked.guarded = false;
    walked.pageSize = 4096;
    walked.top = -1;
    return true;
  }
  const cr4 = i32[S_CR4 >> 2];
  const long = (i32[S_EFER >> 2] & EFER_LMA) !== 0;
  if (long && high !== (high << 16) >> 16) return refuse(VECTOR_GP, 0, low, high);
  if (!(cr4 & CR4_PAE)) return walk32(c, low, access, cr0, cr4);
  return walkPae(c, low, high, access, cr0, cr4, long);
}

/** Raises the fault of the last walk. */
export function raiseWalked(): never {
  if (walked.vector === VECTOR_GP) raiseNotCanonical(walked.low, walked.high);
  raisePageFault(walked.errorCode, walked.low, walked.high);
}

function refuse(vector: number, errorCode: number, low: number, high: number): boolean {
  walked.vector = vector;
  walked.errorCode = errorCode;
  walked.low = low;
  walked.high = high;
  return false;
}

/** A #PF. Fetches are told apart only where something may forbid them alone: NX or SMEP. */
function fault(c: WalkContext, access: number, code: number, low: number, high: number): boolean {
  const cr4 = c.i32[S_CR4 >> 2];
  const toldApart = cr4 & CR4_SMEP || (cr4 & CR4_PAE && c.i32[S_EFER >> 2] & EFER_NXE);
  return refuse(VECTOR_PF, code | (access & (PF_WRITE | PF_USER | (toldApart ? PF_FETCH : 0))), low, high);
}

/** Is there RAM at a physical address? */
function isRam(c: WalkContext, address: number): boolean {
  return address >>> 0 < c.i32[S_RAM_SIZE >> 2] >>> 0;
}

/** Offset in the memory of the entry of a paging structure at a physical address; outside RAM entries read as absent. */
function entryOffset(c: WalkContext, address: number): number {
  return isRam(c, address) ? RAM_BASE + (address >>> 0) : S_ZERO;
}

/** Sets bits of an entry that was found present. Most have them already, and need no store. */
function setEntryBits(c: WalkContext, address: number, bits: number): void {
  if ((c.i32[(RAM_BASE + (address >>> 0)) >>> 2] & bits) !== bits) c.i32[(RAM_BASE + (address >>> 0)) >>> 2] |= bits;
}

/** May it, by the joint permissions? `writable`, `user`: all levels allow it. */
function check(
  c: WalkContext,
  access: number,
  writable: boolean,
  user: boolean,
  nx: boolean,
  cr0: number,
  cr4: number,
): boolean {
  walked.guarded = false;
  if (access & PF_FETCH && nx) return false;
  if (access & PF_USER) return user && (writable || !(access & PF_WRITE));
  if (user) {
    if (access & PF_FETCH && cr4 & CR4_SMEP) return false;
    if (cr4 & CR4_SMAP && !(access & PF_FETCH)) {
      if (access & ACCESS_IMPLICIT || !(c.i32[S_RFLAGS >> 2] & RFLAGS_AC)) return false;
      walked.guarded = true;
    }
  }
  return writable || !(access & PF_WRITE && cr0 & CR0_WP);
}

function mayWrite(access: number, writable: boolean, dirty: boolean, cr0: number): boolean {
  return dirty && (writable || (!(access & PF_USER) && !(cr0 & CR0_WP)));
}

/** 32-bit paging, 4 KiB and 4 MiB pages (SDM 4.3). */
function walk32(c: WalkContext, low: number, access: number, cr0: number, cr4: number): boolean {
  const pdeAddress = (c.i32[S_CR3 >> 2] & 0xfffff000) + ((low >>> 22) << 2);
  const pde = c.i32[entryOffset(c, pdeAddress) >>> 2];
  c.i32[(S_WALK >> 2) + 1] = pdeAddress;
  walked.top = 1;
  walked.last = 1;
  if (!(pde & PTE_P)) return fault(c, access, 0, low, 0);
  const write = (access & PF_WRITE) !== 0;
  if (pde & PTE_PS && cr4 & CR4_PSE) {
    if (!check(c, access, (pde & PTE_W) !== 0, (pde & PTE_U) !== 0, false, cr0, cr4))
      return fault(c, access, PF_PRESENT, low, 0);
    setEntryBits(c, pdeAddress, PTE_A | (write ? PTE_D : 0));
    walked.low = (pde & 0xffc00000) | (low & 0x3fffff);
    walked.high = (pde >>> 13) & 0xff;
    walked.pageSize = 0x400000;
    walked.global = (pde & PTE_G) !== 0;
    walked.writable = mayWrite(access, (pde & PTE_W) !== 0, write || (pde & PTE_D) !== 0, cr0);
    return true;
  }
  const pteAddress = (pde & 0xfffff000) + (((low >>> 12) & 0x3ff) << 2);
  const pte = c.i32[entryOffset(c, pteAddress) >>> 2];
  c.i32[S_WALK >> 2] = pteAddress;
  walked.last = 0;
  if (!(pte & PTE_P)) return fault(c, access, 0, low, 0);
  const both = pde & pte;
  if (!check(c, access, (both & PTE_W) !== 0, (both & PTE_U) !== 0, false, cr0, cr4))
    return fault(c, access, PF_PRESENT, low, 0);
  setEntryBits(c, pdeAddress, PTE_A);
  setEntryBits(c, pteAddress, PTE_A | (write ? PTE_D : 0));
  walked.low = (pte & 0xfffff000) | (low & 0xfff);
  walked.high = 0;
  walked.pageSize = 4096;
  walked.global = (pte & PTE_G) !== 0;
  walked.writable = mayWrite(access, (both & PTE_W) !== 0, write || (pte & PTE_D) !== 0, cr0);
  return true;
}

/** Stands for a table that is beyond 4 GiB, and so outside RAM: its entries read as absent. */
const NOWHERE = 0xfffff000;

/** PAE (three levels) and 4-level paging (SDM 4.4, 4.5), 4 KiB, 2 MiB and 1 GiB pages. */
function walkPae(
  c: WalkContext,
  low: number,
  high: number,
  access: number,
  cr0: number,
  cr4: number,
  long: boolean,
): boolean {
  const { i32 } = c;
  const nxe = (i32[S_EFER >> 2] & EFER_NXE) !== 0;
  let table = i32[S_CR3 >> 2] & (long ? 0xfffff000 : 0xffffffe0);
  if (long && i32[(S_CR3 + 4) >> 2] & 0xff) table = NOWHERE;
  let writable = PTE_W;
  let user = PTE_U;
  let nx = 0;
  const top = long ? 3 : 2;
  walked.top = top;
  for (let level = top; ; level--) {
    let index = low >>> 30;
    if (level === 3) index = (high >>> 7) & 511;
    else if (level < 2) index = (low >>> (12 + 9 * level)) & 511;
    else if (long) index |= (high & 0x7f) << 2;
    const address = (table + index * 8) | 0;
    i32[(S_WALK >> 2) + level] = address;
    walked.last = level;
    const at = entryOffset(c, address);
    const entry = i32[at >>> 2];
    const entryHigh = i32[(at + 4) >>> 2];
    if (!(entry & PTE_P)) return fault(c, access, 0, low, high);
    const pdpte = !long && level === 2;
    // Reserved: physical bits beyond MAXPHYADDR, NX without EFER.NXE, PS in a PML4 entry.
    if (
      entryHigh & RESERVED_HIGH ||
      (!nxe && entryHigh & PTE_NX) ||
      (level === 3 && entry & PTE_PS) ||
      (pdpte && (entry & 0x1e6 || entryHigh & PTE_NX))
    )
      return fault(c, access, PF_PRESENT | PF_RESERVED, low, high);
    if (!pdpte) {
      writable &= entry;
      user &= entry;
      nx |= entryHigh & PTE_NX;
    }
    const leaf = level === 0 || (entry & PTE_PS && !pdpte && level < 3);
    if (!leaf) {
      table = entryHigh & 0xff ? NOWHERE : entry & 0xfffff000;
      continue;
    }
    const mask = level === 0 ? 0xfff : level === 1 ? 0x1fffff : 0x3fffffff;
    if (level > 0 && entry & mask & ~0x1fff) return fault(c, access, PF_PRESENT | PF_RESERVED, low, high);
    if (!check(c, access, writable !== 0, user !== 0, nx !== 0, cr0, cr4))
      return fault(c, access, PF_PRESENT, low, high);
    const write = (access & PF_WRITE) !== 0;
    for (let l = top; l > level; l--) if (long || l !== 2) setEntryBits(c, i32[(S_WALK >> 2) + l], PTE_A);
    setEntryBits(c, address, PTE_A | (write ? PTE_D : 0));
    walked.low = (entry & 0xfffff000 & ~mask) | (low & mask);
    walked.high = entryHigh & 0xff;
    walked.pageSize = mask + 1;
    walked.global = (entry & PTE_G) !== 0;
    walked.writable = mayWrite(access, writable !== 0, write || (entry & PTE_D) !== 0, cr0);
    return true;
  }
}
