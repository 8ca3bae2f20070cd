/**
 * virtio-net (virtio 1.2 §5.1): one pair of queues and a control queue in front of a NetBackend. Checksum and
 * segmentation offloads are the back end's; the driver is offered just what the back end has.
 */

import type { AccessSize, GuestMemory } from '../bus.ts';
import { type NetBackend, type SegmentList, VNET_HDR_SIZE } from '../net/backend.ts';
import { type FeatureSet, VIRTIO_F_VERSION_1 } from './features.ts';
import { NetControl, type NetControlTarget } from './net-control.ts';
import {
  guestOffloads,
  netFeatures,
  VIRTIO_NET_F_CTRL_MAC_ADDR,
  VIRTIO_NET_F_GSO,
  VIRTIO_NET_F_GUEST_ANNOUNCE,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_NET_F_MTU,
} from './net-features.ts';
import { MAC_SIZE, NetFilter } from './net-filter.ts';
import { HEADER_EXTRA_PIECES, insertNumBuffers, LEGACY_HDR_SIZE, SENT } from './net-header.ts';
import { NetReceiveBuffers } from './net-receive-buffers.ts';
import { createSegmentList, gather, scatter, totalLength } from './segments.ts';
import { DRIVER_OK, VIRTIO_ID_NET, VirtioDevice } from './virtio-device.ts';
import { MAX_CHAIN_LENGTH, NO_CHAIN } from './virtqueue.ts';

export const RECEIVE_QUEUE = 0;
export const TRANSMIT_QUEUE = 1;
export const CONTROL_QUEUE = 2;
const QUEUE_SIZES = [256, 256, 64];

// struct virtio_net_config, §5.1.4.
const CONFIG_MAC = 0;
const CONFIG_STATUS = 6;
const CONFIG_MTU = 10;
const CONFIG_SIZE = 12;
const VIRTIO_NET_S_LINK_UP = 1;
const VIRTIO_NET_S_ANNOUNCE = 2;

const DEFAULT_MTU = 1500;
/** Ethernet header and one VLAN tag. */
const ETHERNET_OVERHEAD = 18;
/** The largest IP packet that segmentation offload makes: IPv6 header and 65535 bytes of payload. */
const GSO_MAX = 65575;
/** The largest packet that is sent on, header included; no back end could do anything with more. */
const MAX_PACKET = VNET_HDR_SIZE + ETHERNET_OVERHEAD + GSO_MAX;

/** Packets in each direction, and commands, in one go: a guest must not keep the run loop for itself. */
const BUDGET = 256;

const ENOUGH = -1;

export interface VirtioNetOptions {
  readonly backend: NetBackend;
  /** Six bytes. */
  readonly mac: Uint8Array;
  /** QEMU's host_mtu: what the driver is told to use. */
  readonly mtu?: number;
}

export class VirtioNet extends VirtioDevice implements NetControlTarget {
  readonly backend: NetBackend;
  readonly filter = new NetFilter();
  private readonly mac: Uint8Array;
  private readonly mtu: number;
  private readonly receiveBuffers: NetReceiveBuffers;
  private readonly control: NetControl;
  private readonly readable: SegmentList = createSegmentList(MAX_CHAIN_LENGTH + HEADER_EXTRA_PIECES);
  private readonly writable: SegmentList = createSegmentList(MAX_CHAIN_LENGTH);
  private headerSize = LEGACY_HDR_SIZE;
  private mergeable = false;
  /** Bytes of the largest packet that the back end may give, header included. */
  private largestPacket = 0;
  /** Room for received packets ever sufficed for the largest. */
  private hadEnoughRoom = false;
  /** Bytes of room when last it did not suffice; ENOUGH: it did. */
  private shortOfRoom = ENOUGH;
  private readonly destination = new Uint8Array(MAC_SIZE);
  private readonly answer = new Uint8Array(1);

