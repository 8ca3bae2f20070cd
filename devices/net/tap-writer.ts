/**
 * Sends packets to a TAP. In the system call that does so, the host's network stack runs up to waking the receiver, for
 * as long as a guest takes to make a packet. So when the guest sends data as fast as it can, packets are copied into a
 * ring, and a thread of the addon writes them (native/tap-writer.c): those of one TCP connection that wait together as
 * one, as if the guest had TSO. A guest that asks and answers is served at once, without the thread, and so is one that
 * has TSO: copying its packets costs more than is won.
 *
 * Packets never overtake each other: one is written directly only when the ring is empty, and what is in the ring was
 * not written yet.
 */

import type { Addon } from '../../native/addon.ts';
import type { GuestMemory } from '../bus.ts';
import type { SegmentList } from './backend.ts';
import { copyBytes, segmentsLength } from './segments.ts';

// struct ring of native/tap-writer.c, in words of 32 bits.
const TAIL = 0;
const HEAD = 16;
const PACKETS = 17;
const WRITES = 18;
const STATE = 32;
const RECORDS = 48;
/** Values of STATE: only then must the thread be woken. */
const ASLEEP = 2;

/** Bytes of records: some 300 packets of full size; when they are full, who sends writes, too. */
const CAPACITY = 1 << 19;
const RECORD_HEADER = 4;
const RECORD_ALIGN = 8;

/** Packets of this size are data … */
const LARGE = 1000;
/** … up to this one: from here on the guest has merged them itself, and will go on so for a while, ms. */
const MERGED = 4096;
const HABIT = 100;
/** The thread is given what is sent while so many packets of data come within a window of so many ms. */
const BURST = 4;
const WINDOW = 0.5;

export class TapWriter {
  private readonly addon: Addon;
  private readonly fd: number;
  private readonly words = new Int32Array(new SharedArrayBuffer(4 * RECORDS + CAPACITY));
  private readonly bytes = new Uint8Array(this.words.buffer);
  /** Undefined: it was not needed yet. */
  private thread: 'runs' | 'cannot be had' | undefined;
  /** Bytes ever put into the ring; this thread alone writes the one in the ring. int32 */
  private tail = 0;
  private windowStart = 0;
  /** Packets of data in this window, and whether the last one had enough of them. */
  private data = 0;
  private flood = false;
  /** When the guest last sent what it had merged itself. */
  private merged = Number.NEGATIVE_INFINITY;
  private direct = 0;

  constructor(addon: Addon, fd: number) {
    this.addon = addon;
    this.fd = fd;
  }

  /** Sends one packet. What the kernel does not take (malformed, or the interface is down) is lost, as on a wire. */
  send(memory: GuestMemory, segments: SegmentList): void {
    const length = segmentsLength(segments);
    const flood = this.floods(length);
    if (this.empty && !(flood && this.hasThread())) {
      this.direct++;
      this.addon.writev(this.fd, memory.bytes, segments.address, segments.length, segments.count);
    } else {
      this.push(memory, segments, length);
    }
  }

  /** Nothing more will be sent for a while: what the thread has not come to is written now. */
  flush(): void {
    if (!this.empty) this.addon.tapWriterDrain(this.fd, false);
  }

  /** Returns when all is written. */
  close(): void {
    if (this.thread === 'runs') this.addon.tapWriterStop(this.fd);
    this.thread = 'cannot be had';
  }

  /** For `-d stats`. */
  get statistics(): string {
    const { words } = this;
    return `${this.direct} packets sent directly, ${words[PACKETS] >>> 0} by the thread in ${words[WRITES] >>> 0} writes`;
  }

  private get empty(): boolean {
    // Without the thread nothing was ever put there, and the ring's memory need not be looked at.
    return this.thread !== 'runs' || Atomics.load(this.words, HEAD) === this.tail;
  }

  /** Does the guest send as much data as to be worth a thread? Counts a packet of `length` bytes. */
  private floods(length: number): boolean {
    const now = performance.now();
    if (now - this.windowStart > WINDOW) {
      this.flood = this.data >= BURST && now - this.windowStart < 2 * WINDOW;
      this.windowStart = now;
      this.data = 0;
    }
    if (length >= MERGED) this.merged = now;
    else if (length >= LARGE) this.data++;
    return (this.flood || this.data >= BURST) && now - this.merged > HABIT;
  }

  /** Starts the thread when it is first needed. A system that has none to spare is asked once. */
  private hasThread(): boolean {
    this.thread ??= this.addon.tapWriterStart(this.fd, this.words) === 0 ? 'runs' : 'cannot be had';
    return this.thread === 'runs';
  }

  private push(memory: GuestMemory, segments: SegmentList, length: number): void {
    const { words } = this;
    const size = (RECORD_HEADER + length + RECORD_ALIGN - 1) & -RECORD_ALIGN;
    let offset = this.tail & (CAPACITY - 1);
    // A record lies in one piece: where the rest is too short, an empty one fills it.
    const rest = CAPACITY - offset;
    const needed = size <= rest ? size : rest + size;
    if (needed > CAPACITY) return;
    if (((this.tail - Atomics.load(words, HEAD)) | 0) + needed > CAPACITY) this.addon.tapWriterDrain(this.fd, true);
    if (size > rest) {
      words[RECORDS + (offset >> 2)] = 0;
      offset = 0;
    }
    words[RECORDS + (offset >> 2)] = length;
    let at = 4 * RECORDS + offset + RECORD_HEADER;
    for (let i = 0; i < segments.count; i++) {
      copyBytes(this.bytes, at, memory.bytes, segments.address[i], segments.length[i]);
      at += segments.length[i];
    }
    this.tail = (this.tail + needed) | 0;
    Atomics.store(words, TAIL, this.tail);
    if (Atomics.load(words, STATE) === ASLEEP) this.addon.tapWriterWake(this.fd);
  }
}
