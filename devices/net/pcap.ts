/**
 * Writes every packet that passes a back end to a pcap file, as QEMU's `-object filter-dump` does (the classic libpcap
 * format, draft-ietf-opsawg-pcap: microsecond stamps, LINKTYPE_ETHERNET, this machine's byte order). The vnet header
 * is left out, so unsegmented packets appear at their full size.
 */

import { closeSync, openSync, writeSync } from 'node:fs';
import type { GuestMemory } from '../bus.ts';
import { type NetBackend, type SegmentList, VNET_HDR_SIZE } from './backend.ts';
import { errorCode, NetBackendError } from './errors.ts';
import { copyBytes } from './segments.ts';

const PCAP_MAGIC = 0xa1b2c3d4;
const PCAP_VERSION_MAJOR = 2;
const PCAP_VERSION_MINOR = 4;
const LINKTYPE_ETHERNET = 1;
const FILE_HEADER_SIZE = 24;
const RECORD_HEADER_SIZE = 16;
/** QEMU's default for maxlen: bytes kept of each packet. */
const DEFAULT_MAX_LENGTH = 65536;

export interface PcapOptions {
  readonly file: string;
  /** Bytes kept of each packet. */
  readonly maxlen?: number;
}

export class PcapBackend implements NetBackend {
  readonly offloads: number;
  private readonly inner: NetBackend;
  private readonly file: string;
  private readonly record: Buffer;
  /** Undefined once a write failed. */
  private fd: number | undefined;

  /** @throws NetBackendError when the file cannot be created. */
  constructor(inner: NetBackend, options: PcapOptions) {
    this.inner = inner;
    this.offloads = inner.offloads;
    this.file = options.file;
    const maxLength = options.maxlen ?? DEFAULT_MAX_LENGTH;
    this.record = Buffer.alloc(RECORD_HEADER_SIZE + maxLength);
    const header = Buffer.alloc(FILE_HEADER_SIZE);
    header.writeUInt32LE(PCAP_MAGIC, 0);
    header.writeUInt16LE(PCAP_VERSION_MAJOR, 4);
    header.writeUInt16LE(PCAP_VERSION_MINOR, 6);
    header.writeUInt32LE(maxLength, 16);
    header.writeUInt32LE(LINKTYPE_ETHERNET, 20);
    try {
      this.fd = openSync(this.file, 'w');
      writeSync(this.fd, header);
    } catch (error) {
      throw new NetBackendError(`filter-dump: cannot write ${this.file} (${errorCode(error)}): choose another file=`);
    }
  }

  get pollFd(): number | undefined {
    return this.inner.pollFd;
  }

  get onReceive(): (() => void) | undefined {
    return this.inner.onReceive;
  }

  set onReceive(callback: (() => void) | undefined) {
    this.inner.onReceive = callback;
  }

  setGuestOffloads(flags: number): void {
    this.inner.setGuestOffloads(flags);
  }

  receiveInto(memory: GuestMemory, segments: SegmentList): number {
    const stored = this.inner.receiveInto(memory, segments);
    if (stored > VNET_HDR_SIZE) this.dump(memory, segments, stored);
    return stored;
  }

  send(memory: GuestMemory, segments: SegmentList): void {
    let length = 0;
    for (let i = 0; i < segments.count; i++) length += segments.length[i];
    if (length > VNET_HDR_SIZE) this.dump(memory, segments, length);
    this.inner.send(memory, segments);
  }

  flush(): void {
    this.inner.flush?.();
  }

  get statistics(): string | undefined {
    return this.inner.statistics;
  }

  close(): void {
    this.inner.close();
    if (this.fd !== undefined) closeSync(this.fd);
  }

  /** Appends the first `length` bytes of `segments`, without the vnet header, as one record. */
  private dump(memory: GuestMemory, segments: SegmentList, length: number): void {
    if (this.fd === undefined) return;
    const { record } = this;
    let kept = RECORD_HEADER_SIZE;
    let skip = VNET_HDR_SIZE;
    for (let i = 0, rest = length; i < segments.count && rest > 0; i++) {
      const piece = Math.min(segments.length[i], rest);
      rest -= piece;
      const skipped = Math.min(skip, piece);
      skip -= skipped;
      const count = Math.min(piece - skipped, record.length - kept);
      copyBytes(record, kept, memory.bytes, segments.address[i] + skipped, count);
      kept += count;
    }
    const microseconds = Math.round((performance.timeOrigin + performance.now()) * 1000);
    record.writeUInt32LE(Math.floor(microseconds / 1e6), 0);
    record.writeUInt32LE(microseconds % 1e6, 4);
    record.writeUInt32LE(kept - RECORD_HEADER_SIZE, 8);
    record.writeUInt32LE(length - VNET_HDR_SIZE, 12);
    try {
      writeSync(this.fd, record, 0, kept);
    } catch (error) {
      process.stderr.write(`tsvmm: filter-dump: ${this.file}: ${errorCode(error)}; no more packets are recorded\n`);
      closeSync(this.fd);
      this.fd = undefined;
    }
  }
}
