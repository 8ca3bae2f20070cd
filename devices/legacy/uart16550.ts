/**
 * The 16550A serial port (National Semiconductor PC16550D data sheet). Eight ports.
 *
 * Transmission takes no time, as in QEMU: the holding register is empty again when the write returns. Reception is as
 * fast as the guest reads; whoever feeds it asks {@link Uart16550.receiveSpace} first.
 */

import type { AccessSize, BusDevice, Clock, IrqLine, Timer } from '../bus.ts';

/** Where the characters a guest transmits go. */
export interface SerialSink {
  write(byte: number): void;
}

// Registers; RBR/THR/IER are DLL/DLM while DLAB is set.
const RBR_THR_DLL = 0;
const IER_DLM = 1;
const IIR_FCR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;

const IER_ERBFI = 0x01;
const IER_ETBEI = 0x02;
const IER_ELSI = 0x04;
const IER_EDSSI = 0x08;

const IIR_NONE = 0x01;
const IIR_MODEM_STATUS = 0x00;
const IIR_THR_EMPTY = 0x02;
const IIR_RECEIVED = 0x04;
const IIR_LINE_STATUS = 0x06;
const IIR_TIMEOUT = 0x0c;
const IIR_FIFOS = 0xc0;

const FCR_ENABLE = 0x01;
const FCR_RESET_RECEIVER = 0x02;
const FCR_RESET_TRANSMITTER = 0x04;
const FCR_TRIGGERS = [1, 4, 8, 14];

const LCR_WORD_LENGTH = 0x03;
const LCR_STOP = 0x04;
const LCR_PARITY = 0x08;
const LCR_DLAB = 0x80;

const MCR_DTR = 0x01;
const MCR_RTS = 0x02;
const MCR_OUT1 = 0x04;
const MCR_OUT2 = 0x08;
const MCR_LOOP = 0x10;
const MCR_MASK = 0x1f;

const LSR_DR = 0x01;
const LSR_OE = 0x02;
const LSR_BI = 0x10;
const LSR_ERRORS = 0x1e;
const LSR_THRE = 0x20;
const LSR_TEMT = 0x40;

const MSR_DELTA = 0x0f;
const MSR_TERI = 0x04;
const MSR_CTS = 0x10;
const MSR_DSR = 0x20;
const MSR_RI = 0x40;
const MSR_DCD = 0x80;

const FIFO_SIZE = 16;
/** Input clock of the baud generator is 16 × 115200 Hz. */
const BAUD_BASE = 115200;
/** 9600 baud. */
const DEFAULT_DIVISOR = 12;
/** The receiver's FIFO times out when nothing was read or received for this many characters. */
const TIMEOUT_CHARACTERS = 4;

export class Uart16550 implements BusDevice {
  /** Called when the guest made room for received characters. Set by whoever feeds {@link receive}. */
  onReceiveSpace: (() => void) | undefined;
  private readonly irq: IrqLine;
  private readonly sink: SerialSink;
  private readonly clock: Clock;
  private readonly timeoutTimer: Timer;
  private readonly fifo = new Uint8Array(FIFO_SIZE);
  private fifoStart = 0;
  private fifoCount = 0;
  /** What RBR reads while there is nothing new: the character read last. */
  private receiverBuffer = 0;
  private divisor = DEFAULT_DIVISOR;
  private ier = 0;
  private fcr = 0;
  private lcr = 0;
  private mcr = MCR_OUT2;
  private lineErrors = 0;
  private modemDelta = 0;
  private scratch = 0;
  /** The transmitter became empty and IIR has not reported it yet. */
  private thrInterrupt = false;
  private timeoutInterrupt = false;
  private irqLevel = false;

  constructor(clock: Clock, irq: IrqLine, sink: SerialSink) {
    this.clock = clock;
    this.irq = irq;
    this.sink = sink;
    this.timeoutTimer = clock.createTimer(() => {
      this.timeoutInterrupt = this.fifoCount > 0;
      this.updateIrq();
    });
  }

