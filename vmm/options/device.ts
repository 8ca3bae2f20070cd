/** `-device`, `-drive`, `-object`: what is plugged in, and what it stands on. */

import { Suboptions } from '../keyval.ts';
import { PORT_DEBUG_EXIT, PORT_DEBUGCON, PORT_PVPANIC } from '../layout.ts';
import type { DeviceConfig, VirtioFaces } from './config.ts';
import type { Draft, NicDraft } from './draft.ts';
import { read9p } from './fsdev.ts';
import { takeMac } from './net.ts';

/** Reads a model's own properties. */
type ReadDevice = (sub: Suboptions, draft: Draft) => DeviceConfig | NicDraft;

/**
 * The device models by all their names. PCI models exist on `pc`, `-device` models on the virtio-mmio bus of
 * `microvm`.
 */
const MODELS: Readonly<Record<string, { readonly bus: 'pci' | 'mmio' | 'isa'; readonly read: ReadDevice }>> = {
  'virtio-net-pci': { bus: 'pci', read: (sub) => readNet(sub, takeFaces(sub)) },
  'virtio-net-pci-transitional': { bus: 'pci', read: (sub) => readNet(sub, TRANSITIONAL) },
  'virtio-net-pci-non-transitional': { bus: 'pci', read: (sub) => readNet(sub, MODERN) },
  'virtio-net-device': { bus: 'mmio', read: (sub) => readNet(sub, MODERN) },
  'virtio-blk-pci': { bus: 'pci', read: (sub, draft) => readBlock(sub, takeFaces(sub), draft) },
  'virtio-blk-pci-transitional': { bus: 'pci', read: (sub, draft) => readBlock(sub, TRANSITIONAL, draft) },
  'virtio-blk-pci-non-transitional': { bus: 'pci', read: (sub, draft) => readBlock(sub, MODERN, draft) },
  'virtio-blk-device': { bus: 'mmio', read: (sub, draft) => readBlock(sub, MODERN, draft) },
  'virtio-rng-pci': { bus: 'pci', read: (sub, draft) => readRng(sub, takeFaces(sub), draft) },
  'virtio-rng-pci-transitional': { bus: 'pci', read: (sub, draft) => readRng(sub, TRANSITIONAL, draft) },
  'virtio-rng-pci-non-transitional': { bus: 'pci', read: (sub, draft) => readRng(sub, MODERN, draft) },
  'virtio-rng-device': { bus: 'mmio', read: (sub, draft) => readRng(sub, MODERN, draft) },
  'virtio-9p-pci': { bus: 'pci', read: (sub) => read9p(sub, takeFaces(sub)) },
  'virtio-9p-pci-transitional': { bus: 'pci', read: (sub) => read9p(sub, TRANSITIONAL) },
  'virtio-9p-pci-non-transitional': { bus: 'pci', read: (sub) => read9p(sub, MODERN) },
  'virtio-9p-device': { bus: 'mmio', read: (sub) => read9p(sub, MODERN) },
  'isa-debug-exit': {
    bus: 'isa',
    read: (sub) => ({
      model: 'isa-debug-exit',
      iobase: sub.takeInteger('iobase', 0, 0xffff) ?? PORT_DEBUG_EXIT,
      iosize: sub.takeInteger('iosize', 1, 4) ?? 2,
    }),
  },
  'isa-debugcon': {
    bus: 'isa',
    read: (sub, draft) => {
      sub.ignore('readback');
      const character = sub.require('chardev');
      if (!draft.hasId('chardev', character)) {
        sub.fail(`chardev '${character}' not found`);
      }
      return { model: 'isa-debugcon', iobase: sub.takeInteger('iobase', 0, 0xffff) ?? PORT_DEBUGCON, character };
    },
  },
  pvpanic: {
    bus: 'isa',
    read: (sub) => {
      sub.ignore('events');
      return { model: 'pvpanic', iobase: sub.takeInteger('ioport', 0, 0xffff) ?? PORT_PVPANIC };
    },
  },
};

/** Models that container runtimes ask for and this version does not have: refused by the machine, by name. */
const UNSUPPORTED = [
  'virtio-balloon-pci',
  'virtio-serial-pci',
  'vhost-user-fs-pci',
  'vhost-user-fs-device',
  'vhost-vsock-pci',
  'vhost-vsock-device',
];

