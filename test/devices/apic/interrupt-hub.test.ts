import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InterruptHub } from '../../../devices/apic/interrupt-hub.ts';
import { FakeClock } from '../fake-clock.ts';

const ID = 0x20;
const VERSION = 0x30;
const TPR = 0x80;
const PPR = 0xa0;
const EOI = 0xb0;
const LDR = 0xd0;
const DFR = 0xe0;
const SVR = 0xf0;
const ISR = 0x100;
const TMR = 0x180;
const IRR = 0x200;
const ESR = 0x280;
const ICR_LOW = 0x300;
const ICR_HIGH = 0x310;
const LVT_TIMER = 0x320;
const LINT0 = 0x350;
const LINT1 = 0x360;
const LVT_ERROR = 0x370;
const INITIAL_COUNT = 0x380;
const CURRENT_COUNT = 0x390;
const DIVIDE = 0x3e0;

const APIC_BASE = 0x1b;
const TSC_DEADLINE = 0x6e0;

/** TSC of 2 GHz. */
const timeOfTsc = (lo: number, hi: number) => (lo + hi * 2 ** 32) / 2;

function makeHub() {
  const clock = new FakeClock();
  const events: string[] = [];
  const hub = new InterruptHub({
    clock,
    timeOfTsc,
    onPending: () => events.push('pending'),
    onInit: () => events.push('init'),
    onStartUp: (vector) => events.push(`start ${vector}`),
  });
  const apic = hub.localApic;
  const get = (offset: number) => apic.read(offset, 4);
  const set = (offset: number, value: number) => apic.write(offset, 4, value);
  const ioGet = (index: number) => {
    hub.ioApic.write(0, 4, index);
    return hub.ioApic.read(0x10, 4);
  };
  const ioSet = (index: number, value: number) => {
    hub.ioApic.write(0, 4, index);
    hub.ioApic.write(0x10, 4, value);
  };
  const bits = (offset: number) => {
    const found: number[] = [];
    for (let vector = 0; vector < 256; vector++) {
      if ((get(offset + 16 * (vector >> 5)) >>> (vector & 31)) & 1) found.push(vector);
    }
    return found;
  };
  const msr = (index: number) => (apic.msrs.read(index) ? [apic.msrs.low, apic.msrs.high] : '#GP');
  const maskPic = () => {
    hub.pic.master.write(1, 1, 0xff);
    hub.pic.slave.write(1, 1, 0xff);
  };
  /** Sends a fixed interrupt to the APIC itself. */
  const self = (vector: number) => set(ICR_LOW, 0x44000 | vector);
  return { clock, events, hub, apic, get, set, ioGet, ioSet, bits, msr, maskPic, self };
}

