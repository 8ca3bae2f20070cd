/** What `info …` of the monitor prints, in the form of QEMU's as far as the things are the same. */

import type { InterruptHub } from '../../devices/apic/interrupt-hub.ts';
import { IO_APIC_PINS } from '../../devices/apic/io-apic.ts';
import type { Pic8259 } from '../../devices/legacy/pic8259.ts';
import {
  PCI_CLASS_PROG,
  PCI_DEVICE_ID,
  PCI_INTERRUPT_LINE,
  PCI_INTERRUPT_PIN,
  PCI_SUBSYSTEM_ID,
  PCI_SUBSYSTEM_VENDOR_ID,
  PCI_VENDOR_ID,
} from '../../devices/pci/config-space.ts';
import type { PciBus } from '../../devices/pci/pci-bus.ts';
import type { PciDevice } from '../../devices/pci/pci-device.ts';
import type { DeviceConfig, MachineConfig } from '../options/config.ts';
import {
  isPaged,
  linearText,
  PTE_A,
  PTE_D,
  PTE_G,
  PTE_PCD,
  PTE_PS,
  PTE_PWT,
  PTE_U,
  PTE_W,
  visitPages,
} from './page-tables.ts';
import type { MonitorTarget } from './target.ts';

const hex = (value: number | bigint, digits: number) => value.toString(16).padStart(digits, '0');

// ── Devices ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Names of base class and subclass; the rest is told by number. */
const PCI_CLASSES: Readonly<Record<number, string>> = {
  2: 'Class 0002',
  255: 'Class 0255',
  256: 'SCSI controller',
  512: 'Ethernet controller',
  1536: 'Host bridge',
  1537: 'ISA bridge',
  1664: 'Bridge',
};

export function describePci(bus: PciBus): string {
  const lines: string[] = [];
  for (const { slot, fn, device } of bus.devices()) {
    const { config } = device;
    const classCode = config.get16(PCI_CLASS_PROG + 1);
    const id = (offset: number) => hex(config.get16(offset), 4);
    lines.push(
      `  Bus  0, device ${String(slot).padStart(3)}, function ${fn}:`,
      `    ${PCI_CLASSES[classCode] ?? `Class ${hex(classCode, 4)}`}: PCI device ${id(PCI_VENDOR_ID)}:${id(PCI_DEVICE_ID)}`,
    );
    if (config.get16(PCI_SUBSYSTEM_VENDOR_ID) !== 0) {
      lines.push(`      PCI subsystem ${id(PCI_SUBSYSTEM_VENDOR_ID)}:${id(PCI_SUBSYSTEM_ID)}`);
    }
    const pin = config.bytes[PCI_INTERRUPT_PIN];
    if (pin !== 0) {
      lines.push(`      IRQ ${config.bytes[PCI_INTERRUPT_LINE]}, pin ${'ABCD'[pin - 1]}`);
    }
    lines.push(...describeBars(device));
  }
  return lines.join('\n');
}

function describeBars(device: PciDevice): string[] {
  return device.bars.map(({ index, kind, is64, size, mappedAt }) => {
    const type = kind === 'io' ? 'I/O' : `${is64 ? 64 : 32} bit memory`;
    const at = mappedAt < 0 ? 'not mapped' : `at 0x${hex(mappedAt, 4)} [0x${hex(mappedAt + size - 1, 4)}]`;
    return `      BAR${index}: ${type} ${at}.`;
  });
}

export function describeNetwork({ devices, netdevs }: MachineConfig): string {
  return devices
    .flatMap((device, index) => {
      if (device.model !== 'virtio-net') {
        return [];
      }
      const netdev = netdevs.find(({ id }) => id === device.netdev);
      return [
        `${device.id ?? `virtio-net.${index}`}: index=0,type=nic,model=virtio-net,macaddr=${device.mac}`,
        ...(netdev ? [` \\ ${netdev.id}: index=0,type=${netdev.type}`] : []),
      ];
    })
    .join('\n');
}

export function describeBlock({ devices, drives }: MachineConfig): string {
  return drives
    .map(({ id, file, readonly, writeback, flush }) => {
      const user = devices.find((device) => device.model === 'virtio-blk' && device.drive === id);
      const mode = [writeback ? 'writeback' : 'writethrough', ...(flush ? [] : ['ignore flushes'])].join(', ');
      return [
        `${id}: ${file} (raw${readonly ? ', read-only' : ''})`,
        ...(user ? [`    Attached to:      ${user.id ?? user.model}`] : []),
        `    Cache mode:       ${mode}`,
      ].join('\n');
    })
    .join('\n\n');
}

export function describeCharacters({ characters }: MachineConfig): string {
  return characters
    .map((character) => {
      const { id, mux, kind } = character;
      const detail = kind === 'file' ? `file:${character.path}` : kind === 'socket' ? character.name : kind;
      return `${id}: filename=${mux ? `mux:${detail}` : detail}`;
    })
    .join('\n');
}

