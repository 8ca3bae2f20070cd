/**
 * Decoded blocks: straight runs of instructions as records in the operation arena, found by address and mode, dropped
 * when their bytes change. Also owns the jump cache and the page flags that make stores to code pages visible.
 */
import { decode, MAX_LENGTH } from './decode/decoder.ts';
import { Insn } from './decode/insn.ts';
import { raise, VECTOR_GP } from './fault.ts';
import { attributesOf } from './isa/encoding.ts';
import { ATTR_END, ENTRY_UD } from './isa/table.ts';
import { JumpCache } from './jump-cache.ts';
import type { Mmu } from './mmu/mmu.ts';
import { codeSize, MODE_CHECKED, MODE_ONE, stackSize } from './mode.ts';
import * as r from './record.ts';
import {
  PAGE_SIZE,
  RAM_BASE,
  S_OPS,
  S_OPS_END,
  S_PAGE_FLAGS,
  S_SEGMENTS,
  SEGMENT_BASE,
  SEGMENT_LIMIT,
  SEGMENT_STRIDE,
} from './state.ts';
import { RecordWriter } from './wasm/record-writer.ts';
import { H_FALL_THROUGH, H_HEAD, H_STALE } from './wasm/shapes.ts';

/** Longest block in instructions. */
const MAX_BLOCK = 64;
/** Most bytes of records that one block needs. */
const BLOCK_BYTES = (4 * MAX_BLOCK + 3) * r.RECORD_SIZE;

export interface Block {
  ripLow: number;
  ripHigh: number;
  mode: number;
  /** Physical address of the first byte, and of the second page that the block reaches into (-1: none). */
  address: number;
  address2: number;
  /** First record (the head) and the end of its records. */
  op: number;
  end: number;
  instructions: number;
  bytes: number;
  /** Next block with the same hash key. */
  next: Block | undefined;
}

export class BlockCache {
  private readonly mmu: Mmu;
  private readonly i32: Int32Array;
  private readonly u16: Uint16Array;
  readonly jumps: JumpCache;
  private readonly writer: RecordWriter;
  private readonly insn = new Insn();
  private readonly blocks = new Map<number, Block>();
  private readonly byPage = new Map<number, Set<Block>>();
  private readonly bytes = new Uint8Array(64);
  /** Blocks decoded, and dropped because their bytes changed. */
  readonly counters = { decoded: 0, dropped: 0 };
  private arena = S_OPS;
  /** Executions after which a block is reported as hot. */
  hotThreshold = 0x7fffffff;
  /** Must this instruction go to its helper although it has a handler (privilege, disabled units)? */
  needsHelper: (insn: Insn, mode: number) => boolean = () => false;
  /** Table index of the region at an address, 0 for none. */
  regionAt: (ripLow: number, ripHigh: number, mode: number) => number = () => 0;
  /** Told when all records are about to be dropped. */
  onFlush: () => void = () => {};

  constructor(mmu: Mmu, buffer: ArrayBufferLike) {
    this.mmu = mmu;
    this.i32 = new Int32Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.jumps = new JumpCache(this.i32);
    this.writer = new RecordWriter(buffer);
  }

  /** How often the block at this address ran before it was translated; 0: never, or it is unknown. */
  executions(ripLow: number, ripHigh: number, mode: number): number {
    const block = this.find(ripLow, ripHigh, mode);
    if (block === undefined) return 0;
    const left = this.i32[(block.op + r.HEAD_COUNTER) >> 2];
    return this.hotThreshold + this.i32[(block.op + r.HEAD_GIVEN_TIME) >> 2] - left;
  }

  private find(ripLow: number, ripHigh: number, mode: number): Block | undefined {
    let block = this.blocks.get((ripLow >>> 0) * 4096 + (mode & 0xfff));
    while (block !== undefined && !(block.mode === mode && block.ripHigh === ripHigh)) block = block.next;
    return block;
  }

  /** Lets a block become hot again. */
  restartCounter(ripLow: number, ripHigh: number, mode: number): void {
    const block = this.find(ripLow, ripHigh, mode);
    if (block !== undefined) this.i32[(block.op + r.HEAD_COUNTER) >> 2] = this.hotThreshold;
  }

