/**
 * Memory as instructions see it: linear addresses through the walker to RAM or MMIO, the software TLBs that generated
 * code probes (state.ts: S_TLB_*), and the slow path for all that those do not allow.
 *
 * A TLB entry allows writes only to pages without translated code (page flags), so that self-modifying stores come here.
 */
import type { AccessSize, BusDevice } from '../../devices/bus.ts';
import { GuestFault, raise, VECTOR_AC, VECTOR_GP } from '../fault.ts';
import { MODE_WATCHED, privilegeLevel } from '../mode.ts';
import {
  PAGE_SIZE,
  RAM_BASE,
  S_CR0,
  S_MODE,
  S_PAGE_FLAGS,
  S_RAM_SIZE,
  S_RFLAGS,
  S_SLOW_ADDRESS,
  S_SLOW_VALUE,
  S_SYSTEM_COPY,
  S_TLB_BASE,
  S_TLB_LARGE,
  S_TLB_LARGEST,
  S_TLB_STRICT,
  S_TLB_SUPERVISOR,
  S_TLB_USER,
  S_TLB_USER_USED,
  TLB_ADDEND,
  TLB_ENTRIES,
  TLB_LARGE_BITS,
  TLB_READ,
  TLB_STRIDE,
  TLB_WRITE,
} from '../state.ts';
import { BREAK_ON_READ, BREAK_ON_WRITE, breakpointsAt } from '../system/debug.ts';
import { CodePages, NO_PAGE } from './code-pages.ts';
import { NotedFault } from './noted-fault.ts';
import { AddressSpaces } from './spaces.ts';
import {
  ACCESS_FETCH,
  ACCESS_IMPLICIT,
  ACCESS_READ,
  ACCESS_USER,
  ACCESS_WRITE,
  raiseWalked,
  walk,
  walked,
} from './walk.ts';

/** Instead of a physical address: it is no RAM (`walked` has it); the walk faulted (`walked` tells how). */
export const NOT_RAM = -1;
export const FAULTED = -2;

/** Instead of an offset in the memory. */
export const MISS = -1;

/** Flag of a size argument: the same address will be stored to. */
export const FOR_WRITE = 0x100;

/** CR0.AM and RFLAGS.AC. */
const ALIGNMENT_CHECK = 1 << 18;

/** What a slow access of generated code comes to where it is tried ahead of TypeScript. */
const PLAIN_NOT = 0;
const PLAIN_DONE = 1;
export const PLAIN_FAULTED = 2;

/** Large pages are noted by their parts of this size, of which each has a bit by a hash of its address. */
const LARGE_PART = 0x200000;

function largePart(low: number, high: number): number {
  return ((low >>> 21) + high * 37) & (TLB_LARGE_BITS - 1);
}

export class Mmu {
  readonly ramSize: number;
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
  private readonly mmio: BusDevice;
  /** Told of every write to a page whose flag is set, before it is visible to translated code. */
  onCodeWrite: (address: number, length: number) => void = () => {};
  /** Breakpoints that the running instruction met, as bits of DR6. */
  hits = 0;
  /** Where code was fetched from. */
  readonly code: CodePages;
  readonly spaces: AddressSpaces;
  /** The fault that made the last slow access fail. */
  readonly fault: NotedFault;

  constructor(buffer: ArrayBufferLike, ramSize: number, mmio: BusDevice) {
    this.u8 = new Uint8Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.code = new CodePages(this.i32);
    this.spaces = new AddressSpaces(this.i32);
    this.fault = new NotedFault(this.i32);
    this.ramSize = ramSize;
    this.mmio = mmio;
    this.i32[S_RAM_SIZE >> 2] = ramSize;
    this.i32[S_TLB_USER_USED >> 2] = 1;
    this.flush();
    this.i32.fill(-1, S_TLB_STRICT >> 2, (S_TLB_STRICT + TLB_ENTRIES * TLB_STRIDE) >> 2);
  }

  /** Empties both TLBs. */
  flush(): void {
    const { i32 } = this;
    i32[S_TLB_LARGEST >> 2] = PAGE_SIZE;
    i32.fill(0, S_TLB_LARGE >> 2, (S_TLB_LARGE >> 2) + (TLB_LARGE_BITS >> 5));
    i32.fill(-1, S_TLB_SUPERVISOR >> 2, (S_TLB_SUPERVISOR + TLB_ENTRIES * TLB_STRIDE) >> 2);
    if (i32[S_TLB_USER_USED >> 2] === 0) return;
    i32[S_TLB_USER_USED >> 2] = 0;
    i32.fill(-1, S_TLB_USER >> 2, (S_TLB_USER + TLB_ENTRIES * TLB_STRIDE) >> 2);
  }

