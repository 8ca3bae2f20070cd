import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Pic8259Pair } from '../../../devices/legacy/pic8259.ts';

/** The pair behind its ports, initialised as Unikraft and Linux do: vectors 0x20/0x28, nothing masked. */
function makePair(options: { icw1?: number; icw4?: number; slaveIcw4?: number } = {}) {
  const outputs: boolean[] = [];
  const pair = new Pic8259Pair((level) => outputs.push(level));
  const out = (port: number, value: number) => {
    const chip = port < 0xa0 ? pair.master : pair.slave;
    chip.write(port & 1, 1, value);
  };
  const inb = (port: number) => (port < 0xa0 ? pair.master : pair.slave).read(port & 1, 1);
  const icw1 = options.icw1 ?? 0x11;
  for (const [port, base, icw3, icw4] of [
    [0x20, 0x20, 4, options.icw4 ?? 1],
    [0xa0, 0x28, 2, options.slaveIcw4 ?? 1],
  ]) {
    out(port, icw1);
    for (const value of [base, icw3, icw4]) out(port + 1, value);
  }
  const pulse = (irq: number) => {
    pair.irqLines[irq].set(true);
    pair.irqLines[irq].set(false);
  };
  const readIsr = (port: number) => {
    out(port, 0x0b);
    return inb(port);
  };
  const readIrr = (port: number) => {
    out(port, 0x0a);
    return inb(port);
  };
  return { pair, out, inb, pulse, readIsr, readIrr, outputs };
}

describe('state that firmware leaves', () => {
  test('masks b8/8e, vectors 08/70, IRQ 10 and 11 level-triggered', () => {
    const pair = new Pic8259Pair(() => {});
    expect([pair.master.read(1, 1), pair.slave.read(1, 1)]).toEqual([0xb8, 0x8e]);
    expect([pair.elcr.read(0, 1), pair.elcr.read(1, 1)]).toEqual([0x00, 0x0c]);
    pair.irqLines[0].set(true);
    pair.irqLines[8].set(true);
    expect(pair.acknowledge()).toBe(0x08);
    pair.master.write(0, 1, 0x20);
    expect(pair.acknowledge()).toBe(0x70);
  });
});

describe('initialisation', () => {
  test('ICW1 clears the mask and in-service bits and forgets latched edges', () => {
    const { pair, out, inb, pulse } = makePair();
    pulse(1);
    pair.acknowledge();
    pulse(3);
    out(0x21, 0xff);
    out(0x20, 0x11);
    for (const value of [0x40, 4, 1]) out(0x21, value);
    expect(inb(0x21)).toBe(0);
    expect(pair.pending()).toBe(false);
    pulse(1);
    expect(pair.acknowledge()).toBe(0x41);
  });

  test('a line that stays high over ICW1 needs a new edge', () => {
    const { pair, out } = makePair();
    pair.irqLines[4].set(true);
    out(0x20, 0x11);
    for (const value of [0x20, 4, 1]) out(0x21, value);
    pair.irqLines[4].set(true);
    expect(pair.pending()).toBe(false);
    pair.irqLines[4].set(false);
    pair.irqLines[4].set(true);
    expect(pair.acknowledge()).toBe(0x24);
  });

  test('single mode without ICW4 expects ICW2 only', () => {
    const { out, inb } = makePair();
    out(0x20, 0x12);
    out(0x21, 0x60);
    out(0x21, 0xa5);
    expect(inb(0x21)).toBe(0xa5);
  });
});