  reset(): void {
    this.divisor = DEFAULT_DIVISOR;
    this.ier = 0;
    this.fcr = 0;
    this.lcr = 0;
    this.mcr = MCR_OUT2;
    this.lineErrors = 0;
    this.modemDelta = 0;
    this.scratch = 0;
    this.thrInterrupt = false;
    this.clearReceiver();
    this.updateIrq();
  }

  /** Characters that {@link receive} can take now without an overrun. */
  receiveSpace(): number {
    if (this.mcr & MCR_LOOP) return 0;
    return (this.fcr & FCR_ENABLE ? FIFO_SIZE : 1) - this.fifoCount;
  }

  /** Characters from outside. More than {@link receiveSpace} overruns the receiver, as on the wire. */
  receive(bytes: Uint8Array): void {
    for (const byte of bytes) this.receiveByte(byte);
    this.updateIrq();
  }

  /** A break condition from outside. */
  receiveBreak(): void {
    this.receiveByte(0);
    this.lineErrors |= LSR_BI;
    this.updateIrq();
  }

  read(offset: number, _size: AccessSize): number {
    switch (offset) {
      case RBR_THR_DLL:
        return this.lcr & LCR_DLAB ? this.divisor & 0xff : this.readReceiver();
      case IER_DLM:
        return this.lcr & LCR_DLAB ? this.divisor >> 8 : this.ier;
      case IIR_FCR:
        return this.readIir();
      case LCR:
        return this.lcr;
      case MCR:
        return this.mcr;
      case LSR: {
        const value = this.lineErrors | LSR_THRE | LSR_TEMT | (this.fifoCount > 0 ? LSR_DR : 0);
        this.lineErrors = 0;
        this.updateIrq();
        return value;
      }
      case MSR: {
        const value = this.modemLines() | this.modemDelta;
        this.modemDelta = 0;
        this.updateIrq();
        return value;
      }
      default:
        return this.scratch;
    }
  }

  write(offset: number, _size: AccessSize, value: number): void {
    value &= 0xff;
    switch (offset) {
      case RBR_THR_DLL:
        if (this.lcr & LCR_DLAB) this.divisor = (this.divisor & 0xff00) | value;
        else this.transmit(value);
        break;
      case IER_DLM:
        if (this.lcr & LCR_DLAB) this.divisor = (this.divisor & 0xff) | (value << 8);
        else this.writeIer(value);
        break;
      case IIR_FCR:
        this.writeFcr(value);
        break;
      case LCR:
        this.lcr = value;
        break;
      case MCR:
        this.writeMcr(value & MCR_MASK);
        break;
      case LSR:
      case MSR:
        // Factory test only; QEMU ignores it too.
        break;
      default:
        this.scratch = value;
    }
  }

  private transmit(byte: number): void {
    // The holding register is full for a moment, so that its interrupt is a new edge.
    this.thrInterrupt = false;
    this.updateIrq();
    if (this.mcr & MCR_LOOP) this.receiveByte(byte);
    else this.sink.write(byte);
    this.thrInterrupt = true;
    this.updateIrq();
  }

  private writeIer(value: number): void {
    const changed = this.ier ^ value;
    this.ier = value & (IER_ERBFI | IER_ETBEI | IER_ELSI | IER_EDSSI);
    // Enabling it reports an empty holding register at once.
    if (changed & IER_ETBEI) this.thrInterrupt = (value & IER_ETBEI) !== 0;
    this.updateIrq();
  }

  private writeFcr(value: number): void {
    const toggled = ((this.fcr ^ value) & FCR_ENABLE) !== 0;
    // The other bits count only together with the enable bit.
    this.fcr = value & FCR_ENABLE ? value : 0;
    if (toggled || this.fcr & FCR_RESET_RECEIVER) this.clearReceiver();
    // A cleared transmitter reports itself empty, as in QEMU.
    if (toggled || this.fcr & FCR_RESET_TRANSMITTER) this.thrInterrupt = true;
    this.updateIrq();
    this.onReceiveSpace?.();
  }