describe('virtual wire', () => {
  test('as firmware leaves it, the PIC interrupts through LINT0', () => {
    const { hub, get, events } = makeHub();
    expect([get(SVR), get(LINT0), get(LINT1)]).toEqual([0x1ff, 0x8700, 0x8400]);
    expect(hub.pending()).toBe(false);
    const line = hub.line(0);
    line.set(true);
    expect([hub.pending(), events]).toEqual([true, ['pending']]);
    expect(hub.acknowledge()).toBe(0x08);
    expect(hub.pending()).toBe(false);
  });

  test('a masked LINT0 holds the PIC back; unmasking lets it through', () => {
    const { hub, set } = makeHub();
    set(LINT0, 0x10700);
    hub.line(0).set(true);
    expect(hub.pending()).toBe(false);
    set(LINT0, 0x00700);
    expect(hub.pending()).toBe(true);
  });

  test('with the APIC switched off by IA32_APIC_BASE the PIC is wired to the processor', () => {
    const { hub, apic, get } = makeHub();
    expect(apic.msrs.write(APIC_BASE, 0xfee00100, 0)).toBe(true);
    hub.line(0).set(true);
    expect(hub.acknowledge()).toBe(0x08);
    expect(get(SVR)).toBe(0xffffffff);
  });

  test('with the APIC disabled by software LINT0 is masked and stays so', () => {
    const { hub, set, get } = makeHub();
    set(SVR, 0xff);
    set(LINT0, 0x700);
    expect(get(LINT0)).toBe(0x10700);
    hub.line(0).set(true);
    expect(hub.pending()).toBe(false);
  });

  test('LINT0 programmed as fixed delivers its own vector on the rise of INT', () => {
    const { hub, set } = makeHub();
    set(LINT0, 0x55);
    hub.line(0).set(true);
    expect(hub.acknowledge()).toBe(0x55);
  });

  test('the board NMI comes by LINT1 and can be masked there', () => {
    const { hub, set } = makeHub();
    hub.pulseNmi();
    expect([hub.nmiPending, hub.takeNmi(), hub.takeNmi()]).toEqual([true, true, false]);
    set(LINT1, 0x10400);
    hub.pulseNmi();
    expect(hub.nmiPending).toBe(false);
  });

  test('sources of one line are wired together, on both controllers', () => {
    const { hub, ioSet, maskPic } = makeHub();
    maskPic();
    ioSet(0x10 + 2 * 11, 0x8060);
    const [first, second] = [hub.line(11), hub.line(11)];
    first.set(true);
    second.set(true);
    first.set(false);
    expect(hub.acknowledge()).toBe(0x60);
    hub.localApic.write(EOI, 4, 0);
    expect(hub.acknowledge()).toBe(0x60);
    second.set(false);
    hub.localApic.write(EOI, 4, 0);
    expect(hub.pending()).toBe(false);
    hub.pic.slave.write(0, 1, 0x0a);
    expect(hub.pic.slave.read(0, 1)).toBe(0);
  });
});

describe('local APIC registers', () => {
  test('identify themselves', () => {
    const { get } = makeHub();
    expect([get(ID), get(VERSION), get(DFR), get(LVT_TIMER)]).toEqual([0, 0x00050014, 0xffffffff, 0x10000]);
  });

  test('keep only the bits they have', () => {
    const { set, get } = makeHub();
    for (const register of [TPR, LDR, LVT_TIMER, LINT0, LVT_ERROR, DIVIDE]) set(register, 0xffffffff);
    expect([TPR, LDR, LVT_TIMER, LINT0, LVT_ERROR, DIVIDE].map(get)).toEqual([
      0xff, 0xff000000, 0x700ff, 0x1a7ff, 0x100ff, 0xb,
    ]);
  });

  test('a register that is not there is an error, which ESR tells after a write', () => {
    const { set, get, hub } = makeHub();
    set(LVT_ERROR, 0x77);
    set(0x40, 1);
    expect([get(ESR), hub.acknowledge()]).toEqual([0, 0x77]);
    set(ESR, 0);
    expect(get(ESR)).toBe(0x80);
    set(ESR, 0);
    expect(get(ESR)).toBe(0);
  });

  test('vectors below 16 are refused by sender and receiver', () => {
    const { set, get, hub, self } = makeHub();
    self(15);
    hub.apicBus.send(0xfee00000, 15);
    set(ESR, 0);
    expect([get(ESR), hub.pending()]).toEqual([0x60, false]);
  });
});