describe('priority', () => {
  test('IR0 is served first, then the slave between IR1 and IR3', () => {
    const { pair, out, pulse } = makePair();
    for (const irq of [7, 3, 15, 8, 1, 0]) pulse(irq);
    const order: number[] = [];
    while (pair.pending()) {
      const vector = pair.acknowledge();
      order.push(vector - 0x20);
      if (vector >= 0x28) out(0xa0, 0x20);
      out(0x20, 0x20);
    }
    expect(order).toEqual([0, 1, 8, 15, 3, 7]);
  });

  test('a request waits for the EOI of its equal or better, and preempts worse', () => {
    const { pair, out, pulse, readIsr } = makePair();
    pulse(4);
    pair.acknowledge();
    pulse(5);
    expect(pair.pending()).toBe(false);
    pulse(1);
    expect(pair.acknowledge()).toBe(0x21);
    expect(readIsr(0x20)).toBe(0x12);
    out(0x20, 0x20);
    expect(readIsr(0x20)).toBe(0x10);
    out(0x20, 0x64);
    expect(pair.acknowledge()).toBe(0x25);
  });

  test('rotation on EOI makes the served input the worst', () => {
    const { pair, out, pulse } = makePair();
    pulse(3);
    pair.acknowledge();
    out(0x20, 0xa0);
    pulse(3);
    pulse(4);
    pulse(0);
    expect(pair.acknowledge()).toBe(0x24);
  });

  test('set priority and specific rotation', () => {
    const { pair, out, pulse } = makePair();
    out(0x20, 0xc4);
    for (const irq of [0, 4, 6]) pulse(irq);
    expect(pair.acknowledge()).toBe(0x26);
    out(0x20, 0xe6);
    expect(pair.acknowledge()).toBe(0x20);
  });

  test('automatic EOI leaves nothing in service and can rotate', () => {
    const { pair, out, pulse, readIsr } = makePair({ icw4: 3 });
    out(0x20, 0x80);
    pulse(2 + 1);
    expect(pair.acknowledge()).toBe(0x23);
    expect(readIsr(0x20)).toBe(0);
    pulse(3);
    pulse(5);
    expect(pair.acknowledge()).toBe(0x25);
  });

  test('special mask mode lets all unmasked inputs through and guards them from non-specific EOI', () => {
    const { pair, out, pulse, readIsr } = makePair();
    pulse(1);
    pair.acknowledge();
    pulse(6);
    expect(pair.pending()).toBe(false);
    out(0x21, 0x02);
    out(0x20, 0x68);
    expect(pair.acknowledge()).toBe(0x26);
    out(0x20, 0x20);
    expect(readIsr(0x20)).toBe(0x02);
    out(0x20, 0x20);
    expect(readIsr(0x20)).toBe(0x02);
    out(0x20, 0x61);
    expect(readIsr(0x20)).toBe(0);
  });

  test('special fully nested mode lets a better slave request through while the slave is in service', () => {
    for (const [icw4, expected] of [
      [0x01, false],
      [0x11, true],
    ] as const) {
      const { pair, pulse } = makePair({ icw4 });
      pulse(12);
      expect(pair.acknowledge()).toBe(0x2c);
      pulse(9);
      expect(pair.pending()).toBe(expected);
    }
  });
});

describe('triggering', () => {
  test('an edge is latched and survives the fall of its line', () => {
    const { pair, pulse, readIrr } = makePair();
    pulse(5);
    expect(readIrr(0x20)).toBe(0x20);
    expect(pair.acknowledge()).toBe(0x25);
    expect(readIrr(0x20)).toBe(0);
  });

  test('a held edge line interrupts once, a held level line again after EOI', () => {
    const { pair, out } = makePair();
    pair.irqLines[5].set(true);
    pair.acknowledge();
    out(0x20, 0x20);
    expect(pair.pending()).toBe(false);
    pair.irqLines[11].set(true);
    for (let i = 0; i < 3; i++) {
      expect(pair.acknowledge()).toBe(0x2b);
      expect(pair.pending()).toBe(false);
      out(0xa0, 0x20);
      out(0x20, 0x20);
    }
    pair.irqLines[11].set(false);
    // The master's input is an edge and still latched: what comes is spurious.
    expect(pair.acknowledge()).toBe(0x2f);
  });

  test('a request that vanished is reported as IRQ 7, without in-service bit', () => {
    const { pair, readIsr } = makePair();
    pair.elcr.write(0, 1, 0x20);
    pair.irqLines[5].set(true);
    pair.irqLines[5].set(false);
    expect(pair.pending()).toBe(false);
    expect(pair.acknowledge()).toBe(0x27);
    expect(readIsr(0x20)).toBe(0);
  });

  test('a slave request that was masked after reaching the master is IRQ 15, the master in service', () => {
    const { pair, out, pulse, readIsr } = makePair();
    pulse(9);
    out(0xa1, 0xff);
    expect(pair.acknowledge()).toBe(0x2f);
    expect([readIsr(0x20), readIsr(0xa0)]).toEqual([0x04, 0]);
  });

  test('ELCR keeps the system interrupts edge-triggered and takes up a level that is held', () => {
    const { pair } = makePair();
    pair.elcr.write(0, 2, 0xffff);
    expect([pair.elcr.read(0, 1), pair.elcr.read(1, 1)]).toEqual([0xf8, 0xde]);
    pair.elcr.write(0, 2, 0);
    pair.irqLines[5].set(true);
    expect(pair.acknowledge()).toBe(0x25);
    pair.master.write(0, 1, 0x20);
    expect(pair.pending()).toBe(false);
    pair.elcr.write(0, 1, 0x20);
    expect(pair.acknowledge()).toBe(0x25);
  });

  test('with automatic EOI in the slave a second slave request still reaches the master', () => {
    const { pair, out, pulse } = makePair({ slaveIcw4: 3 });
    pulse(8);
    pulse(9);
    expect(pair.acknowledge()).toBe(0x28);
    out(0x20, 0x20);
    expect(pair.acknowledge()).toBe(0x29);
  });
});