  /** Drops the entries of one page (INVLPG), in both TLBs: of a large page all that were made from it. */
  flushPage(low: number, high: number): void {
    const { i32 } = this;
    const largestPage = i32[S_TLB_LARGEST >> 2];
    const part = largePart(low, high);
    if (!(i32[(S_TLB_LARGE >> 2) + (part >>> 5)] & (1 << (part & 31)))) {
      const entry = ((low >>> 12) & (TLB_ENTRIES - 1)) * TLB_STRIDE;
      this.dropEntry(S_TLB_SUPERVISOR + entry);
      this.dropEntry(S_TLB_USER + entry);
      return;
    }
    for (let entry = S_TLB_SUPERVISOR; entry < S_TLB_USER + TLB_ENTRIES * TLB_STRIDE; entry += TLB_STRIDE) {
      const tag = (entry + TLB_READ) >> 2;
      if (((i32[tag] ^ low) & -largestPage) === 0 && i32[tag + 1] === high) this.dropEntry(entry);
    }
  }

  private dropEntry(entry: number): void {
    const { i32 } = this;
    i32[(entry + TLB_READ) >> 2] = -1;
    i32[(entry + TLB_WRITE) >> 2] = -1;
  }

  /** Takes the write permission of all entries that reach a page with flags (S_PAGE_FLAGS): to be called when some got any. */
  protectPages(): void {
    const { i32, u8 } = this;
    for (let entry = S_TLB_SUPERVISOR; entry < S_TLB_USER + TLB_ENTRIES * TLB_STRIDE; entry += TLB_STRIDE) {
      const low = i32[(entry + TLB_WRITE) >> 2];
      if (low === -1) continue;
      const address = (low + i32[(entry + TLB_ADDEND) >> 2]) | 0;
      if (u8[S_PAGE_FLAGS + (address >>> 12)] !== 0) {
        i32[(entry + TLB_WRITE) >> 2] = -1;
        i32[(entry + TLB_WRITE + 4) >> 2] = -1;
      }
    }
  }

  /** Are data breakpoints on? */
  get watching(): boolean {
    return (this.i32[S_MODE >> 2] & MODE_WATCHED) !== 0;
  }

  /** Are operands to be aligned (CPL 3, CR0.AM, RFLAGS.AC)? */
  get aligning(): boolean {
    const { i32 } = this;
    if (i32[S_TLB_BASE >> 2] !== S_TLB_STRICT || this.user === 0) return false;
    return (i32[S_CR0 >> 2] & i32[S_RFLAGS >> 2] & ALIGNMENT_CHECK) !== 0;
  }

  /** ACCESS_USER at CPL 3. */
  get user(): number {
    return (this.i32[S_MODE >> 2] & 0x300) === 0x300 ? ACCESS_USER : 0;
  }

  /**
   * Where an access that stays within one page goes.
   * @returns the physical address, NOT_RAM or FAULTED
   */
  private resolve(low: number, high: number, access: number): number {
    if (!walk(this, low, high, access)) return FAULTED;
    const address = walked.low >>> 0;
    return walked.high === 0 && address < this.i32[S_RAM_SIZE >> 2] >>> 0 ? address : NOT_RAM;
  }

  /** As {@link resolve} for data, by the TLB if it knows the page; otherwise enters it there. */
  private find(low: number, high: number, access: number): number {
    const { i32 } = this;
    const user = access & ACCESS_USER;
    const entry = (user !== 0 ? S_TLB_USER : S_TLB_SUPERVISOR) + ((low >>> 12) & (TLB_ENTRIES - 1)) * TLB_STRIDE;
    const tag = (entry + (access & ACCESS_WRITE ? TLB_WRITE : TLB_READ)) >> 2;
    if (i32[tag] === (low & -PAGE_SIZE) && i32[tag + 1] === high) return (low + i32[(entry + TLB_ADDEND) >> 2]) >>> 0;
    const address = this.resolve(low, high, access);
    if (address !== FAULTED && address !== NOT_RAM) this.enter(low, high, address, user);
    return address;
  }

