/**
 * A UNIX stream socket as a back end, as QEMU's `-netdev stream,addr.type=unix,addr.path=…`: every Ethernet frame
 * follows its length as 32 bits, big-endian. The other end is another VMM, a switch, or passt.
 */

import { lstatSync, unlinkSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import type { GuestMemory } from '../bus.ts';
import { type NetBackend, type SegmentList, VNET_HDR_SIZE } from './backend.ts';
import { errorCode, NetBackendError } from './errors.ts';
import { gather, scatter, segmentsLength } from './segments.ts';
import { SocketReader, SocketWriter } from './socket-pump.ts';

export interface StreamOptions {
  /** Path of the socket (addr.path). */
  readonly path: string;
  /** Listen on the path instead of connecting to it. */
  readonly server?: boolean;
}

const LENGTH_SIZE = 4;
/** QEMU's NET_BUFSIZE: the longest frame that either side may send. */
const MAX_FRAME = 4096 + 65536;
const MIN_FRAME = 14;

/** No offloads, one buffer (virtio_net_hdr_v1.num_buffers). */
const PLAIN_HEADER = new Uint8Array(VNET_HDR_SIZE);
PLAIN_HEADER[10] = 1;

export class StreamBackend implements NetBackend {
  readonly offloads = 0;
  onReceive?: (() => void) | undefined;
  private readonly path: string;
  private server: Server | undefined;
  private socket: Socket | undefined;
  private reader: SocketReader | undefined;
  private writer: SocketWriter | undefined;
  /** Did the device last hear that nothing waits? */
  private drained = true;
  /** A whole packet on its way from guest RAM to the socket's ring: length, frame; the vnet header is overwritten. */
  private readonly packet = new Uint8Array(VNET_HDR_SIZE + MAX_FRAME);

  private constructor(path: string) {
    this.path = path;
  }

  /** @throws NetBackendError when the socket cannot be had. */
  static async open(options: StreamOptions): Promise<StreamBackend> {
    const backend = new StreamBackend(options.path);
    if (options.server) backend.server = await backend.listen();
    else backend.attach(await connect(options.path));
    return backend;
  }

  setGuestOffloads(_flags: number): void {}

  receiveInto(memory: GuestMemory, segments: SegmentList): number {
    const { reader } = this;
    const room = segmentsLength(segments) - VNET_HDR_SIZE;
    while (reader && this.frameWaits()) {
      const length = this.frameLength();
      const fits = length <= room;
      if (fits) {
        scatter(memory, segments, 0, PLAIN_HEADER, 0, VNET_HDR_SIZE);
        reader.ring.scatter(LENGTH_SIZE, length, memory, segments, VNET_HDR_SIZE);
      }
      reader.skip(LENGTH_SIZE + length);
      if (fits) return VNET_HDR_SIZE + length;
    }
    this.drained = true;
    return 0;
  }

  send(memory: GuestMemory, segments: SegmentList): void {
    const { packet, writer } = this;
    const length = gather(memory, segments, packet, 0) - VNET_HDR_SIZE;
    if (!writer || length < MIN_FRAME || length + LENGTH_SIZE > writer.ring.free) return;
    const start = VNET_HDR_SIZE - LENGTH_SIZE;
    packet[start] = 0;
    packet[start + 1] = length >>> 16;
    packet[start + 2] = length >>> 8;
    packet[start + 3] = length;
    writer.ring.push(packet, start, LENGTH_SIZE + length);
    writer.flush();
  }

  close(): void {
    this.server?.close();
    this.detach();
  }

  private async listen(): Promise<Server> {
    const { path } = this;
    const server = createServer((socket) => {
      if (this.socket) socket.destroy();
      else this.attach(socket);
    });
    try {
      // As QEMU does: a socket that an earlier run left behind is in the way.
      if (lstatSync(path, { throwIfNoEntry: false })?.isSocket()) unlinkSync(path);
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(path, resolve);
      });
    } catch (error) {
      throw new NetBackendError(`stream: cannot listen on ${path} (${errorCode(error)}): choose another addr.path`);
    }
    return server;
  }

  private attach(socket: Socket): void {
    this.socket = socket;
    this.reader = new SocketReader(socket, () => {
      if (this.drained && this.frameWaits()) {
        this.drained = false;
        this.onReceive?.();
      }
    });
    this.writer = new SocketWriter(socket, () => {});
    socket.on('error', (error) => this.lose(errorCode(error)));
    socket.on('close', () => this.lose('closed by the peer'));
  }

  /** Is a whole frame in the ring? A peer that does not speak the protocol is dropped. */
  private frameWaits(): boolean {
    if (!this.reader) return false;
    const { length } = this.reader.ring;
    if (length < LENGTH_SIZE) return false;
    const frame = this.frameLength();
    if (frame < MIN_FRAME || frame > MAX_FRAME) {
      this.lose(`the peer sent a frame of ${frame} bytes`);
      return false;
    }
    return length >= LENGTH_SIZE + frame;
  }

  private frameLength(): number {
    const { ring } = this.reader as SocketReader;
    return ((ring.at(0) << 24) | (ring.at(1) << 16) | (ring.at(2) << 8) | ring.at(3)) >>> 0;
  }

  /** The connection is gone; a server waits for the next one. */
  private lose(why: string): void {
    if (!this.socket) return;
    this.detach();
    process.stderr.write(`tsvmm: stream: ${this.path}: ${why}; the network is down\n`);
  }

  private detach(): void {
    const { socket } = this;
    this.socket = undefined;
    this.reader = undefined;
    this.writer = undefined;
    socket?.destroy();
  }
}

function connect(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.removeAllListeners('error');
      resolve(socket);
    });
    socket.once('error', (error) => {
      reject(new NetBackendError(`stream: cannot connect to ${path} (${errorCode(error)}): ${connectAdvice(error)}`));
    });
  });
}

function connectAdvice(error: Error): string {
  switch (errorCode(error)) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return 'start its listener first, for example passt --socket PATH, or use server=on';
    case 'EACCES':
    case 'EPERM':
      return 'this user may not write to it';
    default:
      return 'is addr.path a UNIX stream socket?';
  }
}