  /** Lets the block with head `op` run `executions` times more before it counts as hot. */
  giveTime(op: number, executions: number): void {
    this.i32[(op + r.HEAD_COUNTER) >> 2] = executions;
    this.i32[(op + r.HEAD_GIVEN_TIME) >> 2] = executions;
  }

  wasGivenTime(op: number): boolean {
    return this.i32[(op + r.HEAD_GIVEN_TIME) >> 2] !== 0;
  }

  /** A record with which a region has an instruction executed by its helper. */
  singleStep(insn: Insn, nextLow: number, nextHigh: number): number {
    const record = this.arena;
    this.arena = this.writer.instruction(record, insn, nextLow, nextHigh, 0, true);
    return record;
  }

  /** Drops every block. */
  flush(): void {
    this.onFlush();
    this.blocks.clear();
    for (const page of this.byPage.keys()) this.mmu.u8[S_PAGE_FLAGS + page] = 0;
    this.byPage.clear();
    this.arena = S_OPS;
    this.jumps.flush();
    this.mmu.flush();
  }

  /**
   * The block at RIP in `mode`, decoded if need be, and enters it into the jump cache.
   * @throws GuestFault when the first instruction cannot be fetched.
   */
  lookup(ripLow: number, ripHigh: number, mode: number): Block {
    const key = (ripLow >>> 0) * 4096 + (mode & 0xfff);
    const linearLow = this.linear(ripLow, mode);
    const linearHigh = codeSize(mode) === 8 ? ripHigh : 0;
    this.checkLimit(ripLow, mode);
    const address = this.mmu.translateFetch(linearLow, linearHigh);
    if (address < 0) throw new Error(`code outside RAM at 0x${(ripLow >>> 0).toString(16)}`);
    let block = this.blocks.get(key);
    while (block !== undefined && !(block.mode === mode && block.ripHigh === ripHigh && block.address === address))
      block = block.next;
    if (block !== undefined && block.address2 >= 0) {
      const second = (linearLow & -PAGE_SIZE) + PAGE_SIZE;
      const now = this.mmu.translateFetch(second | 0, second > 0x7fffffff ? linearHigh : linearHigh);
      if (now !== block.address2) {
        this.drop(block);
        block = undefined;
      }
    }
    if (block === undefined) {
      if (this.arena + BLOCK_BYTES > S_OPS_END) this.flush();
      block = this.decodeBlock(ripLow, ripHigh, linearLow, linearHigh, mode, address);
      block.next = this.blocks.get(key);
      this.blocks.set(key, block);
    }
    this.jumps.enter(ripLow, ripHigh, mode, block.op, this.regionAt(ripLow, ripHigh, mode));
    return block;
  }

  private linear(ripLow: number, mode: number): number {
    if (codeSize(mode) === 8) return ripLow;
    return (ripLow + this.i32[(S_SEGMENTS + SEGMENT_STRIDE + SEGMENT_BASE) >> 2]) | 0;
  }

  private checkLimit(ripLow: number, mode: number): void {
    if (codeSize(mode) === 8) return;
    if (ripLow >>> 0 > this.i32[(S_SEGMENTS + SEGMENT_STRIDE + SEGMENT_LIMIT) >> 2] >>> 0) raise(VECTOR_GP, 0);
  }

