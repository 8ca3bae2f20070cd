import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Uart16550 } from '../../../devices/legacy/uart16550.ts';
import { FakeClock, FakeIrq } from '../fake-clock.ts';

const RBR = 0;
const IER = 1;
const IIR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;

function makeUart() {
  const clock = new FakeClock();
  const irq = new FakeIrq();
  const sent: number[] = [];
  const uart = new Uart16550(clock, irq, { write: (byte) => sent.push(byte) });
  return {
    clock,
    irq,
    sent,
    uart,
    get: (register: number) => uart.read(register, 1),
    set: (register: number, value: number) => uart.write(register, 1, value),
    receive: (...bytes: number[]) => uart.receive(Uint8Array.from(bytes)),
  };
}

describe('registers', () => {
  test('after reset', () => {
    const { get } = makeUart();
    expect([IER, IIR, LCR, MCR, LSR, MSR, 7].map(get)).toEqual([0, 0x01, 0, 0x08, 0x60, 0xb0, 0]);
  });

  test('DLAB shows the divisor', () => {
    const { get, set } = makeUart();
    set(LCR, 0x83);
    expect([get(0), get(1)]).toEqual([12, 0]);
    set(0, 0x01);
    set(1, 0x02);
    expect([get(0), get(1)]).toEqual([1, 2]);
    set(LCR, 0x03);
    expect([get(IER), get(LCR)]).toEqual([0, 3]);
  });

  test('writable bits', () => {
    const { get, set } = makeUart();
    for (const register of [IER, MCR, 7]) set(register, 0xff);
    expect([get(IER), get(MCR), get(7)]).toEqual([0x0f, 0x1f, 0xff]);
  });

  test('IIR shows whether FIFOs are on', () => {
    const { get, set } = makeUart();
    set(IIR, 0x01);
    expect(get(IIR)).toBe(0xc1);
    set(IIR, 0xc0);
    expect(get(IIR)).toBe(0x01);
  });
});

describe('transmitter', () => {
  test('sends at once and is ready again, as polling consoles expect', () => {
    const { get, set, sent } = makeUart();
    for (const byte of Buffer.from('hi\r\n')) {
      expect(get(LSR) & 0x60).toBe(0x60);
      set(0, byte);
    }
    expect(Buffer.from(sent).toString()).toBe('hi\r\n');
  });

  test('THRE interrupt: on enabling and after each character, gone when IIR was read', () => {
    const { get, set, irq } = makeUart();
    set(IER, 0x02);
    expect([irq.edges, get(IIR), irq.level, get(IIR)]).toEqual([1, 0x02, false, 0x01]);
    set(0, 0x41);
    expect([irq.edges, irq.level]).toEqual([2, true]);
    set(0, 0x42);
    expect([irq.edges, get(IIR)]).toEqual([3, 0x02]);
    set(IER, 0x02);
    expect(irq.level).toBe(false);
    set(IER, 0);
    set(IER, 0x02);
    expect(irq.level).toBe(true);
  });
});

test('clearing the transmitter FIFO reports it empty again, as QEMU does', () => {
  const { get, set } = makeUart();
  set(IIR, 0x01);
  set(IER, 0x02);
  get(IIR);
  expect(get(IIR)).toBe(0xc1);
  set(IIR, 0x05);
  expect(get(IIR)).toBe(0xc2);
});

