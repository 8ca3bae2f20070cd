import { describe, expect, test, vi } from 'vitest';
import { AcpiPm } from '../../../devices/legacy/acpi-pm.ts';
import { CoprocessorError } from '../../../devices/legacy/coprocessor-error.ts';
import { Debugcon, DebugExit, Pvpanic } from '../../../devices/legacy/debug-ports.ts';
import { I8042, SystemControlA } from '../../../devices/legacy/i8042.ts';
import { ResetControl } from '../../../devices/legacy/reset-control.ts';
import { VgaText } from '../../../devices/legacy/vga-text.ts';
import { FakeClock, FakeIrq } from '../fake-clock.ts';

describe('ACPI power management', () => {
  function makePm() {
    const clock = new FakeClock();
    const sci = new FakeIrq();
    const onPowerOff = vi.fn();
    return { clock, sci, onPowerOff, pm: new AcpiPm(clock, sci, onPowerOff) };
  }

  test('S5 needs SLP_EN and type 0, by word or by bytes', () => {
    const { pm, onPowerOff } = makePm();
    pm.write(4, 2, 0x0000);
    pm.write(4, 2, 0x2400);
    expect(onPowerOff).not.toHaveBeenCalled();
    pm.write(4, 2, 0x2000);
    expect(onPowerOff).toHaveBeenCalledTimes(1);
    pm.write(5, 1, 0x20);
    expect(onPowerOff).toHaveBeenCalledTimes(2);
    expect(pm.read(4, 2)).toBe(0x0001);
  });

  test('the timer counts 24 bits at 3.579545 MHz', () => {
    const { clock, pm } = makePm();
    clock.advance(1e9 + 1);
    expect(pm.read(8, 4)).toBe(3579545);
    expect([pm.read(8, 2), pm.read(10, 1), pm.read(11, 1)]).toEqual([3579545 & 0xffff, 3579545 >> 16, 0]);
    clock.advance(4e9);
    expect(pm.read(8, 4)).toBe((5 * 3579545) % 2 ** 24);
  });

  test('TMR_STS is set as the top bit changes, raises the SCI if enabled, and is cleared by a one', () => {
    const { clock, sci, pm } = makePm();
    const half = (2 ** 23 * 1e9) / 3579545;
    clock.advance(half - 1000);
    expect(pm.read(0, 2)).toBe(0);
    clock.advance(2000);
    expect([pm.read(0, 2), sci.level]).toEqual([1, false]);
    pm.write(2, 2, 1);
    expect(sci.level).toBe(true);
    pm.write(0, 2, 1);
    expect([pm.read(0, 2), sci.level]).toEqual([0, false]);
    clock.advance(half);
    expect(sci.level).toBe(true);
  });

  test('the power button asks by SCI', () => {
    const { sci, pm } = makePm();
    pm.pressPowerButton();
    expect([pm.read(0, 2), sci.level]).toEqual([0x100, false]);
    pm.write(3, 1, 0x01);
    expect(sci.level).toBe(true);
    pm.write(1, 1, 0x01);
    expect([pm.read(0, 2), sci.level]).toEqual([0, false]);
  });
});

describe('8042', () => {
  function makeController() {
    const onReset = vi.fn();
    const controller = new I8042(onReset);
    return {
      onReset,
      controller,
      status: () => controller.command.read(0, 1),
      command: (value: number) => controller.command.write(0, 1, value),
      put: (value: number) => controller.data.write(0, 1, value),
      get: () => controller.data.read(0, 1),
    };
  }

  test('0xFE resets the machine, pulses of other lines do not', () => {
    const { command, onReset } = makeController();
    command(0xff);
    expect(onReset).not.toHaveBeenCalled();
    command(0xfe);
    expect(onReset).toHaveBeenCalledTimes(1);
  });

  test('self-tests pass and the answer fills the output buffer until read', () => {
    const { command, status, get } = makeController();
    expect(status()).toBe(0x1c);
    command(0xaa);
    expect([status() & 1, get(), status() & 1]).toEqual([1, 0x55, 0]);
    command(0xab);
    expect(get()).toBe(0);
  });

  test('the command byte is read back, with ports disabled and enabled', () => {
    const { command, put, get } = makeController();
    command(0x60);
    put(0x44);
    command(0xad);
    command(0xa7);
    command(0x20);
    expect(get()).toBe(0x74);
    command(0xae);
    command(0xa8);
    command(0x20);
    expect(get()).toBe(0x44);
  });

  test('the output port keeps A20 and its bit 0 resets', () => {
    const { command, put, get, onReset } = makeController();
    command(0xd1);
    put(0xdd);
    command(0xd0);
    expect(get()).toBe(0xdd);
    command(0xdf);
    command(0xd0);
    expect(get()).toBe(0xdf);
    command(0xd1);
    put(0xfe);
    expect(onReset).toHaveBeenCalledTimes(1);
  });

  test('no keyboard answers', () => {
    const { put, status } = makeController();
    put(0xff);
    expect(status() & 0x09).toBe(0);
  });
});

