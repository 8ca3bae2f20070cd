/**
 * Everything of the machine but its CPU: buses, interrupt controllers and devices, wired and mapped by the layout. It
 * knows no CPU; what a device wants of the machine goes out through {@link BoardEvents}.
 */

import type { InterruptHub } from '../devices/apic/interrupt-hub.ts';
import type { GuestMemory } from '../devices/bus.ts';
import { AcpiPm } from '../devices/legacy/acpi-pm.ts';
import { CoprocessorError } from '../devices/legacy/coprocessor-error.ts';
import { Debugcon, DebugExit, Pvpanic } from '../devices/legacy/debug-ports.ts';
import { I8042, SystemControlA } from '../devices/legacy/i8042.ts';
import { Pit8254, SystemControlB } from '../devices/legacy/pit8254.ts';
import { ResetControl } from '../devices/legacy/reset-control.ts';
import { RtcCmos, rtcBase } from '../devices/legacy/rtc-cmos.ts';
import { Uart16550 } from '../devices/legacy/uart16550.ts';
import { VgaText } from '../devices/legacy/vga-text.ts';
import type { MmioBus } from '../devices/mmio-bus.ts';
import type { NetBackend } from '../devices/net/backend.ts';
import { I440fx } from '../devices/pci/i440fx.ts';
import { PciBus } from '../devices/pci/pci-bus.ts';
import { Piix3 } from '../devices/pci/piix3.ts';
import { Piix4Pm } from '../devices/pci/piix4-pm.ts';
import { assignResources } from '../devices/pci/resource-allocator.ts';
import type { PortBus } from '../devices/port-bus.ts';
import { VirtioMmio } from '../devices/virtio/transport-mmio.ts';
import { VirtioPci } from '../devices/virtio/transport-pci.ts';
import type { VirtioDevice } from '../devices/virtio/virtio-device.ts';
import type { MachineClock } from './clock.ts';
import type { Console } from './console/console.ts';
import { UserError } from './errors.ts';
import * as layout from './layout.ts';
import type { DeviceConfig, MachineConfig, VirtioFaces } from './options/config.ts';
import { createVirtioDevice, isVirtio, type Plugged } from './virtio-devices.ts';

/** What devices want of the machine. */
export interface BoardEvents {
  /** The guest entered S5. */
  powerOff(): void;
  /** The guest asked for a reset. */
  reset(): void;
  /** isa-debug-exit: leave with this exit status. */
  exit(status: number): void;
  /** pvpanic: the guest told that it panicked. */
  panicked(): void;
}

/** What a board stands on. The CPU is on the same buses. */
export interface BoardParts {
  readonly ports: PortBus;
  readonly mmio: MmioBus;
  readonly interrupts: InterruptHub;
  readonly memory: GuestMemory;
  readonly clock: MachineClock;
  readonly console: Console;
  /** Open back ends by netdev id. */
  readonly backends: ReadonlyMap<string, NetBackend>;
  readonly events: BoardEvents;
}

/** A virtio-mmio window, as it is told to Linux. */
interface VirtioMmioWindow {
  readonly base: number;
  readonly irq: number;
}

export class Board {
  /** Queues to serve once per slice. */
  readonly virtioDevices: VirtioDevice[] = [];
  readonly virtioMmio: VirtioMmioWindow[] = [];
  /** Undefined on a board without PCI. */
  pci: PciBus | undefined;
  /** The CPU's FERR#. */
  readonly coprocessorError: CoprocessorError;
  /** Descriptors of the directories that the guest shares. */
  readonly sharedRoots: number[] = [];
  private readonly parts: BoardParts;
  private readonly ports: PortBus;
  private readonly mmio: MmioBus;
  private readonly interrupts: InterruptHub;
  private readonly power: AcpiPm;
  /** In the order in which they are put back to their power-on state. */
  private readonly resets: (() => void)[] = [];
  private readonly closes: (() => void)[] = [];

