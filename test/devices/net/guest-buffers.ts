/** A guest's side of a NetBackend in tests: RAM, and packets sent from and received into scattered pieces of it. */

import { type NetBackend, type SegmentList, VNET_HDR_SIZE } from '../../../devices/net/backend.ts';
import { RamGuestMemory } from '../../../vmm/guest-memory.ts';

const RAM_SIZE = 1 << 20;
const RAM_OFFSET = 4096;
const TX_ADDRESS = 0x1000;
const RX_ADDRESS = 0x40000;
/** Pieces lie apart, so that a wrong address or length corrupts a packet visibly. */
const GAP = 32;

export class GuestBuffers {
  readonly memory: RamGuestMemory;
  readonly written: [number, number][] = [];
  private readonly backend: NetBackend;
  private readonly list: SegmentList = {
    count: 0,
    address: new Float64Array(64),
    length: new Uint32Array(64),
  };

  constructor(backend: NetBackend, buffer: ArrayBufferLike = new ArrayBuffer(RAM_OFFSET + RAM_SIZE)) {
    this.backend = backend;
    this.memory = new RamGuestMemory(buffer, RAM_OFFSET, RAM_SIZE, (address, length) => {
      this.written.push([address, length]);
    });
  }

  /** Sends a frame after a vnet header (zero unless given), cut into pieces of the given sizes (the last repeats). */
  send(
    frame: Uint8Array,
    pieceSizes: number[] = [VNET_HDR_SIZE, 4096],
    header: Uint8Array = new Uint8Array(VNET_HDR_SIZE),
  ): void {
    const packet = Buffer.concat([header, frame]);
    this.layOut(TX_ADDRESS, packet.length, pieceSizes);
    let at = 0;
    for (let i = 0; i < this.list.count; i++) {
      this.memory.bytes.set(packet.subarray(at, at + this.list.length[i]), this.list.address[i]);
      at += this.list.length[i];
    }
    this.backend.send(this.memory, this.list);
  }

  /** @returns the next packet with its vnet header, or undefined when none waits. */
  receive(capacity = 2048, pieceSizes: number[] = [capacity]): Buffer | undefined {
    this.layOut(RX_ADDRESS, capacity, pieceSizes);
    let rest = this.backend.receiveInto(this.memory, this.list);
    if (rest === 0) return undefined;
    const pieces: Uint8Array[] = [];
    for (let i = 0; i < this.list.count && rest > 0; i++) {
      const count = Math.min(rest, this.list.length[i]);
      pieces.push(this.memory.bytes.slice(this.list.address[i], this.list.address[i] + count));
      rest -= count;
    }
    return Buffer.concat(pieces);
  }

  /** Waits for a packet that `wanted` accepts; others are dropped. The result is without the vnet header. */
  async receiveFrame(wanted: (frame: Buffer) => boolean, capacity = 2048, timeoutMs = 5000): Promise<Buffer> {
    const deadline = performance.now() + timeoutMs;
    while (performance.now() < deadline) {
      const packet = this.receive(capacity);
      if (packet && wanted(packet.subarray(VNET_HDR_SIZE))) return packet.subarray(VNET_HDR_SIZE);
      if (!packet) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    throw new Error('no such packet came');
  }

  private layOut(address: number, total: number, sizes: number[]): void {
    this.list.count = 0;
    for (let i = 0; total > 0; i++) {
      if (i === this.list.address.length) throw new Error('too many pieces');
      const size = Math.min(total, sizes[Math.min(i, sizes.length - 1)]);
      this.list.address[this.list.count] = address;
      this.list.length[this.list.count++] = size;
      address += size + GAP;
      total -= size;
    }
  }
}
