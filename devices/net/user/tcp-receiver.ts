/**
 * The receiving half of a TCP connection (RFC 9293 §3.4, §3.10.7.4): puts the guest's bytes in order and hands them
 * to the host's socket. What the socket does not take yet stays in a ring, and its room is the window.
 */

import { type ByteRing, RING_CAPACITY } from '../byte-ring.ts';
import type { SocketWriter } from '../socket-pump.ts';
import { sequenceDistance } from './tcp-segment.ts';

/** Shift with which a 16-bit window can tell of the whole ring (RFC 7323 §2). */
export const WINDOW_SCALE = Math.ceil(Math.log2(RING_CAPACITY / 65535));

/** Pieces beyond a gap that are remembered; more are dropped, and come again. */
const MAX_PIECES = 16;

export class TcpReceiver {
  /** RCV.NXT */
  next = 0;
  /** The guest's FIN came, and everything before it. */
  finished = false;
  /** Bytes that the host's socket has not taken. */
  readonly ring: ByteRing;
  private readonly writer: SocketWriter;
  private scale = 0;
  /** The sequence number up to which the guest last heard it may send. */
  private edge = 0;
  /** The sequence number of the guest's FIN, once known. */
  private fin: number | undefined;
  /** Pieces beyond a gap: sequence numbers [from, to), in order, apart from each other. */
  private readonly pieces: { from: number; to: number }[] = [];

  constructor(writer: SocketWriter) {
    this.writer = writer;
    this.ring = writer.ring;
  }

  /** @param next the first sequence number after the SYN. @param scale shift of the windows we tell. */
  start(next: number, scale: number): void {
    this.next = next;
    this.edge = next;
    this.scale = scale;
  }

  /** The window field of a segment that is sent now. */
  advertise(): number {
    const field = Math.min(65535, this.ring.free >>> this.scale);
    this.edge = (this.next + (field << this.scale)) >>> 0;
    return field;
  }

  /** A SYN's window is never scaled. */
  advertiseUnscaled(): number {
    const window = Math.min(65535, this.ring.free);
    this.edge = (this.next + window) >>> 0;
    return window;
  }

  /** Has the window grown so much that the guest should hear of it (RFC 9293 §3.8.6.2.2)? */
  updateDue(): boolean {
    const largest = 65535 << this.scale;
    const growth = sequenceDistance((this.next + Math.min(largest, this.ring.free)) >>> 0, this.edge);
    return !this.finished && growth >= Math.min(RING_CAPACITY / 4, largest / 2);
  }

  /** Does `sequence` lie in the window, its right end included? */
  inWindow(sequence: number): boolean {
    const offset = sequenceDistance(sequence, this.next);
    return offset >= 0 && offset <= this.ring.free;
  }

  /**
   * Takes payload and FIN of a segment, as far as they are new and fit.
   * @param push no more is to be expected soon: the socket gets it now
   */
  accept(sequence: number, bytes: Uint8Array, at: number, length: number, push: boolean, fin: boolean): void {
    const { ring } = this;
    let offset = sequenceDistance(sequence, this.next);
    if (offset < 0) {
      at -= offset;
      length += offset;
      offset = 0;
    }
    if (length < 0 || this.finished || offset > ring.free) return;
    if (offset + length > ring.free) {
      length = ring.free - offset;
      fin = false;
    }
    if (fin) this.fin ??= (this.next + offset + length) >>> 0;
    if (offset > 0) {
      if (length > 0 && this.remember((this.next + offset) >>> 0, length)) ring.store(offset, bytes, at, length);
      return;
    }
    if (length > 0) {
      ring.store(0, bytes, at, length);
      this.advance(length);
    }
    while (this.pieces.length > 0 && sequenceDistance(this.pieces[0].from, this.next) <= 0) {
      const fresh = sequenceDistance(this.pieces[0].to, this.next);
      if (fresh > 0) this.advance(fresh);
      this.pieces.shift();
    }
    if (this.fin === this.next) {
      this.next = (this.next + 1) >>> 0;
      this.finished = true;
    }
    if (push || this.finished) this.writer.flush();
    else this.writer.flushLater();
  }

  private advance(length: number): void {
    this.ring.commit(length);
    this.next = (this.next + length) >>> 0;
  }

  /** Notes a piece beyond a gap, joined with those that it touches. @returns false when there are too many */
  private remember(from: number, length: number): boolean {
    let to = (from + length) >>> 0;
    const { pieces } = this;
    let index = 0;
    while (index < pieces.length && sequenceDistance(pieces[index].to, from) < 0) index++;
    let end = index;
    while (end < pieces.length && sequenceDistance(pieces[end].from, to) <= 0) end++;
    if (end === index && pieces.length === MAX_PIECES) return false;
    if (end > index) {
      if (sequenceDistance(pieces[index].from, from) < 0) from = pieces[index].from;
      if (sequenceDistance(pieces[end - 1].to, to) > 0) to = pieces[end - 1].to;
    }
    pieces.splice(index, end - index, { from, to });
    return true;
  }
}
