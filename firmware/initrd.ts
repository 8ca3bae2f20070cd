/** Where an initial RAM disk goes: as high as the protocol lets it, on a page, below the ACPI tables, as QEMU does it. */

import { PAGE_SIZE } from '../vmm/layout.ts';
import { BootError } from './boot-state.ts';
import { alignDown } from './bytes.ts';
import { usableRamEnd } from './e820.ts';

/**
 * @param highest the highest address that a byte of it may have
 * @param kernelEnd one past the kernel, which it must not touch
 */
export function placeInitrd(size: number, ramSize: number, highest: number, kernelEnd: number): number {
  const limit = Math.min(highest, usableRamEnd(ramSize) - 1);
  const address = alignDown(limit - size, PAGE_SIZE);
  if (address < kernelEnd) {
    throw new BootError(
      `no room for an initrd of ${size} bytes between the kernel's end at 0x${kernelEnd.toString(16)} and 0x${limit.toString(16)}; give the guest more memory with -m`,
    );
  }
  return address;
}
