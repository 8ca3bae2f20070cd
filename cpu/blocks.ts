/**
 * Decoded blocks: straight runs of instructions as records in the operation arena, found by address and mode, dropped
 * when their bytes change. Also owns the jump cache and the page flags that make stores to code pages visible.
 *
 * All that is known of blocks stands in the machine's memory (record.ts: BLOCK_*), as generated code finds and decodes
 * blocks by itself: {@link BlockCache.atRip} and all that it calls is compiled ahead of time too (aot/compile.ts).
 */
import { decode, MAX_LENGTH } from './decode/decoder.ts';
import { Insn } from './decode/insn.ts';
import { CodeOutsideRam, raise, VECTOR_GP } from './fault.ts';
import { attributesOf } from './isa/encoding.ts';
import { ATTR_END, ENTRY_UD } from './isa/table.ts';
import { JumpCache } from './jump-cache.ts';
import { FAULTED, type Mmu, NOT_RAM } from './mmu/mmu.ts';
import { raiseWalked } from './mmu/walk.ts';
import { codeSize, isStepped, MODE_CHECKED, MODE_ONE, stackSize } from './mode.ts';
import * as r from './record.ts';
import {
  BLOCK_ADDRESS_KEYS,
  BLOCK_PAGE_KEYS,
  PAGE_SIZE,
  RAM_BASE,
  S_BLOCK_PARTS,
  S_BLOCKS_BY_ADDRESS,
  S_BLOCKS_BY_PAGE,
  S_BLOCKS_DECODED,
  S_CODE_COPY,
  S_HAS_REGIONS,
  S_HOT_THRESHOLD,
  S_MODE,
  S_OPS,
  S_OPS_END,
  S_OPS_LIMIT,
  S_OPS_NEXT,
  S_PAGE_FLAGS,
  S_RIP,
  S_SEGMENTS,
  SEGMENT_BASE,
  SEGMENT_LIMIT,
  SEGMENT_STRIDE,
} from './state.ts';
import { needsHelper } from './system/legality.ts';
import { RecordWriter } from './wasm/record-writer.ts';
import { H_FALL_THROUGH, H_HEAD, H_STALE } from './wasm/shapes.ts';

/** Longest block in instructions. */
const MAX_BLOCK = 64;
/** Most bytes that one block needs in the arena. */
const BLOCK_ROOM = r.BLOCK_SIZE + (4 * MAX_BLOCK + 3) * r.RECORD_SIZE;
/** Executions after which code that could not be translated is tried again. */
const LEAST_POSTPONED = 100_000;
/** Flag of a page: blocks were decoded from it. */
const PAGE_HAS_BLOCK = 1;
/** Bytes that the decoder may look at. */
const DECODER_REACH = 32;
const COPY_SIZE = 64;

/** Why there is no block; less than any record's offset. */
const CANNOT = 0;
const FETCH_FAULTED = 1;
const BEYOND_LIMIT = 2;
const TOO_LONG = 3;
const OUTSIDE_RAM = 4;

/** In the list of a page stands a block's offset, plus this if the page is the second that it reaches into. */
const SECOND_PAGE = 1;

export class BlockCache {
  private readonly mmu: Mmu;
  private readonly i32: Int32Array;
  private readonly u16: Uint16Array;
  private readonly u8: Uint8Array;
  readonly jumps: JumpCache;
  private readonly writer: RecordWriter;
  private readonly insn = new Insn();
  /** Blocks dropped because their bytes changed. */
  dropped = 0;
  /** Table index of the region at an address, 0 for none; asked only while S_HAS_REGIONS. */
  regionAt: (ripLow: number, ripHigh: number, mode: number) => number = () => 0;
  /** Told when all records are about to be dropped. */
  onFlush: () => void = () => {};