describe('priorities', () => {
  test('the task priority holds back its class and below', () => {
    const { hub, apic, get, set, self } = makeHub();
    set(TPR, 0x50);
    self(0x5f);
    expect(hub.pending()).toBe(false);
    self(0x60);
    expect(hub.pending()).toBe(true);
    apic.cr8 = 6;
    expect([get(TPR), hub.pending()]).toEqual([0x60, false]);
    apic.cr8 = 4;
    expect(hub.acknowledge()).toBe(0x60);
    expect([get(PPR), apic.cr8]).toEqual([0x60, 4]);
  });

  test('only a higher class preempts, and EOI ends the highest', () => {
    const { hub, set, self, bits } = makeHub();
    self(0x41);
    expect(hub.acknowledge()).toBe(0x41);
    self(0x4f);
    expect(hub.pending()).toBe(false);
    self(0x50);
    expect(hub.acknowledge()).toBe(0x50);
    expect([bits(ISR), bits(IRR)]).toEqual([[0x41, 0x50], [0x4f]]);
    set(EOI, 0);
    expect(bits(ISR)).toEqual([0x41]);
    set(EOI, 0);
    expect(hub.acknowledge()).toBe(0x4f);
  });

  test('a request that the task priority overtook is spurious', () => {
    const { hub, set, self, bits } = makeHub();
    set(SVR, 0x1ef);
    self(0x40);
    set(TPR, 0xf0);
    expect([hub.acknowledge(), bits(ISR), bits(IRR)]).toEqual([0xef, [], [0x40]]);
  });

  test('every vector sent is delivered once and in order of priority', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 16, max: 255 }), { maxLength: 40 }), (vectors) => {
        const { hub, set, self } = makeHub();
        for (const vector of vectors) self(vector);
        const got: number[] = [];
        while (hub.pending()) {
          got.push(hub.acknowledge());
          set(EOI, 0);
        }
        expect(got).toEqual(vectors.toSorted((a, b) => b - a));
      }),
    );
  });
});

describe('interprocessor interrupts', () => {
  test('self, all, all but self, by ID, by logical ID, to nobody', () => {
    const cases: [number, number, boolean][] = [
      [0x44041, 0, true],
      [0x84041, 0, true],
      [0xc4041, 0, false],
      [0x04041, 0, true],
      [0x04041, 0x01000000, false],
      [0x04041, 0xff000000, true],
      [0x04841, 0x02000000, true],
      [0x04841, 0x01000000, false],
      [0x04141, 0, true],
    ];
    for (const [low, high, arrives] of cases) {
      const { hub, set } = makeHub();
      set(LDR, 0x02000000);
      set(ICR_HIGH, high);
      set(ICR_LOW, low);
      expect(hub.pending()).toBe(arrives);
    }
  });

  test('cluster mode compares cluster and member', () => {
    const { hub, set } = makeHub();
    set(DFR, 0x0fffffff);
    set(LDR, 0x21000000);
    for (const [destination, arrives] of [
      [0x11, false],
      [0x22, false],
      [0x23, true],
    ] as const) {
      set(ICR_HIGH, destination * 2 ** 24);
      set(ICR_LOW, 0x4841);
      expect(hub.pending()).toBe(arrives);
    }
  });

  test('NMI, INIT and start-up go to the processor', () => {
    const { hub, set, events } = makeHub();
    set(ICR_LOW, 0x44400);
    expect(hub.takeNmi()).toBe(true);
    set(ICR_LOW, 0x48500);
    expect(events).not.toContain('init');
    set(ICR_LOW, 0x44500);
    set(ICR_LOW, 0x4469f);
    expect(events).toEqual(expect.arrayContaining(['init', 'start 159']));
  });
});