/** The devices of the command line, by the bus they are on. */
export function describeTree({ config }: MonitorTarget): string {
  const isIsa = ({ model }: DeviceConfig) => !model.startsWith('virtio-');
  const bus = (name: string, type: string, devices: readonly DeviceConfig[]) => [
    `bus: ${name}`,
    `  type ${type}`,
    ...devices.flatMap((device) => [
      `  dev: ${device.model}, id "${device.id ?? ''}"`,
      ...Object.entries(device)
        .filter(([name, value]) => !['model', 'id'].includes(name) && value !== undefined)
        .map(([name, value]) => `    ${name} = ${JSON.stringify(value)}`),
    ]),
  ];
  const virtio = config.devices.filter((device) => !isIsa(device));
  return [
    ...(config.machine === 'pc' ? bus('pci.0', 'PCI', virtio) : bus('virtio-mmio', 'virtio-mmio-bus', virtio)),
    ...bus('isa.0', 'ISA', config.devices.filter(isIsa)),
  ].join('\n');
}

// ── Interrupts ───────────────────────────────────────────────────────────────────────────────────────────────────────

export function describeInterrupts({ delivered }: InterruptHub): string {
  const lines = [...delivered].flatMap((count, vector) => (count === 0 ? [] : [`  0x${hex(vector, 2)}: ${count}`]));
  return ['Interrupts taken by the CPU, by vector:', ...lines].join('\n');
}

export function describePic({ pic, ioApic }: InterruptHub): string {
  const chip = (name: string, { registers: r, elcr }: Pic8259) =>
    `${name}: irr=${hex(r.irr, 2)} imr=${hex(r.imr, 2)} isr=${hex(r.isr, 2)} hprio=${r.highest} irq_base=${hex(r.base, 2)} elcr=${hex(elcr, 2)}`;
  const lines = ['ioapic0:'];
  for (let pin = 0; pin < IO_APIC_PINS; pin++) {
    const { low, high } = ioApic.entry(pin);
    const text = [
      `dest=${hex(high >>> 24, 2)}`,
      `vec=${hex(low & 0xff, 2)}`,
      (low & 0x2000) !== 0 ? 'active-lo' : 'active-hi',
      (low & 0x8000) !== 0 ? 'level' : 'edge ',
      (low & 0x10000) !== 0 ? 'masked' : '      ',
      (low & 0x800) !== 0 ? 'logical' : 'physical',
    ];
    lines.push(`  pin ${String(pin).padEnd(2)} 0x${hex(high, 8)}${hex(low, 8)} ${text.join(' ')}`);
  }
  return [chip('pic0', pic.master), chip('pic1', pic.slave), ...lines].join('\n');
}

// ── Paging ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A guest's tables may describe more than anybody can read. */
const TABLES_MAX = 2048;
const LINES_MAX = 4096;
const PAGING_OFF = 'PG disabled';

/** `info tlb`: every page that the tables map. */
export function describePagesOf(target: MonitorTarget): string {
  const state = target.paging();
  if (!isPaged(state)) {
    return PAGING_OFF;
  }
  const lines: string[] = [];
  visitPages(
    state,
    (address) => target.physicalByte(address),
    0,
    TABLES_MAX,
    (page) => {
      const { linear, physical, flags, noExecute } = page;
      const letters = PAGE_FLAGS.map(([bit, letter]) => ((flags & bit) === 0 ? '-' : letter)).join('');
      lines.push(`${linearText(linear)}: ${hex(physical, 16)} ${noExecute ? 'X' : '-'}${letters}`);
      return !isFull(lines);
    },
  );
  return lines.join('\n');
}

const PAGE_FLAGS = [
  [PTE_G, 'G'],
  [PTE_PS, 'P'],
  [PTE_D, 'D'],
  [PTE_A, 'A'],
  [PTE_PCD, 'C'],
  [PTE_PWT, 'T'],
  [PTE_U, 'U'],
  [PTE_W, 'W'],
] as const;

/** `info mem`: runs of linear addresses with the same permissions. */
export function describeRangesOf(target: MonitorTarget): string {
  const state = target.paging();
  if (!isPaged(state)) {
    return PAGING_OFF;
  }
  const lines: string[] = [];
  let [start, end, permissions] = [0, 0, ''];
  const finish = () => {
    if (end !== start) {
      lines.push(`${linearText(start)}-${linearText(end)} ${hex(end - start, 16)} ${permissions}`);
    }
  };
  visitPages(
    state,
    (address) => target.physicalByte(address),
    0,
    TABLES_MAX,
    ({ linear, size, flags }) => {
      const now = `${(flags & PTE_U) === 0 ? '-' : 'u'}r${(flags & PTE_W) === 0 ? '-' : 'w'}`;
      if (linear !== end || now !== permissions) {
        finish();
        start = linear;
        permissions = now;
      }
      end = linear + size;
      return !isFull(lines);
    },
  );
  finish();
  return lines.join('\n');
}

/** @returns whether no more lines should be added; then one that says so was */
function isFull(lines: string[]): boolean {
  if (lines.length < LINES_MAX) {
    return false;
  }
  lines.push('…');
  return true;
}