  constructor(mmu: Mmu, buffer: ArrayBufferLike) {
    this.mmu = mmu;
    this.i32 = new Int32Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u8 = new Uint8Array(buffer);
    this.jumps = new JumpCache(this.i32);
    this.writer = new RecordWriter(buffer);
    this.i32[S_OPS_NEXT >> 2] = S_OPS;
    this.i32[S_OPS_LIMIT >> 2] = S_OPS_END;
    this.i32[S_HOT_THRESHOLD >> 2] = 0x7fffffff;
  }

  /** Executions after which a block is reported as hot. */
  get hotThreshold(): number {
    return this.i32[S_HOT_THRESHOLD >> 2];
  }

  set hotThreshold(executions: number) {
    this.i32[S_HOT_THRESHOLD >> 2] = executions;
  }

  get decoded(): number {
    return this.i32[S_BLOCKS_DECODED >> 2];
  }

  /** How often the block at this address ran before it was translated; 0: never, or it is unknown. */
  executions(ripLow: number, ripHigh: number, mode: number): number {
    const block = this.known(ripLow, ripHigh, mode);
    return block === 0 ? 0 : this.executionsOf(block + r.BLOCK_SIZE);
  }

  private executionsOf(head: number): number {
    const { i32 } = this;
    return this.hotThreshold + i32[(head + r.HEAD_GIVEN_TIME) >> 2] - i32[(head + r.HEAD_COUNTER) >> 2];
  }

  /** Did the block at this address become hot, and has not been given time since? */
  wasHot(ripLow: number, ripHigh: number, mode: number): boolean {
    const block = this.present(ripLow, ripHigh, mode);
    return block !== 0 && this.i32[(block + r.BLOCK_SIZE + r.HEAD_COUNTER) >> 2] < 0;
  }

  /** A block that has been decoded, from what is at a physical address if one is given; 0 if there is none. */
  private known(ripLow: number, ripHigh: number, mode: number, address = NOT_RAM): number {
    const { i32 } = this;
    let block = i32[addressKey(ripLow) >> 2];
    while (
      block !== 0 &&
      !(
        this.isAt(block, ripLow, ripHigh, mode) &&
        (address < 0 || i32[(block + r.BLOCK_ADDRESS) >> 2] === (address | 0))
      )
    )
      block = i32[(block + r.BLOCK_NEXT) >> 2];
    return block;
  }

  /** The one that is found there as memory is mapped now. */
  private present(ripLow: number, ripHigh: number, mode: number): number {
    // Other code sizes know no regions, and their addresses begin at CS's base.
    const address = codeSize(mode) === 8 ? this.mmu.fetchFor(mode, ripLow, ripHigh) : NOT_RAM;
    return this.known(ripLow, ripHigh, mode, address);
  }

  /** Lets a block become hot again, after so many executions; how often it ran so far is not forgotten. */
  restartCounter(ripLow: number, ripHigh: number, mode: number, executions = this.hotThreshold): void {
    const block = this.present(ripLow, ripHigh, mode);
    if (block === 0) return;
    const head = block + r.BLOCK_SIZE;
    this.i32[(head + r.HEAD_GIVEN_TIME) >> 2] = this.executionsOf(head) + executions - this.hotThreshold;
    this.i32[(head + r.HEAD_COUNTER) >> 2] = executions;
  }

  /** Has a block be as one that became hot and was given no time since. */
  stopCounter(ripLow: number, ripHigh: number, mode: number): void {
    this.restartCounter(ripLow, ripHigh, mode, -1);
  }

  /** Lets a block become hot again much later, later each time. */
  postponeCounter(ripLow: number, ripHigh: number, mode: number): void {
    this.restartCounter(ripLow, ripHigh, mode, Math.max(LEAST_POSTPONED, this.executions(ripLow, ripHigh, mode)));
  }

  /** A record with which a region has an instruction executed by its helper. */
  singleStep(insn: Insn, nextLow: number, nextHigh: number): number {
    const record = this.i32[S_OPS_LIMIT >> 2] - r.RECORD_SIZE;
    this.i32[S_OPS_LIMIT >> 2] = record;
    this.writer.instruction(record, insn, nextLow, nextHigh, 0, true);
    return record;
  }

