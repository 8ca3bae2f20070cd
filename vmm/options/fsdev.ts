/** `-fsdev` and `-virtfs`: directories of the host for virtio-9p. */

import { MOUNT_TAG_MAX } from '../../devices/virtio/9p.ts';
import { Suboptions } from '../keyval.ts';
import type { DeviceConfig, VirtioFaces } from './config.ts';
import type { Draft } from './draft.ts';

/** `-fsdev local,id=…,path=…,security_model=none|passthrough[,readonly=on][,multidevs=remap|warn|forbid]` */
export function addFsdev(draft: Draft, text: string): void {
  const sub: Suboptions = new Suboptions('-fsdev', text, 'fsdriver');
  const id = sub.takeId() ?? sub.fail("Parameter 'id' is missing");
  readFsdev(draft, sub, id);
  sub.finish();
}

/** `-virtfs local,path=…,mount_tag=…,…`: an fsdev and its device in one. */
export function addVirtfs(draft: Draft, text: string): void {
  const sub: Suboptions = new Suboptions('-virtfs', text, 'fsdriver');
  const fsdev = sub.takeId() ?? `#virtfs${draft.fsdevs.length}`;
  readFsdev(draft, sub, fsdev);
  draft.devices.push({ model: 'virtio-9p', fsdev, mountTag: takeMountTag(sub), ...BOTH_FACES });
  sub.finish();
}

const BOTH_FACES: VirtioFaces = { disableLegacy: false, disableModern: false };

function readFsdev(draft: Draft, sub: Suboptions, id: string): void {
  const driver = sub.require('fsdriver');
  if (driver !== 'local') {
    sub.fail(`fsdriver ${driver} is not supported (there is one: local)`);
  }
  const model = sub.take('security_model');
  if (model === undefined) {
    sub.fail('security_model not specified: give security_model=none, so that files have the owners they can have');
  }
  if (model !== 'none' && model !== 'passthrough') {
    sub.fail(`invalid security_model '${model}' (one of: none, passthrough)`);
  }
  const path = sub.require('path');
  const readonly = sub.takeBoolean('readonly') ?? false;
  const multidevs = sub.takeOneOf('multidevs', ['remap', 'warn', 'forbid']);
  // Means something for the mapped security models only.
  sub.ignore('fmode', 'dmode');
  draft.claimId('fsdev', id, sub.where);
  draft.fsdevs.push({ id, path, readonly, oneDevice: multidevs === 'forbid' });
}

/** Reads `-device virtio-9p-pci,fsdev=…,mount_tag=…`. */
export function read9p(sub: Suboptions, faces: VirtioFaces): DeviceConfig {
  return { model: 'virtio-9p', fsdev: sub.require('fsdev'), mountTag: takeMountTag(sub), ...faces };
}

function takeMountTag(sub: Suboptions): string {
  const tag = sub.require('mount_tag');
  const length = Buffer.byteLength(tag);
  if (length === 0 || length > MOUNT_TAG_MAX) {
    sub.fail(`mount tag '${tag}' (${length} bytes) is not of 1 to ${MOUNT_TAG_MAX} bytes`);
  }
  return tag;
}