  /** @throws UserError when a device cannot be had. */
  constructor(config: MachineConfig, parts: BoardParts) {
    this.parts = parts;
    const { clock, events } = parts;
    this.ports = parts.ports;
    this.mmio = parts.mmio;
    this.interrupts = parts.interrupts;
    this.power = new AcpiPm(clock, this.interrupts.line(layout.IRQ_SCI), () => events.powerOff());
    this.coprocessorError = new CoprocessorError(this.interrupts.line(layout.IRQ_COPROCESSOR));
    this.addInterruptControllers();
    this.addLegacy(config);
    this.addSerialPorts(config);
    if (config.machine === 'pc') {
      this.addPci(config);
    } else {
      this.ports.add(layout.PORT_ACPI_PM, layout.PORT_ACPI_PM_SIZE, this.power);
    }
    for (const device of config.devices) {
      this.addIsaDevice(device);
    }
    if (config.machine === 'microvm') {
      this.addVirtioMmio(config);
    }
  }

  private addInterruptControllers(): void {
    const { pic, ioApic, localApic } = this.interrupts;
    this.ports.add(layout.PORT_PIC_MASTER, 2, pic.master);
    this.ports.add(layout.PORT_PIC_SLAVE, 2, pic.slave);
    this.ports.add(layout.PORT_ELCR, 2, pic.elcr);
    this.mmio.add(layout.IOAPIC_START, layout.IOAPIC_SIZE, ioApic);
    this.mmio.add(layout.LAPIC_START, layout.LAPIC_SIZE, localApic);
    this.resets.push(() => this.interrupts.reset());
  }

  private addLegacy(config: MachineConfig): void {
    const { clock, events } = this.parts;
    const reset = () => events.reset();
    const pit = new Pit8254(clock, this.interrupts.line(layout.IRQ_PIT));
    const rtc = new RtcCmos(clock, this.interrupts.line(layout.IRQ_RTC), {
      time: rtcBase(config.rtcBase, clock.wallClock())!,
      ramSize: config.ramSize,
      cpus: config.cpus,
    });
    const keyboard = new I8042(reset);
    const systemA = new SystemControlA(reset);
    const systemB = new SystemControlB(pit, clock);
    this.ports.add(layout.PORT_PIT, 4, pit);
    this.ports.add(layout.PORT_KBD_DATA, 1, keyboard.data);
    this.ports.add(layout.PORT_KBD_COMMAND, 1, keyboard.command);
    this.ports.add(layout.PORT_SYSTEM_A, 1, systemA);
    this.ports.add(layout.PORT_COPROCESSOR_ERROR, 1, this.coprocessorError);
    this.ports.add(layout.PORT_SYSTEM_B, 1, systemB);
    this.ports.add(layout.PORT_RTC, 2, rtc);
    for (const device of [pit, rtc, keyboard, systemA, systemB, this.coprocessorError, this.power]) {
      this.resets.push(() => device.reset());
    }
    if (config.vga) {
      const vga = new VgaText();
      this.ports.add(layout.PORT_VGA, layout.PORT_VGA_SIZE, vga);
      this.ports.add(layout.PORT_VGA_MONO, layout.PORT_VGA_MONO_SIZE, vga.mono);
      this.resets.push(() => vga.reset());
    }
  }

  private addSerialPorts(config: MachineConfig): void {
    const { clock, console } = this.parts;
    for (const [index, id] of config.serials.entries()) {
      if (id === undefined) {
        continue;
      }
      const { port, irq } = layout.COM_PORTS[index];
      const uart = new Uart16550(clock, this.interrupts.line(irq), console.output(id));
      uart.onReceiveSpace = console.connect(id, uart);
      this.ports.add(port, layout.PORT_COM_SIZE, uart);
      this.resets.push(() => uart.reset());
    }
  }