  /** Offset in the memory of an access of 4 or 8 bytes that is aligned and plain; else MISS. */
  private hit(low: number, high: number, size: number, access: number): number {
    return low & (size - 1) ? MISS : this.span(low, high, size, access);
  }

  /**
   * Where in the memory the CPU finds `length` bytes that it accesses by itself, at an address divisible by 4: offset for
   * i32, if they are in one page of RAM that may be accessed so. MISS: they are to be accessed piece by piece.
   */
  span(low: number, high: number, length: number, access: number): number {
    if (low & 3 || (low & (PAGE_SIZE - 1)) > PAGE_SIZE - length || this.watching) return MISS;
    const address = this.find(low, high, access);
    if (address === FAULTED || address === NOT_RAM) return MISS;
    if (access & ACCESS_WRITE && this.u8[S_PAGE_FLAGS + (address >>> 12)] !== 0) return MISS;
    return RAM_BASE + (address >>> 0);
  }

  /** Where `length` bytes, 64 at most, can be read that the CPU wants by itself (descriptor tables, TSS); offset for i32. */
  systemBytes(low: number, high: number, length: number): number {
    const at = this.span(low, high, length, ACCESS_READ | ACCESS_IMPLICIT);
    return at === MISS ? this.systemCopy(low, high, length) : at;
  }

  private systemCopy(low: number, high: number, length: number): number {
    if (!this.loadTo(S_SYSTEM_COPY, low, high, length, ACCESS_READ | ACCESS_IMPLICIT)) raiseWalked();
    return S_SYSTEM_COPY;
  }

  /** Enters the page of the last walk into the TLB of this privilege. */
  private enter(low: number, high: number, address: number, user: number): void {
    if (walked.guarded) return;
    const { i32 } = this;
    const entry = (user !== 0 ? S_TLB_USER : S_TLB_SUPERVISOR) + ((low >>> 12) & (TLB_ENTRIES - 1)) * TLB_STRIDE;
    const page = low & -PAGE_SIZE;
    if (user !== 0) i32[S_TLB_USER_USED >> 2] = 1;
    if (walked.pageSize > PAGE_SIZE) this.noteLarge(low, high, walked.pageSize);
    i32[(entry + TLB_READ) >> 2] = page;
    i32[(entry + TLB_READ + 4) >> 2] = high;
    const writable = walked.writable && this.u8[S_PAGE_FLAGS + (address >>> 12)] === 0;
    i32[(entry + TLB_WRITE) >> 2] = writable ? page : -1;
    i32[(entry + TLB_WRITE + 4) >> 2] = writable ? high : -1;
    i32[(entry + TLB_ADDEND) >> 2] = (address & -PAGE_SIZE) - page;
  }

  /** Notes that a part of a large page is in a TLB. */
  private noteLarge(low: number, high: number, size: number): void {
    const { i32 } = this;
    if (size > i32[S_TLB_LARGEST >> 2]) i32[S_TLB_LARGEST >> 2] = size;
    for (let distance = 0; distance < size; distance += LARGE_PART) {
      const part = largePart((low & -size) + distance, high);
      i32[(S_TLB_LARGE >> 2) + (part >>> 5)] |= 1 << (part & 31);
    }
  }

  /**
   * The slow path where nothing is amiss but that the TLB lacks the page: the access lies in one page of RAM, and the
   * guest may make it; or it may not, and the fault is noted. Generated code tries this first. @returns PLAIN_*
   */
  loadPlain(sizeAndFlags: number): number {
    const { u8 } = this;
    const size = sizeAndFlags & 0xff;
    const address = this.plainAddress(size, sizeAndFlags & FOR_WRITE ? ACCESS_WRITE : ACCESS_READ);
    if (address === MISS) return PLAIN_NOT;
    if (address === FAULTED) return this.plainFaulted();
    for (let i = 0; i < size; i++) u8[S_SLOW_VALUE + i] = u8[RAM_BASE + address + i];
    return PLAIN_DONE;
  }

  /** As {@link loadPlain} for a store, to a page without code. */
  storePlain(size: number): number {
    const { u8 } = this;
    const address = this.plainAddress(size, ACCESS_WRITE);
    if (address === FAULTED) return this.plainFaulted();
    if (address === MISS || u8[S_PAGE_FLAGS + (address >>> 12)] !== 0) return PLAIN_NOT;
    for (let i = 0; i < size; i++) u8[RAM_BASE + address + i] = u8[S_SLOW_VALUE + i];
    return PLAIN_DONE;
  }

