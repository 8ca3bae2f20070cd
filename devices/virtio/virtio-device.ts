/**
 * The part of a virtio device that knows neither its type nor its transport: device status (virtio 1.2 §2.1), feature
 * negotiation (§2.2), notifications (§2.3), reset (§2.4), configuration space (§2.5) and its virtqueues.
 *
 * Legacy drivers (§2.2.3) see bits 0…31 of the features, need no FEATURES_OK and may use queues before DRIVER_OK.
 */

import type { AccessSize, GuestMemory } from '../bus.ts';
import {
  FeatureSet,
  VIRTIO_F_ANY_LAYOUT,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from './features.ts';
import { SplitQueue } from './split-queue.ts';
import { QUEUE_DESC, type QueueFeatures, type VirtQueue } from './virtqueue.ts';

// Device status, §2.1.
export const ACKNOWLEDGE = 0x01;
export const DRIVER = 0x02;
export const DRIVER_OK = 0x04;
export const FEATURES_OK = 0x08;
export const DEVICE_NEEDS_RESET = 0x40;
export const FAILED = 0x80;

// Device types, §5.
export const VIRTIO_ID_NET = 1;
export const VIRTIO_ID_BLOCK = 2;
export const VIRTIO_ID_ENTROPY = 4;
export const VIRTIO_ID_9P = 9;

/** How a device interrupts its driver. */
export interface VirtioTransport {
  /** A used buffer notification for queue `index`. */
  queueInterrupt(index: number): void;
  /** A configuration change notification. */
  configInterrupt(): void;
}

/** What a device type is, told to the constructor of {@link VirtioDevice}. */
export interface VirtioDeviceType {
  /** VIRTIO_ID_* */
  readonly id: number;
  /** Device-specific feature bits to offer. */
  readonly features: readonly number[];
  /** Those of them that only legacy drivers may see. */
  readonly legacyFeatures?: readonly number[];
  /** Entries of each queue, powers of two. */
  readonly queueSizes: readonly number[];
  /** Bytes of device-specific configuration. */
  readonly configSize: number;
}

export abstract class VirtioDevice {
  readonly id: number;
  readonly queues: readonly VirtQueue[];
  /** Features the driver accepted; no other may be used. */
  readonly accepted = new FeatureSet();
  status = 0;
  /** Changes with every change of the configuration that the driver did not make (§2.5.1). */
  configGeneration = 0;
  /** Set by the transport that takes the device. */
  transport: VirtioTransport | undefined;

  protected readonly memory: GuestMemory;
  /** The device-specific configuration as the driver reads it, little-endian. */
  protected readonly config: DataView;
  private readonly legacyOffer: FeatureSet;
  private readonly modernOffer: FeatureSet;
  /** The driver spoke last through a legacy interface. */
  private legacy = false;

  constructor(memory: GuestMemory, type: VirtioDeviceType) {
    this.id = type.id;
    this.memory = memory;
    this.config = new DataView(new ArrayBuffer(type.configSize));
    this.queues = type.queueSizes.map((size) => new SplitQueue(memory, size, () => this.queueBroke()));
    const legacyOnly = new FeatureSet([...(type.legacyFeatures ?? []), VIRTIO_F_ANY_LAYOUT]);
    this.legacyOffer = new FeatureSet([
      ...type.features,
      VIRTIO_F_ANY_LAYOUT,
      VIRTIO_F_INDIRECT_DESC,
      VIRTIO_F_EVENT_IDX,
    ]);
    this.modernOffer = this.legacyOffer.without(legacyOnly);
    this.modernOffer.add(VIRTIO_F_VERSION_1);
  }

  /** May queues be worked on? */
  get live(): boolean {
    const started = this.legacy ? DRIVER | DRIVER_OK : DRIVER_OK;
    return (this.status & started) !== 0 && (this.status & (DEVICE_NEEDS_RESET | FAILED)) === 0;
  }

  /** May a modern driver set up its queues (§3.1.1, step 7)? */
  get queuesConfigurable(): boolean {
    return (this.status & (FEATURES_OK | DRIVER_OK)) === FEATURES_OK;
  }

  get configSize(): number {
    return this.config.byteLength;
  }

  /** Word `index` of the offered features. */
  offeredWord(index: number, legacy: boolean): number {
    if (legacy) return index === 0 ? this.legacyOffer.word(0) : 0;
    return this.modernOffer.word(index);
  }

  /** The driver accepts word `index` of the features; too late after FEATURES_OK (modern) or DRIVER_OK (legacy). */
  acceptWord(index: number, value: number, legacy: boolean): void {
    this.legacy = legacy;
    if ((this.status & (legacy ? DRIVER_OK : FEATURES_OK)) !== 0) return;
    if (!legacy) {
      this.accepted.setWord(index, value);
    } else if (index === 0) {
      this.accepted.setWord(0, value & this.legacyOffer.word(0));
      this.takeFeatures();
    }
  }

  /**
   * The driver writes the status register: zero resets, other bits are added (§2.1.1: a driver never clears one).
   * FEATURES_OK stays clear when the features do not please (§2.2.2), and DRIVER_OK without it.
   */
  writeStatus(value: number, legacy: boolean): void {
    if (value === 0) {
      this.reset();
      return;
    }
    this.legacy = legacy;
    const before = this.status;
    this.status |= value & (ACKNOWLEDGE | DRIVER | FAILED);
    if (legacy) {
      this.status |= value & (FEATURES_OK | DRIVER_OK);
    } else {
      if ((value & ~before & FEATURES_OK) !== 0 && this.featuresAcceptable()) {
        this.status |= FEATURES_OK;
        this.takeFeatures();
      }
      if ((this.status & FEATURES_OK) !== 0) this.status |= value & DRIVER_OK;
    }
    if ((this.status & ~before & DRIVER_OK) !== 0) this.driverOk();
  }

  reset(): void {
    this.status = 0;
    this.legacy = false;
    this.accepted.clear();
    for (let index = 0; index < this.queues.length; index++) this.resetQueue(index);
    this.deviceReset();
  }

  /** Queue `index` is taken away from the device. */
  resetQueue(index: number): void {
    this.queues[index]?.reset();
    this.queueReset(index);
  }

  /** A modern driver enables queue `index` as it configured it. */
  enableQueue(index: number): void {
    const queue = this.queues[index];
    if (queue && !queue.ready && this.queuesConfigurable) queue.enable(this.queueFeatures());
  }

  /** A legacy driver lays the rings of queue `index` at `page` × `pageSize` (§2.7.2); page 0 takes them away. */
  enableLegacyQueue(index: number, page: number, pageSize: number, align: number): void {
    const queue = this.queues[index];
    if (!queue) return;
    const size = queue.size;
    this.resetQueue(index);
    if (page === 0) return;
    queue.size = size;
    queue.setFeatures(this.queueFeatures());
    queue.enableLegacy(page * pageSize, align);
  }

  /** The page at which a legacy driver laid queue `index`; zero: none. */
  legacyQueuePage(index: number, pageSize: number): number {
    const words = this.queues[index]?.addressWords;
    return words ? Math.floor((words[QUEUE_DESC] + words[QUEUE_DESC + 1] * 2 ** 32) / pageSize) >>> 0 : 0;
  }

  /** The driver notifies queue `index`. */
  notify(index: number): void {
    if (this.live && this.queues[index]?.ready) this.queueNotified(index);
  }

  /** The `size` bytes at `offset` of the device-specific configuration; bytes behind its end read as zero. */
  readConfig(offset: number, size: AccessSize): number {
    let value = 0;
    for (let i = 0; i < size && offset + i < this.configSize; i++) value |= this.config.getUint8(offset + i) << (8 * i);
    return value >>> 0;
  }

  /** The driver writes its configuration; what a device lets it change, the device overrides. */
  writeConfig(_offset: number, _size: AccessSize, _value: number): void {}

  /**
   * Called by the run loop between slices of the guest: does the work that waits, within bounds.
   * @param _poll look at descriptors, too, that the run loop waits for
   * @returns pieces of work done (packets, requests); call again soon unless 0.
   */
  pump(_poll = true): number {
    return 0;
  }

  /** Stops for good; host files and sockets are closed. */
  close(): void {}

  /** Queue `index`, which is ready, was notified while the device is live. */
  protected abstract queueNotified(index: number): void;

  /** The accepted features are known (again). */
  protected featuresAccepted(): void {}

  /** The driver set DRIVER_OK. */
  protected driverOk(): void {}

  /** Forget what the driver told the device. */
  protected deviceReset(): void {}

  /** Forget the chains taken from queue `index`. */
  protected queueReset(_index: number): void {}

  /** The device changed its own configuration (§2.3). */
  protected configChanged(): void {
    this.configGeneration = (this.configGeneration + 1) & 0xff;
    if ((this.status & DRIVER_OK) !== 0) this.transport?.configInterrupt();
  }

  /** Shows the completed chains of queue `index`, with an interrupt if the driver wants one. */
  protected publish(index: number): void {
    if (this.queues[index].publish()) this.transport?.queueInterrupt(index);
  }

  private featuresAcceptable(): boolean {
    return this.accepted.has(VIRTIO_F_VERSION_1) && this.accepted.isSubsetOf(this.modernOffer);
  }

  private takeFeatures(): void {
    for (const queue of this.queues) queue.setFeatures(this.queueFeatures());
    this.featuresAccepted();
  }

  private queueFeatures(): QueueFeatures {
    return {
      eventIdx: this.accepted.has(VIRTIO_F_EVENT_IDX),
      indirectDesc: this.accepted.has(VIRTIO_F_INDIRECT_DESC),
    };
  }

  /** §2.1.2: DEVICE_NEEDS_RESET, with a configuration change notification. Legacy drivers know only the latter. */
  private queueBroke(): void {
    if (!this.legacy) this.status |= DEVICE_NEEDS_RESET;
    if ((this.status & DRIVER_OK) !== 0) this.transport?.configInterrupt();
  }
}
