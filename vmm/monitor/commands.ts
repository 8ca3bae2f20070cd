/** The commands of QEMU's human monitor (HMP) that have a meaning here: a line in, text out. */

import { VERSION } from '../version.ts';
import {
  describeBlock,
  describeCharacters,
  describeInterrupts,
  describeNetwork,
  describePagesOf,
  describePci,
  describePic,
  describeRangesOf,
  describeTree,
} from './info.ts';
import { dumpMemory, parseDumpRequest } from './memory-dump.ts';
import { translate } from './page-tables.ts';
import type { MonitorTarget } from './target.ts';

interface Command {
  readonly names: readonly string[];
  readonly parameters?: string;
  readonly help: string;
  /** @returns the answer, empty for none */
  readonly run: (target: MonitorTarget, argument: string) => string;
}

const COMMANDS: readonly Command[] = [
  {
    names: ['help', '?'],
    parameters: '[cmd]',
    help: 'show the help',
    run: (_, topic) => help(COMMANDS, topic, ''),
  },
  {
    names: ['info'],
    parameters: '[subcommand]',
    help: 'show various information about the system state',
    run: (target, rest) =>
      rest === ''
        ? help(INFO_COMMANDS, '', 'info ')
        : (runFrom(INFO_COMMANDS, target, rest) ?? `unknown command: 'info ${rest}'`),
  },
  { names: ['quit', 'q'], help: 'quit the emulator', run: act((target) => target.quit()) },
  { names: ['stop', 's'], help: 'stop emulation', run: act((target) => target.stop()) },
  {
    names: ['cont', 'c'],
    help: 'resume emulation',
    run: (target) => (target.cont() ? '' : 'Error: Resetting the Virtual Machine is required'),
  },
  { names: ['system_reset'], help: 'reset the system', run: act((target) => target.systemReset()) },
  {
    names: ['system_powerdown'],
    help: 'send system power down event',
    run: act((target) => target.systemPowerdown()),
  },
  {
    names: ['x'],
    parameters: '/fmt addr',
    help: "virtual memory dump starting at 'addr'",
    run: (target, rest) =>
      dump('x', rest, (address) => {
        const physical = translate(target.paging(), (at) => target.physicalByte(at), address);
        return physical === undefined ? undefined : target.physicalByte(physical);
      }),
  },
  {
    names: ['xp'],
    parameters: '/fmt addr',
    help: "physical memory dump starting at 'addr'",
    run: (target, rest) => dump('xp', rest, (address) => target.physicalByte(Number(address))),
  },
  {
    names: ['gva2gpa'],
    parameters: 'addr',
    help: 'print the guest physical address corresponding to a guest virtual address',
    run: (target, rest) => {
      if (!/^(0x[0-9a-f]+|\d+)$/i.test(rest)) {
        return 'gva2gpa: integer is for addr expected';
      }
      const physical = translate(target.paging(), (at) => target.physicalByte(at), BigInt.asUintN(64, BigInt(rest)));
      return physical === undefined ? 'Unmapped' : `gpa: 0x${physical.toString(16)}`;
    },
  },
];

const INFO_COMMANDS: readonly Command[] = [
  { names: ['block'], help: 'show the block devices', run: ({ config }) => describeBlock(config) },
  { names: ['chardev'], help: 'show the character devices', run: ({ config }) => describeCharacters(config) },
  { names: ['irq'], help: 'show the interrupts statistics', run: ({ interrupts }) => describeInterrupts(interrupts) },
  {
    names: ['jit'],
    help: 'show dynamic compiler info',
    run: (target) => target.statistics().join('\n'),
  },
  { names: ['mem'], help: 'show the active virtual memory mappings', run: describeRangesOf },
  { names: ['name'], help: 'show the current VM name', run: ({ config }) => config.name },
  { names: ['network'], help: 'show the network state', run: ({ config }) => describeNetwork(config) },
  {
    names: ['pci'],
    help: 'show PCI info',
    run: ({ pci }) => (pci ? describePci(pci) : 'PCI devices not supported'),
  },
  { names: ['pic'], help: 'show PIC state', run: ({ interrupts }) => describePic(interrupts) },
  { names: ['qtree'], help: 'show device tree', run: describeTree },
  { names: ['registers'], help: 'show the cpu registers', run: (target) => target.registers() },
  {
    names: ['status'],
    help: 'show the current VM status (running|paused)',
    run: ({ runState }) => `VM status: ${statusOf(runState)}`,
  },
  { names: ['tlb'], help: 'show virtual to physical memory mappings', run: describePagesOf },
  { names: ['version'], help: 'show the version of tsvmm', run: () => VERSION },
];

/** Runs a line. @returns what there is to print, lines separated by line feeds, and empty for nothing */
export function runCommand(target: MonitorTarget, line: string): string {
  const trimmed = line.trim();
  return trimmed === '' ? '' : (runFrom(COMMANDS, target, trimmed) ?? `unknown command: '${trimmed}'`);
}

function runFrom(commands: readonly Command[], target: MonitorTarget, line: string): string | undefined {
  const [, word, argument] = /^([^\s/]*)\s*(.*)$/.exec(line)!;
  return commands.find((command) => command.names.includes(word))?.run(target, argument);
}

function act(action: (target: MonitorTarget) => void): Command['run'] {
  return (target) => {
    action(target);
    return '';
  };
}

function help(commands: readonly Command[], topic: string, prefix: string): string {
  return commands
    .filter((command) => topic === '' || command.names.includes(topic))
    .map(({ names, parameters, help }) => `${prefix}${names.join('|')} ${parameters ?? ''} -- ${help}`)
    .join('\n');
}

function dump(name: string, rest: string, read: (address: bigint) => number | undefined): string {
  const request = parseDumpRequest(rest);
  return request
    ? dumpMemory(request, read)
    : `${name} /fmt addr: fmt is a count, one of x d u c, and one of b h w g, as in ${name} /16xb 0xb8000`;
}

function statusOf(runState: string): string {
  return runState === 'running' || runState === 'paused' ? runState : `paused (${runState})`;
}
