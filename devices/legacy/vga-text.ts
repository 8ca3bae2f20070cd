/**
 * The registers of a VGA in text mode 3 (IBM VGA XGA Technical Reference §2): all of them store and read back, nothing
 * is drawn. Text memory is plain RAM. Ports: this window at 0x3c0…0x3df, {@link VgaText.mono} at 0x3b0…0x3bf.
 */

import type { AccessSize, BusDevice } from '../bus.ts';

// Offsets from 0x3c0.
const ATTRIBUTE_WRITE = 0x00;
const ATTRIBUTE_READ = 0x01;
const MISC_OUTPUT_WRITE = 0x02;
const SEQUENCER_INDEX = 0x04;
const SEQUENCER_DATA = 0x05;
const PEL_MASK = 0x06;
const DAC_READ_INDEX = 0x07;
const DAC_WRITE_INDEX = 0x08;
const DAC_DATA = 0x09;
const MISC_OUTPUT_READ = 0x0c;
const GRAPHICS_INDEX = 0x0e;
const GRAPHICS_DATA = 0x0f;
const CRTC_INDEX = 0x14;
const CRTC_DATA = 0x15;
const INPUT_STATUS_1 = 0x1a;
/** The monochrome window is the colour one of CRTC and status, 0x20 lower. */
const MONO_TO_COLOUR = 0x10;

/** CRTC and status are at 0x3dx, else at 0x3bx. */
const MISC_COLOUR = 0x01;
const STATUS_DISPLAY_DISABLED = 0x01;
const STATUS_RETRACE = 0x08;
const ATTRIBUTE_INDEX_MASK = 0x1f;
const ATTRIBUTE_PALETTE_ON = 0x20;
const DAC_STATE_READ = 0x03;
const CRTC_OVERFLOW = 0x07;
const CRTC_RETRACE_END = 0x11;
const CRTC_PROTECT = 0x80;
/** The one bit of the overflow register that the protection leaves writable: bit 8 of the line compare. */
const CRTC_OVERFLOW_LINE_COMPARE = 0x10;

// What a VGA BIOS programs for mode 3 (80×25, 9×16 cells).
const MODE3_MISC = 0x67;
const MODE3_SEQUENCER = [0x03, 0x00, 0x03, 0x00, 0x02];
const MODE3_CRTC = [
  0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f,
  0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
];
const MODE3_GRAPHICS = [0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x0f, 0xff];
const MODE3_ATTRIBUTE = [
  0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f,
  0x08, 0x00,
];

/** A bank of registers behind an index and a data port; indices past its end read 0 and store nothing. */
class IndexedRegisters {
  index = 0;
  readonly values: Uint8Array;
  private readonly initial: readonly number[];

  constructor(initial: readonly number[]) {
    this.initial = initial;
    this.values = Uint8Array.from(initial);
  }

  get value(): number {
    return this.values[this.index] ?? 0;
  }

  set value(value: number) {
    this.values[this.index] = value;
  }

  reset(): void {
    this.index = 0;
    this.values.set(this.initial);
  }
}

export class VgaText implements BusDevice {
  /** CRTC and status of a monochrome adapter, for 16 ports at 0x3b0. */
  readonly mono: BusDevice;
  private readonly sequencer = new IndexedRegisters(MODE3_SEQUENCER);
  private readonly graphics = new IndexedRegisters(MODE3_GRAPHICS);
  private readonly attribute = new IndexedRegisters(MODE3_ATTRIBUTE);
  private readonly crtc = new IndexedRegisters(MODE3_CRTC);
  private readonly dac = new Uint8Array(256 * 3);
  private miscOutput = MODE3_MISC;
  private paletteOn = ATTRIBUTE_PALETTE_ON;
  private attributeExpectsData = false;
  private pelMask = 0xff;
  /** Position in `dac` of the next component read or written. */
  private dacRead = 0;
  private dacWrite = 0;
  private dacState = 0;
  private status = 0;

  constructor() {
    this.mono = {
      read: (offset, size) => this.readBytes(offset + MONO_TO_COLOUR, size, true),
      write: (offset, size, value) => this.writeBytes(offset + MONO_TO_COLOUR, size, value, true),
    };
  }

  /** The cursor's cell, counted from the start of text memory. */
  get cursor(): number {
    return (this.crtc.values[0x0e] << 8) | this.crtc.values[0x0f];
  }

  read(offset: number, size: AccessSize): number {
    return this.readBytes(offset, size, false);
  }

  write(offset: number, size: AccessSize, value: number): void {
    this.writeBytes(offset, size, value, false);
  }

