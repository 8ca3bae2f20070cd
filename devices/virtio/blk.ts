/**
 * virtio-blk (virtio 1.2 §5.2) in front of a raw image. Requests are served one after the other, at once: by the time
 * a kick returns, the answer is there. Header, data and status may be split over descriptors in any way (§2.7.4.2).
 */

import type { AccessSize, GuestMemory } from '../bus.ts';
import { type BlkImage, SECTOR_SIZE } from './blk-image.ts';
import { createSegmentList, gather, type SegmentList, scatter, skipBytes, totalLength, truncate } from './segments.ts';
import { VIRTIO_ID_BLOCK, VirtioDevice } from './virtio-device.ts';
import { MAX_CHAIN_LENGTH, NO_CHAIN } from './virtqueue.ts';

const VIRTIO_BLK_F_SEG_MAX = 2;
const VIRTIO_BLK_F_GEOMETRY = 4;
export const VIRTIO_BLK_F_RO = 5;
const VIRTIO_BLK_F_BLK_SIZE = 6;
export const VIRTIO_BLK_F_FLUSH = 9;
const VIRTIO_BLK_F_TOPOLOGY = 10;
export const VIRTIO_BLK_F_CONFIG_WCE = 11;
export const VIRTIO_BLK_F_DISCARD = 13;
export const VIRTIO_BLK_F_WRITE_ZEROES = 14;

export const VIRTIO_BLK_T_IN = 0;
export const VIRTIO_BLK_T_OUT = 1;
export const VIRTIO_BLK_T_FLUSH = 4;
export const VIRTIO_BLK_T_GET_ID = 8;
export const VIRTIO_BLK_T_DISCARD = 11;
export const VIRTIO_BLK_T_WRITE_ZEROES = 13;

export const VIRTIO_BLK_S_OK = 0;
export const VIRTIO_BLK_S_IOERR = 1;
export const VIRTIO_BLK_S_UNSUPP = 2;

const REQUEST_QUEUE = 0;
const QUEUE_SIZES = [256];

// struct virtio_blk_config, §5.2.4.
const CONFIG_CAPACITY = 0;
const CONFIG_SEG_MAX = 12;
const CONFIG_CYLINDERS = 16;
const CONFIG_HEADS = 18;
const CONFIG_SECTORS = 19;
const CONFIG_BLK_SIZE = 20;
const CONFIG_PHYSICAL_BLOCK_EXP = 24;
const CONFIG_WRITEBACK = 32;
const CONFIG_NUM_QUEUES = 34;
const CONFIG_MAX_DISCARD_SECTORS = 36;
const CONFIG_MAX_DISCARD_SEG = 40;
const CONFIG_DISCARD_SECTOR_ALIGNMENT = 44;
const CONFIG_MAX_WRITE_ZEROES_SECTORS = 48;
const CONFIG_MAX_WRITE_ZEROES_SEG = 52;
const CONFIG_SIZE = 60;

/** Header and status take a descriptor each. */
const SEG_MAX = QUEUE_SIZES[REQUEST_QUEUE] - 2;
const MAX_WRITE_ZEROES_SECTORS = 8192;
const MAX_DISCARD_SECTORS = 0x3fffff;

/** The geometry that QEMU gives to a disk without a partition table. */
const HEADS = 16;
const SECTORS_PER_TRACK = 63;
const MAX_CYLINDERS = 16383;

/** struct virtio_blk_req: type, reserved, sector. */
const HEADER_SIZE = 16;
/** struct virtio_blk_discard_write_zeroes: sector, num_sectors, flags. */
const RANGE_SIZE = 16;
const RANGE_UNMAP = 1;
const STATUS_SIZE = 1;
/** Bytes of the serial number, padded with zeroes. */
const ID_SIZE = 20;

/** Bytes of data per request at most. A larger one, which no driver sends, would keep the run loop too long. */
const BLK_MAX_BYTES = 32 << 20;
/** Requests in one go, and bytes after which no further one is begun. */
const BUDGET = 64;
const BUDGET_BYTES = 4 << 20;

export interface VirtioBlkOptions {
  readonly image: BlkImage;
  /** At most 20 bytes count. */
  readonly serial?: string;
  /** Before the driver chooses: are writes answered when the host's cache has them? Else when they are on the disk. */
  readonly writeback?: boolean;
  /** May the driver choose? Defaults to yes. */
  readonly configWce?: boolean;
  /** Bytes, powers of two from 512 on: what requests are multiples of, and what the disk likes to write. */
  readonly logicalBlockSize?: number;
  readonly physicalBlockSize?: number;
}

export class VirtioBlk extends VirtioDevice {
  private readonly image: BlkImage;
  private readonly serial = new Uint8Array(ID_SIZE);
  private readonly writeback: boolean;
  /** Bytes. */
  private readonly blockSize: number;
  private readonly readable: SegmentList = createSegmentList(MAX_CHAIN_LENGTH);
  private readonly writable: SegmentList = createSegmentList(MAX_CHAIN_LENGTH);
  private readonly headerBytes = new Uint8Array(HEADER_SIZE);
  private readonly header = new DataView(this.headerBytes.buffer);

