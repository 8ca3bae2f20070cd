/** TCP segments (RFC 9293 §3.1, options of RFC 7323): parsing what the guest sent, and sequence arithmetic. */

import { type Packet, TRANSPORT_AT } from './packet.ts';

export const TCP_FIN = 0x01;
export const TCP_SYN = 0x02;
export const TCP_RST = 0x04;
export const TCP_PSH = 0x08;
export const TCP_ACK = 0x10;

/** Header without options. */
export const TCP_SIZE = 20;

export const TCP_OPTION_END = 0;
export const TCP_OPTION_NOP = 1;
export const TCP_OPTION_MSS = 2;
export const TCP_OPTION_WINDOW_SCALE = 3;

/** RFC 9293 §3.7.1: what a peer takes that does not say. */
const DEFAULT_MSS = 536;
/** Smaller ones would only make work (Linux's TCP_MIN_MSS is as large). */
const MIN_MSS = 88;
/** RFC 7323 §2.3 */
const MAX_WINDOW_SCALE = 14;

/** a − b in sequence space, as a signed distance. */
export function sequenceDistance(a: number, b: number): number {
  return (a - b) | 0;
}

/** A parsed header; one object serves all segments. Sequence numbers are unsigned. */
export class TcpSegment {
  sourcePort = 0;
  destinationPort = 0;
  sequence = 0;
  acknowledgment = 0;
  flags = 0;
  /** As it stands in the header, not scaled. */
  window = 0;
  /** Of a SYN; with defaults when the option is absent. */
  mss = DEFAULT_MSS;
  /** Of a SYN; -1 when the option is absent. */
  windowScale = -1;
  /** Where in the packet the payload lies, and its bytes. */
  payloadAt = 0;
  payloadLength = 0;

  /** Parses `length` bytes at `at`. @returns false when the header is malformed */
  parse(packet: Packet, at: number, length: number): boolean {
    if (length < TCP_SIZE) return false;
    const { view } = packet;
    const headerLength = (packet.bytes[at + 12] >>> 4) * 4;
    if (headerLength < TCP_SIZE || headerLength > length) return false;
    this.sourcePort = view.getUint16(at);
    this.destinationPort = view.getUint16(at + 2);
    this.sequence = view.getUint32(at + 4);
    this.acknowledgment = view.getUint32(at + 8);
    this.flags = packet.bytes[at + 13];
    this.window = view.getUint16(at + 14);
    this.payloadAt = at + headerLength;
    this.payloadLength = length - headerLength;
    if (this.flags & TCP_SYN) this.parseOptions(packet, at + TCP_SIZE, at + headerLength);
    return true;
  }

  private parseOptions({ bytes, view }: Packet, at: number, end: number): void {
    this.mss = DEFAULT_MSS;
    this.windowScale = -1;
    while (at < end && bytes[at] !== TCP_OPTION_END) {
      if (bytes[at] === TCP_OPTION_NOP) {
        at++;
        continue;
      }
      const length = at + 1 < end ? bytes[at + 1] : 0;
      if (length < 2 || at + length > end) return;
      if (bytes[at] === TCP_OPTION_MSS && length === 4) this.mss = Math.max(MIN_MSS, view.getUint16(at + 2));
      if (bytes[at] === TCP_OPTION_WINDOW_SCALE && length === 3) {
        this.windowScale = Math.min(MAX_WINDOW_SCALE, bytes[at + 2]);
      }
      at += length;
    }
  }
}

/** Writes a header without options to where it follows IPv4; the checksum field is left 0. */
export function writeTcpHeader(
  packet: Packet,
  sourcePort: number,
  destinationPort: number,
  sequence: number,
  acknowledgment: number,
  flags: number,
  window: number,
): void {
  const { view } = packet;
  view.setUint16(TRANSPORT_AT, sourcePort);
  view.setUint16(TRANSPORT_AT + 2, destinationPort);
  view.setUint32(TRANSPORT_AT + 4, sequence);
  view.setUint32(TRANSPORT_AT + 8, acknowledgment);
  view.setUint16(TRANSPORT_AT + 12, ((TCP_SIZE / 4) << 12) | flags);
  view.setUint16(TRANSPORT_AT + 14, window);
  view.setUint32(TRANSPORT_AT + 16, 0);
}