  private decodeBlock(
    ripLow: number,
    ripHigh: number,
    linearLow: number,
    linearHigh: number,
    mode: number,
    address: number,
  ): Block {
    const { mmu, insn, writer } = this;
    this.counters.decoded++;
    const code = codeSize(mode);
    const stack = stackSize(mode);
    const head = this.arena;
    let at = writer.special(head, H_HEAD, 0);
    let offset = 0;
    let count = 0;
    let address2 = -1;
    const room = PAGE_SIZE - (linearLow & (PAGE_SIZE - 1));
    const limit = mode & MODE_ONE ? 1 : MAX_BLOCK;
    for (; count < limit; ) {
      if (offset >= room) break;
      let length: number;
      if (room - offset >= 32) length = decode(insn, mmu.u8, RAM_BASE + address + offset, code, stack);
      else {
        // Near the end of the page: decode from a copy, padded with zeroes or with the next page's bytes.
        const left = room - offset;
        this.bytes.fill(0);
        const start = RAM_BASE + address + offset;
        this.bytes.set(mmu.u8.subarray(start, start + left));
        length = decode(insn, this.bytes, 0, code, stack);
        if (length > left) {
          // The instruction reaches into the next page. Only its first instruction may fault the fetch of a block.
          if (count > 0) break;
          const second = (linearLow & -PAGE_SIZE) + PAGE_SIZE;
          address2 = mmu.translateFetch(second | 0, second === 0x100000000 ? (linearHigh + 1) | 0 : linearHigh);
          if (address2 >= 0) this.bytes.set(mmu.u8.subarray(RAM_BASE + address2, RAM_BASE + address2 + 16), left);
          length = decode(insn, this.bytes, 0, code, stack);
        }
      }
      if (length > MAX_LENGTH) {
        if (count > 0) break;
        raise(VECTOR_GP, 0);
      }
      const nextSum = (ripLow >>> 0) + offset + length;
      let nextLow = nextSum | 0;
      let nextHigh = (ripHigh + (nextSum > 0xffffffff ? 1 : 0)) | 0;
      if (code !== 8) nextHigh = 0;
      if (code === 2) nextLow &= 0xffff;
      const helper = this.needsHelper(insn, mode);
      at = writer.instruction(at, insn, nextLow, nextHigh, offset, helper, (mode & MODE_CHECKED) !== 0);
      offset += length;
      count++;
      if (insn.row === ENTRY_UD || attributesOf[insn.row] & ATTR_END) break;
    }
    at = writer.special(at, H_FALL_THROUGH, offset);
    this.i32[(head + r.HEAD_COUNT) >> 2] = count;
    this.i32[(head + r.HEAD_COUNTER) >> 2] = this.hotThreshold;
    this.arena = at;
    const block: Block = {
      ripLow,
      ripHigh,
      mode,
      address,
      address2,
      op: head,
      end: at,
      instructions: count,
      bytes: offset,
      next: undefined,
    };
    this.watch(block, address >>> 12);
    if (address2 >= 0) this.watch(block, address2 >>> 12);
    return block;
  }

  private watch(block: Block, page: number): void {
    let set = this.byPage.get(page);
    if (set === undefined) {
      set = new Set();
      this.byPage.set(page, set);
      this.mmu.u8[S_PAGE_FLAGS + page] |= 1;
      this.mmu.protectPage(page * PAGE_SIZE);
    }
    set.add(block);
  }

  /** Bytes of guest RAM changed: drops the blocks made from them. */
  written(address: number, length: number): void {
    for (let page = address >>> 12; page <= (address + length - 1) >>> 12; page++) {
      const set = this.byPage.get(page);
      if (set === undefined) continue;
      for (const block of set) {
        const begin = block.address;
        const inFirst = address < begin + block.bytes && begin < address + length;
        if (inFirst || block.address2 >= 0) this.drop(block);
      }
      if (set.size === 0) {
        this.byPage.delete(page);
        this.mmu.u8[S_PAGE_FLAGS + page] &= ~1;
      }
    }
  }

  /** Forgets a block. Its records may be running: they now lead back to the dispatcher. */
  private drop(block: Block): void {
    this.counters.dropped++;
    for (let at = block.op; at < block.end; at += r.RECORD_SIZE) {
      // The head, and helpers that have just called us, are never entered again; all else looks RIP up anew.
      this.u16[(at + r.R_HANDLER) >> 1] = H_STALE;
    }
    this.jumps.forget(block.ripLow, block.ripHigh, block.mode);
    const key = (block.ripLow >>> 0) * 4096 + (block.mode & 0xfff);
    let at = this.blocks.get(key);
    if (at === block) {
      if (block.next === undefined) this.blocks.delete(key);
      else this.blocks.set(key, block.next);
    } else
      for (; at !== undefined; at = at.next)
        if (at.next === block) {
          at.next = block.next;
          break;
        }
    this.byPage.get(block.address >>> 12)?.delete(block);
    if (block.address2 >= 0) this.byPage.get(block.address2 >>> 12)?.delete(block);
  }
}