describe('receiver', () => {
  test('without FIFO holds one character, and a second one overruns it', () => {
    const { uart, get, receive } = makeUart();
    expect(uart.receiveSpace()).toBe(1);
    receive(0x41);
    expect([uart.receiveSpace(), get(LSR)]).toEqual([0, 0x61]);
    receive(0x42);
    expect([get(LSR), get(LSR)]).toEqual([0x63, 0x61]);
    expect([get(RBR), get(LSR), get(RBR)]).toEqual([0x42, 0x60, 0x42]);
  });

  test('with FIFO holds sixteen in order, and the seventeenth is lost', () => {
    const { uart, get, set, receive } = makeUart();
    set(IIR, 0x01);
    receive(...Array.from({ length: 17 }, (_, i) => i + 1));
    expect(uart.receiveSpace()).toBe(0);
    expect(get(LSR)).toBe(0x63);
    expect(Array.from({ length: 16 }, () => get(RBR))).toEqual(Array.from({ length: 16 }, (_, i) => i + 1));
    expect(get(LSR)).toBe(0x60);
  });

  test('interrupts at the trigger level, until the FIFO is below it', () => {
    for (const [bits, level] of [
      [0x00, 1],
      [0x40, 4],
      [0x80, 8],
      [0xc0, 14],
    ]) {
      const { irq, get, set, receive } = makeUart();
      set(IIR, 0x01 | bits);
      set(IER, 0x01);
      for (let i = 1; i < level; i++) receive(i);
      expect(irq.level).toBe(false);
      receive(level);
      expect([irq.level, get(IIR)]).toEqual([true, 0xc4]);
      get(RBR);
      expect(irq.level).toBe(false);
    }
  });

  test('characters below the trigger level time out after four character times', () => {
    const { clock, irq, get, set, receive } = makeUart();
    set(LCR, 0x83);
    set(0, 1);
    set(LCR, 0x03);
    set(IIR, 0xc1);
    set(IER, 0x01);
    receive(0x41, 0x42);
    const character = (10 * 1e9) / 115200;
    clock.advance(3.9 * character);
    expect(irq.level).toBe(false);
    clock.advance(0.2 * character);
    expect([irq.level, get(IIR)]).toEqual([true, 0xcc]);
    expect([get(RBR), irq.level]).toEqual([0x41, false]);
    clock.advance(5 * character);
    expect(get(IIR)).toBe(0xcc);
    get(RBR);
    expect([get(IIR), clock.busy]).toEqual([0xc1, false]);
  });

  test('says when there is room again', () => {
    const { uart, get, receive } = makeUart();
    const spaces: number[] = [];
    uart.onReceiveSpace = () => spaces.push(uart.receiveSpace());
    receive(1);
    get(RBR);
    get(RBR);
    expect(spaces).toEqual([1]);
  });

  test('FCR clears the receiver by its bit and when it switches FIFOs', () => {
    const { get, set, receive } = makeUart();
    set(IIR, 0x01);
    receive(1, 2, 3);
    set(IIR, 0x03);
    expect(get(LSR)).toBe(0x60);
    receive(4);
    set(IIR, 0x00);
    expect(get(LSR)).toBe(0x60);
  });

  test('a break is a null character with its flag', () => {
    const { uart, irq, get, set } = makeUart();
    set(IER, 0x04);
    uart.receiveBreak();
    expect([irq.level, get(IIR), get(LSR), irq.level, get(RBR)]).toEqual([true, 0x06, 0x71, false, 0]);
  });
});

describe('interrupt priority', () => {
  test('line status, data, transmitter, modem', () => {
    const { get, set, receive } = makeUart();
    set(IER, 0x0f);
    set(MCR, 0x18);
    set(MCR, 0x1a);
    set(MCR, 0x0a);
    receive(1, 2);
    expect(get(IIR)).toBe(0x06);
    get(LSR);
    expect(get(IIR)).toBe(0x04);
    get(RBR);
    expect(get(IIR)).toBe(0x02);
    expect(get(IIR)).toBe(0x00);
    get(MSR);
    expect(get(IIR)).toBe(0x01);
  });
});

describe('loop-back', () => {
  test('what is sent is received and goes nowhere else', () => {
    const { uart, sent, get, set } = makeUart();
    set(MCR, 0x10);
    set(0, 0x55);
    expect([get(LSR) & 1, get(RBR), sent, uart.receiveSpace()]).toEqual([1, 0x55, [], 0]);
  });

  test('MCR outputs are MSR inputs, with deltas', () => {
    const { get, set } = makeUart();
    set(MCR, 0x10);
    get(MSR);
    set(MCR, 0x1f);
    expect([get(MSR), get(MSR)]).toEqual([0xfb, 0xf0]);
    set(MCR, 0x1b);
    expect(get(MSR)).toBe(0xb4);
    set(MCR, 0x12);
    expect(get(MSR)).toBe(0x1a);
  });
});

test('characters arrive once and in order, however reads, FIFO size and back-pressure interleave', () => {
  const step = fc.record({ feed: fc.nat(20), read: fc.nat(20) });
  fc.assert(
    fc.property(fc.boolean(), fc.array(step, { minLength: 1, maxLength: 30 }), (fifo, steps) => {
      const { uart, get, set } = makeUart();
      if (fifo) set(IIR, 0x81);
      let next = 0;
      const got: number[] = [];
      for (const { feed, read } of steps) {
        const count = Math.min(feed, uart.receiveSpace());
        uart.receive(Uint8Array.from({ length: count }, () => next++ & 0xff));
        for (let i = 0; i < read && get(LSR) & 1; i++) got.push(get(RBR));
      }
      while (get(LSR) & 1) got.push(get(RBR));
      expect(got).toEqual(Array.from({ length: next }, (_, i) => i & 0xff));
      expect(get(LSR)).toBe(0x60);
    }),
  );
});