  constructor(memory: GuestMemory, options: VirtioNetOptions) {
    super(memory, {
      id: VIRTIO_ID_NET,
      features: [...netFeatures(options.backend.offloads), ...(options.mtu === undefined ? [] : [VIRTIO_NET_F_MTU])],
      legacyFeatures: [VIRTIO_NET_F_GSO],
      queueSizes: QUEUE_SIZES,
      configSize: CONFIG_SIZE,
    });
    this.backend = options.backend;
    this.mac = options.mac.slice();
    this.mtu = options.mtu ?? DEFAULT_MTU;
    this.receiveBuffers = new NetReceiveBuffers(memory, this.queues[RECEIVE_QUEUE]);
    this.control = new NetControl(memory, this);
    this.config.setUint16(CONFIG_MTU, this.mtu, true);
    this.deviceReset();
  }

  /** Would a packet that waits in the back end find a buffer? If not, there is no use in waiting for packets. */
  get canReceive(): boolean {
    return this.live && (this.status & DRIVER_OK) !== 0 && this.receiveBuffers.any;
  }

  /** Moves waiting packets both ways, at most BUDGET each. @returns packets moved. */
  override pump(poll = true): number {
    if (!this.live) return 0;
    const received = poll || this.backend.pollFd === undefined ? this.receive() : 0;
    return received + (this.queues[TRANSMIT_QUEUE].hasNext() ? this.transmit() : 0);
  }

