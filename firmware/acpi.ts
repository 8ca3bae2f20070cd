/**
 * ACPI tables (ACPI 6.5 §5.2): RSDP, RSDT, XSDT, FADT, FACS, MADT and a DSDT with power-off, the PCI root and COM1.
 *
 * Tables stand at the top of RAM in reserved memory; the RSDP stands in the BIOS area. There is no SMI (SMI_CMD is 0):
 * the machine is in ACPI mode from the start.
 */

import {
  ACPI_RSDP,
  GSI_PIT,
  IOAPIC_START,
  IRQ_COM1,
  IRQ_PIRQ,
  IRQ_PIT,
  IRQ_SCI,
  LAPIC_START,
  PCI_MEMORY_END,
  PCI_MEMORY_START,
  PORT_ACPI_PM,
  PORT_COM_SIZE,
  PORT_COM1,
  PORT_PCI_CONFIG_ADDRESS,
  PORT_PCI_RESET,
  pciIrq,
  VGA_END,
  VGA_START,
} from '../vmm/layout.ts';
import {
  busNumbers,
  device,
  eisaId,
  integer,
  ioPorts,
  ioWindow,
  irq,
  memoryWindow,
  name,
  pack,
  resources,
  scope,
} from './aml.ts';
import { type MemoryWrite, memoryWrite } from './boot-state.ts';
import { alignUp, concatenate, Struct } from './bytes.ts';
import { usableRamEnd } from './e820.ts';

export interface AcpiOptions {
  readonly ramSize: number;
  readonly cpus: number;
  /** Is there a PCI host bridge? */
  readonly pci: boolean;
  readonly vga: boolean;
}

const HEADER_SIZE = 36;
const RSDP_SIZE = 36;
const FACS_SIZE = 64;
/** FADT revision 3: the first with the reset register and 64-bit addresses. */
const FADT_SIZE = 244;
const FADT_REVISION = 3;

/** FADT flags (table 5.10). */
const WBINVD = 1 << 0;
const PROC_C1 = 1 << 2;
const SLP_BUTTON = 1 << 5;
const RTC_S4 = 1 << 7;
const RESET_REG_SUP = 1 << 10;
/** IAPC_BOOT_ARCH (table 5.11). */
const LEGACY_DEVICES = 1 << 0;
const VGA_NOT_PRESENT = 1 << 2;
const RESET_VALUE = 6;

/** MADT: PC-AT compatible dual 8259 (table 5.20), and kinds of entries (table 5.21). */
const PCAT_COMPAT = 1;
const MADT_LOCAL_APIC = 0;
const MADT_IO_APIC = 1;
const MADT_INTERRUPT_SOURCE_OVERRIDE = 2;
const MADT_LOCAL_APIC_NMI = 4;
/** MPS INTI flags: level triggered, active high. */
const LEVEL_ACTIVE_HIGH = 0x0d;

/** @returns the tables as writes to guest RAM; the first is the RSDP at ACPI_RSDP. */
export function buildAcpi(options: AcpiOptions): readonly MemoryWrite[] {
  let next = usableRamEnd(options.ramSize);
  const writes: MemoryWrite[] = [];
  const place = (bytes: Uint8Array): number => {
    const address = alignUp(next, 64);
    next = address + bytes.length;
    writes.push(memoryWrite(address, bytes));
    return address;
  };
  const facs = place(new Struct(FACS_SIZE).text(0, 'FACS').u32(4, FACS_SIZE).u8(32, 1).bytes);
  const dsdt = place(table('DSDT', 1, buildDsdt(options)));
  const fadt = place(buildFadt(options, facs, dsdt));
  const madt = place(table('APIC', 3, buildMadt(options.cpus)));
  const entries = [fadt, madt];
  const rsdtBody = new Struct(entries.length * 4);
  const xsdtBody = new Struct(entries.length * 8);
  for (const [index, address] of entries.entries()) {
    rsdtBody.u32(index * 4, address);
    xsdtBody.u64(index * 8, address);
  }
  const rsdt = place(table('RSDT', 1, rsdtBody.bytes));
  const xsdt = place(table('XSDT', 1, xsdtBody.bytes));
  return [memoryWrite(ACPI_RSDP, buildRsdp(rsdt, xsdt)), ...writes];
}

/** §5.2.5.3 */
function buildRsdp(rsdt: number, xsdt: number): Uint8Array {
  const rsdp = new Struct(RSDP_SIZE)
    .text(0, 'RSD PTR ')
    .text(9, 'TSVMM ')
    .u8(15, 2)
    .u32(16, rsdt)
    .u32(20, RSDP_SIZE)
    .u64(24, xsdt);
  rsdp.u8(8, checksum(rsdp.bytes.subarray(0, 20)));
  return rsdp.u8(32, checksum(rsdp.bytes)).bytes;
}

/** A table with its header (§5.2.6) and checksum. */
function table(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const result = new Struct(HEADER_SIZE + body.length)
    .text(0, signature)
    .u32(4, HEADER_SIZE + body.length)
    .u8(8, revision)
    .text(10, 'TSVMM ')
    .text(16, 'TSVMMPC ')
    .u32(24, 1)
    .text(28, 'TSVM')
    .u32(32, 1)
    .set(HEADER_SIZE, body);
  return result.u8(9, checksum(result.bytes)).bytes;
}