  constructor(memory: GuestMemory, options: VirtioBlkOptions) {
    const { image, writeback = true, configWce = true, logicalBlockSize = SECTOR_SIZE } = options;
    const physicalBlockSize = Math.max(options.physicalBlockSize ?? SECTOR_SIZE, logicalBlockSize);
    super(memory, {
      id: VIRTIO_ID_BLOCK,
      features: [
        VIRTIO_BLK_F_SEG_MAX,
        VIRTIO_BLK_F_GEOMETRY,
        VIRTIO_BLK_F_BLK_SIZE,
        VIRTIO_BLK_F_TOPOLOGY,
        ...(writeback || configWce ? [VIRTIO_BLK_F_FLUSH] : []),
        ...(configWce ? [VIRTIO_BLK_F_CONFIG_WCE] : []),
        ...(image.readonly ? [VIRTIO_BLK_F_RO] : [VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_WRITE_ZEROES]),
      ],
      queueSizes: QUEUE_SIZES,
      configSize: CONFIG_SIZE,
    });
    this.image = image;
    this.writeback = writeback;
    this.blockSize = logicalBlockSize;
    new TextEncoder().encodeInto(options.serial ?? '', this.serial);
    const { config } = this;
    config.setUint32(CONFIG_CAPACITY, image.sectors, true);
    config.setUint32(CONFIG_CAPACITY + 4, image.sectors / 2 ** 32, true);
    config.setUint32(CONFIG_SEG_MAX, SEG_MAX, true);
    const cylinders = Math.floor(image.sectors / (HEADS * SECTORS_PER_TRACK));
    config.setUint16(CONFIG_CYLINDERS, Math.max(2, Math.min(cylinders, MAX_CYLINDERS)), true);
    config.setUint8(CONFIG_HEADS, HEADS);
    config.setUint8(CONFIG_SECTORS, SECTORS_PER_TRACK);
    config.setUint32(CONFIG_BLK_SIZE, logicalBlockSize, true);
    config.setUint8(CONFIG_PHYSICAL_BLOCK_EXP, Math.log2(physicalBlockSize / logicalBlockSize));
    config.setUint16(CONFIG_NUM_QUEUES, QUEUE_SIZES.length, true);
    config.setUint32(CONFIG_MAX_DISCARD_SECTORS, MAX_DISCARD_SECTORS, true);
    config.setUint32(CONFIG_MAX_DISCARD_SEG, 1, true);
    config.setUint32(CONFIG_DISCARD_SECTOR_ALIGNMENT, physicalBlockSize / SECTOR_SIZE, true);
    config.setUint32(CONFIG_MAX_WRITE_ZEROES_SECTORS, MAX_WRITE_ZEROES_SECTORS, true);
    config.setUint32(CONFIG_MAX_WRITE_ZEROES_SEG, 1, true);
    this.deviceReset();
  }

  override pump(): number {
    return this.live && this.queues[REQUEST_QUEUE].hasNext() ? this.serve() : 0;
  }

  /** The driver may choose the cache mode (§5.2.5.2). */
  override writeConfig(offset: number, _size: AccessSize, value: number): void {
    if (offset === CONFIG_WRITEBACK && this.accepted.has(VIRTIO_BLK_F_CONFIG_WCE))
      this.config.setUint8(CONFIG_WRITEBACK, value & 1);
  }

  override close(): void {
    this.image.close();
  }

  protected override queueNotified(): void {
    this.serve();
  }

  protected override deviceReset(): void {
    this.config.setUint8(CONFIG_WRITEBACK, this.writeback ? 1 : 0);
  }

  /** @returns requests answered. */
  private serve(): number {
    const queue = this.queues[REQUEST_QUEUE];
    const { readable, writable } = this;
    let requests = 0;
    for (let bytes = 0; requests < BUDGET && bytes < BUDGET_BYTES; requests++) {
      readable.count = 0;
      writable.count = 0;
      const id = queue.pop(readable, writable);
      if (id === NO_CHAIN) break;
      const answerSize = totalLength(writable);
      const size = totalLength(readable) + answerSize;
      if (answerSize < STATUS_SIZE || size > BLK_MAX_BYTES) {
        queue.fail('buffer unusable for this device');
        break;
      }
      this.answer(answerSize - STATUS_SIZE);
      queue.complete(id, answerSize);
      bytes += size;
    }
    queue.enableNotifications();
    this.publish(REQUEST_QUEUE);
    return requests;
  }

  /** Serves the request in the two lists, whose writable one holds `dataSize` bytes and the status, and fills the latter. */
  private answer(dataSize: number): void {
    const { memory, readable, writable } = this;
    const statusAddress = lastByte(writable);
    truncate(writable, dataSize);
    let status = VIRTIO_BLK_S_IOERR;
    if (gather(memory, readable, 0, this.headerBytes) === HEADER_SIZE) {
      skipBytes(readable, HEADER_SIZE);
      try {
        status = this.execute(dataSize);
      } catch (error) {
        // The host's disk failed; the guest learns it as from any disk.
        if (!isSystemError(error)) throw error;
      }
    }
    // used.len counts from the first byte (§2.7.8.2): no part of the answer may be left as it was.
    if (status !== VIRTIO_BLK_S_OK) clear(memory, writable);
    memory.write8(statusAddress, status);
  }

