/**
 * The sending half of a TCP connection (RFC 9293 §3.8, RFC 6298 for the timer, RFC 6582 for recovery): decides which
 * of the bytes that the host's socket gave go to the guest next.
 *
 * The wire is a function call and loses nothing, so there is no congestion to avoid; but a guest may drop packets for
 * lack of buffers. Then the lost piece is sent again after three duplicate acknowledgments, or everything, slowly,
 * after a timeout.
 */

import type { ByteRing } from '../byte-ring.ts';
import type { SocketReader } from '../socket-pump.ts';
import { sequenceDistance, TCP_FIN, type TcpSegment } from './tcp-segment.ts';

/** Longer than the guests' delayed acknowledgments (lwIP: 250 ms). */
const RETRANSMIT_MS = 500;
const MAX_RETRANSMIT_MS = 8000;
/** Unanswered repetitions until the guest counts as gone: about a minute and a half. */
const MAX_ATTEMPTS = 14;
const DUPLICATE_ACKS = 3;
/** Without a congestion window. */
const UNLIMITED = 2 ** 30;
/** Where slow start ends: no guest's ring is larger. */
const SLOW_START_END = 2 ** 20;

export class TcpSender {
  /** SND.UNA: the first byte of the ring, but for SYN and FIN. */
  unacknowledged = 0;
  /** SND.NXT */
  next = 0;
  /** When the retransmission or probe timer ends, ms; Infinity: it is off. */
  deadline = Number.POSITIVE_INFINITY;
  /** The largest payload the guest takes in one segment. */
  mss = 0;
  /** The host's socket has no more bytes: a FIN follows those in the ring. */
  ended = false;
  /** The guest acknowledged the FIN. */
  finished = false;

  /** What {@link plan} found: offset in the ring, payload bytes, and whether a FIN goes along. */
  planOffset = 0;
  planLength = 0;
  planFin = false;

  /** Bytes from the host's socket that the guest has not acknowledged. */
  readonly ring: ByteRing;
  private readonly reader: SocketReader;
  /** The highest SND.NXT there was. */
  private highest = 0;
  private window = 0;
  private scale = 0;
  /** SND.WL1, SND.WL2 */
  private windowSequence = 0;
  private windowAcknowledgment = 0;
  private congestionWindow = UNLIMITED;
  private fin: number | undefined;
  private attempts = 0;
  private timeout = RETRANSMIT_MS;
  private duplicates = 0;
  private recovering = false;
  private recoverUntil = 0;
  private resendDue = false;
  private probeDue = false;

  constructor(reader: SocketReader) {
    this.reader = reader;
    this.ring = reader.ring;
  }

  /** @param next the first sequence number after our SYN. @param scale shift of the windows that the guest tells. */
  start(next: number, scale: number): void {
    this.unacknowledged = next;
    this.next = next;
    this.highest = next;
    this.scale = scale;
    this.stopTimer();
  }

  /** A first window, or one that a newer segment tells. */
  setWindow(segment: TcpSegment, scale = this.scale): void {
    const opened = this.window === 0;
    this.window = segment.window << scale;
    this.windowSequence = segment.sequence;
    this.windowAcknowledgment = segment.acknowledgment;
    // A byte that probed the closed window was not taken.
    if (opened && this.window > 0) this.next = this.unacknowledged;
  }

  /** @returns false when the guest acknowledges what was never sent. */
  acknowledge(segment: TcpSegment, now: number): boolean {
    const { acknowledgment } = segment;
    const count = sequenceDistance(acknowledgment, this.unacknowledged);
    if (count > sequenceDistance(this.highest, this.unacknowledged)) return false;
    if (count > 0) {
      this.advance(acknowledgment, count, now);
    } else if (count === 0) {
      this.attempts = 0;
      this.countDuplicate(segment);
    }
    const newer = sequenceDistance(segment.sequence, this.windowSequence);
    if (newer > 0 || (newer === 0 && sequenceDistance(acknowledgment, this.windowAcknowledgment) >= 0)) {
      this.setWindow(segment);
    }
    return true;
  }

