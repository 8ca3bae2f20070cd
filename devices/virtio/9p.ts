/**
 * virtio-9p: 9P messages over a queue (QEMU's docs and Linux's net/9p/trans_virtio.c; virtio 1.2 §5.15 reserves the
 * number only). A chain is one request and the room for its reply, each cut into pieces in any way.
 */

import { readSync, writeSync } from 'node:fs';
import { HEADER_SIZE, READ_HEADER_SIZE, TWRITE, WRITE_HEADER_SIZE } from '../9p/messages.ts';
import { MESSAGE_MAX, type NinepServer, type Payload } from '../9p/server.ts';
import type { GuestMemory } from '../bus.ts';
import { createSegmentList, gather, type SegmentList, scatter, skipBytes, totalLength } from './segments.ts';
import { VIRTIO_ID_9P, VirtioDevice } from './virtio-device.ts';
import { MAX_CHAIN_LENGTH, NO_CHAIN } from './virtqueue.ts';

const VIRTIO_9P_MOUNT_TAG = 0;
/** Bytes of a mount tag, as in QEMU. */
export const MOUNT_TAG_MAX = 31;

const REQUEST_QUEUE = 0;
const QUEUE_SIZES = [128];
/** Requests in one go. */
const BUDGET = 32;

export class Virtio9p extends VirtioDevice implements Payload {
  /** Bytes of data that fit into the request or reply being served. */
  size = 0;
  private readonly server: NinepServer;
  /** As much of the server's request as there is in front of the data of a Twrite. */
  private readonly header: Uint8Array;
  private readonly readable: SegmentList = createSegmentList(MAX_CHAIN_LENGTH);
  private readonly writable: SegmentList = createSegmentList(MAX_CHAIN_LENGTH);
  private readonly data: SegmentList = createSegmentList(MAX_CHAIN_LENGTH);

  /** @param tag by which the guest mounts it: 1…31 bytes */
  constructor(memory: GuestMemory, server: NinepServer, tag: string) {
    const name = Buffer.from(tag);
    super(memory, {
      id: VIRTIO_ID_9P,
      features: [VIRTIO_9P_MOUNT_TAG],
      queueSizes: QUEUE_SIZES,
      configSize: 2 + name.length,
    });
    this.server = server;
    this.header = server.request.subarray(0, WRITE_HEADER_SIZE);
    // struct virtio_9p_config: tag_len[2] tag.
    this.config.setUint16(0, name.length, true);
    for (const [index, byte] of name.entries()) this.config.setUint8(2 + index, byte);
  }

  override pump(): number {
    return this.live && this.queues[REQUEST_QUEUE].hasNext() ? this.serve() : 0;
  }

  override close(): void {
    this.server.close();
  }

  protected override queueNotified(): void {
    this.serve();
  }

  protected override deviceReset(): void {
    this.server.reset();
  }

  /** Into the reply, behind its header. */
  readFile(fd: number, position: number, count: number): number {
    const { memory, data, writable } = this;
    copyFrom(writable, READ_HEADER_SIZE, data);
    let done = 0;
    for (let i = 0; i < data.count && done < count; i++) {
      const wanted = Math.min(data.length[i], count - done);
      const got = readSync(fd, memory.bytes, data.address[i], wanted, position + done);
      memory.written(data.address[i], got);
      done += got;
      if (got < wanted) break;
    }
    return done;
  }

  /** From the request, behind its header. */
  writeFile(fd: number, position: number, count: number): number {
    const { memory, data, readable } = this;
    copyFrom(readable, WRITE_HEADER_SIZE, data);
    let done = 0;
    for (let i = 0; i < data.count && done < count; i++) {
      const wanted = Math.min(data.length[i], count - done);
      const taken = writeSync(fd, memory.bytes, data.address[i], wanted, position + done);
      done += taken;
      if (taken < wanted) break;
    }
    return done;
  }

  /** @returns requests answered. */
  private serve(): number {
    const queue = this.queues[REQUEST_QUEUE];
    const { readable, writable } = this;
    let requests = 0;
    for (; requests < BUDGET; requests++) {
      readable.count = 0;
      writable.count = 0;
      const id = queue.pop(readable, writable);
      if (id === NO_CHAIN) break;
      const length = this.answer();
      if (length === 0) {
        queue.fail('buffer unusable for this device');
        break;
      }
      queue.complete(id, length);
    }
    queue.enableNotifications();
    this.publish(REQUEST_QUEUE);
    return requests;
  }

  /** @returns bytes of the reply; 0 when the request is no message, or its reply does not fit. */
  private answer(): number {
    const { memory, readable, writable, server } = this;
    const { request } = server;
    const room = totalLength(writable);
    if (gather(memory, readable, 0, this.header) < HEADER_SIZE) return 0;
    const size = request.readUInt32LE(0);
    if (size < HEADER_SIZE || size > totalLength(readable)) return 0;
    const isWrite = request[4] === TWRITE;
    if (!isWrite) gather(memory, readable, 0, request);
    this.size = Math.max(0, isWrite ? size - WRITE_HEADER_SIZE : room - READ_HEADER_SIZE);
    const reply = server.serve(Math.min(size, isWrite ? WRITE_HEADER_SIZE : MESSAGE_MAX), this);
    const replySize = reply.readUInt32LE(0);
    if (replySize > room) return 0;
    scatter(memory, writable, 0, reply);
    return replySize;
  }
}

/** Makes `target` what `source` is behind its first `offset` bytes. */
function copyFrom(source: SegmentList, offset: number, target: SegmentList): void {
  target.count = source.count;
  for (let i = 0; i < source.count; i++) {
    target.address[i] = source.address[i];
    target.length[i] = source.length[i];
  }
  skipBytes(target, Math.min(offset, totalLength(source)));
}
