/** The commands of virtio-net's control queue (virtio 1.2 §5.1.6.5). */

import type { GuestMemory } from '../bus.ts';
import { FeatureSet } from './features.ts';
import {
  isGuestOffload,
  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
  VIRTIO_NET_F_CTRL_MAC_ADDR,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_RX_EXTRA,
  VIRTIO_NET_F_GUEST_ANNOUNCE,
} from './net-features.ts';
import { MAC_SIZE, type MacTable, type NetFilter } from './net-filter.ts';
import { gather, type SegmentList, totalLength } from './segments.ts';

export const VIRTIO_NET_OK = 0;
export const VIRTIO_NET_ERR = 1;

export const VIRTIO_NET_CTRL_RX = 0;
export const VIRTIO_NET_CTRL_RX_PROMISC = 0;
const VIRTIO_NET_CTRL_RX_ALLMULTI = 1;
const VIRTIO_NET_CTRL_RX_ALLUNI = 2;
export const VIRTIO_NET_CTRL_RX_NOMULTI = 3;
export const VIRTIO_NET_CTRL_RX_NOUNI = 4;
export const VIRTIO_NET_CTRL_RX_NOBCAST = 5;
export const VIRTIO_NET_CTRL_MAC = 1;
export const VIRTIO_NET_CTRL_MAC_TABLE_SET = 0;
export const VIRTIO_NET_CTRL_MAC_ADDR_SET = 1;
export const VIRTIO_NET_CTRL_ANNOUNCE = 3;
export const VIRTIO_NET_CTRL_ANNOUNCE_ACK = 0;
export const VIRTIO_NET_CTRL_GUEST_OFFLOADS = 5;
export const VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET = 0;

/** class and command. */
const COMMAND_SIZE = 2;

/** What commands do to the card beyond its filter. */
export interface NetControlTarget {
  readonly filter: NetFilter;
  /** Features the driver accepted. */
  readonly accepted: FeatureSet;
  macChanged(): void;
  announced(): void;
  /** The driver now takes just the packets of these GUEST_* features. */
  limitOffloads(features: FeatureSet): void;
}

export class NetControl {
  private readonly memory: GuestMemory;
  private readonly target: NetControlTarget;

  constructor(memory: GuestMemory, target: NetControlTarget) {
    this.memory = memory;
    this.target = target;
  }

  /** Executes the command in `request`: class, command, data. @returns the byte to answer, VIRTIO_NET_OK or _ERR. */
  execute(request: SegmentList): number {
    const header = new Uint8Array(COMMAND_SIZE);
    if (gather(this.memory, request, 0, header) < COMMAND_SIZE) return VIRTIO_NET_ERR;
    const [category, command] = header;
    return this.dispatch(category, command, request) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
  }

  private dispatch(category: number, command: number, request: SegmentList): boolean {
    switch (category) {
      case VIRTIO_NET_CTRL_RX:
        return this.setReceiveMode(command, request);
      case VIRTIO_NET_CTRL_MAC:
        if (command === VIRTIO_NET_CTRL_MAC_TABLE_SET) return this.setMacTables(request);
        return command === VIRTIO_NET_CTRL_MAC_ADDR_SET && this.setMac(request);
      case VIRTIO_NET_CTRL_ANNOUNCE:
        if (command !== VIRTIO_NET_CTRL_ANNOUNCE_ACK || !this.target.accepted.has(VIRTIO_NET_F_GUEST_ANNOUNCE))
          return false;
        this.target.announced();
        return true;
      case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
        return command === VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET && this.setOffloads(request);
      default:
        return false;
    }
  }

  private setReceiveMode(command: number, request: SegmentList): boolean {
    const { filter, accepted } = this.target;
    const extra = command > VIRTIO_NET_CTRL_RX_ALLMULTI;
    if (!accepted.has(extra ? VIRTIO_NET_F_CTRL_RX_EXTRA : VIRTIO_NET_F_CTRL_RX)) return false;
    const data = this.data(request, 1);
    if (!data) return false;
    const on = data[0] !== 0;
    switch (command) {
      case VIRTIO_NET_CTRL_RX_PROMISC:
        filter.promisc = on;
        return true;
      case VIRTIO_NET_CTRL_RX_ALLMULTI:
        filter.allmulti = on;
        return true;
      case VIRTIO_NET_CTRL_RX_ALLUNI:
        filter.alluni = on;
        return true;
      case VIRTIO_NET_CTRL_RX_NOMULTI:
        filter.nomulti = on;
        return true;
      case VIRTIO_NET_CTRL_RX_NOUNI:
        filter.nouni = on;
        return true;
      case VIRTIO_NET_CTRL_RX_NOBCAST:
        filter.nobcast = on;
        return true;
      default:
        return false;
    }
  }

  /** Two tables, unicast then multicast, each a 32-bit count and that many addresses; both are checked before either changes. */
  private setMacTables(request: SegmentList): boolean {
    const { filter, accepted } = this.target;
    if (!accepted.has(VIRTIO_NET_F_CTRL_RX)) return false;
    const unicastCount = this.read32(request, COMMAND_SIZE);
    const multicastAt = COMMAND_SIZE + 4 + unicastCount * MAC_SIZE;
    const multicastCount = this.read32(request, multicastAt);
    if (multicastAt + 4 + multicastCount * MAC_SIZE !== totalLength(request)) return false;
    this.loadTable(filter.unicast, unicastCount, request, COMMAND_SIZE + 4);
    this.loadTable(filter.multicast, multicastCount, request, multicastAt + 4);
    return true;
  }

  private loadTable(table: MacTable, count: number, request: SegmentList, offset: number): void {
    gather(this.memory, request, offset, table.replace(count));
  }

  private setMac(request: SegmentList): boolean {
    if (!this.target.accepted.has(VIRTIO_NET_F_CTRL_MAC_ADDR)) return false;
    const mac = this.data(request, MAC_SIZE);
    if (!mac) return false;
    this.target.filter.mac.set(mac);
    this.target.macChanged();
    return true;
  }

  /** A 64-bit set of GUEST_* feature bits, all of which must have been accepted (§5.1.6.5.6.1). */
  private setOffloads(request: SegmentList): boolean {
    const { accepted } = this.target;
    if (!accepted.has(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)) return false;
    const data = this.data(request, 8);
    if (!data) return false;
    const features = new FeatureSet();
    for (let bit = 0; bit < 64; bit++) {
      if ((data[bit >> 3] & (1 << (bit & 7))) === 0) continue;
      if (!isGuestOffload(bit) || !accepted.has(bit)) return false;
      features.add(bit);
    }
    this.target.limitOffloads(features);
    return true;
  }

  /** The command's data, if it has exactly `length` bytes. */
  private data(request: SegmentList, length: number): Uint8Array | undefined {
    if (totalLength(request) !== COMMAND_SIZE + length) return undefined;
    const data = new Uint8Array(length);
    gather(this.memory, request, COMMAND_SIZE, data);
    return data;
  }

  /** The 32-bit value at `offset`; Infinity, which no request holds, where the request ends before. */
  private read32(request: SegmentList, offset: number): number {
    const bytes = new Uint8Array(4);
    if (gather(this.memory, request, offset, bytes) < 4) return Number.POSITIVE_INFINITY;
    return new DataView(bytes.buffer).getUint32(0, true);
  }
}
