/**
 * Every address, port and interrupt number of the machine, in one place (Design §1). A leaf: it imports nothing.
 * Devices never read it; they see offsets in their own windows.
 *
 * The machine is QEMU's `pc` (i440FX/PIIX) seen after its firmware ran; `microvm` adds Firecracker's virtio-mmio
 * windows and leaves PCI out. RAM is one block from 0.
 */

export const KIB = 1024;
export const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
export const PAGE_SIZE = 4096;

// ── RAM ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** RAM that `-m` gives when it is absent, as in QEMU. */
export const RAM_DEFAULT = 128 * MIB;
/** The least `-m`: low memory, and room above 1 MiB for the ACPI tables and a small kernel. */
export const RAM_MIN = 2 * MIB;
/** The most `-m`: everything above is windows of devices, and there is no second block of RAM above 4 GiB. */
export const RAM_MAX = 3 * GIB;

/** BIOS data area (segment 0x40). */
export const BDA_START = 0x400;
export const BDA_SIZE = 0x100;
/** Extended BIOS data area: the last KiB of conventional memory. */
export const EBDA_START = 0x9fc00;
export const EBDA_SIZE = 0x400;
/** VGA text memory lies in here; behaves as plain memory. */
export const VGA_START = 0xa0000;
export const VGA_END = 0xc0000;
/** System ROM: holds what firmware would leave there; reserved in the memory map. */
export const BIOS_START = 0xf0000;
export const BIOS_END = 0x100000;
/** Extended memory: kernels are loaded from here on. */
export const HIGH_MEMORY = 0x100000;
/** Bytes reserved at the very top of RAM for ACPI tables, as QEMU and SeaBIOS do. */
export const ACPI_DATA_SIZE = 0x20000;
/** QEMU's flash of the firmware, reserved in the memory map. Nothing answers there. */
export const FLASH_START = 0xfffc0000;
export const FLASH_SIZE = 0x40000;
/** The hole below 1 TiB that AMD's HyperTransport uses, reserved in the memory map. */
export const HYPERTRANSPORT_START = 0xfd00000000;
export const HYPERTRANSPORT_SIZE = 0x300000000;

// ── What the firmware leaves behind ─────────────────────────────────────────────────────────────────────────────────

/** ACPI RSDP: 16-byte aligned in the BIOS area, where guests search for it (ACPI 6.5 §5.2.5.1). */
export const ACPI_RSDP = 0xf5a00;
/** GDT in force at the entry of 32-bit boot protocols. */
export const BOOT_GDT = 0xfe000;

/** Multiboot: memory map, laid where QEMU's multiboot option ROM lays it. */
export const MULTIBOOT_MMAP = 0x9000;
/** Multiboot: the information structure. */
export const MULTIBOOT_INFO = 0x9500;

/** Linux boot: real-mode setup code and header, where QEMU puts them; the zero page starts here too. */
export const LINUX_SETUP = 0x10000;
/** Linux boot: command line. */
export const LINUX_CMDLINE = 0x20000;
/** Linux boot: protected-mode kernel. */
export const LINUX_KERNEL = HIGH_MEMORY;
/** Linux 64-bit boot: top of the stack at entry (Firecracker's BOOT_STACK_POINTER). */
export const LINUX64_STACK = 0x8ff0;
/** Linux 64-bit boot: GDT (Firecracker's BOOT_GDT_OFFSET). */
export const LINUX64_GDT = 0x500;
/** Linux 64-bit boot: IDT of one empty entry (Firecracker's BOOT_IDT_OFFSET). */
export const LINUX64_IDT = 0x520;
/** Linux 64-bit ELF boot: zero page (Firecracker's ZERO_PAGE_START). */
export const LINUX64_ZERO_PAGE = 0x7000;
/** Linux 64-bit boot: page tables, one page each, that map the first GiB 1:1 (Firecracker's PML4_START …). */
export const LINUX64_PML4 = 0x9000;
export const LINUX64_PDPT = 0xa000;
export const LINUX64_PD = 0xb000;

/** PVH: hvm_start_info; memory map, module list and command line follow page by page. */
export const PVH_START_INFO = 0x6000;
export const PVH_MEMMAP = 0x6100;
export const PVH_MODLIST = 0x6800;
export const PVH_CMDLINE = 0x20000;

/** Room for a command line from LINUX_CMDLINE / PVH_CMDLINE on, terminator included. */
export const CMDLINE_MAX = 0x10000;