test('poll acknowledges and tells the input, or zero', () => {
  const { out, inb, pulse, readIsr } = makePair();
  out(0x20, 0x0c);
  expect(inb(0x20)).toBe(0);
  pulse(6);
  out(0x20, 0x0c);
  expect(inb(0x20)).toBe(0x86);
  expect(readIsr(0x20)).toBe(0x40);
});

describe('invariants', () => {
  const irq = fc.constantFrom(0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15);
  const step = fc.oneof(
    fc.record({ kind: fc.constant('pulse' as const), irq }),
    fc.record({ kind: fc.constant('mask' as const), irq }),
    fc.record({ kind: fc.constant('unmask' as const), irq }),
    fc.record({ kind: fc.constant('serve' as const), irq }),
  );

  test('no edge is lost: every pulse since its last service is served once the mask allows', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { pair, out, pulse } = makePair();
        pair.elcr.write(0, 2, 0);
        const masks = [0, 0];
        const waiting = new Set<number>();
        const serve = () => {
          const served = pair.acknowledge() - 0x20;
          // A mask on a request that already reached the master leaves a spurious interrupt behind.
          if (served !== 15 || waiting.has(15)) expect(waiting.delete(served)).toBe(true);
          if (served >= 8) out(0xa0, 0x20);
          out(0x20, 0x20);
        };
        for (const { kind, irq } of steps) {
          const chip = irq >> 3;
          const port = chip === 0 ? 0x21 : 0xa1;
          if (kind === 'pulse') {
            pulse(irq);
            waiting.add(irq);
          } else if (kind === 'serve') {
            if (pair.pending()) serve();
          } else {
            masks[chip] = kind === 'mask' ? masks[chip] | (1 << (irq & 7)) : masks[chip] & ~(1 << (irq & 7));
            out(port, masks[chip]);
          }
        }
        out(0x21, 0);
        out(0xa1, 0);
        for (let i = 0; i < 40 && pair.pending(); i++) serve();
        expect([...waiting]).toEqual([]);
        expect(pair.pending()).toBe(false);
      }),
      { numRuns: 500 },
    );
  });

  test('any bytes written leave a chip that ICW1–4 bring back, and INT as told by its changes', () => {
    const write = fc.tuple(fc.constantFrom(0x20, 0x21, 0xa0, 0xa1), fc.nat(255), fc.nat(15), fc.boolean());
    fc.assert(
      fc.property(fc.array(write, { maxLength: 60 }), (writes) => {
        const { pair, out, inb, outputs } = makePair();
        for (const [port, value, irq, level] of writes) {
          out(port, value);
          pair.irqLines[irq].set(level);
          if (pair.pending()) pair.acknowledge();
          inb(port);
          expect(outputs.at(-1) ?? false).toBe(pair.pending());
        }
        for (const line of pair.irqLines) line.set(false);
        pair.elcr.write(0, 2, 0);
        for (const [port, base] of [
          [0x20, 0x20],
          [0xa0, 0x28],
        ]) {
          out(port, 0x11);
          for (const value of [base, 0, 1, 0]) out(port + 1, value);
        }
        expect(pair.pending()).toBe(false);
        pair.irqLines[14].set(true);
        expect(pair.acknowledge()).toBe(0x2e);
      }),
      { numRuns: 300 },
    );
  });
});