  private plainFaulted(): number {
    this.walkFaulted();
    return PLAIN_FAULTED;
  }

  /** Has the TLB know the page of the access in the mailbox, for a region. @returns whether the TLB now allows it */
  fill(sizeAndFlags: number): boolean {
    const { u8 } = this;
    const write = (sizeAndFlags & FOR_WRITE) !== 0;
    const address = this.plainAddress(sizeAndFlags & 0xff, write ? ACCESS_WRITE : ACCESS_READ);
    if (address === MISS || address === FAULTED || walked.guarded) return false;
    return !write || u8[S_PAGE_FLAGS + (address >>> 12)] === 0;
  }

  /** Physical address of the access in the mailbox, whose page enters the TLB; FAULTED; MISS: it is not plain. */
  private plainAddress(size: number, access: number): number {
    const { i32, user } = this;
    const low = i32[S_SLOW_ADDRESS >> 2];
    const high = i32[(S_SLOW_ADDRESS + 4) >> 2];
    if (i32[S_TLB_BASE >> 2] === S_TLB_STRICT || (low & (PAGE_SIZE - 1)) > PAGE_SIZE - size) return MISS;
    const address = this.resolve(low, high, access | user);
    if (address === FAULTED) return FAULTED;
    if (address === NOT_RAM) return MISS;
    this.enter(low, high, address, user);
    return address;
  }

  /** Slow path of a load: S_SLOW_ADDRESS → S_SLOW_VALUE. @returns nonzero when the guest faulted (see `fault`). */
  slowLoad(sizeAndFlags: number): number {
    try {
      const size = sizeAndFlags & 0xff;
      const access = (sizeAndFlags & FOR_WRITE ? ACCESS_WRITE : ACCESS_READ) | this.user;
      const low = this.i32[S_SLOW_ADDRESS >> 2];
      const high = this.i32[(S_SLOW_ADDRESS + 4) >> 2];
      this.checkAlignment(low, high, size);
      if (!this.loadTo(S_SLOW_VALUE, low, high, size, access)) return this.walkFaulted();
      this.watch(low, high, size, false);
      return 0;
    } catch (error) {
      return this.caught(error);
    }
  }

  /** Slow path of a store: S_SLOW_VALUE → S_SLOW_ADDRESS. */
  slowStore(size: number): number {
    try {
      const access = ACCESS_WRITE | this.user;
      const low = this.i32[S_SLOW_ADDRESS >> 2];
      const high = this.i32[(S_SLOW_ADDRESS + 4) >> 2];
      this.checkAlignment(low, high, size);
      if (!this.storeFrom(S_SLOW_VALUE, low, high, size, access)) return this.walkFaulted();
      this.watch(low, high, size, true);
      return 0;
    } catch (error) {
      return this.caught(error);
    }
  }

  /** #AC for an operand of `size` bytes that is not aligned. */
  checkAlignment(low: number, high: number, size: number): void {
    if (this.aligning && low & (size - 1) && high === (high << 16) >> 16) raise(VECTOR_AC, 0);
  }

  /** Notes the breakpoints that an access of the instruction meets. */
  watch(low: number, high: number, size: number, write: boolean): void {
    if (this.watching) this.hits |= breakpointsAt(this.i32, write ? BREAK_ON_WRITE : BREAK_ON_READ, low, high, size);
  }

  /** Notes a guest's fault; anything else is an error of ours and goes on. */
  caught(error: unknown): number {
    if (!(error instanceof GuestFault)) throw error;
    this.fault.noteAccess(error.vector, error.errorCode, error.notCanonical, error.addressLow, error.addressHigh);
    return 1;
  }

  /** Notes the fault of the last walk, without a throw. */
  private walkFaulted(): number {
    this.fault.noteAccess(walked.vector, walked.errorCode, walked.vector === VECTOR_GP, walked.low, walked.high);
    return 1;
  }

  /** @throws GuestFault when the access is not allowed */
  private mayAccess(low: number, high: number, access: number): void {
    if (!walk(this, low, high, access)) raiseWalked();
  }

