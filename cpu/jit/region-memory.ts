/**
 * How a region reaches guest memory (Design §4). *Direct*: RAM is mapped 1:1 in a window of addresses, so that an access
 * is one comparison; accesses of a block that are at fixed distances from each other (address-groups.ts) share it.
 * *Paged*: each access looks its page up in the software TLB. Whatever is not plain RAM leaves by a side exit, and so
 * does a store to a page that holds translated code.
 */
import * as op from '../ir/ops.ts';
import { FOR_WRITE } from '../mmu/mmu.ts';
import * as state from '../state.ts';
import { probeTlb, tlbAddress } from '../wasm/tlb-code.ts';
import { type AddressGroup, AddressGroups, ROOT_ABSOLUTE } from './address-groups.ts';
import { HELPER_FILL } from './region-helpers.ts';
import { ADDRESS, ENTRY } from './region-locals.ts';
import { type LiftedBlock, RegionState } from './region-state.ts';

/** How memory is reached. */
export interface AddressSpace {
  /** Direct mode: addresses from `low` for `length` bytes are RAM 1:1. 0: by the TLB. */
  directLow: number;
  directLength: number;
}

/** Why the interpreter does an instruction: it is faster, or a memory access is not simple. */
export const FOR_SPEED = 0;
const FOR_MEMORY = 1;

export abstract class RegionMemory extends RegionState {
  protected space!: AddressSpace;
  private readonly groups = new AddressGroups(this.ir);
  /** Paged mode: address node of the instruction at hand that was checked for writing; 0: none. */
  private writable = 0;

  /** With a condition on the stack: leaves the instruction at hand to the interpreter if it holds. @param reason FOR_* */
  protected abstract sideExitIf(reason: number): void;
  /** The same, unless what `remedy` leaves on the stack is not zero. */
  protected abstract sideExitUnless(reason: number, remedy: () => void): void;

  /** Prepares the accesses of a block. */
  protected beginMemory(lifted: LiftedBlock): void {
    if (this.isDirect) this.groups.find(lifted);
  }

  protected beginInstruction(): void {
    this.writable = 0;
  }

  private get isDirect(): boolean {
    return this.space.directLength !== 0;
  }

  protected loadMemory(n: number): void {
    const { ir, out } = this;
    const size = ir.imm2[n];
    const offset = this.locate(n, size, ir.imm[n] !== 0);
    out.loadSized(state.RAM_BASE + offset, size);
    this.keep(n);
  }

  protected storeMemory(n: number): void {
    const { ir, out } = this;
    const size = ir.imm2[n];
    // The value first: it may use the shared locals.
    const value = this.locals.take(ir.type[ir.b[n]]);
    this.value(ir.b[n]);
    out.localSet(value);
    const offset = this.locate(n, size, true);
    out.localGet(value);
    out.storeSized(state.RAM_BASE + offset, size);
    this.locals.release(value);
  }

  /** Puts the place of an access in RAM on the stack, but for an offset. @returns the offset */
  private locate(n: number, size: number, write: boolean): number {
    if (this.isDirect) return this.locateDirect(n, size, write);
    this.locatePaged(this.ir.a[n], size, write);
    return 0;
  }

  // --- direct mode ----------------------------------------------------------------------------------------------------

  private locateDirect(n: number, size: number, write: boolean): number {
    const { ir, out, groups, space } = this;
    const node = ir.a[n];
    const group = groups.of(n);
    const offset = groups.offsetOf(node);
    if (group.root === ROOT_ABSOLUTE) return this.locateAbsolute(node, offset, size, write);
    if (group.checked && (!write || group.checkedForStores)) {
      const displacement = groups.foldable(node);
      if (displacement < 0 || this.uses[node] > 1) {
        this.value(node);
        out.byte(op.I32_WRAP_I64);
        return 0;
      }
      // The displacement goes into the access itself: the base is in the window too.
      this.uses[node] = 0;
      this.value(ir.op[node] === op.GPR_READ ? node : ir.a[node]);
      out.byte(op.I32_WRAP_I64);
      return displacement;
    }
    this.value(node);
    // What is compared is what memory is reached by, too: an address less in a register.
    let bias = 0;
    if (!group.checked) {
      bias = offset - group.least + space.directLow;
      this.addTo(-bias);
    }
    out.localSet(ADDRESS);
    if (!group.checked) this.checkWindow(group);
    if (write && !group.checkedForStores) this.checkPages(group, offset - bias);
    out.localGet(ADDRESS);
    out.byte(op.I32_WRAP_I64);
    return bias;
  }

  private addTo(distance: number): void {
    const { out } = this;
    if (distance === 0) return;
    out.i64Const(distance | 0, distance < 0 ? -1 : 0);
    out.byte(op.I64_ADD);
  }

  /** Side-exits unless all of a group, whose first address is ADDRESS beyond the window's, is in the window. */
  private checkWindow(group: AddressGroup): void {
    const { out, space } = this;
    group.checked = true;
    out.localGet(ADDRESS);
    out.i64Const((space.directLength - (group.end - group.least) + 1) | 0, 0);
    out.byte(op.I64_GE_U);
    this.sideExitIf(FOR_MEMORY);
  }