  /**
   * Finds what goes out next, at most `limit` payload bytes, into `plan…`.
   * @returns false when nothing does.
   */
  plan(limit: number, now: number): boolean {
    const queued = this.ring.length;
    let offset = sequenceDistance(this.next, this.unacknowledged);
    let allowed = Math.min(this.window, this.congestionWindow) - offset;
    if (this.resendDue) {
      offset = 0;
      allowed = this.mss;
    } else if (this.probeDue) {
      allowed = 1;
    }
    const available = queued - offset; // -1 once a FIN was sent
    let length = Math.max(0, Math.min(available, allowed, limit));
    const rest = length < available;
    // Silly windows (RFC 9293 §3.8.6.2.1): a small piece in the midst waits for acknowledgments; and whole segments
    // are cut from large packets.
    if (rest && length < this.mss && offset > 0) length = 0;
    if (rest && length > this.mss) length -= length % this.mss;
    this.planOffset = offset;
    this.planLength = length;
    this.planFin = this.ended && offset + length === queued;
    if (length > 0 || this.planFin) return true;
    // A closed window is probed, or its opening might be lost.
    if (available > 0 && offset === 0) this.startTimer(now);
    return false;
  }

  /** The planned segment is on its way. */
  sent(now: number): void {
    const end = this.planOffset + this.planLength;
    if (this.planFin) this.fin ??= (this.unacknowledged + end) >>> 0;
    const reached = (this.unacknowledged + end + (this.planFin ? 1 : 0)) >>> 0;
    if (!this.resendDue) this.next = reached;
    if (sequenceDistance(reached, this.highest) > 0) this.highest = reached;
    this.resendDue = false;
    this.probeDue = false;
    this.startTimer(now);
  }

  startTimer(now: number): void {
    if (this.deadline === Number.POSITIVE_INFINITY) this.deadline = now + this.timeout;
  }

  /**
   * The timer ended: what is not acknowledged goes again. The timer stays off until it went, so that a guest that
   * stands still loses nothing.
   * @returns false when the guest did not answer for too long.
   */
  expire(): boolean {
    this.deadline = Number.POSITIVE_INFINITY;
    if (++this.attempts > MAX_ATTEMPTS) return false;
    this.timeout = Math.min(2 * this.timeout, MAX_RETRANSMIT_MS);
    this.next = this.unacknowledged;
    this.duplicates = 0;
    this.recovering = false;
    this.resendDue = false;
    if (this.window === 0) this.probeDue = true;
    else this.congestionWindow = 2 * this.mss;
    return true;
  }

  private advance(acknowledgment: number, count: number, now: number): void {
    if (this.fin !== undefined && acknowledgment === (this.fin + 1) >>> 0) {
      this.finished = true;
      count--;
    }
    this.reader.skip(count);
    this.unacknowledged = acknowledgment;
    if (sequenceDistance(this.next, acknowledgment) < 0) this.next = acknowledgment;
    if (this.congestionWindow < UNLIMITED) {
      this.congestionWindow += count;
      if (this.congestionWindow > SLOW_START_END) this.congestionWindow = UNLIMITED;
    }
    if (this.recovering) {
      this.recovering = sequenceDistance(acknowledgment, this.recoverUntil) < 0;
      this.resendDue = this.recovering;
    }
    this.stopTimer();
    if (acknowledgment !== this.highest) this.startTimer(now);
  }

  private countDuplicate(segment: TcpSegment): void {
    const news = segment.payloadLength > 0 || segment.flags & TCP_FIN || segment.window << this.scale !== this.window;
    if (news || this.unacknowledged === this.highest || this.recovering) return;
    if (++this.duplicates === DUPLICATE_ACKS) {
      this.recovering = true;
      this.recoverUntil = this.highest;
      this.resendDue = true;
    }
  }

  private stopTimer(): void {
    this.deadline = Number.POSITIVE_INFINITY;
    this.timeout = RETRANSMIT_MS;
    this.attempts = 0;
    this.duplicates = 0;
  }
}
