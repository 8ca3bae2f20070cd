/**
 * argv → {@link MachineConfig}: looks words up in the option table, then fills in QEMU's defaults and checks what the
 * options say of each other.
 */

import { UserError } from '../errors.ts';
import { addShortForm } from './character.ts';
import type { DeviceConfig, MachineConfig } from './config.ts';
import { DEVICE_MODELS } from './device.ts';
import { Draft, type NicDraft } from './draft.ts';
import { LOG_ITEMS } from './machine.ts';
import { plugLegacyNics } from './net.ts';
import { OPTION_TABLE, type OptionSpec } from './table.ts';

/** What the command line asks for: a machine, or some text. */
export type Command =
  | { readonly kind: 'run'; readonly config: MachineConfig }
  | { readonly kind: 'help' | 'version' }
  | { readonly kind: 'text'; readonly text: string };

const SPECS = new Map<string, OptionSpec>(
  OPTION_TABLE.flatMap(({ options }) => options.flatMap((spec) => spec.names.map((name) => [name, spec] as const))),
);

/**
 * @param argv the words after the program's name
 * @throws UserError for anything that is not understood
 */
export function parseArguments(argv: readonly string[]): Command {
  const draft = new Draft();
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index];
    // Callers that build their argv from templates leave empty words.
    if (word === '') {
      continue;
    }
    const spec = lookUp(word);
    if (spec.names.includes('help') || spec.names.includes('version')) {
      return { kind: spec.names.includes('help') ? 'help' : 'version' };
    }
    let argument = '';
    if (spec.argument !== undefined) {
      index++;
      if (index >= argv.length) {
        throw new UserError(`${word}: requires an argument`);
      }
      argument = argv[index];
      const list = argument === 'help' ? listOf(spec) : undefined;
      if (list !== undefined) {
        return { kind: 'text', text: list };
      }
    }
    spec.apply?.(draft, argument);
  }
  return { kind: 'run', config: finish(draft) };
}

/** Options start with one dash or two. */
function lookUp(word: string): OptionSpec {
  if (!word.startsWith('-')) {
    throw new UserError(`'${word}': not an option; a kernel is given by -kernel, a disk by -drive`);
  }
  const spec = SPECS.get(word.slice(word.startsWith('--') ? 2 : 1));
  if (!spec) {
    throw new UserError(`${word}: invalid option; -help lists them all`);
  }
  return spec;
}

function listOf(spec: OptionSpec): string | undefined {
  switch (spec.names.at(-1)) {
    case 'device':
      return `${DEVICE_MODELS.join('\n')}\n`;
    case 'machine':
      return 'microvm  PCI-less board with virtio-mmio, as Firecracker\npc       i440FX + PIIX (default)\n';
    case 'cpu':
      return 'tsvmm    x86-64 with SSE4.2, BMI, RDRAND (any other name means this one)\n';
    case 'd':
      return Object.entries(LOG_ITEMS)
        .map(([item, help]) => `${item.padEnd(14)}${help}\n`)
        .join('');
    default:
      return undefined;
  }
}

function finish(draft: Draft): MachineConfig {
  if (draft.kernel === undefined) {
    throw new UserError('no kernel given: say -kernel FILE (-help lists the options)');
  }
  addDefaultConsole(draft);
  plugLegacyNics(draft);
  checkReferences(draft);
  return {
    machine: draft.machine,
    name: draft.name,
    ramSize: draft.ramSize,
    cpus: draft.cpus,
    kernel: draft.kernel,
    append: draft.append,
    initrd: draft.initrd,
    vga: draft.vga ?? !draft.noDefaults,
    rtcBase: draft.rtcBase,
    accelerator: draft.accelerator,
    icountShift: draft.icountShift,
    characters: draft.characters,
    serials: draft.serials,
    monitors: draft.monitors,
    qmps: draft.qmps,
    netdevs: draft.netdevs,
    filterDumps: draft.filterDumps,
    drives: draft.drives,
    fsdevs: draft.fsdevs,
    devices: assignMacs(draft.devices),
    noReboot: draft.noReboot,
    noShutdown: draft.noShutdown,
    startStopped: draft.startStopped,
    log: draft.log,
    logFile: draft.logFile,
    profile: draft.profile,
    symbols: draft.symbols,
    pidFile: draft.pidFile,
    sandbox: draft.sandbox,
    warnings: draft.warnings,
  };
}

