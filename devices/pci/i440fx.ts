/**
 * Host bridge 8086:1237 (Intel 440FX PCIset datasheet §3.2). The attribute registers only store what is written: shadow
 * RAM is always plain RAM here.
 */

import { PciDevice } from './pci-device.ts';

const PMCCFG = 0x50;
const PAM0 = 0x59;
const PAM_COUNT = 7;
const SMRAM = 0x72;
/** SMRAM space 0xa0000, the only value of its base field that the chip knows. */
const SMRAM_DEFAULT = 0x02;

export class I440fx extends PciDevice {
  constructor() {
    super({
      vendorId: 0x8086,
      deviceId: 0x1237,
      revisionId: 2,
      classCode: 0x060000,
      subsystemVendorId: 0x1af4,
      subsystemId: 0x1100,
    });
    this.config.setWritable(PMCCFG, 2, 0xffff);
    for (let i = 0; i < PAM_COUNT; i++) this.config.setWritable(PAM0 + i, 1, 0xff);
    this.config.setWritable(SMRAM, 1, 0x78);
    this.config.bytes[SMRAM] = SMRAM_DEFAULT;
  }
}