describe('timer', () => {
  test('one-shot counts bus cycles at 1 GHz by the divider', () => {
    for (const [code, divider] of [
      [0x0, 2],
      [0x1, 4],
      [0x2, 8],
      [0x3, 16],
      [0x8, 32],
      [0x9, 64],
      [0xa, 128],
      [0xb, 1],
    ]) {
      const { clock, hub, set, get } = makeHub();
      set(LVT_TIMER, 0x40);
      set(DIVIDE, code);
      set(INITIAL_COUNT, 1000);
      clock.advance(400 * divider);
      expect(get(CURRENT_COUNT)).toBe(600);
      clock.advance(600 * divider - 1);
      expect(hub.pending()).toBe(false);
      clock.advance(1);
      expect([hub.acknowledge(), get(CURRENT_COUNT), clock.busy]).toEqual([0x40, 0, false]);
    }
  });

  test('periodic keeps its grid when served late', () => {
    const { clock, hub, set } = makeHub();
    set(DIVIDE, 0xb);
    set(LVT_TIMER, 0x20040);
    set(INITIAL_COUNT, 1_000_000);
    clock.lateness = 2_300_000;
    clock.advance(3_300_000);
    clock.lateness = 0;
    expect(hub.acknowledge()).toBe(0x40);
    set(EOI, 0);
    expect(hub.pending()).toBe(false);
    clock.advance(700_000);
    expect(hub.pending()).toBe(true);
  });

  test('a masked timer counts without a timer of the host, and does not interrupt for the past', () => {
    const { clock, hub, set, get } = makeHub();
    set(DIVIDE, 0xb);
    set(INITIAL_COUNT, 1000);
    expect(clock.busy).toBe(false);
    clock.advance(300);
    expect(get(CURRENT_COUNT)).toBe(700);
    clock.advance(1000);
    set(LVT_TIMER, 0x40);
    clock.advance(10_000);
    expect([get(CURRENT_COUNT), hub.pending()]).toEqual([0, false]);
  });

  test('changing the divider goes on from the present count', () => {
    const { clock, set, get } = makeHub();
    set(DIVIDE, 0xb);
    set(LVT_TIMER, 0x40);
    set(INITIAL_COUNT, 1000);
    clock.advance(500);
    set(DIVIDE, 0x0);
    clock.advance(200);
    expect(get(CURRENT_COUNT)).toBe(400);
    clock.advance(800);
    expect(get(CURRENT_COUNT)).toBe(0);
    set(DIVIDE, 0xb);
    expect(clock.busy).toBe(false);
  });

  test('TSC deadline fires once at that TSC, reads 0 then, and needs its mode', () => {
    const { clock, hub, apic, set, msr } = makeHub();
    expect(apic.msrs.write(TSC_DEADLINE, 1000, 0)).toBe(true);
    expect(msr(TSC_DEADLINE)).toEqual([0, 0]);
    set(LVT_TIMER, 0x40040);
    apic.msrs.write(TSC_DEADLINE, 0, 1);
    expect(msr(TSC_DEADLINE)).toEqual([0, 1]);
    clock.advance(2 ** 31 - 1);
    expect(hub.pending()).toBe(false);
    clock.advance(1);
    expect([hub.acknowledge(), msr(TSC_DEADLINE), clock.busy]).toEqual([0x40, [0, 0], false]);
  });
});

describe('x2APIC', () => {
  test('is entered from xAPIC and left only by way of disabled', () => {
    const { apic, msr, get } = makeHub();
    expect(msr(APIC_BASE)).toEqual([0xfee00900, 0]);
    expect(apic.msrs.write(APIC_BASE, 0xfee00500, 0)).toBe(false);
    expect(apic.msrs.write(APIC_BASE, 0xfee00d00, 0)).toBe(true);
    expect(get(ID)).toBe(0xffffffff);
    expect(apic.msrs.write(APIC_BASE, 0xfee00900, 0)).toBe(false);
    expect(apic.msrs.write(APIC_BASE, 0xfee00100, 0)).toBe(true);
    expect(apic.msrs.write(APIC_BASE, 0xfee00d00, 0)).toBe(false);
    expect(apic.msrs.write(APIC_BASE, 0xfee00900, 0)).toBe(true);
    expect(get(VERSION)).toBe(0x00050014);
  });

  test('faults on reserved bits of IA32_APIC_BASE and on moving the window', () => {
    const { apic } = makeHub();
    expect(apic.msrs.write(APIC_BASE, 0xfee00901, 0)).toBe(false);
    expect(apic.msrs.write(APIC_BASE, 0xfed00900, 0)).toBe(false);
    expect(apic.msrs.write(APIC_BASE, 0xfee00900, 1)).toBe(false);
  });

  test('its MSRs exist in that mode only', () => {
    const { apic, msr } = makeHub();
    expect(msr(0x802)).toBe('#GP');
    apic.msrs.write(APIC_BASE, 0xfee00d00, 0);
    expect([msr(0x802), msr(0x803), msr(0x80d)]).toEqual([
      [0, 0],
      [0x00050014, 0],
      [1, 0],
    ]);
    for (const index of [0x80b, 0x80e, 0x831, 0x83f, 0x840]) expect(msr(index)).toBe('#GP');
    expect(apic.msrs.write(0x802, 0, 0)).toBe(false);
    expect(apic.msrs.write(0x80b, 1, 0)).toBe(false);
    expect(apic.msrs.write(0x808, 0, 1)).toBe(false);
  });

  test('IPIs by 64-bit ICR and SELF IPI', () => {
    const { apic, hub, msr } = makeHub();
    apic.msrs.write(APIC_BASE, 0xfee00d00, 0);
    apic.msrs.write(0x830, 0x4041, 1);
    expect([hub.pending(), msr(0x830)]).toEqual([false, [0x4041, 1]]);
    apic.msrs.write(0x830, 0x4841, 1);
    expect(hub.acknowledge()).toBe(0x41);
    apic.msrs.write(0x80b, 0, 0);
    apic.msrs.write(0x83f, 0x52, 0);
    expect(hub.acknowledge()).toBe(0x52);
  });
});