  private writeMcr(value: number): void {
    const before = this.modemLines();
    const wasLoop = (this.mcr & MCR_LOOP) !== 0;
    this.mcr = value;
    const changed = before ^ this.modemLines();
    // Each delta stands four bits below its line, but RI's tells the trailing edge only.
    this.modemDelta |= (changed >> 4) & ~MSR_TERI & MSR_DELTA;
    if (changed & before & MSR_RI) this.modemDelta |= MSR_TERI;
    this.updateIrq();
    if (wasLoop && !(value & MCR_LOOP)) this.onReceiveSpace?.();
  }

  /** CTS, DSR, RI and DCD: those of a terminal that is always ready, or our own outputs in loop-back. */
  private modemLines(): number {
    if (!(this.mcr & MCR_LOOP)) return MSR_DCD | MSR_DSR | MSR_CTS;
    return (
      (this.mcr & MCR_RTS ? MSR_CTS : 0) |
      (this.mcr & MCR_DTR ? MSR_DSR : 0) |
      (this.mcr & MCR_OUT1 ? MSR_RI : 0) |
      (this.mcr & MCR_OUT2 ? MSR_DCD : 0)
    );
  }

  private receiveByte(byte: number): void {
    const fifos = (this.fcr & FCR_ENABLE) !== 0;
    if (this.fifoCount === (fifos ? FIFO_SIZE : 1)) {
      this.lineErrors |= LSR_OE;
      // Without FIFO the new character destroys the old one; with it, the FIFO stays and the new one is lost.
      if (!fifos) this.fifo[this.fifoStart] = byte;
      return;
    }
    this.fifo[(this.fifoStart + this.fifoCount) % FIFO_SIZE] = byte;
    this.fifoCount++;
    this.restartTimeout();
  }

  private readReceiver(): number {
    if (this.fifoCount === 0) return this.receiverBuffer;
    this.receiverBuffer = this.fifo[this.fifoStart];
    this.fifoCount--;
    this.fifoStart = (this.fifoStart + 1) % FIFO_SIZE;
    this.restartTimeout();
    this.updateIrq();
    this.onReceiveSpace?.();
    return this.receiverBuffer;
  }

  private clearReceiver(): void {
    this.fifoCount = 0;
    this.receiverBuffer = 0;
    this.restartTimeout();
  }

  /** Any movement of the FIFO starts the time-out anew; it is needed only for characters below the trigger level. */
  private restartTimeout(): void {
    this.timeoutInterrupt = false;
    if (this.fcr & FCR_ENABLE && this.fifoCount > 0) {
      this.timeoutTimer.arm(this.clock.now() + TIMEOUT_CHARACTERS * this.characterTime());
    } else {
      this.timeoutTimer.cancel();
    }
  }

  /** Nanoseconds for start bit, data, parity and stop bits. */
  private characterTime(): number {
    const bits = 1 + 5 + (this.lcr & LCR_WORD_LENGTH) + (this.lcr & LCR_PARITY ? 1 : 0) + (this.lcr & LCR_STOP ? 2 : 1);
    return (bits * (this.divisor || 1) * 1e9) / BAUD_BASE;
  }

  private readIir(): number {
    const cause = this.interruptCause();
    if (cause === IIR_THR_EMPTY) {
      this.thrInterrupt = false;
      this.updateIrq();
    }
    return cause | (this.fcr & FCR_ENABLE ? IIR_FIFOS : 0);
  }

  /** The cause with the highest priority (data sheet, table IV). */
  private interruptCause(): number {
    if (this.ier & IER_ELSI && this.lineErrors & LSR_ERRORS) return IIR_LINE_STATUS;
    if (this.ier & IER_ERBFI) {
      if (this.timeoutInterrupt) return IIR_TIMEOUT;
      const trigger = this.fcr & FCR_ENABLE ? FCR_TRIGGERS[this.fcr >> 6] : 1;
      if (this.fifoCount >= trigger) return IIR_RECEIVED;
    }
    if (this.ier & IER_ETBEI && this.thrInterrupt) return IIR_THR_EMPTY;
    if (this.ier & IER_EDSSI && this.modemDelta) return IIR_MODEM_STATUS;
    return IIR_NONE;
  }

  private updateIrq(): void {
    const level = this.interruptCause() !== IIR_NONE;
    if (level === this.irqLevel) return;
    this.irqLevel = level;
    this.irq.set(level);
  }
}