  /** Drops every block. */
  flush(): void {
    this.onFlush();
    this.mmu.flush();
    const { i32, u8 } = this;
    // As in a new machine, whose tables need not be touched.
    if (i32[S_OPS_NEXT >> 2] === S_OPS && i32[S_OPS_LIMIT >> 2] === S_OPS_END) return;
    for (let key = 0; key < BLOCK_PAGE_KEYS; key++)
      for (let link = i32[(S_BLOCKS_BY_PAGE >> 2) + key]; link !== 0; link = i32[this.nextLink(link) >> 2])
        u8[S_PAGE_FLAGS + this.pageOf(link)] &= ~PAGE_HAS_BLOCK;
    i32.fill(0, S_BLOCKS_BY_PAGE >> 2, (S_BLOCKS_BY_PAGE >> 2) + BLOCK_PAGE_KEYS);
    i32.fill(0, S_BLOCK_PARTS >> 2, (S_BLOCK_PARTS >> 2) + BLOCK_PAGE_KEYS);
    i32.fill(0, S_BLOCKS_BY_ADDRESS >> 2, (S_BLOCKS_BY_ADDRESS >> 2) + BLOCK_ADDRESS_KEYS);
    i32[S_OPS_NEXT >> 2] = S_OPS;
    i32[S_OPS_LIMIT >> 2] = S_OPS_END;
    this.jumps.flush();
  }

  /**
   * First record of the block at RIP in `mode`, decoded if need be; enters it into the jump cache.
   * @throws GuestFault when the first instruction cannot be fetched; CodeOutsideRam
   */
  lookup(ripLow: number, ripHigh: number, mode: number): number {
    if (!this.hasRoom()) this.flush();
    const op = this.find(ripLow, ripHigh, mode);
    if (op >= S_OPS) return op;
    if (op === FETCH_FAULTED) raiseWalked();
    if (op === BEYOND_LIMIT || op === TOO_LONG) raise(VECTOR_GP, 0);
    throw new CodeOutsideRam();
  }

  // --- compiled ahead of time too -------------------------------------------------------------------------------------

  /** As {@link lookup} for the state's RIP and mode. Less than S_OPS: TypeScript has to see to it. */
  atRip(): number {
    const { i32 } = this;
    const mode = i32[S_MODE >> 2];
    if (isStepped(mode) || !this.hasRoom()) return CANNOT;
    return this.find(i32[S_RIP >> 2], i32[(S_RIP + 4) >> 2], mode);
  }

  private hasRoom(): boolean {
    return this.i32[S_OPS_NEXT >> 2] + BLOCK_ROOM <= this.i32[S_OPS_LIMIT >> 2];
  }

  /** Drops every block unless there is room for so many records of single steps. @returns whether there was */
  makeRoom(records: number): boolean {
    if (this.hasRoomFor(records)) return true;
    this.flush();
    return false;
  }

  /** Is there room for so many records of single steps? */
  hasRoomFor(records: number): boolean {
    return this.i32[S_OPS_NEXT >> 2] + records * r.RECORD_SIZE <= this.i32[S_OPS_LIMIT >> 2];
  }

  private isAt(block: number, ripLow: number, ripHigh: number, mode: number): boolean {
    const { i32 } = this;
    return (
      i32[(block + r.BLOCK_RIP) >> 2] === ripLow &&
      i32[(block + r.BLOCK_RIP + 4) >> 2] === ripHigh &&
      i32[(block + r.BLOCK_MODE) >> 2] === mode
    );
  }

