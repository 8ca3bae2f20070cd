/** Makes virtio devices from their configuration and what they stand on. */

import { NoneBackend } from '../devices/net/none.ts';
import { VirtioBlk } from '../devices/virtio/blk.ts';
import { BlkImage } from '../devices/virtio/blk-image.ts';
import { VirtioNet } from '../devices/virtio/net.ts';
import { VirtioRng } from '../devices/virtio/rng.ts';
import type { VirtioDevice } from '../devices/virtio/virtio-device.ts';
import type { BoardParts } from './board.ts';
import { reasonOf, UserError } from './errors.ts';
import type { DeviceConfig, DriveConfig, MachineConfig } from './options/config.ts';

export interface Plugged {
  readonly device: VirtioDevice;
  readonly close: () => void;
}

type VirtioConfig = Extract<DeviceConfig, { model: `virtio-${string}` }>;

/** @throws UserError when a disk image cannot be opened. */
export function createVirtioDevice(device: VirtioConfig, config: MachineConfig, parts: BoardParts): Plugged {
  const { memory } = parts;
  switch (device.model) {
    case 'virtio-net': {
      const backend = parts.backends.get(device.netdev ?? '') ?? new NoneBackend();
      const mac = Uint8Array.from(device.mac.split(':'), (byte) => Number.parseInt(byte, 16));
      const mtu = device.hostMtu === undefined ? {} : { mtu: device.hostMtu };
      return { device: new VirtioNet(memory, { backend, mac, ...mtu }), close: () => {} };
    }
    case 'virtio-blk': {
      const drive = config.drives.find((drive) => drive.id === device.drive)!;
      const image = openImage(drive);
      const { serial, configWce, logicalBlockSize, physicalBlockSize, writeCache = drive.writeback } = device;
      const options = { image, serial, writeback: writeCache, configWce, logicalBlockSize, physicalBlockSize };
      return { device: new VirtioBlk(memory, options), close: () => image.close() };
    }
    case 'virtio-rng':
      return { device: new VirtioRng(memory), close: () => {} };
  }
}

function openImage({ file, readonly, flush, discard }: DriveConfig): BlkImage {
  try {
    return new BlkImage(file, { readonly, flush, discard });
  } catch (error) {
    throw new UserError(`-drive file=${file}: could not open the image: ${reasonOf(error)}`);
  }
}