  /** Copies `size` bytes from a linear address to offset `to` of the memory. @returns false when the walk faulted */
  private loadTo(to: number, low: number, high: number, size: number, access: number): boolean {
    const room = PAGE_SIZE - (low & (PAGE_SIZE - 1));
    if (size > room) {
      // Both pages must be readable before anything counts; a load has no effect, so in order is enough.
      const next = (low + room) | 0;
      return (
        this.loadTo(to, low, high, room, access) &&
        this.loadTo(to + room, next, next === 0 ? (high + 1) | 0 : high, size - room, access)
      );
    }
    const address = this.find(low, high, access);
    if (address === FAULTED) return false;
    if (address === NOT_RAM) this.loadMmio(to, walked.low >>> 0, walked.high, size);
    else {
      const from = RAM_BASE + address;
      for (let i = 0; i < size; i++) this.u8[to + i] = this.u8[from + i];
    }
    return true;
  }

  /** Copies from there to a linear address. @returns as `loadTo`; then nothing is stored */
  private storeFrom(from: number, low: number, high: number, size: number, access: number): boolean {
    const room = PAGE_SIZE - (low & (PAGE_SIZE - 1));
    if (size > room) {
      const next = (low + room) | 0;
      const nextHigh = next === 0 ? (high + 1) | 0 : high;
      // The second page first asks for permission: a fault there must leave the first one unwritten.
      return (
        walk(this, low, high, access) &&
        walk(this, next, nextHigh, access) &&
        this.storeFrom(from, low, high, room, access) &&
        this.storeFrom(from + room, next, nextHigh, size - room, access)
      );
    }
    const address = this.find(low, high, access);
    if (address === FAULTED) return false;
    if (address === NOT_RAM) this.storeMmio(from, walked.low >>> 0, walked.high, size);
    else {
      const to = RAM_BASE + address;
      for (let i = 0; i < size; i++) this.u8[to + i] = this.u8[from + i];
      if (this.u8[S_PAGE_FLAGS + (address >>> 12)] !== 0) this.onCodeWrite(address, size);
    }
    return true;
  }

  /** Device memory: pieces of 4, 2 or 1 bytes in ascending order. */
  private loadMmio(to: number, address: number, high: number, size: number): void {
    for (let i = 0; i < size; ) {
      const piece: AccessSize = size - i >= 4 ? 4 : size - i >= 2 ? 2 : 1;
      let value = high === 0 ? this.mmio.read(address + i, piece) : 0xffffffff;
      for (let k = 0; k < piece; k++, value >>>= 8) this.u8[to + i + k] = value;
      i += piece;
    }
  }

  private storeMmio(from: number, address: number, high: number, size: number): void {
    for (let i = 0; i < size; ) {
      const piece: AccessSize = size - i >= 4 ? 4 : size - i >= 2 ? 2 : 1;
      let value = 0;
      for (let k = piece - 1; k >= 0; k--) value = value * 256 + this.u8[from + i + k];
      if (high === 0) this.mmio.write(address + i, piece, value);
      i += piece;
    }
  }

  // --- accessors for helpers; they throw GuestFault ------------------------------------------------------------------

  private readonly scratch = S_SLOW_VALUE;

  /** Loads `size` (1, 2, 4) bytes, unsigned. */
  read(low: number, high: number, size: AccessSize): number {
    this.checkAlignment(low, high, size);
    if (!this.loadTo(this.scratch, low, high, size, ACCESS_READ | this.user)) raiseWalked();
    this.watch(low, high, size, false);
    return this.scratchValue(size);
  }

  /** A read that the CPU itself makes as supervisor (descriptor tables, TSS). */
  readSystem(low: number, high: number, size: AccessSize): number {
    if (size === 4) {
      const at = this.hit(low, high, size, ACCESS_READ | ACCESS_IMPLICIT);
      if (at !== MISS) return this.i32[at >>> 2] >>> 0;
    }
    if (!this.loadTo(this.scratch, low, high, size, ACCESS_READ | ACCESS_IMPLICIT)) raiseWalked();
    return this.scratchValue(size);
  }

  private scratchValue(size: AccessSize): number {
    if (size === 1) return this.u8[this.scratch];
    if (size === 2) return this.u8[this.scratch] | (this.u8[this.scratch + 1] << 8);
    return this.i32[this.scratch >> 2] >>> 0;
  }

  write(low: number, high: number, size: AccessSize, value: number): void {
    this.checkAlignment(low, high, size);
    this.i32[this.scratch >> 2] = value;
    if (!this.storeFrom(this.scratch, low, high, size, ACCESS_WRITE | this.user)) raiseWalked();
    this.watch(low, high, size, true);
  }