describe('I/O APIC', () => {
  test('has 24 masked entries, version 0x11 and an ID', () => {
    const { ioGet, ioSet } = makeHub();
    expect(ioGet(1)).toBe(0x00170011);
    expect([ioGet(0x10), ioGet(0x3e), ioGet(0x40)]).toEqual([0x10000, 0x10000, 0]);
    ioSet(0, 0xffffffff);
    expect([ioGet(0), ioGet(2)]).toEqual([0x0f000000, 0x0f000000]);
    ioSet(0x11, 0x12345678);
    ioSet(0x10, 0xffffffff);
    expect([ioGet(0x10), ioGet(0x11)]).toEqual([0x1afff, 0x12345678]);
  });

  test('IRQ 0 is input 2, the others their own', () => {
    const { hub, ioSet, maskPic } = makeHub();
    maskPic();
    ioSet(0x14, 0x30);
    ioSet(0x18, 0x34);
    hub.line(0).set(true);
    expect(hub.acknowledge()).toBe(0x30);
    hub.localApic.write(EOI, 4, 0);
    hub.line(4).set(true);
    expect(hub.acknowledge()).toBe(0x34);
  });

  test('an edge is delivered once; at a masked input it is lost', () => {
    const { hub, ioSet, set } = makeHub();
    set(LINT0, 0x10000);
    const line = hub.line(4);
    line.set(true);
    ioSet(0x18, 0x34);
    expect(hub.pending()).toBe(false);
    line.set(false);
    line.set(true);
    expect(hub.acknowledge()).toBe(0x34);
    set(EOI, 0);
    expect(hub.pending()).toBe(false);
  });

  test('a level is delivered again after EOI while held; remote IRR tells that it is in service', () => {
    const { hub, ioGet, ioSet, set, bits } = makeHub();
    set(LINT0, 0x10000);
    ioSet(0x26, 0x8050);
    const line = hub.line(11);
    line.set(true);
    expect(ioGet(0x26)).toBe(0xc050);
    expect([hub.acknowledge(), bits(TMR)]).toEqual([0x50, [0x50]]);
    set(EOI, 0);
    expect(hub.acknowledge()).toBe(0x50);
    line.set(false);
    set(EOI, 0);
    expect([hub.pending(), ioGet(0x26)]).toEqual([false, 0x8050]);
  });

  test('a level held for ever lets the interrupted program get on now and then', () => {
    const { clock, hub, ioSet, set } = makeHub();
    set(LINT0, 0x10000);
    ioSet(0x26, 0x8050);
    hub.line(11).set(true);
    let taken = 0;
    for (; hub.pending() && taken < 10_000; taken++) {
      hub.acknowledge();
      set(EOI, 0);
    }
    expect(taken).toBeGreaterThan(100);
    expect(taken).toBeLessThan(10_000);
    clock.advance(1_000_000);
    expect(hub.pending()).toBe(true);
  });

  test('a level that no local APIC took is not in service', () => {
    const { ioSet, ioGet, hub } = makeHub();
    ioSet(0x27, 0x05000000);
    ioSet(0x26, 0x8050);
    hub.line(11).set(true);
    expect(ioGet(0x26)).toBe(0x8050);
    ioSet(0x27, 0);
    ioSet(0x26, 0x8050);
    expect(ioGet(0x26)).toBe(0xc050);
  });

  test('an entry that becomes edge-triggered loses a stuck remote IRR', () => {
    const { hub, ioGet, ioSet } = makeHub();
    ioSet(0x26, 0x8050);
    hub.line(11).set(true);
    ioSet(0x26, 0x10050);
    ioSet(0x26, 0x18050);
    expect(ioGet(0x26)).toBe(0x18050);
  });

  test('level interrupts are neither lost nor repeated, however line, EOI and mask interleave', () => {
    const step = fc.constantFrom('up', 'down', 'ack', 'eoi', 'mask', 'unmask');
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { hub, ioSet, set, bits, ioGet } = makeHub();
        set(LINT0, 0x10000);
        ioSet(0x26, 0x8050);
        const line = hub.line(11);
        let level = false;
        let masked = false;
        for (const kind of steps) {
          if (kind === 'up' || kind === 'down') line.set((level = kind === 'up'));
          else if (kind === 'mask' || kind === 'unmask') ioSet(0x26, (masked = kind === 'mask') ? 0x18050 : 0x8050);
          else if (kind === 'eoi') set(EOI, 0);
          else if (hub.pending()) hub.acknowledge();
          const inFlight = bits(IRR).length + bits(ISR).length;
          expect(inFlight).toBeLessThanOrEqual(1);
          expect((ioGet(0x26) & 0x4000) !== 0).toBe(inFlight === 1);
          if (level && !masked) expect(inFlight).toBe(1);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('message-signalled interrupts', () => {
  test('carry vector, mode and destination', () => {
    const { hub } = makeHub();
    hub.apicBus.send(0xfee01000, 0x41);
    hub.apicBus.send(0xfed00000, 0x41);
    expect(hub.pending()).toBe(false);
    hub.apicBus.send(0xfee00000, 0x41);
    expect(hub.acknowledge()).toBe(0x41);
    hub.localApic.write(EOI, 4, 0);
    hub.apicBus.send(0xfeeff00c, 0x4142);
    expect(hub.acknowledge()).toBe(0x42);
    hub.apicBus.send(0xfee00000, 0x400);
    expect(hub.takeNmi()).toBe(true);
  });
});

test('reset forgets everything that waited', () => {
  const { hub, set, self, get } = makeHub();
  self(0x41);
  hub.pulseNmi();
  set(TPR, 0x20);
  hub.reset();
  expect([hub.pending(), hub.nmiPending, get(TPR), get(SVR)]).toEqual([false, false, 0, 0x1ff]);
});

test('any writes to the windows keep `pending` true to what acknowledge gives', () => {
  const write = fc.record({
    where: fc.constantFrom('lapic', 'ioapic', 'msr', 'pic'),
    register: fc.nat(0x3f),
    value: fc.oneof(fc.nat(0xffffffff), fc.nat(0xfff)),
    irq: fc.nat(15),
    level: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(write, { maxLength: 60 }), (writes) => {
      const { hub, apic, clock, ioSet, set } = makeHub();
      const lines = Array.from({ length: 16 }, (_, irq) => hub.line(irq));
      for (const { where, register, value, irq, level } of writes) {
        if (where === 'lapic') set(register << 4, value);
        else if (where === 'ioapic') ioSet(register, value);
        else if (where === 'msr') apic.msrs.write(register === 0 ? APIC_BASE : 0x800 + register, value, 0);
        else (value & 0x100 ? hub.pic.slave : hub.pic.master).write(register & 1, 1, value & 0xff);
        lines[irq].set(level);
        clock.advance(100);
        const picWaits = apic.passesPic && hub.pic.pending();
        expect(hub.pending()).toBe(apic.pendingVector() >= 0 || picWaits);
        if (hub.pending()) {
          const expected = apic.pendingVector();
          const vector = hub.acknowledge();
          if (expected >= 0) expect(vector).toBe(expected);
          else expect(vector).toBeLessThan(256);
        }
      }
    }),
    { numRuns: 300 },
  );
});