// ── Windows of devices in memory ────────────────────────────────────────────────────────────────────────────────────

/** virtio-mmio windows of `-M microvm`, Firecracker's MMIO_MEM_START: device n at START + n × SIZE. */
export const VIRTIO_MMIO_START = 0xd0000000;
export const VIRTIO_MMIO_SIZE = 0x1000;
/** Memory BARs are assigned from here upwards. */
export const PCI_MEMORY_START = 0xe0000000;
export const PCI_MEMORY_END = 0xfec00000;
export const IOAPIC_START = 0xfec00000;
export const IOAPIC_SIZE = 0x1000;
export const LAPIC_START = 0xfee00000;
export const LAPIC_SIZE = 0x1000;

// ── Ports ───────────────────────────────────────────────────────────────────────────────────────────────────────────

export const PORT_PIC_MASTER = 0x20;
export const PORT_PIC_SLAVE = 0xa0;
/** Edge/level control registers of the two PICs. */
export const PORT_ELCR = 0x4d0;
export const PORT_PIT = 0x40;
/** Any write clears the coprocessor's error. */
export const PORT_COPROCESSOR_ERROR = 0xf0;
/** i8042 data port. */
export const PORT_KBD_DATA = 0x60;
/** System control port B: PIT channel 2 gate and output, speaker. */
export const PORT_SYSTEM_B = 0x61;
/** i8042 status and command port; 0xFE resets the machine. */
export const PORT_KBD_COMMAND = 0x64;
export const PORT_RTC = 0x70;
/** System control port A: fast A20 and reset. */
export const PORT_SYSTEM_A = 0x92;
export const PORT_COM1 = 0x3f8;
export const PORT_COM_SIZE = 8;
/** VGA registers that a monochrome adapter has, 0x3B0…0x3BF. */
export const PORT_VGA_MONO = 0x3b0;
export const PORT_VGA_MONO_SIZE = 0x10;
/** VGA registers, 0x3C0…0x3DF. */
export const PORT_VGA = 0x3c0;
export const PORT_VGA_SIZE = 0x20;
/** Default ports of `-device isa-debugcon` and `-device isa-debug-exit`. */
export const PORT_DEBUGCON = 0xe9;
export const PORT_DEBUG_EXIT = 0x501;
/** QEMU's pvpanic port. */
export const PORT_PVPANIC = 0x505;
/** PIIX4 power management block: PM1a event at +0, PM1a control at +4, PM timer at +8. */
export const PORT_ACPI_PM = 0x600;
export const PORT_ACPI_PM_SIZE = 0x40;
/** PCI configuration mechanism 1: address, then data. */
export const PORT_PCI_CONFIG_ADDRESS = 0xcf8;
export const PORT_PCI_RESET = 0xcf9;
/** I/O BARs are assigned from here upwards. */
export const PCI_IO_START = 0xc000;
export const PCI_IO_END = 0x10000;

// ── Interrupts ──────────────────────────────────────────────────────────────────────────────────────────────────────

export const IRQ_PIT = 0;
/** Input of the IOAPIC that carries IRQ 0 (MADT interrupt source override). */
export const GSI_PIT = 2;
export const IRQ_COM1 = 4;
/** COM1…COM4: two ports share an interrupt, as on every PC. */
export const COM_PORTS = [
  { port: PORT_COM1, irq: IRQ_COM1 },
  { port: 0x2f8, irq: 3 },
  { port: 0x3e8, irq: IRQ_COM1 },
  { port: 0x2e8, irq: 3 },
] as const;
export const IRQ_RTC = 8;
/** ACPI's SCI: level, active high, as in QEMU. */
export const IRQ_SCI = 9;
/** x87 errors while CR0.NE = 0. */
export const IRQ_COPROCESSOR = 13;
/** Where PIRQA…PIRQD of the PIIX3 are routed, as SeaBIOS routes them. */
export const IRQ_PIRQ = [10, 10, 11, 11] as const;
/** @returns the IRQ of pin 0…3 (INTA…INTD) of PCI device 0…31: the i440FX board swizzles pins over the PIRQs. */
export function pciIrq(device: number, pin: number): number {
  return IRQ_PIRQ[(device + pin + 3) & 3];
}
/** virtio-mmio devices of `-M microvm` take IRQ 5, 6, … as Firecracker's do, leaving out those that are taken. */
export const IRQ_VIRTIO_MMIO = [5, 6, 7, 10, 11, 12, 13, 14, 15] as const;
