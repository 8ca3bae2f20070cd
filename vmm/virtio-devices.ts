/** Makes virtio devices from their configuration and what they stand on. */

import { HostTree } from '../devices/9p/host-tree.ts';
import { NinepServer } from '../devices/9p/server.ts';
import { NoneBackend } from '../devices/net/none.ts';
import { Virtio9p } from '../devices/virtio/9p.ts';
import { VirtioBlk } from '../devices/virtio/blk.ts';
import { BlkImage } from '../devices/virtio/blk-image.ts';
import { VirtioNet } from '../devices/virtio/net.ts';
import { VirtioRng } from '../devices/virtio/rng.ts';
import type { VirtioDevice } from '../devices/virtio/virtio-device.ts';
import { AddonError } from '../native/addon.ts';
import type { BoardParts } from './board.ts';
import { reasonOf, UserError } from './errors.ts';
import type { DeviceConfig, DriveConfig, MachineConfig } from './options/config.ts';

export interface Plugged {
  readonly device: VirtioDevice;
  readonly close: () => void;
  /** Descriptor of the directory that it shares. */
  readonly sharedRoot?: number;
}

type VirtioConfig = Extract<DeviceConfig, { model: `virtio-${string}` }>;

export function isVirtio(device: DeviceConfig): device is VirtioConfig & { readonly id?: string | undefined } {
  return device.model.startsWith('virtio-');
}

/** @throws UserError when a disk image or a directory cannot be opened; AddonError when that needs the addon. */
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
    case 'virtio-9p': {
      const { path, readonly, oneDevice } = config.fsdevs.find((fsdev) => fsdev.id === device.fsdev)!;
      const tree = openTree(device.fsdev, path);
      const server = new NinepServer(tree, { readonly, oneDevice });
      const plugged = new Virtio9p(memory, server, device.mountTag);
      return { device: plugged, close: () => server.close(), sharedRoot: tree.root };
    }
    case 'virtio-rng':
      return { device: new VirtioRng(memory), close: () => {} };
  }
}

function openTree(fsdev: string, path: string): HostTree {
  try {
    return new HostTree(path);
  } catch (error) {
    if (error instanceof AddonError) throw error;
    throw new UserError(`cannot initialize fsdev '${fsdev}': failed to open '${path}': ${reasonOf(error)}`);
  }
}

function openImage({ file, readonly, flush, discard }: DriveConfig): BlkImage {
  try {
    return new BlkImage(file, { readonly, flush, discard });
  } catch (error) {
    throw new UserError(`-drive file=${file}: could not open the image: ${reasonOf(error)}`);
  }
}