  /** Asks the driver to announce itself to the network, as after a restored snapshot (§5.1.6.5.4). */
  announce(): void {
    if (!this.accepted.has(VIRTIO_NET_F_GUEST_ANNOUNCE)) return;
    this.setStatus(VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
    this.configChanged();
  }

  announced(): void {
    this.setStatus(VIRTIO_NET_S_LINK_UP);
  }

  macChanged(): void {
    for (let i = 0; i < MAC_SIZE; i++) this.config.setUint8(CONFIG_MAC + i, this.filter.mac[i]);
  }

  limitOffloads(features: FeatureSet): void {
    const offloads = guestOffloads(features);
    this.backend.setGuestOffloads(offloads);
    const ip = offloads === 0 ? this.mtu : GSO_MAX;
    this.largestPacket = VNET_HDR_SIZE + ETHERNET_OVERHEAD + ip;
  }

  /** A driver that has no better way may write the MAC byte by byte (§5.1.4.2, legacy). */
  override writeConfig(offset: number, size: AccessSize, value: number): void {
    if (this.accepted.has(VIRTIO_F_VERSION_1) || this.accepted.has(VIRTIO_NET_F_CTRL_MAC_ADDR)) return;
    for (let i = 0; i < size && offset + i < CONFIG_MAC + MAC_SIZE; i++)
      this.filter.mac[offset + i] = value >>> (8 * i);
    this.macChanged();
  }

  override close(): void {
    this.backend.close();
  }

  protected override queueNotified(index: number): void {
    if (index === RECEIVE_QUEUE) this.receive();
    else if (index === TRANSMIT_QUEUE) this.transmit();
    else this.executeCommands();
  }

  protected override featuresAccepted(): void {
    this.mergeable = this.accepted.has(VIRTIO_NET_F_MRG_RXBUF);
    this.headerSize = this.mergeable || this.accepted.has(VIRTIO_F_VERSION_1) ? VNET_HDR_SIZE : LEGACY_HDR_SIZE;
    this.receiveBuffers.configure(this.mergeable, this.headerSize);
  }

  protected override driverOk(): void {
    this.limitOffloads(this.accepted);
    this.queues[RECEIVE_QUEUE].disableNotifications();
  }

  protected override deviceReset(): void {
    this.filter.reset(this.mac);
    this.macChanged();
    this.setStatus(VIRTIO_NET_S_LINK_UP);
    this.limitOffloads(this.accepted);
    this.featuresAccepted();
  }

  protected override queueReset(index: number): void {
    if (index !== RECEIVE_QUEUE) return;
    this.receiveBuffers.clear();
    this.hadEnoughRoom = false;
    this.shortOfRoom = ENOUGH;
  }

  /** Drains the back end into the driver's buffers. @returns packets taken. */
  private receive(): number {
    const queue = this.queues[RECEIVE_QUEUE];
    if ((this.status & DRIVER_OK) === 0 || !queue.ready) return 0;
    const { receiveBuffers, backend, memory } = this;
    let packets = 0;
    while (packets < BUDGET && this.makeRoom()) {
      const length = backend.receiveInto(memory, receiveBuffers.segments);
      if (length === 0) break;
      packets++;
      if (this.wanted()) receiveBuffers.deliver(length);
    }
    this.publish(RECEIVE_QUEUE);
    return packets;
  }

  /**
   * Takes buffers for the next packet from the ring. The size of that packet is not known, and one that does not fit
   * is lost; so a driver of mergeable buffers that had room for the largest packet once, and now has not, gets until
   * the next pump to post more. Then what there is must do.
   */
  private makeRoom(): boolean {
    const { receiveBuffers } = this;
    const queue = this.queues[RECEIVE_QUEUE];
    receiveBuffers.fill(this.largestPacket);
    if (!this.enoughRoom() && queue.enableNotifications()) receiveBuffers.fill(this.largestPacket);
    if (this.enoughRoom()) {
      if (this.shortOfRoom !== ENOUGH) queue.disableNotifications();
      this.shortOfRoom = ENOUGH;
      this.hadEnoughRoom = true;
      return true;
    }
    const proceed = !this.hadEnoughRoom || this.shortOfRoom === receiveBuffers.bytes;
    this.shortOfRoom = receiveBuffers.bytes;
    return proceed && receiveBuffers.bytes > 0;
  }

  private enoughRoom(): boolean {
    return this.receiveBuffers.bytes >= (this.mergeable ? this.largestPacket : 1);
  }

  /** Does the driver's filter let the packet through that was just received? */
  private wanted(): boolean {
    if (this.filter.promisc) return true;
    gather(this.memory, this.receiveBuffers.segments, VNET_HDR_SIZE, this.destination);
    return this.filter.accepts(this.destination);
  }

  /** Sends what the driver has queued, at most BUDGET packets; the rest stays for {@link pump}. @returns packets. */
  private transmit(): number {
    const queue = this.queues[TRANSMIT_QUEUE];
    const { readable, writable } = this;
    let packets = 0;
    queue.disableNotifications();
    do {
      for (; packets < BUDGET; packets++) {
        readable.count = 0;
        writable.count = 0;
        const id = queue.pop(readable, writable);
        if (id === NO_CHAIN) break;
        this.send(readable);
        queue.complete(id, 0);
      }
    } while (packets < BUDGET && queue.enableNotifications());
    this.publish(TRANSMIT_QUEUE);
    return packets;
  }

  /** A packet without a header, or larger than any packet, goes nowhere. */
  private send(packet: SegmentList): void {
    const length = totalLength(packet);
    if (length <= this.headerSize || length > MAX_PACKET) return;
    if (this.headerSize === LEGACY_HDR_SIZE) insertNumBuffers(packet, SENT);
    this.backend.send(this.memory, packet);
  }

  private executeCommands(): void {
    const queue = this.queues[CONTROL_QUEUE];
    const { readable, writable } = this;
    for (let commands = 0; commands < BUDGET; commands++) {
      readable.count = 0;
      writable.count = 0;
      const id = queue.pop(readable, writable);
      if (id === NO_CHAIN) break;
      this.answer[0] = this.control.execute(readable);
      queue.complete(id, scatter(this.memory, writable, 0, this.answer));
    }
    queue.enableNotifications();
    this.publish(CONTROL_QUEUE);
  }

  private setStatus(status: number): void {
    this.config.setUint16(CONFIG_STATUS, status, true);
  }
}
