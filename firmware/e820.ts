/**
 * The map of physical memory, entry for entry as QEMU's `pc` and SeaBIOS give it by INT 15h, AX=E820h: guests size
 * their heaps by it and print it.
 */

import {
  ACPI_DATA_SIZE,
  BIOS_END,
  BIOS_START,
  EBDA_SIZE,
  EBDA_START,
  FLASH_SIZE,
  FLASH_START,
  HIGH_MEMORY,
  HYPERTRANSPORT_SIZE,
  HYPERTRANSPORT_START,
  PAGE_SIZE,
} from '../vmm/layout.ts';
import { alignDown, Struct } from './bytes.ts';

const E820_RAM = 1;
const E820_RESERVED = 2;

export interface E820Entry {
  readonly address: number;
  readonly length: number;
  readonly type: number;
}

/** Where the RAM that guests may use ends: ACPI tables follow up to the top of RAM. */
export function usableRamEnd(ramSize: number): number {
  return alignDown(ramSize, PAGE_SIZE) - ACPI_DATA_SIZE;
}

export function e820Map(ramSize: number): readonly E820Entry[] {
  const top = usableRamEnd(ramSize);
  return [
    { address: 0, length: EBDA_START, type: E820_RAM },
    { address: EBDA_START, length: EBDA_SIZE, type: E820_RESERVED },
    { address: BIOS_START, length: BIOS_END - BIOS_START, type: E820_RESERVED },
    { address: HIGH_MEMORY, length: top - HIGH_MEMORY, type: E820_RAM },
    { address: top, length: ACPI_DATA_SIZE, type: E820_RESERVED },
    { address: FLASH_START, length: FLASH_SIZE, type: E820_RESERVED },
    { address: HYPERTRANSPORT_START, length: HYPERTRANSPORT_SIZE, type: E820_RESERVED },
  ];
}

/**
 * Lays entries out as `struct e820entry` (address u64, length u64, type u32), `stride` bytes apart, from `offset` on.
 */
export function packE820(entries: readonly E820Entry[], stride: number, offset = 0): Uint8Array {
  const table = new Struct(entries.length * stride);
  for (const [index, entry] of entries.entries()) {
    const at = index * stride + offset;
    table
      .u64(at, entry.address)
      .u64(at + 8, entry.length)
      .u32(at + 16, entry.type);
  }
  return table.bytes;
}