/** @returns the byte that makes all bytes sum to 0. */
function checksum(bytes: Uint8Array): number {
  return -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
}

/** §5.2.9; PM block as the PIIX4 has it. */
function buildFadt({ vga }: AcpiOptions, facs: number, dsdt: number): Uint8Array {
  const body = new Struct(FADT_SIZE - HEADER_SIZE);
  const at = (offset: number) => offset - HEADER_SIZE;
  /** Generic address structure (§5.2.3.2) in I/O space. */
  const ioAddress = (offset: number, bits: number, access: number, port: number) =>
    body
      .u8(at(offset), 1)
      .u8(at(offset) + 1, bits)
      .u8(at(offset) + 3, access)
      .u64(at(offset) + 4, port);
  body
    .u32(at(36), facs)
    .u32(at(40), dsdt)
    .u16(at(46), IRQ_SCI)
    .u32(at(56), PORT_ACPI_PM)
    .u32(at(64), PORT_ACPI_PM + 4)
    .u32(at(76), PORT_ACPI_PM + 8)
    .u8(at(88), 4)
    .u8(at(89), 2)
    .u8(at(91), 4)
    // C2 and C3 do not exist: their latencies say so.
    .u16(at(96), 0xfff)
    .u16(at(98), 0xfff)
    // CMOS register of the century.
    .u8(at(108), 0x32)
    .u16(at(109), LEGACY_DEVICES | (vga ? 0 : VGA_NOT_PRESENT))
    .u32(at(112), WBINVD | PROC_C1 | SLP_BUTTON | RTC_S4 | RESET_REG_SUP)
    .u8(at(128), RESET_VALUE)
    .u64(at(140), dsdt);
  ioAddress(116, 8, 1, PORT_PCI_RESET);
  ioAddress(148, 32, 2, PORT_ACPI_PM);
  ioAddress(172, 16, 2, PORT_ACPI_PM + 4);
  ioAddress(208, 32, 3, PORT_ACPI_PM + 8);
  return table('FACP', FADT_REVISION, body.bytes);
}

/** §5.2.12 */
function buildMadt(cpus: number): Uint8Array {
  const entries: Uint8Array[] = [new Struct(8).u32(0, LAPIC_START).u32(4, PCAT_COMPAT).bytes];
  for (let cpu = 0; cpu < cpus; cpu++) {
    entries.push(new Struct(8).u8(0, MADT_LOCAL_APIC).u8(1, 8).u8(2, cpu).u8(3, cpu).u32(4, 1).bytes);
  }
  entries.push(new Struct(12).u8(0, MADT_IO_APIC).u8(1, 12).u32(4, IOAPIC_START).bytes);
  const override = (source: number, gsi: number, flags: number) =>
    new Struct(10).u8(0, MADT_INTERRUPT_SOURCE_OVERRIDE).u8(1, 10).u8(3, source).u32(4, gsi).u16(8, flags).bytes;
  entries.push(override(IRQ_PIT, GSI_PIT, 0));
  for (const line of new Set([IRQ_SCI, ...IRQ_PIRQ])) {
    entries.push(override(line, line, LEVEL_ACTIVE_HIGH));
  }
  entries.push(new Struct(6).u8(0, MADT_LOCAL_APIC_NMI).u8(1, 6).u8(2, 0xff).u8(5, 1).bytes);
  return concatenate(entries);
}

function buildDsdt({ pci }: AcpiOptions): Uint8Array {
  const com1 = device('COM1', [
    name('_HID', eisaId('PNP0501')),
    name('_UID', integer(1)),
    name('_CRS', resources([ioPorts(PORT_COM1, PORT_COM_SIZE), irq(IRQ_COM1)])),
  ]);
  // SLP_TYPa of S5 is 0 in the PIIX4.
  const s5 = name('\\_S5', pack([integer(0), integer(0), integer(0), integer(0)]));
  return concatenate([s5, scope('\\_SB', pci ? [pciRoot(), com1] : [com1])]);
}

function pciRoot(): Uint8Array {
  const routes: Uint8Array[] = [];
  for (let slot = 0; slot < 32; slot++) {
    for (let pin = 0; pin < 4; pin++) {
      routes.push(pack([integer(slot * 0x10000 + 0xffff), integer(pin), integer(0), integer(pciIrq(slot, pin))]));
    }
  }
  return device('PCI0', [
    name('_HID', eisaId('PNP0A03')),
    name('_ADR', integer(0)),
    name('_UID', integer(0)),
    name(
      '_CRS',
      resources([
        busNumbers(0, 0xff),
        ioPorts(PORT_PCI_CONFIG_ADDRESS, 8),
        ioWindow(0, PORT_PCI_CONFIG_ADDRESS - 1),
        ioWindow(PORT_PCI_CONFIG_ADDRESS + 8, 0xffff),
        memoryWindow(VGA_START, VGA_END - 1),
        memoryWindow(PCI_MEMORY_START, PCI_MEMORY_END - 1),
      ]),
    ),
    name('_PRT', pack(routes)),
  ]);
}