  /**
   * Side-exits if a page that a group stores to has code. A group lies in two pages at most: the flags of both are looked
   * at together, and one by one only if there are any.
   */
  private checkPages(group: AddressGroup, offset: number): void {
    const { out } = this;
    group.checkedForStores = true;
    const first = group.leastStored - offset;
    const last = group.endStored - 1 - offset;
    this.flagsOfPage(first, first === last ? 1 : 2);
    if (first === last) this.sideExitIf(FOR_MEMORY);
    else
      this.sideExitUnless(FOR_MEMORY, () => {
        this.flagsOfPage(first, 1);
        this.flagsOfPage(last, 1);
        out.byte(op.I32_OR);
        out.byte(op.I32_EQZ);
      });
  }

  /** i32 on the stack: flags of the page `distance` bytes from ADDRESS, or of that and the next. */
  private flagsOfPage(distance: number, pages: 1 | 2): void {
    const { out } = this;
    out.localGet(ADDRESS);
    out.byte(op.I32_WRAP_I64);
    if (distance !== 0) {
      out.i32Const(distance);
      out.byte(op.I32_ADD);
    }
    out.i32Const(12);
    out.byte(op.I32_SHR_U);
    out.loadSized(state.S_PAGE_FLAGS, pages);
  }

  private locateAbsolute(node: number, address: number, size: number, write: boolean): number {
    const { out, space } = this;
    this.value(node);
    out.byte(op.I32_WRAP_I64);
    const inside = address >= space.directLow && address + size <= space.directLow + space.directLength;
    if (!inside) {
      out.i32Const(1);
      this.sideExitIf(FOR_MEMORY);
    } else if (write) {
      const page = (at: number) => {
        out.i32Const(at >>> 12);
        out.loadSized(state.S_PAGE_FLAGS, 1);
      };
      page(address);
      if ((address + size - 1) >>> 12 !== address >>> 12) {
        page(address + size - 1);
        out.byte(op.I32_OR);
      }
      this.sideExitIf(FOR_MEMORY);
    }
    return 0;
  }

  // --- paged mode -----------------------------------------------------------------------------------------------------

  private locatePaged(node: number, size: number, write: boolean): void {
    const { out } = this;
    this.value(node);
    out.localSet(ADDRESS);
    // The load of a read-modify-write checks for the store too.
    if (node !== this.writable) {
      this.writable = write ? node : 0;
      this.probe(size, write);
    }
    tlbAddress(out, ADDRESS, ENTRY);
  }

  /** Looks ADDRESS up in the TLB, which may have to be filled: its entry is in ENTRY. */
  private probe(size: number, write: boolean): void {
    const { out } = this;
    probeTlb(out, ADDRESS, ENTRY, size, write ? state.TLB_WRITE : state.TLB_READ);
    out.byte(op.I64_NE);
    this.sideExitUnless(FOR_MEMORY, () => {
      out.i32Const(0);
      out.localGet(ADDRESS);
      out.storeSized(state.S_SLOW_ADDRESS, 8);
      out.i32Const(size | (write ? FOR_WRITE : 0));
      out.call(HELPER_FILL);
    });
  }

  // --- pieces of memory -----------------------------------------------------------------------------------------------

  /** Copies or fills a piece of memory (direct mode only); side-exits unless all of it is plain RAM without code. */
  protected bulk(n: number): void {
    const { ir, out, locals } = this;
    const copy = ir.op[n] === op.BULK_COPY;
    const length = this.inLocal(ir.c[n]);
    const to = this.inLocal(ir.a[n]);
    const source = this.inLocal(ir.b[n]);
    for (const address of copy ? [to, source] : [to]) {
      out.localGet(address);
      out.i64Const(this.space.directLow, 0);
      out.byte(op.I64_SUB);
      out.i64Const(this.space.directLength, 0);
      out.localGet(length);
      out.byte(op.I64_SUB);
      out.byte(op.I64_GT_U);
      this.sideExitIf(FOR_MEMORY);
    }
    // BULK_MOST bytes lie in two pages at most.
    out.localGet(to);
    this.pageFlags();
    out.localGet(to);
    out.localGet(length);
    out.byte(op.I64_ADD);
    this.pageFlags();
    out.byte(op.I32_OR);
    this.sideExitIf(FOR_MEMORY);
    const host = (address: number) => {
      out.localGet(address);
      out.byte(op.I32_WRAP_I64);
      out.i32Const(state.RAM_BASE);
      out.byte(op.I32_ADD);
    };
    host(to);
    if (copy) host(source);
    else out.localGet(source);
    out.localGet(length);
    out.byte(op.I32_WRAP_I64);
    if (copy) out.memoryCopy();
    else out.memoryFill();
    for (const local of [length, to, source]) locals.release(local);
  }

  /** Value of a node in a local of its own. */
  private inLocal(node: number): number {
    this.value(node);
    const local = this.locals.take(this.ir.type[node]);
    this.out.localSet(local);
    return local;
  }

  /** Replaces the address on the stack, which must be in the direct window, by its page's flags. */
  private pageFlags(): void {
    const { out } = this;
    out.i64Const(12, 0);
    out.byte(op.I64_SHR_U);
    out.byte(op.I32_WRAP_I64);
    out.loadSized(state.S_PAGE_FLAGS, 1);
  }
}