  reset(): void {
    for (const bank of [this.sequencer, this.graphics, this.attribute, this.crtc]) bank.reset();
    this.dac.fill(0);
    this.miscOutput = MODE3_MISC;
    this.paletteOn = ATTRIBUTE_PALETTE_ON;
    this.attributeExpectsData = false;
    this.pelMask = 0xff;
    this.dacRead = this.dacWrite = this.dacState = 0;
    this.status = 0;
  }

  private readBytes(offset: number, size: AccessSize, mono: boolean): number {
    let value = 0;
    for (let i = 0; i < size; i++) value |= this.readByte(offset + i, mono) << (8 * i);
    return value >>> 0;
  }

  private writeBytes(offset: number, size: AccessSize, value: number, mono: boolean): void {
    for (let i = 0; i < size; i++) this.writeByte(offset + i, (value >>> (8 * i)) & 0xff, mono);
  }

  /** Ports from CRTC_INDEX on answer at the one address that the miscellaneous output register selects. */
  private isDecoded(offset: number, mono: boolean): boolean {
    return offset < MONO_TO_COLOUR || ((this.miscOutput & MISC_COLOUR) !== 0) !== mono;
  }

  private readByte(offset: number, mono: boolean): number {
    if (!this.isDecoded(offset, mono)) return 0xff;
    switch (offset) {
      case ATTRIBUTE_WRITE:
        return this.attributeExpectsData ? 0 : this.attribute.index | this.paletteOn;
      case ATTRIBUTE_READ:
        return this.attribute.value;
      case MISC_OUTPUT_WRITE:
        // Input status 0: no interrupt, monitor sense not driven.
        return 0;
      case SEQUENCER_INDEX:
        return this.sequencer.index;
      case SEQUENCER_DATA:
        return this.sequencer.value;
      case PEL_MASK:
        return this.pelMask;
      case DAC_READ_INDEX:
        return this.dacState;
      case DAC_WRITE_INDEX:
        return Math.floor(this.dacWrite / 3);
      case DAC_DATA: {
        const component = this.dac[this.dacRead];
        this.dacRead = (this.dacRead + 1) % this.dac.length;
        return component;
      }
      case MISC_OUTPUT_READ:
        return this.miscOutput;
      case GRAPHICS_INDEX:
        return this.graphics.index;
      case GRAPHICS_DATA:
        return this.graphics.value;
      case CRTC_INDEX:
        return this.crtc.index;
      case CRTC_DATA:
        return this.crtc.value;
      case INPUT_STATUS_1:
        // Nothing is scanned out; who waits for a retrace sees it come and go.
        this.attributeExpectsData = false;
        return (this.status ^= STATUS_RETRACE | STATUS_DISPLAY_DISABLED);
      default:
        return 0xff;
    }
  }

  private writeByte(offset: number, value: number, mono: boolean): void {
    if (!this.isDecoded(offset, mono)) return;
    switch (offset) {
      case ATTRIBUTE_WRITE:
        this.writeAttribute(value);
        break;
      case MISC_OUTPUT_WRITE:
        this.miscOutput = value;
        break;
      case SEQUENCER_INDEX:
        this.sequencer.index = value & 0x07;
        break;
      case SEQUENCER_DATA:
        this.sequencer.value = value;
        break;
      case PEL_MASK:
        this.pelMask = value;
        break;
      case DAC_READ_INDEX:
        this.dacRead = value * 3;
        this.dacState = DAC_STATE_READ;
        break;
      case DAC_WRITE_INDEX:
        this.dacWrite = value * 3;
        this.dacState = 0;
        break;
      case DAC_DATA:
        this.dac[this.dacWrite] = value & 0x3f;
        this.dacWrite = (this.dacWrite + 1) % this.dac.length;
        break;
      case GRAPHICS_INDEX:
        this.graphics.index = value & 0x0f;
        break;
      case GRAPHICS_DATA:
        this.graphics.value = value;
        break;
      case CRTC_INDEX:
        this.crtc.index = value;
        break;
      case CRTC_DATA:
        this.writeCrtc(value);
        break;
    }
  }

  /** One port for index and data, in turn. */
  private writeAttribute(value: number): void {
    if (this.attributeExpectsData) {
      this.attribute.value = value;
    } else {
      this.attribute.index = value & ATTRIBUTE_INDEX_MASK;
      this.paletteOn = value & ATTRIBUTE_PALETTE_ON;
    }
    this.attributeExpectsData = !this.attributeExpectsData;
  }

  private writeCrtc(value: number): void {
    const crtc = this.crtc;
    if (crtc.index <= CRTC_OVERFLOW && crtc.values[CRTC_RETRACE_END] & CRTC_PROTECT) {
      if (crtc.index !== CRTC_OVERFLOW) return;
      value = (crtc.value & ~CRTC_OVERFLOW_LINE_COMPARE) | (value & CRTC_OVERFLOW_LINE_COMPARE);
    }
    crtc.value = value;
  }
}