  private addPci(config: MachineConfig): void {
    const irqLines = Array.from({ length: 16 }, (_, irq) => this.interrupts.line(irq));
    const router = new Piix3(irqLines, layout.IRQ_PIRQ);
    const bus = new PciBus(this.ports, this.mmio, this.interrupts.apicBus, router);
    this.pci = bus;
    bus.add(new I440fx());
    const isaSlot = bus.add(router);
    bus.add(new Piix4Pm(this.power, layout.PORT_ACPI_PM, layout.IRQ_SCI), isaSlot, 3);
    this.ports.add(layout.PORT_PCI_CONFIG_ADDRESS, 8, bus);
    // Within the window of the configuration address, which is reached by double words only.
    const resetControl = new ResetControl(() => this.parts.events.reset());
    this.ports.add(layout.PORT_PCI_RESET, 1, resetControl);
    for (const { plugged, faces } of this.plugVirtio(config)) {
      bus.add(new VirtioPci(plugged.device, faces));
    }
    const assign = () =>
      assignResources(bus, {
        ioStart: layout.PCI_IO_START,
        ioEnd: layout.PCI_IO_END,
        memoryStart: layout.PCI_MEMORY_START,
        memoryEnd: layout.PCI_MEMORY_END,
        pirqIrqs: layout.IRQ_PIRQ,
      });
    assign();
    this.resets.push(() => {
      bus.reset();
      resetControl.reset();
      assign();
    });
  }

  private addVirtioMmio(config: MachineConfig): void {
    for (const { plugged } of this.plugVirtio(config)) {
      const index = this.virtioMmio.length;
      const irq = layout.IRQ_VIRTIO_MMIO[index];
      if (irq === undefined) {
        throw new UserError(`-M microvm has room for ${layout.IRQ_VIRTIO_MMIO.length} virtio devices`);
      }
      const base = layout.VIRTIO_MMIO_START + index * layout.VIRTIO_MMIO_SIZE;
      const transport = new VirtioMmio(plugged.device, this.interrupts.line(irq));
      this.mmio.add(base, layout.VIRTIO_MMIO_SIZE, transport);
      this.virtioMmio.push({ base, irq });
      this.resets.push(() => transport.reset());
    }
  }

  /** Makes the virtio devices, in the order of the command line. */
  private plugVirtio(config: MachineConfig): { readonly plugged: Plugged; readonly faces: VirtioFaces }[] {
    return config.devices.flatMap((device) => {
      if (device.model === 'unsupported') {
        throw new UserError(`-device ${device.name}: not supported yet`);
      }
      if (!isVirtio(device)) {
        return [];
      }
      const plugged = createVirtioDevice(device, config, this.parts);
      this.virtioDevices.push(plugged.device);
      this.closes.push(plugged.close);
      if (plugged.sharedRoot !== undefined) {
        this.sharedRoots.push(plugged.sharedRoot);
      }
      return [{ plugged, faces: device }];
    });
  }

  private addIsaDevice(device: DeviceConfig): void {
    const { events, console } = this.parts;
    switch (device.model) {
      case 'isa-debug-exit':
        this.ports.add(device.iobase, device.iosize, new DebugExit((status) => events.exit(status)));
        break;
      case 'isa-debugcon':
        this.ports.add(device.iobase, 1, new Debugcon(console.output(device.character)));
        break;
      case 'pvpanic':
        this.ports.add(device.iobase, 1, new Pvpanic(() => events.panicked()));
        break;
    }
  }

  /**
   * Serves every virtio queue once.
   * @param poll look for packets, too, whose arrival the descriptor of a back end tells
   * @returns how much was done; 0: all are idle.
   */
  pump(poll: boolean): number {
    let work = 0;
    for (const device of this.virtioDevices) {
      work += device.pump(poll);
    }
    return work;
  }

  /** Someone pressed the power button: the guest is asked to shut down. */
  pressPowerButton(): void {
    this.power.pressPowerButton();
  }

  /** Power-on state, as firmware leaves it. */
  reset(): void {
    for (const reset of this.resets) {
      reset();
    }
  }

  /** Gives files back to the host. */
  close(): void {
    for (const close of this.closes) {
      close();
    }
  }
}