  /** @returns VIRTIO_BLK_S_*. @throws the error of node:fs. */
  private execute(dataSize: number): number {
    const { memory, image, readable, writable, header } = this;
    const sector = header.getUint32(8, true) + header.getUint32(12, true) * 2 ** 32;
    switch (header.getUint32(0, true)) {
      case VIRTIO_BLK_T_IN:
        if (!this.onDisk(sector, dataSize)) return VIRTIO_BLK_S_IOERR;
        image.read(memory, writable, sector * SECTOR_SIZE);
        return VIRTIO_BLK_S_OK;
      case VIRTIO_BLK_T_OUT:
        if (image.readonly || !this.onDisk(sector, totalLength(readable))) return VIRTIO_BLK_S_IOERR;
        image.write(memory, readable, sector * SECTOR_SIZE);
        this.writtenThrough();
        return VIRTIO_BLK_S_OK;
      case VIRTIO_BLK_T_FLUSH:
        image.flush();
        return VIRTIO_BLK_S_OK;
      case VIRTIO_BLK_T_GET_ID:
        clear(memory, writable);
        scatter(memory, writable, 0, this.serial);
        return VIRTIO_BLK_S_OK;
      case VIRTIO_BLK_T_DISCARD:
        return this.accepted.has(VIRTIO_BLK_F_DISCARD) ? this.discard() : VIRTIO_BLK_S_UNSUPP;
      case VIRTIO_BLK_T_WRITE_ZEROES:
        return this.accepted.has(VIRTIO_BLK_F_WRITE_ZEROES) ? this.writeZeroes() : VIRTIO_BLK_S_UNSUPP;
      default:
        return VIRTIO_BLK_S_UNSUPP;
    }
  }

  private discard(): number {
    const range = this.takeRange();
    // A discard has no flags (§5.2.6.2).
    if (range === undefined || range.flags !== 0) return VIRTIO_BLK_S_UNSUPP;
    const { sector, count } = range;
    if (count > MAX_DISCARD_SECTORS || !this.onDisk(sector, count * SECTOR_SIZE)) return VIRTIO_BLK_S_IOERR;
    this.image.discard(sector * SECTOR_SIZE, count * SECTOR_SIZE);
    return VIRTIO_BLK_S_OK;
  }

  /** The unmap flag is a hint that is not taken (§5.2.6.2). */
  private writeZeroes(): number {
    const range = this.takeRange();
    if (range === undefined || (range.flags & ~RANGE_UNMAP) !== 0) return VIRTIO_BLK_S_UNSUPP;
    const { sector, count } = range;
    if (count > MAX_WRITE_ZEROES_SECTORS || !this.onDisk(sector, count * SECTOR_SIZE)) return VIRTIO_BLK_S_IOERR;
    this.image.writeZeroes(sector * SECTOR_SIZE, count * SECTOR_SIZE);
    this.writtenThrough();
    return VIRTIO_BLK_S_OK;
  }

  /** The one range of sectors of a discard or write zeroes request; undefined when there is not exactly one. */
  private takeRange(): { readonly sector: number; readonly count: number; readonly flags: number } | undefined {
    const range = new DataView(new ArrayBuffer(RANGE_SIZE));
    if (totalLength(this.readable) !== RANGE_SIZE) return undefined;
    gather(this.memory, this.readable, 0, new Uint8Array(range.buffer));
    return {
      sector: range.getUint32(0, true) + range.getUint32(4, true) * 2 ** 32,
      count: range.getUint32(8, true),
      flags: range.getUint32(12, true),
    };
  }

  private onDisk(sector: number, bytes: number): boolean {
    const { blockSize } = this;
    const aligned = bytes % blockSize === 0 && (sector * SECTOR_SIZE) % blockSize === 0;
    return aligned && sector + bytes / SECTOR_SIZE <= this.image.sectors;
  }

  /** A driver that cannot flush, or chose so, has its writes on the disk when they are answered (§5.2.6.2). */
  private writtenThrough(): void {
    const cached = this.accepted.has(VIRTIO_BLK_F_CONFIG_WCE)
      ? this.config.getUint8(CONFIG_WRITEBACK) === 1
      : this.accepted.has(VIRTIO_BLK_F_FLUSH);
    if (!cached) this.image.flush();
  }
}

/** The address of the last byte of a list that is not empty. */
function lastByte(list: SegmentList): number {
  return list.address[list.count - 1] + list.length[list.count - 1] - 1;
}

function clear(memory: GuestMemory, list: SegmentList): void {
  for (let i = 0; i < list.count; i++) {
    memory.bytes.fill(0, list.address[i], list.address[i] + list.length[i]);
    memory.written(list.address[i], list.length[i]);
  }
}

/** Did the host's kernel refuse, rather than this program err? */
function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'errno' in error;
}