  writeSystem(low: number, high: number, size: AccessSize, value: number): void {
    this.i32[this.scratch >> 2] = value;
    if (!this.storeFrom(this.scratch, low, high, size, ACCESS_WRITE | ACCESS_IMPLICIT)) raiseWalked();
  }

  /** Upper half of the value that {@link read64} returned the lower half of. */
  upper = 0;

  /** Loads eight bytes. @returns the low half (int32); {@link upper} has the rest. */
  read64(low: number, high: number): number {
    const access = ACCESS_READ | this.user;
    const at = this.hit(low, high, 8, access);
    if (at !== MISS) {
      this.upper = this.i32[(at + 4) >>> 2];
      return this.i32[at >>> 2];
    }
    this.checkAlignment(low, high, 8);
    if (!this.loadTo(this.scratch, low, high, 8, access)) raiseWalked();
    this.watch(low, high, 8, false);
    this.upper = this.i32[(this.scratch + 4) >> 2];
    return this.i32[this.scratch >> 2];
  }

  /** Stores eight bytes; `system`: as the CPU itself, as supervisor. */
  write64(low: number, high: number, valueLow: number, valueHigh: number, system = false): void {
    const access = ACCESS_WRITE | (system ? ACCESS_IMPLICIT : this.user);
    const at = this.hit(low, high, 8, access);
    if (at !== MISS) {
      this.i32[at >>> 2] = valueLow;
      this.i32[(at + 4) >>> 2] = valueHigh;
      return;
    }
    if (!system) this.checkAlignment(low, high, 8);
    this.i32[this.scratch >> 2] = valueLow;
    this.i32[(this.scratch + 4) >> 2] = valueHigh;
    if (!this.storeFrom(this.scratch, low, high, 8, access)) raiseWalked();
    if (!system) this.watch(low, high, 8, true);
  }

  /** Copies `length` guest bytes to offset `to` of the memory (state block), or from there. */
  copyIn(to: number, low: number, high: number, length: number): void {
    if (!this.loadTo(to, low, high, length, ACCESS_READ | this.user)) raiseWalked();
    this.watch(low, high, length, false);
  }

  copyOut(from: number, low: number, high: number, length: number): void {
    if (!this.storeFrom(from, low, high, length, ACCESS_WRITE | this.user)) raiseWalked();
    this.watch(low, high, length, true);
  }

  /** Checks that `length` bytes may be accessed without touching them. */
  probe(low: number, high: number, length: number, write: boolean): void {
    const access = (write ? ACCESS_WRITE : ACCESS_READ) | this.user;
    this.mayAccess(low, high, access);
    const room = PAGE_SIZE - (low & (PAGE_SIZE - 1));
    for (let done = room; done < length; done += PAGE_SIZE) {
      const next = (low + done) | 0;
      this.mayAccess(next, next >>> 0 < low >>> 0 ? (high + 1) | 0 : high, access);
    }
  }

  /**
   * Physical RAM address of a linear address for runs of bytes within its page (REP); -1 for device memory.
   * Enters the TLB, so the permission is the same as generated code would find.
   */
  translate(low: number, high: number, write: boolean): number {
    const address = this.find(low, high, (write ? ACCESS_WRITE : ACCESS_READ) | this.user);
    if (address === FAULTED) raiseWalked();
    return address;
  }

  /** Physical address of a code byte, NOT_RAM or FAULTED. */
  fetchAddress(low: number, high: number): number {
    return this.fetchAs(low, high, this.user);
  }

  /** As {@link fetchAddress} for code of mode `mode`, whatever the CPU's is. */
  fetchFor(mode: number, low: number, high: number): number {
    return this.fetchAs(low, high, privilegeLevel(mode) === 3 ? ACCESS_USER : 0);
  }

  private fetchAs(low: number, high: number, user: number): number {
    const address = this.resolve(low, high, ACCESS_FETCH | user);
    if (address !== FAULTED && address !== NOT_RAM) this.code.add(low, high, user !== 0, address, walked.pageSize);
    return address;
  }

  /** Is all code that is known by its address still mapped as it was? Also false when that is too much to look at. */
  codeIsMapped(): boolean {
    const { code } = this;
    if (code.isFull) return false;
    for (let page = code.first(); page !== NO_PAGE; page = code.next(page))
      if (this.fetchAs(code.lowOf(page), code.highOf(page), code.isUser(page) ? ACCESS_USER : 0) !== code.frameOf(page))
        return false;
    return true;
  }
}