  /** First record, or why there is none. */
  private find(ripLow: number, ripHigh: number, mode: number): number {
    const { i32, mmu } = this;
    let linearLow = ripLow;
    let linearHigh = ripHigh;
    if (codeSize(mode) !== 8) {
      const cs = S_SEGMENTS + SEGMENT_STRIDE;
      if (ripLow >>> 0 > i32[(cs + SEGMENT_LIMIT) >> 2] >>> 0) return BEYOND_LIMIT;
      linearLow = (ripLow + i32[(cs + SEGMENT_BASE) >> 2]) | 0;
      linearHigh = 0;
    }
    const address = mmu.fetchAddress(linearLow, linearHigh);
    if (address === FAULTED) return FETCH_FAULTED;
    if (address === NOT_RAM) return OUTSIDE_RAM;
    let block = i32[addressKey(ripLow) >> 2];
    while (
      block !== 0 &&
      !(this.isAt(block, ripLow, ripHigh, mode) && i32[(block + r.BLOCK_ADDRESS) >> 2] === (address | 0))
    )
      block = i32[(block + r.BLOCK_NEXT) >> 2];
    if (block !== 0 && i32[(block + r.BLOCK_ADDRESS2) >> 2] !== NOT_RAM) {
      const now = this.fetchNextPage(linearLow, linearHigh);
      if (now === FAULTED) return FETCH_FAULTED;
      if ((now | 0) !== i32[(block + r.BLOCK_ADDRESS2) >> 2]) {
        this.drop(block);
        block = 0;
      }
    }
    if (block === 0) {
      block = this.decodeBlock(ripLow, ripHigh, linearLow, linearHigh, mode, address);
      if (block < S_OPS) return block;
    }
    const op = block + r.BLOCK_SIZE;
    const region = i32[S_HAS_REGIONS >> 2] !== 0 ? this.regionAt(ripLow, ripHigh, mode) : 0;
    this.jumps.enter(ripLow, ripHigh, mode, op, region);
    return op;
  }

  /** Physical address of the page behind that of a linear address. */
  private fetchNextPage(linearLow: number, linearHigh: number): number {
    const low = ((linearLow & -PAGE_SIZE) + PAGE_SIZE) | 0;
    return this.mmu.fetchAddress(low, low === 0 ? (linearHigh + 1) | 0 : linearHigh);
  }

  /** @returns the new block, or why there is none */
  private decodeBlock(
    ripLow: number,
    ripHigh: number,
    linearLow: number,
    linearHigh: number,
    mode: number,
    address: number,
  ): number {
    const { insn, writer, i32, u8 } = this;
    const code = codeSize(mode);
    const stack = stackSize(mode);
    const checked = (mode & MODE_CHECKED) !== 0;
    const block = i32[S_OPS_NEXT >> 2];
    const head = block + r.BLOCK_SIZE;
    let at = writer.special(head, H_HEAD, 0);
    let offset = 0;
    let count = 0;
    let address2 = NOT_RAM;
    const room = PAGE_SIZE - (linearLow & (PAGE_SIZE - 1));
    const limit = mode & MODE_ONE ? 1 : MAX_BLOCK;
    while (count < limit && offset < room) {
      const start = RAM_BASE + address + offset;
      const left = room - offset;
      let length = 0;
      if (left >= DECODER_REACH) length = decode(insn, u8, start, code, stack);
      else {
        // Near the end of the page: decode from a copy, padded with zeroes or with the next page's bytes.
        u8.fill(0, S_CODE_COPY, S_CODE_COPY + COPY_SIZE);
        u8.copyWithin(S_CODE_COPY, start, start + left);
        length = decode(insn, u8, S_CODE_COPY, code, stack);
        if (length > left) {
          // The instruction reaches into the next page. Only its first instruction may fault the fetch of a block.
          if (count > 0) break;
          address2 = this.fetchNextPage(linearLow, linearHigh);
          if (address2 === FAULTED) return FETCH_FAULTED;
          if (address2 !== NOT_RAM)
            u8.copyWithin(S_CODE_COPY + left, RAM_BASE + address2, RAM_BASE + address2 + MAX_LENGTH);
          length = decode(insn, u8, S_CODE_COPY, code, stack);
        }
      }
      if (length > MAX_LENGTH) {
        if (count > 0) break;
        return TOO_LONG;
      }
      let nextLow = (ripLow + offset + length) | 0;
      let nextHigh = ripHigh;
      if (code === 8) nextHigh = (ripHigh + (nextLow >>> 0 < ripLow >>> 0 ? 1 : 0)) | 0;
      else nextHigh = 0;
      if (code === 2) nextLow &= 0xffff;
      at = writer.instruction(at, insn, nextLow, nextHigh, offset, needsHelper(insn, mode), checked);
      if (at === 0) return CANNOT;
      offset += length;
      count++;
      if (insn.row === ENTRY_UD || attributesOf[insn.row] & ATTR_END) break;
    }
    at = writer.special(at, H_FALL_THROUGH, offset);
    i32[(head + r.HEAD_COUNT) >> 2] = count;
    i32[(head + r.HEAD_COUNTER) >> 2] = i32[S_HOT_THRESHOLD >> 2];
    i32[(block + r.BLOCK_RIP) >> 2] = ripLow;
    i32[(block + r.BLOCK_RIP + 4) >> 2] = ripHigh;
    i32[(block + r.BLOCK_MODE) >> 2] = mode;
    i32[(block + r.BLOCK_ADDRESS) >> 2] = address;
    i32[(block + r.BLOCK_ADDRESS2) >> 2] = address2;
    i32[(block + r.BLOCK_END) >> 2] = at;
    i32[(block + r.BLOCK_BYTES) >> 2] = offset;
    i32[(block + r.BLOCK_NEXT) >> 2] = i32[addressKey(ripLow) >> 2];
    i32[addressKey(ripLow) >> 2] = block;
    i32[S_OPS_NEXT >> 2] = at;
    i32[S_BLOCKS_DECODED >> 2]++;
    this.watch(block, address >>> 12);
    if (address2 !== NOT_RAM) this.watch(block + SECOND_PAGE, address2 >>> 12);
    return block;
  }

