/** `info …` and `x` on page tables made by hand. */

import { describe, expect, test } from 'vitest';
import { runCommand } from '../../../vmm/monitor/commands.ts';
import { fakeTarget } from './fake-target.ts';

const PG = 0x80000000 | 0;
const P = 1;
const W = 2;
const U = 4;
const PS = 0x80;

/** Guest memory of 1 MiB with tables in it. */
function machine(
  entries: readonly (readonly [address: number, low: number, high?: number])[],
  cr4: number,
  efer: number,
) {
  const memory = new DataView(new ArrayBuffer(1 << 20));
  for (const [address, low, high] of entries) {
    memory.setUint32(address, low >>> 0, true);
    if (high !== undefined) memory.setUint32(address + 4, high >>> 0, true);
  }
  memory.setUint32(0x20010, 0x12345678, true);
  return fakeTarget({
    paging: () => ({ cr0: PG, cr3: 0x1000, cr4, efer }),
    physicalByte: (address) => (address < memory.byteLength ? memory.getUint8(address) : undefined),
  });
}

const LONG = machine(
  [
    [0x1000, 0x2000 | P | W | U, 0],
    [0x1ff8, 0x2000 | P | W, 0],
    [0x2000, 0x3000 | P | W | U, 0],
    [0x2ff0, 0x3000 | P | W, 0],
    [0x3000, 0x4000 | P | W | U, 0],
    [0x3008, 0x200000 | P | PS, 0],
    [0x4000, 0x20000 | P | W | U, 0],
    [0x4008, 0x21000 | P | W, 0x80000000],
  ],
  1 << 5,
  1 << 10,
);
const PAE = machine(
  [
    [0x1000, 0x2000 | P, 0],
    [0x2000, 0x20000 | P | W | PS, 0],
  ],
  1 << 5,
  0,
);
const LEGACY = machine(
  [
    [0x1000, 0x2000 | P | W],
    [0x1004, 0x00402000 | P | PS],
    [0x2000, 0x20000 | P | U],
  ],
  1 << 4,
  0,
);

describe('page tables', () => {
  test('4-level', () => {
    expect(runCommand(LONG, 'info tlb').split('\n')).toEqual([
      '0000000000000000: 0000000000020000 -------UW',
      '0000000000001000: 0000000000021000 X-------W',
      '0000000000200000: 0000000000200000 --P------',
      '0000007f80000000: 0000000000020000 --------W',
      '0000007f80001000: 0000000000021000 X-------W',
      '0000007f80200000: 0000000000200000 --P------',
      'ffffff8000000000: 0000000000020000 --------W',
      'ffffff8000001000: 0000000000021000 X-------W',
      'ffffff8000200000: 0000000000200000 --P------',
      'ffffffff80000000: 0000000000020000 --------W',
      'ffffffff80001000: 0000000000021000 X-------W',
      'ffffffff80200000: 0000000000200000 --P------',
    ]);
    expect(runCommand(LONG, 'info mem').split('\n')[0]).toBe('0000000000000000-0000000000001000 0000000000001000 urw');
    expect(runCommand(LONG, 'x 0xffffffff80000010')).toBe('ffffffff80000010: 0x12345678');
    expect(runCommand(LONG, 'gva2gpa 0x200123')).toBe('gpa: 0x200123');
    expect(runCommand(LONG, 'gva2gpa 0x400000')).toBe('Unmapped');
  });

  test('PAE, whose top entries have no permissions', () => {
    expect(runCommand(PAE, 'info mem')).toBe('0000000000000000-0000000000200000 0000000000200000 -rw');
  });

  test('32-bit, with large pages beyond 4 GiB', () => {
    expect(runCommand(LEGACY, 'info tlb').split('\n')).toEqual([
      '0000000000000000: 0000000000020000 ---------',
      '0000000000400000: 0000000100400000 --P------',
    ]);
    expect(runCommand(LEGACY, 'x 0x10')).toBe('0000000000000010: 0x12345678');
  });

  test('off', () => {
    expect(runCommand(fakeTarget({}), 'info mem')).toBe('PG disabled');
  });

  test('tables that are their own tables come to an end', () => {
    const entries = Array.from({ length: 512 }, (_, i) => [0x1000 + 8 * i, 0x1000 | P | W, 0] as const);
    const target = machine(entries, 1 << 5, 1 << 10);
    const start = performance.now();
    expect(runCommand(target, 'info tlb').split('\n').length).toBeLessThan(5000);
    runCommand(target, 'info mem');
    expect(performance.now() - start).toBeLessThan(20_000);
  });
});

describe('the rest', () => {
  const line =
    '-drive file=/a,if=none,id=d,cache=unsafe,readonly=on -device virtio-blk-pci,drive=d,id=disk,serial=S -nic user,id=n0,mac=52:54:00:00:00:01 -device isa-debug-exit -chardev file,id=log,path=/l';
  const target = fakeTarget({}, line);

  test.each([
    [
      'info block',
      'd: /a (raw, read-only)\n    Attached to:      disk\n    Cache mode:       writeback, ignore flushes',
    ],
    [
      'info network',
      'virtio-net.2: index=0,type=nic,model=virtio-net,macaddr=52:54:00:00:00:01\n \\ n0: index=0,type=user',
    ],
    ['info pci', 'PCI devices not supported'],
    ['info jit', 'instructions: 5'],
  ])('%s', (command, answer) => {
    expect(runCommand(target, command).replace(/virtio-net\.\d/, 'virtio-net.2')).toBe(answer);
  });

  test('what has much to tell', () => {
    expect(runCommand(target, 'info chardev')).toContain('log: filename=file:/l');
    expect(runCommand(target, 'info qtree')).toMatch(
      /^bus: pci.0\n {2}type PCI\n {2}dev: virtio-blk, id "disk"\n {4}drive = "d"\n {4}serial = "S"/,
    );
    expect(runCommand(target, 'info qtree')).toContain('dev: isa-debug-exit, id ""\n    iobase = 1281');
    const pic = runCommand(target, 'info pic');
    expect(pic).toMatch(/^pic0: irr=00 imr=b8 isr=00 hprio=0 irq_base=08/);
    expect(pic.split('\n')).toHaveLength(3 + 24);
    target.interrupts.delivered[0x30] = 12;
    expect(runCommand(target, 'info irq')).toBe('Interrupts taken by the CPU, by vector:\n  0x30: 12');
  });
});