test('port 0x92 keeps A20 and resets on a rise of bit 0', () => {
  const onReset = vi.fn();
  const port = new SystemControlA(onReset);
  expect(port.read(0, 1)).toBe(2);
  port.write(0, 1, 0x03);
  port.write(0, 1, 0x03);
  expect(onReset).toHaveBeenCalledTimes(1);
});

test('port 0xcf9 resets by bit 2', () => {
  const onReset = vi.fn();
  const control = new ResetControl(onReset);
  control.write(0, 1, 0x02);
  expect([control.read(0, 1), onReset.mock.calls.length]).toEqual([2, 0]);
  control.write(0, 1, 0x06);
  expect(onReset).toHaveBeenCalledTimes(1);
});

test('isa-debug-exit makes an odd status of a byte', () => {
  const statuses: number[] = [];
  const port = new DebugExit((status) => statuses.push(status));
  port.write(0, 2, 0x29);
  port.write(0, 4, 0xffffffff);
  port.write(0, 1, 0);
  expect(statuses).toEqual([0x53, 0xff, 1]);
});

test('debugcon is found by 0xe9 and passes bytes on', () => {
  const sent: number[] = [];
  const port = new Debugcon({ write: (byte) => sent.push(byte) });
  expect(port.read(0, 1)).toBe(0xe9);
  port.write(0, 1, 0x41);
  expect(sent).toEqual([0x41]);
});

test('pvpanic tells a panic, and not a loaded crash kernel', () => {
  const onPanic = vi.fn();
  const port = new Pvpanic(onPanic);
  expect(port.read(0, 1)).toBe(3);
  port.write(0, 1, 2);
  expect(onPanic).not.toHaveBeenCalled();
  port.write(0, 1, 1);
  expect(onPanic).toHaveBeenCalledTimes(1);
});

describe('VGA registers', () => {
  test('CRTC index and registers read back, by bytes and by words', () => {
    const vga = new VgaText();
    vga.write(0x14, 1, 0x0e);
    expect(vga.read(0x14, 1)).toBe(0x0e);
    vga.write(0x15, 1, 0x12);
    vga.write(0x14, 2, 0x340f);
    expect([vga.read(0x14, 2), vga.cursor]).toEqual([0x340f, 0x1234]);
  });

  test('CRTC and status are where the colour bit says', () => {
    const vga = new VgaText();
    expect([vga.read(0x0c, 1), vga.mono.read(4, 1)]).toEqual([0x67, 0xff]);
    vga.write(0x02, 1, 0x66);
    vga.mono.write(4, 2, 0x550f);
    expect([vga.mono.read(4, 2), vga.read(0x14, 1)]).toEqual([0x550f, 0xff]);
  });

  test('timings are protected by bit 7 of register 0x11', () => {
    const vga = new VgaText();
    vga.write(0x14, 2, 0x1100);
    expect(vga.read(0x15, 1)).toBe(0x5f);
    vga.write(0x14, 2, 0x0e11);
    vga.write(0x14, 2, 0x1100);
    expect(vga.read(0x15, 1)).toBe(0x11);
  });

  test('the attribute port takes index and data in turn; reading the status starts over', () => {
    const vga = new VgaText();
    vga.write(0x00, 1, 0x05);
    vga.read(0x1a, 1);
    vga.write(0x00, 1, 0x21);
    vga.write(0x00, 1, 0x3f);
    expect([vga.read(0x00, 1), vga.read(0x01, 1)]).toEqual([0x21, 0x3f]);
  });

  test('retrace comes and goes; the palette stores 6-bit components', () => {
    const vga = new VgaText();
    expect([vga.read(0x1a, 1), vga.read(0x1a, 1)]).toEqual([0x09, 0x00]);
    vga.write(0x08, 1, 7);
    for (const value of [1, 2, 0xff]) vga.write(0x09, 1, value);
    vga.write(0x07, 1, 7);
    expect([vga.read(0x09, 1), vga.read(0x09, 1), vga.read(0x09, 1)]).toEqual([1, 2, 0x3f]);
    expect(vga.read(0x08, 1)).toBe(8);
  });

  test('indices without a register read zero', () => {
    const vga = new VgaText();
    vga.write(0x14, 2, 0x55ff);
    expect(vga.read(0x15, 1)).toBe(0);
  });
});

test('an x87 error is IRQ 13 until port 0xf0 is written', () => {
  const irq = new FakeIrq();
  const device = new CoprocessorError(irq);
  device.raise();
  expect(irq.level).toBe(true);
  expect(device.read(0, 1)).toBe(0xff);
  expect(irq.level).toBe(true);
  device.write();
  expect(irq.level).toBe(false);
  device.raise();
  device.reset();
  expect(irq.level).toBe(false);
});
