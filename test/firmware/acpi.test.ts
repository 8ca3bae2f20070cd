import { describe, expect, test } from 'vitest';
import { buildAcpi } from '../../firmware/acpi.ts';
import { buildBda } from '../../firmware/bda.ts';
import { writeBootImage } from '../../firmware/boot-state.ts';

const RAM = 64 * 2 ** 20;

function tablesOf(options: Partial<Parameters<typeof buildAcpi>[0]> = {}) {
  const ram = new Uint8Array(RAM);
  writeBootImage(ram, buildAcpi({ ramSize: RAM, cpus: 2, pci: true, vga: true, ...options }));
  const view = new DataView(ram.buffer);
  const signature = (at: number) => new TextDecoder().decode(ram.subarray(at, at + 4));
  const sum = (at: number, length: number) => ram.subarray(at, at + length).reduce((a, b) => a + b, 0) & 0xff;
  const u32 = (at: number) => view.getUint32(at, true);
  /** A guest's walk from the RSDP: every table by its signature, its checksum verified. */
  const found = new Map<string, Uint8Array>();
  const visit = (at: number) => {
    const length = u32(at + 4);
    if (signature(at) !== 'FACS') {
      expect(sum(at, length), signature(at)).toBe(0);
    }
    expect(at >= RAM - 0x20000 && at + length <= RAM).toBe(true);
    found.set(signature(at), ram.subarray(at, at + length));
    return at;
  };
  const rsdp = 0xf5a00;
  expect(new TextDecoder().decode(ram.subarray(rsdp, rsdp + 8))).toBe('RSD PTR ');
  expect(sum(rsdp, 20)).toBe(0);
  expect(sum(rsdp, 36)).toBe(0);
  const rsdt = visit(u32(rsdp + 16));
  const xsdt = visit(u32(rsdp + 24));
  const byRsdt = Array.from({ length: (u32(rsdt + 4) - 36) / 4 }, (_, index) => u32(rsdt + 36 + index * 4));
  const byXsdt = Array.from({ length: (u32(xsdt + 4) - 36) / 8 }, (_, index) => u32(xsdt + 36 + index * 8));
  expect(byRsdt).toEqual(byXsdt);
  for (const address of byRsdt) {
    visit(address);
  }
  const fadt = found.get('FACP')!;
  const fadtView = new DataView(fadt.buffer, fadt.byteOffset);
  visit(fadtView.getUint32(36, true));
  visit(fadtView.getUint32(40, true));
  return { found, fadt: fadtView };
}

describe('ACPI tables', () => {
  test('a walk from the RSDP finds every table, sound', () => {
    expect([...tablesOf().found.keys()].sort()).toEqual(['APIC', 'DSDT', 'FACP', 'FACS', 'RSDT', 'XSDT']);
  });

  test('FADT: PIIX4 power management block and reset register', () => {
    const { fadt } = tablesOf();
    expect(fadt.byteLength).toBeGreaterThanOrEqual(244);
    expect(fadt.getUint16(46, true)).toBe(9);
    // No SMI command port: ACPI mode needs no switching on.
    expect(fadt.getUint32(48, true)).toBe(0);
    expect([56, 64, 76].map((at) => fadt.getUint32(at, true))).toEqual([0x600, 0x604, 0x608]);
    expect([88, 89, 91].map((at) => fadt.getUint8(at))).toEqual([4, 2, 4]);
    // Reset register: I/O space, 8 bits, byte access, port 0xCF9, value 6; flag RESET_REG_SUP; not HW_REDUCED_ACPI.
    expect([116, 117, 118, 119].map((at) => fadt.getUint8(at))).toEqual([1, 8, 0, 1]);
    expect(fadt.getBigUint64(120, true)).toBe(0xcf9n);
    expect(fadt.getUint8(128)).toBe(6);
    expect(fadt.getUint32(112, true) & ((1 << 10) | (1 << 20))).toBe(1 << 10);
    expect(tablesOf({ vga: false }).fadt.getUint16(109, true) & 4).toBe(4);
  });

  test('MADT: CPUs, IOAPIC, overrides of IRQ 0 and of the level-triggered lines', () => {
    const madt = tablesOf().found.get('APIC')!;
    const entries: string[] = [];
    for (let at = 44; at < madt.length; at += madt[at + 1]) {
      entries.push(Buffer.from(madt.subarray(at, at + madt[at + 1])).toString('hex'));
    }
    expect(entries).toEqual([
      '0008000001000000',
      '0008010101000000',
      '010c00000000c0fe00000000',
      '020a0000020000000000',
      '020a0009090000000d00',
      '020a000a0a0000000d00',
      '020a000b0b0000000d00',
      '0406ff000001',
    ]);
  });

  test('DSDT: S5 is sleep type 0, and the PCI root is there only with PCI', () => {
    const text = (dsdt: Uint8Array) => Buffer.from(dsdt).toString('latin1');
    const withPci = text(tablesOf().found.get('DSDT')!);
    expect(withPci).toContain('\x08\\_S5_\x12\x06\x04\0\0\0\0');
    expect(withPci).toContain('PCI0');
    expect(withPci).toContain('_PRT');
    // PNP0A03 as an EISA id.
    expect(withPci).toContain('_HID\x0c\x41\xd0\x0a\x03');
    expect(text(tablesOf({ pci: false }).found.get('DSDT')!)).not.toContain('PCI0');
  });
});

test('BDA: COM1, EBDA segment, 639 KiB; video fields only with a VGA card', () => {
  const bda = (vga: boolean) => {
    const ram = new Uint8Array(0x100000);
    writeBootImage(ram, buildBda(vga));
    expect(ram[0x9fc00]).toBe(1);
    return new DataView(ram.buffer, 0x400, 0x100);
  };
  const vga = bda(true);
  expect([0x00, 0x0e, 0x13, 0x63].map((at) => vga.getUint16(at, true))).toEqual([0x3f8, 0x9fc0, 639, 0x3d4]);
  expect(bda(false).getUint16(0x63, true)).toBe(0);
});