/**
 * QEMU's rules (softmmu/vl.c, qemu_create_default_devices): without -nodefaults, what was not given goes to the
 * terminal with -nographic, and nowhere with -display none. With neither, QEMU opens a window; we do as -nographic.
 */
function addDefaultConsole(draft: Draft): void {
  const serial = !draft.noDefaults && !draft.serialGiven;
  const monitor = !draft.noDefaults && !draft.monitorGiven;
  const stdioIsFree = !draft.characters.some((character) => character.kind === 'stdio');
  const terminal = (draft.nographic || draft.display === undefined) && stdioIsFree;
  if (serial) {
    draft.serials.push(
      addShortForm(draft, '-serial', terminal ? (monitor ? 'mon:stdio' : 'stdio') : 'null', 'serial0'),
    );
  } else if (monitor && draft.nographic && stdioIsFree) {
    draft.monitors.push(addShortForm(draft, '-monitor', 'stdio', 'monitor0')!);
  }
}

/** Ids that options name must exist, and be used once. */
function checkReferences(draft: Draft): void {
  const plugged = new Set<string>();
  for (const device of draft.devices) {
    if (device.model === 'virtio-net' && device.netdev !== undefined) {
      claim(device.netdev, draft.netdevs, plugged, 'netdev', `network card${device.id ? ` '${device.id}'` : ''}`);
    }
    if (device.model === 'virtio-9p' && !draft.hasId('fsdev', device.fsdev)) {
      throw new UserError(`-device virtio-9p-…: couldn't find fsdev with the id = ${device.fsdev}`);
    }
  }
  const driven = new Set<string>();
  for (const { drive, where } of draft.driveUsers) {
    claim(drive, draft.drives, driven, 'drive', where);
  }
  for (const { id, netdev } of draft.filterDumps) {
    if (!draft.netdevs.some((other) => other.id === netdev)) {
      throw new UserError(`-object filter-dump,id=${id}: there is no netdev '${netdev}'`);
    }
  }
  if (draft.serials.length > 4) {
    throw new UserError('-serial: there are four COM ports');
  }
  if (draft.machine === 'microvm' && draft.buses.has('pci')) {
    throw new UserError("-M microvm has no PCI: use the '-device' models, such as virtio-net-device");
  }
  if (draft.machine === 'pc' && draft.buses.has('mmio')) {
    throw new UserError("-M pc has no virtio-mmio bus: use the '-pci' models, such as virtio-net-pci");
  }
}

function claim(
  id: string,
  all: readonly { readonly id: string }[],
  taken: Set<string>,
  kind: string,
  where: string,
): void {
  if (!all.some((other) => other.id === id)) {
    throw new UserError(`${where}: there is no ${kind} '${id}'`);
  }
  if (taken.has(id)) {
    throw new UserError(`${where}: ${kind} '${id}' is already in use`);
  }
  taken.add(id);
}

/** QEMU's default addresses: 52:54:00:12:34:56 and up, leaving out those that were given. */
function assignMacs(devices: readonly (DeviceConfig | NicDraft)[]): DeviceConfig[] {
  const taken = new Set(devices.map((device) => (device.model === 'virtio-net' ? device.mac : undefined)));
  let last = 0x123456;
  return devices.map((device) => {
    if (device.model !== 'virtio-net') {
      return device;
    }
    let { mac } = device;
    while (mac === undefined) {
      const low = (last++).toString(16).padStart(6, '0');
      const candidate = `52:54:00:${low.slice(0, 2)}:${low.slice(2, 4)}:${low.slice(4)}`;
      if (!taken.has(candidate)) {
        mac = candidate;
        taken.add(candidate);
      }
    }
    return { ...device, mac };
  });
}