  private watch(link: number, page: number): void {
    const { i32, u8, mmu } = this;
    i32[this.nextLink(link) >> 2] = i32[pageKey(page) >> 2];
    i32[pageKey(page) >> 2] = link;
    i32[partsKey(page) >> 2] |= parts(this.beginOf(link), this.endOf(link));
    if (u8[S_PAGE_FLAGS + page] & PAGE_HAS_BLOCK) return;
    u8[S_PAGE_FLAGS + page] |= PAGE_HAS_BLOCK;
    mmu.protectPages();
  }

  /** Where a link of a page's list has the next one. */
  private nextLink(link: number): number {
    return link & SECOND_PAGE ? link - SECOND_PAGE + r.BLOCK_NEXT_IN_PAGE2 : link + r.BLOCK_NEXT_IN_PAGE;
  }

  /** The page whose list a link stands in. */
  private pageOf(link: number): number {
    const address = link & SECOND_PAGE ? link - SECOND_PAGE + r.BLOCK_ADDRESS2 : link + r.BLOCK_ADDRESS;
    return this.i32[address >> 2] >>> 12;
  }

  /** Where in that page the block's code begins. */
  private beginOf(link: number): number {
    return link & SECOND_PAGE ? 0 : this.i32[(link + r.BLOCK_ADDRESS) >> 2] & (PAGE_SIZE - 1);
  }

  /** And where it ends. */
  private endOf(link: number): number {
    const { i32 } = this;
    const block = link & ~SECOND_PAGE;
    const end = (i32[(block + r.BLOCK_ADDRESS) >> 2] & (PAGE_SIZE - 1)) + i32[(block + r.BLOCK_BYTES) >> 2];
    return link & SECOND_PAGE ? end - PAGE_SIZE : Math.min(end, PAGE_SIZE);
  }

