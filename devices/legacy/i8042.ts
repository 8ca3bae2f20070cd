/**
 * The 8042 keyboard controller (IBM PC/AT Technical Reference §1; PS/2 HITRM "Keyboard/Auxiliary device controller")
 * with nothing plugged in: self-tests, command byte, output port, reset. Registers: data (0x60) and command (0x64) are
 * windows of their own, because system control port B lies between them.
 */

import type { AccessSize, BusDevice } from '../bus.ts';

const STATUS_OUTPUT_FULL = 0x01;
const STATUS_SYSTEM = 0x04;
const STATUS_COMMAND = 0x08;
const STATUS_UNLOCKED = 0x10;

const COMMAND_READ_MODE = 0x20;
const COMMAND_WRITE_MODE = 0x60;
const COMMAND_DISABLE_AUX = 0xa7;
const COMMAND_ENABLE_AUX = 0xa8;
const COMMAND_TEST_AUX = 0xa9;
const COMMAND_SELF_TEST = 0xaa;
const COMMAND_TEST_KEYBOARD = 0xab;
const COMMAND_DISABLE_KEYBOARD = 0xad;
const COMMAND_ENABLE_KEYBOARD = 0xae;
const COMMAND_READ_INPUT_PORT = 0xc0;
const COMMAND_READ_OUTPUT_PORT = 0xd0;
const COMMAND_WRITE_OUTPUT_PORT = 0xd1;
const COMMAND_WRITE_OUTPUT_BUFFER = 0xd2;
const COMMAND_DISABLE_A20 = 0xdd;
const COMMAND_ENABLE_A20 = 0xdf;
/** 0xf0…0xff pulse the low output lines whose bit is zero; line 0 is the CPU's reset. */
const COMMAND_PULSE = 0xf0;

const SELF_TEST_PASSED = 0x55;
const INTERFACE_OK = 0x00;
/** Keyboard not locked. */
const INPUT_PORT = 0x80;
const OUTPUT_PORT_NOT_RESET = 0x01;
const OUTPUT_PORT_A20 = 0x02;
/** Not in reset, A20 on, clock and data lines idle: what SeaBIOS leaves. */
const OUTPUT_PORT_INITIAL = 0xcf;
const MODE_DISABLE_KEYBOARD = 0x10;
const MODE_DISABLE_AUX = 0x20;
/** Interrupts on, system flag, translation: what SeaBIOS leaves. */
const MODE_INITIAL = 0x61;
const NOTHING = -1;

export class I8042 {
  readonly data: BusDevice;
  readonly command: BusDevice;
  private readonly onReset: () => void;
  private mode = MODE_INITIAL;
  private outputPort = OUTPUT_PORT_INITIAL;
  /** Answer waiting at the data port, or NOTHING. */
  private output = NOTHING;
  private lastOutput = 0;
  private wroteCommand = true;
  /** The command whose operand is due at the data port, or NOTHING. */
  private expecting = NOTHING;

  /** @param onReset the CPU's reset line was pulsed. */
  constructor(onReset: () => void) {
    this.onReset = onReset;
    this.data = { read: () => this.readData(), write: (_offset, _size, value) => this.writeData(value & 0xff) };
    this.command = { read: () => this.status(), write: (_offset, _size, value) => this.writeCommand(value & 0xff) };
  }

  reset(): void {
    this.mode = MODE_INITIAL;
    this.outputPort = OUTPUT_PORT_INITIAL;
    this.output = NOTHING;
    this.lastOutput = 0;
    this.wroteCommand = true;
    this.expecting = NOTHING;
  }

  private status(): number {
    return (
      STATUS_SYSTEM |
      STATUS_UNLOCKED |
      (this.wroteCommand ? STATUS_COMMAND : 0) |
      (this.output === NOTHING ? 0 : STATUS_OUTPUT_FULL)
    );
  }

  private readData(): number {
    if (this.output !== NOTHING) this.lastOutput = this.output;
    this.output = NOTHING;
    return this.lastOutput;
  }

  private writeData(value: number): void {
    this.wroteCommand = false;
    const command = this.expecting;
    this.expecting = NOTHING;
    if (command === COMMAND_WRITE_MODE) this.mode = value;
    else if (command === COMMAND_WRITE_OUTPUT_PORT) this.writeOutputPort(value);
    else if (command === COMMAND_WRITE_OUTPUT_BUFFER) this.output = value;
    // Anything else is meant for a keyboard, and there is none.
  }

  private writeCommand(value: number): void {
    this.wroteCommand = true;
    this.expecting = NOTHING;
    switch (value) {
      case COMMAND_READ_MODE:
        this.output = this.mode;
        break;
      case COMMAND_WRITE_MODE:
      case COMMAND_WRITE_OUTPUT_PORT:
      case COMMAND_WRITE_OUTPUT_BUFFER:
        this.expecting = value;
        break;
      case COMMAND_DISABLE_AUX:
        this.mode |= MODE_DISABLE_AUX;
        break;
      case COMMAND_ENABLE_AUX:
        this.mode &= ~MODE_DISABLE_AUX;
        break;
      case COMMAND_DISABLE_KEYBOARD:
        this.mode |= MODE_DISABLE_KEYBOARD;
        break;
      case COMMAND_ENABLE_KEYBOARD:
        this.mode &= ~MODE_DISABLE_KEYBOARD;
        break;
      case COMMAND_SELF_TEST:
        this.output = SELF_TEST_PASSED;
        break;
      case COMMAND_TEST_AUX:
      case COMMAND_TEST_KEYBOARD:
        this.output = INTERFACE_OK;
        break;
      case COMMAND_READ_INPUT_PORT:
        this.output = INPUT_PORT;
        break;
      case COMMAND_READ_OUTPUT_PORT:
        this.output = this.outputPort;
        break;
      case COMMAND_DISABLE_A20:
        this.outputPort &= ~OUTPUT_PORT_A20;
        break;
      case COMMAND_ENABLE_A20:
        this.outputPort |= OUTPUT_PORT_A20;
        break;
      default:
        if (value >= COMMAND_PULSE && (value & OUTPUT_PORT_NOT_RESET) === 0) this.onReset();
    }
  }

  /** The A20 bit is only stored: the machine's line 20 is always on, as no guest of this kind wants it off. */
  private writeOutputPort(value: number): void {
    this.outputPort = value;
    if ((value & OUTPUT_PORT_NOT_RESET) === 0) this.onReset();
  }
}

const SYSTEM_A_RESET = 0x01;
const SYSTEM_A_A20 = 0x02;

/** System control port A, 0x92 (PS/2 HITRM): fast reset on a rise of bit 0; A20 is stored and always on. */
export class SystemControlA implements BusDevice {
  private readonly onReset: () => void;
  private value = SYSTEM_A_A20;

  constructor(onReset: () => void) {
    this.onReset = onReset;
  }

  read(_offset: number, _size: AccessSize): number {
    return this.value;
  }

  write(_offset: number, _size: AccessSize, value: number): void {
    const reset = (value & ~this.value & SYSTEM_A_RESET) !== 0;
    this.value = value & 0xff;
    if (reset) this.onReset();
  }

  reset(): void {
    this.value = SYSTEM_A_A20;
  }
}
