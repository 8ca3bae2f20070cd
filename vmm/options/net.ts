/** Network options: `-netdev`, `-nic`, and the older `-net nic` with `-net tap|user`. */

import { Suboptions } from '../keyval.ts';
import type { NetdevConfig } from './config.ts';
import type { Draft, NicDraft } from './draft.ts';

const NETDEV_TYPES = ['user', 'tap', 'stream'] as const;
type NetdevType = (typeof NETDEV_TYPES)[number];

/** Names of the one card we have. */
const NIC_MODELS = ['virtio', 'virtio-net-pci', 'virtio-net-device'];

/** `-netdev type,id=…` */
export function addNetdev(draft: Draft, text: string): void {
  const sub = new Suboptions('-netdev', text, 'type');
  const type = sub.takeOneOf('type', NETDEV_TYPES) ?? sub.fail("Parameter 'type' is missing");
  const id = sub.takeId() ?? sub.fail("Parameter 'id' is missing");
  addBackend(draft, sub, type, id);
  sub.finish();
}

function addBackend(draft: Draft, sub: Suboptions, type: NetdevType, id: string): void {
  draft.claimId('netdev', id, sub.where);
  draft.netdevs.push(takeBackend(sub, type, id));
}

function takeBackend(sub: Suboptions, type: NetdevType, id: string): NetdevConfig {
  switch (type) {
    case 'user':
      return { id, type, properties: sub.takeRest() };
    case 'tap':
      return takeTap(sub, id);
    case 'stream':
      sub.takeOneOf('addr.type', ['unix']) ?? sub.fail("Parameter 'addr.type' must be 'unix'");
      return { id, type, path: sub.require('addr.path'), server: sub.takeBoolean('server') ?? false };
  }
}

function takeTap(sub: Suboptions, id: string): NetdevConfig {
  for (const key of ['script', 'downscript']) {
    const script = sub.take(key);
    if (script !== undefined && script !== 'no' && script !== '') {
      sub.fail(`scripts are not run: set the tap up beforehand and give ${key}=no`);
    }
  }
  // In-kernel virtio (vhost) is a matter of KVM guests; sndbuf and queues are tuning of QEMU's own.
  sub.ignore('vhost', 'vhostforce', 'sndbuf', 'vnet_hdr', 'poll-us');
  if ((sub.takeInteger('queues', 1, 256) ?? 1) !== 1) {
    sub.fail('a tap has one queue here; leave queues= out');
  }
  const fd = sub.takeInteger('fd', 0, 0x7fffffff);
  const ifname = sub.take('ifname');
  if (fd === undefined && ifname === undefined) {
    sub.fail("give the name of an existing tap, as in 'ifname=tap0'");
  }
  return { id, type: 'tap', ifname, fd };
}

/** Six hex bytes. */
export function takeMac(sub: Suboptions, key: string): string | undefined {
  const mac = sub.take(key);
  if (mac === undefined) {
    return undefined;
  }
  if (!/^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i.test(mac)) {
    sub.fail(`Parameter '${key}' expects a MAC address such as 52:54:00:12:34:56`);
  }
  const bytes = mac.split(':').map((byte) => byte.padStart(2, '0').toLowerCase());
  if (Number.parseInt(bytes[0], 16) & 1) {
    sub.fail(`'${mac}' is a multicast address, which no card can have`);
  }
  return bytes.join(':');
}

function takeModel(sub: Suboptions): string | undefined {
  const model = sub.take('model');
  if (model !== undefined && !NIC_MODELS.includes(model)) {
    sub.fail(`Unsupported NIC model: ${model} (virtio-net-pci is the one here)`);
  }
  return model;
}

/** `-nic type[,model=…][,mac=…]`: back end and card in one. */
export function addNic(draft: Draft, text: string): void {
  const sub = new Suboptions('-nic', text, 'type');
  const type = sub.takeOneOf('type', ['none', ...NETDEV_TYPES]) ?? sub.fail("Parameter 'type' is missing");
  const id = sub.takeId();
  const mac = takeMac(sub, 'mac');
  takeModel(sub);
  if (type !== 'none') {
    const netdev = id ?? `#nic${draft.netdevs.length}`;
    addBackend(draft, sub, type, netdev);
    draft.devices.push(card(netdev, mac));
  }
  sub.finish();
}

/** `-net nic|user|tap|none,…`: cards and back ends apart; {@link plugLegacyNics} joins them in order. */
export function addLegacyNet(draft: Draft, text: string): void {
  const sub = new Suboptions('-net', text, 'type');
  const type = sub.takeOneOf('type', ['none', 'nic', ...NETDEV_TYPES]) ?? sub.fail("Parameter 'type' is missing");
  if (type === 'nic') {
    const netdev = sub.take('netdev');
    draft.legacyNics.push({ model: takeModel(sub), mac: takeMac(sub, 'macaddr'), netdev });
    sub.ignore('name', 'addr', 'vectors');
  } else if (type !== 'none') {
    const id = sub.takeId() ?? sub.take('name') ?? `#net${draft.netdevs.length}`;
    addBackend(draft, sub, type, id);
    draft.legacyNetdevs.push(id);
  }
  sub.finish();
}

/** Cards of `-net nic` meet the back ends of `-net` in the order of both; one that is left over has no cable. */
export function plugLegacyNics(draft: Draft): void {
  const free = [...draft.legacyNetdevs];
  for (const { netdev, mac } of draft.legacyNics) {
    draft.devices.push(card(netdev ?? free.shift(), mac));
  }
  for (const id of free) {
    draft.warnings.push(`network back end '${id}' is connected to no card; add -net nic`);
  }
}

function card(netdev: string | undefined, mac: string | undefined): NicDraft {
  return { model: 'virtio-net', netdev, mac, disableLegacy: false, disableModern: false };
}
