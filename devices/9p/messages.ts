/**
 * Messages of 9P2000.L (the protocol as Linux defines it in include/net/9p/9p.h; 9P2000 itself: intro(5) of Plan 9):
 * `size[4] type[1] tag[2]`, then fields, all little-endian; a string is `length[2]` and bytes.
 */

export const RLERROR = 7;
export const TSTATFS = 8;
export const TLOPEN = 12;
export const TLCREATE = 14;
export const TSYMLINK = 16;
export const TMKNOD = 18;
export const TRENAME = 20;
export const TREADLINK = 22;
export const TGETATTR = 24;
export const TSETATTR = 26;
export const TREADDIR = 40;
export const TFSYNC = 50;
export const TLOCK = 52;
export const TGETLOCK = 54;
export const TLINK = 70;
export const TMKDIR = 72;
export const TRENAMEAT = 74;
export const TUNLINKAT = 76;
export const TVERSION = 100;
export const TATTACH = 104;
export const TFLUSH = 108;
export const TWALK = 110;
/** Of 9P2000.u. Servers take it in 9P2000.L too, and Unikraft makes directories by it. */
export const TCREATE = 114;
export const TREAD = 116;
export const TWRITE = 118;
export const TCLUNK = 120;
export const TREMOVE = 122;

/** Bytes of size, type and tag. */
export const HEADER_SIZE = 7;
/** Bytes of an Rread or Rreaddir in front of its data. */
export const READ_HEADER_SIZE = 11;
/** Bytes of a Twrite in front of its data. */
export const WRITE_HEADER_SIZE = 23;
/** Bytes of a qid: `type[1] version[4] path[8]`. */
export const QID_SIZE = 13;

/** A request that cannot be served, by the number that Linux has for the reason. */
export class NinepError extends Error {
  override readonly name = 'NinepError';
  readonly errno: number;

  constructor(errno: number) {
    super(`errno ${errno}`);
    this.errno = errno;
  }
}

const EINVAL = 22;

/** Takes the fields of a message one after the other. @throws NinepError (EINVAL) behind its end. */
export class MessageReader {
  private readonly bytes: Buffer;
  private at = HEADER_SIZE;
  private end = HEADER_SIZE;

  /** @param bytes where messages lie, each from its first byte on. */
  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** Begins with the fields of the message that lies there now, `length` bytes long. */
  begin(length: number): void {
    this.at = HEADER_SIZE;
    this.end = length;
  }

  u8(): number {
    return this.bytes[this.skip(1)];
  }

  u16(): number {
    return this.bytes.readUInt16LE(this.skip(2));
  }

  u32(): number {
    return this.bytes.readUInt32LE(this.skip(4));
  }

  /** As a double: exact below 2^53. */
  u64(): number {
    const low = this.u32();
    return low + this.u32() * 2 ** 32;
  }

  /** Signed, as seconds are. */
  i64(): number {
    const low = this.u32();
    return low + (this.u32() | 0) * 2 ** 32;
  }

  /** One character per byte. */
  string(): string {
    const length = this.u16();
    const start = this.skip(length);
    return this.bytes.toString('latin1', start, start + length);
  }

  private skip(count: number): number {
    const start = this.at;
    if (start + count > this.end) throw new NinepError(EINVAL);
    this.at += count;
    return start;
  }
}

/** Writes the fields of a reply one after the other. */
export class MessageWriter {
  readonly bytes: Buffer;
  /** Bytes written, the header included. */
  length = HEADER_SIZE;

  constructor(capacity: number) {
    this.bytes = Buffer.alloc(capacity);
  }

  begin(): void {
    this.length = HEADER_SIZE;
  }

  /** Fills in the header. @param length of the whole reply, where data lies behind what was written here */
  finish(type: number, tag: number, length = this.length): void {
    this.bytes.writeUInt32LE(length, 0);
    this.bytes[4] = type;
    this.bytes.writeUInt16LE(tag, 5);
  }

  u8(value: number): void {
    this.bytes[this.length++] = value;
  }

  u16(value: number): void {
    this.length = this.bytes.writeUInt16LE(value, this.length);
  }

  u32(value: number): void {
    this.length = this.bytes.writeUInt32LE(value >>> 0, this.length);
  }

  u64(value: number): void {
    this.u32(value);
    this.u32(Math.floor(value / 2 ** 32));
  }

  raw(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Room for `count` bytes; fill it before the next call. */
  reserve(count: number): Buffer {
    this.length += count;
    return this.bytes.subarray(this.length - count, this.length);
  }

  string(text: string): void {
    this.u16(text.length);
    this.length += this.bytes.write(text, this.length, 'latin1');
  }
}
