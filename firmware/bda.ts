/**
 * The BIOS data area (segment 0x40) and the start of the EBDA, as SeaBIOS leaves them: guests read the EBDA's segment,
 * the size of low memory, serial ports and the CRTC's port from here.
 */

import { BDA_SIZE, BDA_START, EBDA_SIZE, EBDA_START, KIB, PORT_COM1 } from '../vmm/layout.ts';
import { type MemoryWrite, memoryWrite } from './boot-state.ts';
import { Struct } from './bytes.ts';

const COM1_PORT = 0x00;
const EBDA_SEGMENT = 0x0e;
const EQUIPMENT = 0x10;
const LOW_MEMORY_KIB = 0x13;
const VIDEO_MODE = 0x49;
const VIDEO_COLUMNS = 0x4a;
const VIDEO_PAGE_SIZE = 0x4c;
const CRTC_PORT = 0x63;
const VIDEO_LAST_ROW = 0x84;
const CHARACTER_HEIGHT = 0x85;

/** One serial port, FPU present. */
const EQUIPMENT_BASE = 0x0202;
/** 80×25 colour. */
const EQUIPMENT_VGA = 0x0020;

/** @param vga is there a VGA card in text mode 3? Without one the video fields stay 0. */
export function buildBda(vga: boolean): readonly MemoryWrite[] {
  const bda = new Struct(BDA_SIZE)
    .u16(COM1_PORT, PORT_COM1)
    .u16(EBDA_SEGMENT, EBDA_START >> 4)
    .u16(EQUIPMENT, EQUIPMENT_BASE | (vga ? EQUIPMENT_VGA : 0))
    .u16(LOW_MEMORY_KIB, EBDA_START / KIB);
  if (vga) {
    bda
      .u8(VIDEO_MODE, 3)
      .u16(VIDEO_COLUMNS, 80)
      .u16(VIDEO_PAGE_SIZE, 0x1000)
      .u16(CRTC_PORT, 0x3d4)
      .u8(VIDEO_LAST_ROW, 24)
      .u8(CHARACTER_HEIGHT, 16);
  }
  // The EBDA's first byte is its size in KiB.
  return [memoryWrite(BDA_START, bda.bytes), memoryWrite(EBDA_START, Uint8Array.of(EBDA_SIZE / KIB), EBDA_SIZE)];
}
