/**
 * The kubelet's side of CRI v1 (k8s.io/cri-api, pkg/apis/runtime/v1/api.proto), as far as the tests need it: gRPC over
 * HTTP/2 on containerd's socket, messages by their field numbers.
 */

import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';

const [VARINT, BYTES] = [0, 2];
const NO_COMPRESSION = 0;

/** A message: values by field number. Numbers are varints, other messages and text have a length. */
export interface Message {
  readonly [field: number]: string | number | Message | readonly string[];
}

function varint(value: number): Buffer {
  const bytes = [];
  for (; value > 0x7f; value = Math.floor(value / 128)) {
    bytes.push((value % 128) | 0x80);
  }
  return Buffer.from([...bytes, value]);
}

function encode(message: Message): Buffer {
  const pieces: Buffer[] = [];
  for (const [field, value] of Object.entries(message)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (typeof one === 'number') {
        pieces.push(varint(Number(field) * 8 + VARINT), varint(one));
      } else {
        const bytes = typeof one === 'string' ? Buffer.from(one) : encode(one);
        pieces.push(varint(Number(field) * 8 + BYTES), varint(bytes.length), bytes);
      }
    }
  }
  return Buffer.concat(pieces);
}

/** The fields of a message that has varints and lengths only; the last of a repeated field stays. */
export function decode(bytes: Buffer): Map<number, number | Buffer> {
  const fields = new Map<number, number | Buffer>();
  let at = 0;
  const next = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        return value;
      }
    }
  };
  while (at < bytes.length) {
    const tag = next();
    const value = next();
    if (tag % 8 === BYTES) {
      fields.set(tag >> 3, bytes.subarray(at, at + value));
      at += value;
    } else {
      fields.set(tag >> 3, value);
    }
  }
  return fields;
}

/** Follows numbers of fields into a message. */
export function field(bytes: Buffer, ...path: number[]): number | Buffer | undefined {
  const value = decode(bytes).get(path[0]);
  return path.length > 1 && Buffer.isBuffer(value) ? field(value, ...path.slice(1)) : value;
}

/** Calls a method of runtime.v1.RuntimeService. @returns its answer @throws with what containerd says */
export async function call(socket: string, method: string, request: Message): Promise<Buffer> {
  const session = connectHttp2('http://localhost', { createConnection: () => connect(socket) });
  try {
    const stream = session.request({
      ':method': 'POST',
      ':path': `/runtime.v1.RuntimeService/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    // An answer without a body has its trailers for headers.
    let ending: Record<string, unknown> = {};
    stream.on('response', (headers) => {
      ending = { ...ending, ...headers };
    });
    stream.on('trailers', (headers) => {
      ending = { ...ending, ...headers };
    });
    const pieces: Buffer[] = [];
    stream.on('data', (piece) => pieces.push(piece));
    const body = encode(request);
    const head = Buffer.alloc(5, NO_COMPRESSION);
    head.writeUInt32BE(body.length, 1);
    stream.end(Buffer.concat([head, body]));
    await once(stream, 'end');
    if (ending['grpc-status'] !== '0') {
      throw new Error(`${method}: ${decodeURIComponent(String(ending['grpc-message']))}`);
    }
    return Buffer.concat(pieces).subarray(head.length);
  } finally {
    session.close();
  }
}
