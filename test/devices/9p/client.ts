/** A 9P2000.L client for tests: writes requests, checks the form of replies, reads them. */

import { readSync, writeSync } from 'node:fs';
import * as m from '../../../devices/9p/messages.ts';
import type { NinepServer, Payload } from '../../../devices/9p/server.ts';

/** `4:7` is a field of four bytes with the value 7; strings and bytes stand for themselves. */
export type Field = `${1 | 2 | 4 | 8}:${number}` | { readonly text: string } | Uint8Array;
export const text = (value: string) => ({ text: value });

export function encode(type: number, tag: number, fields: readonly Field[]): Buffer {
  const parts = fields.map((field) => {
    if (field instanceof Uint8Array) return field;
    if (typeof field === 'object') {
      const bytes = Buffer.from(field.text, 'latin1');
      return Buffer.concat([Uint8Array.of(bytes.length & 0xff, bytes.length >> 8), bytes]);
    }
    const [size, value] = field.split(':');
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt.asIntN(64, BigInt(value)));
    return bytes.subarray(0, Number(size));
  });
  const body = Buffer.concat(parts);
  const message = Buffer.alloc(m.HEADER_SIZE + body.length);
  message.writeUInt32LE(message.length, 0);
  message[4] = type;
  message.writeUInt16LE(tag, 5);
  message.set(body, m.HEADER_SIZE);
  return message;
}

/** The guest's refusal, by the number of the reason. */
export class Refused extends Error {
  readonly errno: number;

  constructor(errno: number) {
    super(`errno ${errno}`);
    this.errno = errno;
  }
}

/** What carries a request to a server and its reply back: the server itself, or a device in front of it. */
export type Exchange = (request: Buffer, replyRoom: number) => Buffer;

/** Straight to the server, with the data in one piece. */
export function directly(server: NinepServer): Exchange {
  return (request, replyRoom) => {
    const isWrite = request[4] === m.TWRITE;
    const header = isWrite ? m.WRITE_HEADER_SIZE : request.length;
    const reply = Buffer.alloc(replyRoom);
    const payload: Payload = {
      size: isWrite ? request.length - header : replyRoom - m.READ_HEADER_SIZE,
      readFile: (fd, position, count) => readSync(fd, reply, m.READ_HEADER_SIZE, count, position),
      writeFile: (fd, position, count) => writeSync(fd, request, header, count, position),
    };
    request.copy(server.request, 0, 0, header);
    const answer = server.serve(Math.min(header, request.length), payload);
    reply.set(answer);
    return reply.subarray(0, reply.readUInt32LE(0));
  };
}

export interface Entry {
  readonly name: string;
  readonly type: number;
  readonly offset: Uint8Array;
}

export const ROOT_FID = 0;
const NOFID = 0xffffffff;

export class Client {
  private readonly exchange: Exchange;
  private tag = 0;
  private fid = ROOT_FID;
  msize = 8192;

  constructor(exchange: Exchange) {
    this.exchange = exchange;
  }

  /** @returns the fields of the reply. @throws Refused */
  call(type: number, ...fields: readonly Field[]): Buffer {
    this.tag = (this.tag + 1) & 0xffff;
    const reply = this.exchange(encode(type, this.tag, fields), this.msize);
    if (reply.readUInt32LE(0) !== reply.length || reply.readUInt16LE(5) !== this.tag)
      throw new Error('malformed reply');
    if (reply[4] === m.RLERROR) throw new Refused(reply.readUInt32LE(m.HEADER_SIZE));
    if (reply[4] !== type + 1) throw new Error(`reply of type ${reply[4]} to ${type}`);
    return reply.subarray(m.HEADER_SIZE);
  }

  /** Version and attach: ROOT_FID is the root. */
  attach(msize = this.msize, uid = process.getuid!()): void {
    this.msize = Math.max(this.msize, msize);
    const reply = this.call(m.TVERSION, `4:${msize}`, text('9P2000.L'));
    this.msize = reply.readUInt32LE(0);
    if (reply.toString('latin1', 6) !== '9P2000.L') throw new Error('wrong version');
    this.call(m.TATTACH, `4:${ROOT_FID}`, `4:${NOFID}`, text('user'), text('/'), `4:${uid}`);
  }

  /** @returns a new fid for what is at `path` from `from` on */
  walk(path: string, from = ROOT_FID): number {
    const names = path.split('/').filter((name) => name !== '');
    const fid = ++this.fid;
    const reply = this.call(m.TWALK, `4:${from}`, `4:${fid}`, `2:${names.length}`, ...names.map(text));
    if (reply.readUInt16LE(0) !== names.length) throw new Refused(2);
    return fid;
  }

  clunk(fid: number): void {
    this.call(m.TCLUNK, `4:${fid}`);
  }

  /** @returns an open fid */
  open(path: string, flags = 0): number {
    const fid = this.walk(path);
    this.call(m.TLOPEN, `4:${fid}`, `4:${flags}`);
    return fid;
  }

  /** @returns an open fid of a new file */
  create(directory: string, name: string, { flags = 2, mode = 0o644, gid = process.getgid!() } = {}): number {
    const fid = this.walk(directory);
    this.call(m.TLCREATE, `4:${fid}`, text(name), `4:${flags}`, `4:${mode}`, `4:${gid}`);
    return fid;
  }

  read(fid: number, offset: number, count: number): Buffer {
    const reply = this.call(m.TREAD, `4:${fid}`, `8:${offset}`, `4:${count}`);
    if (reply.readUInt32LE(0) !== reply.length - 4) throw new Error('wrong count');
    return reply.subarray(4);
  }

  write(fid: number, offset: number, data: Uint8Array): number {
    return this.call(m.TWRITE, `4:${fid}`, `8:${offset}`, `4:${data.length}`, data).readUInt32LE(0);
  }

  getattr(fid: number) {
    const reply = this.call(m.TGETATTR, `4:${fid}`, '8:2047');
    const u64 = (at: number) => Number(reply.readBigUInt64LE(at));
    return {
      valid: u64(0),
      qid: reply.subarray(8, 21),
      mode: reply.readUInt32LE(21),
      uid: reply.readUInt32LE(25),
      gid: reply.readUInt32LE(29),
      nlink: u64(33),
      size: u64(49),
      blocks: u64(65),
      atime: u64(73),
      mtime: u64(89) + u64(97) / 1e9,
      ctime: u64(105),
    };
  }

  setattr(fid: number, valid: number, { mode = 0, uid = 0, gid = 0, size = 0, times = [0, 0, 0, 0] } = {}): void {
    const fields: Field[] = times.map((time): Field => `8:${time}`);
    this.call(m.TSETATTR, `4:${fid}`, `4:${valid}`, `4:${mode}`, `4:${uid}`, `4:${gid}`, `8:${size}`, ...fields);
  }

  /** Lists an open directory, `count` bytes at a time. */
  entries(fid: number, count: number): Entry[] {
    const found: Entry[] = [];
    for (let offset: Uint8Array = new Uint8Array(8); ; ) {
      const reply = this.call(m.TREADDIR, `4:${fid}`, offset, `4:${count}`);
      if (reply.length === 4) return found;
      for (let at = 4; at < reply.length; ) {
        const length = reply.readUInt16LE(at + 22);
        offset = reply.subarray(at + 13, at + 21);
        found.push({ name: reply.toString('latin1', at + 24, at + 24 + length), type: reply[at + 21], offset });
        at += 24 + length;
      }
    }
  }
}
