/** Puts fragmented IPv4 datagrams of the guest together again (RFC 791 §3.2, RFC 815 for the idea of holes). */

/** Datagrams under way at most; the oldest gives way. */
const MAX_DATAGRAMS = 8;
const TIMEOUT_MS = 15_000;
const MAX_PAYLOAD = 65535 - 20;
/** Fragment offsets count units of 8 bytes. */
const UNIT = 8;

interface Datagram {
  readonly started: number;
  readonly bytes: Uint8Array;
  /** One flag for each 8 bytes that came. */
  readonly have: Uint8Array;
  units: number;
  /** Payload length, known once the last fragment came. */
  total: number | undefined;
}

export class Reassembly {
  private readonly datagrams = new Map<string, Datagram>();

  /**
   * Takes a fragment.
   * @param key source, destination, protocol and identification
   * @param offset of the fragment in the datagram's payload, bytes
   * @returns the whole payload when this was the last missing piece
   */
  add(key: string, payload: Uint8Array, offset: number, more: boolean, now: number): Uint8Array | undefined {
    const { length } = payload;
    // All but the last fragment are whole units; none may reach beyond the longest datagram.
    if (length === 0 || offset + length > MAX_PAYLOAD || (more && length % UNIT !== 0)) return undefined;
    const datagram = this.find(key, now);
    const end = offset + length;
    if (!more) datagram.total ??= end;
    if (datagram.total !== undefined && end > datagram.total) {
      this.datagrams.delete(key);
      return undefined;
    }
    datagram.bytes.set(payload, offset);
    for (let unit = offset / UNIT; unit * UNIT < end; unit++) {
      if (datagram.have[unit] === 0) {
        datagram.have[unit] = 1;
        datagram.units++;
      }
    }
    if (datagram.total === undefined || datagram.units < Math.ceil(datagram.total / UNIT)) return undefined;
    this.datagrams.delete(key);
    return datagram.bytes.subarray(0, datagram.total);
  }

  private find(key: string, now: number): Datagram {
    const known = this.datagrams.get(key);
    if (known && now - known.started < TIMEOUT_MS) return known;
    this.datagrams.delete(key);
    if (this.datagrams.size === MAX_DATAGRAMS) this.datagrams.delete(this.datagrams.keys().next().value as string);
    const datagram: Datagram = {
      started: now,
      bytes: new Uint8Array(MAX_PAYLOAD),
      have: new Uint8Array(Math.ceil(MAX_PAYLOAD / UNIT)),
      units: 0,
      total: undefined,
    };
    this.datagrams.set(key, datagram);
    return datagram;
  }
}