  /** Forgets a block. Its records may be running: they now lead back to the dispatcher. */
  private drop(block: number): void {
    const { i32, u16 } = this;
    const end = i32[(block + r.BLOCK_END) >> 2];
    for (let at = block + r.BLOCK_SIZE; at < end; at += r.RECORD_SIZE) {
      // The head, and helpers that have just called us, are never entered again; all else looks RIP up anew.
      u16[(at + r.R_HANDLER) >> 1] = H_STALE;
    }
    const ripLow = i32[(block + r.BLOCK_RIP) >> 2];
    this.jumps.forget(ripLow, i32[(block + r.BLOCK_RIP + 4) >> 2], i32[(block + r.BLOCK_MODE) >> 2]);
    let before = addressKey(ripLow);
    while (i32[before >> 2] !== block) before = i32[before >> 2] + r.BLOCK_NEXT;
    i32[before >> 2] = i32[(block + r.BLOCK_NEXT) >> 2];
    this.unwatch(block);
    if (i32[(block + r.BLOCK_ADDRESS2) >> 2] !== NOT_RAM) this.unwatch(block + SECOND_PAGE);
  }

  /** Takes a link out of its page's list. The page's flag stays until a write finds the list empty. */
  private unwatch(link: number): void {
    const { i32 } = this;
    const page = this.pageOf(link);
    let before = pageKey(page);
    while (i32[before >> 2] !== link) before = this.nextLink(i32[before >> 2]);
    i32[before >> 2] = i32[this.nextLink(link) >> 2];
    if (i32[pageKey(page) >> 2] === 0) i32[partsKey(page) >> 2] = 0;
  }

  // --- TypeScript only ------------------------------------------------------------------------------------------------

  /** Bytes of guest RAM changed: drops the blocks made from them. */
  written(address: number, length: number): void {
    for (let page = address >>> 12; page <= (address + length - 1) >>> 12; page++) {
      const start = page * PAGE_SIZE;
      if (this.u8[S_PAGE_FLAGS + page] & PAGE_HAS_BLOCK)
        this.writtenInPage(page, Math.max(address - start, 0), Math.min(address + length - start, PAGE_SIZE));
    }
  }

  private writtenInPage(page: number, begin: number, end: number): void {
    const { i32 } = this;
    const inCode = i32[partsKey(page) >> 2];
    // Data beside code is no reason to look at all of its blocks.
    if (inCode !== 0 && !(inCode & parts(begin, end))) return;
    let isEmpty = true;
    let left = 0;
    for (let link = i32[pageKey(page) >> 2]; link !== 0; ) {
      const isHere = this.pageOf(link) === page;
      const isWritten = isHere && this.beginOf(link) < end && begin < this.endOf(link);
      if (isHere && !isWritten) isEmpty = false;
      if (!isWritten) left |= parts(this.beginOf(link), this.endOf(link));
      const block = link & ~SECOND_PAGE;
      link = i32[this.nextLink(link) >> 2];
      if (!isWritten) continue;
      // Its other link goes with it, which is the next if both pages are in this list.
      if ((link & ~SECOND_PAGE) === block) link = i32[this.nextLink(link) >> 2];
      this.dropped++;
      this.drop(block);
    }
    i32[partsKey(page) >> 2] = i32[pageKey(page) >> 2] === 0 ? 0 : left;
    if (isEmpty) this.u8[S_PAGE_FLAGS + page] &= ~PAGE_HAS_BLOCK;
  }
}

/** Offset of the first block of the list of an address. */
function addressKey(ripLow: number): number {
  return S_BLOCKS_BY_ADDRESS + (((ripLow ^ (ripLow >>> 14)) & (BLOCK_ADDRESS_KEYS - 1)) << 2);
}

/** Offset of the first link of the list of a page. */
function pageKey(page: number): number {
  return S_BLOCKS_BY_PAGE + ((page & (BLOCK_PAGE_KEYS - 1)) << 2);
}

/** Offset of the parts of its pages in which the blocks of that list have code. */
function partsKey(page: number): number {
  return S_BLOCK_PARTS + ((page & (BLOCK_PAGE_KEYS - 1)) << 2);
}

/** The parts of a page that its bytes from `begin` to before `end` are in, as bits. */
function parts(begin: number, end: number): number {
  return (-1 << (begin >>> 7)) & (-1 >>> (31 - ((end - 1) >>> 7)));
}