export const DEVICE_MODELS: readonly string[] = Object.keys(MODELS);

const TRANSITIONAL: VirtioFaces = { disableLegacy: false, disableModern: false };
const MODERN: VirtioFaces = { disableLegacy: true, disableModern: false };

/** `-device model[,id=…][,property=…]` */
export function addDevice(draft: Draft, text: string): void {
  const sub: Suboptions = new Suboptions('-device', text, 'driver');
  const name = sub.require('driver');
  const id = sub.takeId();
  if (id !== undefined) {
    draft.claimId('device', id, sub.where);
  }
  if (UNSUPPORTED.includes(name)) {
    draft.devices.push({ id, model: 'unsupported', name });
    return;
  }
  const model = Object.hasOwn(MODELS, name) ? MODELS[name] : undefined;
  if (!model) {
    sub.fail(`'${name}' is not a valid device model name (one of: ${DEVICE_MODELS.join(', ')})`);
  }
  // Where it sits is the machine's affair: slots are given out in order.
  sub.ignore('bus', 'addr', 'bootindex', 'romfile', 'multifunction');
  draft.devices.push({ id, ...model.read(sub, draft) });
  sub.finish();
  draft.buses.add(model.bus);
}

function takeFaces(sub: Suboptions): VirtioFaces {
  const legacy = sub.takeOneOf('disable-legacy', ['on', 'off', 'auto']);
  const faces = { disableLegacy: legacy === 'on', disableModern: sub.takeBoolean('disable-modern') ?? false };
  if (faces.disableLegacy && faces.disableModern) {
    sub.fail('device cannot work as neither modern nor legacy mode is enabled');
  }
  // How QEMU's host side is woken and how many MSI-X vectors there are: matters of tuning.
  sub.ignore('vectors', 'ioeventfd');
  return faces;
}

function readNet(sub: Suboptions, faces: VirtioFaces): NicDraft {
  if (sub.takeBoolean('mq')) {
    sub.fail('one queue pair only: leave mq=on out');
  }
  return {
    model: 'virtio-net',
    netdev: sub.take('netdev'),
    mac: takeMac(sub, 'mac'),
    hostMtu: sub.takeInteger('host_mtu', 68, 65535),
    ...faces,
  };
}

function readBlock(sub: Suboptions, faces: VirtioFaces, draft: Draft): DeviceConfig {
  if (sub.takeBoolean('scsi')) {
    sub.fail('SCSI pass-through is not supported; leave scsi=on out');
  }
  // Tuning, and what QEMU asks of the locks that we do not take.
  sub.ignore('num-queues', 'queue-size', 'iothread', 'share-rw', 'discard_granularity');
  const drive = sub.require('drive');
  draft.driveUsers.push({ drive, where: sub.where });
  const writeCache = sub.takeOneOf('write-cache', ['on', 'off', 'auto']) ?? 'auto';
  const logicalBlockSize = takeBlockSize(sub, 'logical_block_size');
  const physicalBlockSize = takeBlockSize(sub, 'physical_block_size');
  if (logicalBlockSize > physicalBlockSize && physicalBlockSize !== BLOCK_SIZE_MIN) {
    sub.fail('logical_block_size > physical_block_size not supported');
  }
  return {
    model: 'virtio-blk',
    drive,
    serial: sub.take('serial') ?? BLOCK_DEFAULTS.serial,
    writeCache: writeCache === 'auto' ? undefined : writeCache === 'on',
    configWce: sub.takeBoolean('config-wce') ?? BLOCK_DEFAULTS.configWce,
    logicalBlockSize,
    physicalBlockSize,
    ...faces,
  };
}

const BLOCK_SIZE_MIN = 512;
const BLOCK_SIZE_MAX = 2 ** 21;

const BLOCK_DEFAULTS = {
  serial: '',
  configWce: true,
  logicalBlockSize: BLOCK_SIZE_MIN,
  physicalBlockSize: BLOCK_SIZE_MIN,
};

function takeBlockSize(sub: Suboptions, key: string): number {
  const size = sub.takeInteger(key, BLOCK_SIZE_MIN, BLOCK_SIZE_MAX) ?? BLOCK_SIZE_MIN;
  if (!Number.isInteger(Math.log2(size))) {
    sub.fail(`Property '${key}' doesn't take value '${size}', it's not a power of 2`);
  }
  return size;
}

/**
 * The cache modes of `-drive cache=…`. Images always pass the host's page cache: a mode that would bypass it differs
 * in speed only.
 */
const CACHE_MODES = {
  writeback: { writeback: true, flush: true },
  none: { writeback: true, flush: true },
  writethrough: { writeback: false, flush: true },
  directsync: { writeback: false, flush: true },
  unsafe: { writeback: true, flush: false },
};

function takeCache(sub: Suboptions): { readonly writeback: boolean; readonly flush: boolean } {
  const modes = Object.keys(CACHE_MODES) as (keyof typeof CACHE_MODES)[];
  const mode = CACHE_MODES[sub.takeOneOf('cache', modes) ?? 'writeback'];
  sub.takeBoolean('cache.direct');
  const noFlush = sub.takeBoolean('cache.no-flush');
  return {
    writeback: sub.takeBoolean('cache.writeback') ?? mode.writeback,
    flush: noFlush === undefined ? mode.flush : !noFlush,
  };
}

function readRng(sub: Suboptions, faces: VirtioFaces, draft: Draft): DeviceConfig {
  sub.ignore('max-bytes', 'period');
  const rng = sub.take('rng');
  if (rng !== undefined && !draft.hasId('object', rng)) {
    sub.fail(`rng object '${rng}' not found`);
  }
  return { model: 'virtio-rng', ...faces };
}

/** `-drive file=…,if=none|virtio,format=raw,id=…` */
export function addDrive(draft: Draft, text: string): void {
  const sub = new Suboptions('-drive', text, 'file');
  const file = sub.require('file');
  const id = sub.takeId() ?? `#drive${draft.drives.length}`;
  const format = sub.take('format');
  if (format !== undefined && format !== 'raw') {
    sub.fail(`Unknown driver '${format}': only raw images are supported (qemu-img convert -O raw …)`);
  }
  const bus = sub.takeOneOf('if', ['none', 'virtio']);
  if (bus === undefined) {
    sub.fail('there is no IDE here: give if=virtio, or if=none and a -device virtio-blk-pci,drive=…');
  }
  const readonly = sub.takeBoolean('readonly') ?? sub.takeBoolean('read-only') ?? false;
  if (sub.takeBoolean('snapshot')) {
    sub.fail('snapshot=on is not supported');
  }
  const discard = ['unmap', 'on'].includes(sub.takeOneOf('discard', ['ignore', 'off', 'unmap', 'on']) ?? 'ignore');
  const cache = takeCache(sub);
  sub.ignore('media', 'index', 'aio', 'detect-zeroes', 'werror', 'rerror', 'copy-on-read', 'file.locking');
  sub.finish();
  draft.claimId('drive', id, sub.where);
  draft.drives.push({ id, file, readonly, discard, ...cache });
  if (bus === 'virtio') {
    draft.driveUsers.push({ drive: id, where: sub.where });
    draft.devices.push({ model: 'virtio-blk', drive: id, ...BLOCK_DEFAULTS, ...TRANSITIONAL });
  }
}

const MAXLEN_DEFAULT = 65536;

/** `-object filter-dump,…`, `-object rng-random,…` */
export function addObject(draft: Draft, text: string): void {
  const sub = new Suboptions('-object', text, 'qom-type');
  const type = sub.require('qom-type');
  const id = sub.takeId() ?? sub.fail("Parameter 'id' is missing");
  draft.claimId('object', id, sub.where);
  switch (type) {
    case 'filter-dump':
      draft.filterDumps.push({
        id,
        netdev: sub.require('netdev'),
        file: sub.require('file'),
        maxlen: sub.takeInteger('maxlen', 1, 0xffffffff) ?? MAXLEN_DEFAULT,
      });
      sub.ignore('queue', 'status');
      break;
    // Randomness always comes from the host's own generator.
    case 'rng-builtin':
    case 'rng-random':
      sub.ignore('filename');
      break;
    default:
      sub.fail(`invalid object type: ${type} (one of: filter-dump, rng-builtin, rng-random)`);
  }
  sub.finish();
}
