/**
 * The command line: every option there is, in QEMU's names and grammar. `-help` is printed from this table.
 */

import { PORT_DEBUGCON } from '../layout.ts';
import { addChardev, addMonitor, addShortForm } from './character.ts';
import { addDevice, addDrive, addObject } from './device.ts';
import type { Draft } from './draft.ts';
import { addFsdev, addVirtfs } from './fsdev.ts';
import {
  setAccelerator,
  setDisplay,
  setIcount,
  setLog,
  setMachine,
  setMemory,
  setName,
  setRtc,
  setSandbox,
  setSmp,
  setVga,
} from './machine.ts';
import { addLegacyNet, addNetdev, addNic } from './net.ts';

export interface OptionSpec {
  readonly names: readonly string[];
  /** What the next word is; undefined: the option stands alone. */
  readonly argument?: string;
  readonly help: string;
  /** Absent: accepted without effect, and `help` says why. */
  readonly apply?: (draft: Draft, argument: string) => void;
}

export interface OptionSection {
  readonly title: string;
  readonly options: readonly OptionSpec[];
}

export const OPTION_TABLE: readonly OptionSection[] = [
  {
    title: 'Machine',
    options: [
      { names: ['M', 'machine'], argument: '[type=]pc|microvm[,…]', help: 'the board (default pc)', apply: setMachine },
      { names: ['m'], argument: '[size=]megs', help: 'RAM, as in 64M or 1G (default 128M)', apply: setMemory },
      { names: ['smp'], argument: '[cpus=]n', help: 'number of CPUs', apply: setSmp },
      {
        names: ['accel'],
        argument: 'tcg[,jit=wasm|js|off][,hot=n][,tb-size=megs][,tb-store=dir|off]',
        help: 'how guest code runs',
        apply: setAccelerator,
      },
      { names: ['icount'], argument: '[shift=]N', help: '2^N ns of guest time per instruction', apply: setIcount },
      { names: ['rtc'], argument: 'base=utc|localtime|date', help: 'where the clock starts', apply: setRtc },
      { names: ['name'], argument: 'string', help: 'name of the guest', apply: setName },
      { names: ['vga'], argument: 'std|none', help: 'a VGA card in text mode, or none', apply: setVga },
      { names: ['nodefaults'], help: 'no serial port, monitor or VGA but those asked for', apply: noDefaults },
    ],
  },
  {
    title: 'Kernel',
    options: [
      {
        names: ['kernel'],
        argument: 'file',
        help: 'multiboot, bzImage or PVH kernel; ELF64 with -M microvm',
        apply: (draft, file) => (draft.kernel = file),
      },
      {
        names: ['append'],
        argument: 'cmdline',
        help: 'its command line',
        apply: (draft, cmdline) => (draft.append = cmdline),
      },
      {
        names: ['initrd'],
        argument: 'file',
        help: 'RAM disk; for multiboot: modules "file args,file args"',
        apply: (draft, file) => (draft.initrd = file),
      },
    ],
  },
  {
    title: 'Network',
    options: [
      {
        names: ['netdev'],
        argument:
          'user,id=…[,hostfwd=tcp:[addr]:port-[addr]:port][,net=…]\ntap,id=…,ifname=…\nstream,id=…,addr.type=unix,addr.path=…[,server=on]',
        help: 'a back end for cards',
        apply: addNetdev,
      },
      { names: ['nic'], argument: 'user|tap|stream|none[,mac=…][,…]', help: 'a back end with a card', apply: addNic },
      { names: ['net'], argument: 'nic|user|tap|none[,…]', help: 'the same in the old way', apply: addLegacyNet },
    ],
  },
  {
    title: 'Devices',
    options: [
      {
        names: ['device'],
        argument: 'model[,id=…][,property=…]',
        help: 'plugs a device in; -device help lists them',
        apply: addDevice,
      },
      {
        names: ['drive'],
        argument: 'file=…,if=none|virtio[,id=…][,format=raw][,readonly=on][,cache=…][,discard=unmap]',
        help: 'a disk image: a file or a block device',
        apply: addDrive,
      },
      {
        names: ['object'],
        argument: 'filter-dump,id=…,netdev=…,file=…[,maxlen=n]\nrng-random,id=…',
        help: 'a pcap writer; a source of randomness',
        apply: addObject,
      },
      {
        names: ['fsdev'],
        argument: 'local,id=…,path=…,security_model=none[,readonly=on][,multidevs=remap|warn|forbid]',
        help: 'a directory of the host for -device virtio-9p-pci,fsdev=id,mount_tag=…',
        apply: addFsdev,
      },
      {
        names: ['virtfs'],
        argument: 'local,path=…,mount_tag=…,security_model=none[,…]',
        help: 'both in one',
        apply: addVirtfs,
      },
    ],
  },
  {
    title: 'Console and monitor',
    options: [
      { names: ['nographic'], help: 'serial port and monitor on this terminal (the default)', apply: setNographic },
      {
        names: ['display'],
        argument: 'none',
        help: 'nothing on this terminal but what is asked for',
        apply: setDisplay,
      },
      {
        names: ['serial'],
        argument: '[mon:]stdio|null|none|file:path|unix:path[,server=on][,wait=off]|tcp:host:port[,…]|chardev:id',
        help: 'the next COM port',
        apply: addSerial,
      },
      { names: ['monitor'], argument: 'as -serial', help: 'the monitor', apply: setMonitor },
      { names: ['debugcon'], argument: 'as -serial', help: 'a debug console at port 0xe9', apply: addDebugcon },
      {
        names: ['chardev'],
        argument: 'stdio|null|file|socket,id=…[,mux=on]',
        help: 'for -serial chardev:id',
        apply: addChardev,
      },
      {
        names: ['qmp'],
        argument: 'unix:path,server=on,wait=off|tcp:host:port,…|as -serial',
        help: 'a QMP server: the machine protocol of QEMU, for programs',
        apply: addQmp,
      },
      {
        names: ['mon'],
        argument: '[chardev=]id[,mode=readline|control]',
        help: 'a monitor on a chardev; control is QMP',
        apply: addMonitor,
      },
      {
        names: ['parallel'],
        argument: 'dev',
        help: 'accepted: there is no parallel port',
      },
    ],
  },
  {
    title: 'Running',
    options: [
      { names: ['no-reboot'], help: 'leave instead of resetting', apply: (draft) => (draft.noReboot = true) },
      { names: ['no-shutdown'], help: 'stop instead of leaving', apply: (draft) => (draft.noShutdown = true) },
      {
        names: ['S'],
        help: 'start stopped, until the monitor says cont',
        apply: (draft) => (draft.startStopped = true),
      },
      { names: ['d'], argument: 'item,…', help: 'write a log; -d help lists the items', apply: setLog },
      { names: ['D'], argument: 'file', help: 'the log goes there', apply: (draft, file) => (draft.logFile = file) },
      {
        names: ['profile'],
        argument: 'file',
        help: "write where guest and monitor spent their time, for speedscope (tsvmm's own)",
        apply: (draft, file) => (draft.profile = file),
      },
      {
        names: ['symbols'],
        argument: 'file',
        help: "ELF file with the guest's symbols, if the kernel has none (tsvmm's own)",
        apply: (draft, file) => (draft.symbols = file),
      },
      {
        names: ['pidfile'],
        argument: 'file',
        help: 'write our process id',
        apply: (draft, file) => (draft.pidFile = file),
      },
      {
        names: ['sandbox'],
        argument: 'on|off[,…]',
        help: 'confine the process by seccomp (default: where it can be)',
        apply: setSandbox,
      },
    ],
  },
  {
    title: 'Accepted without effect',
    options: [
      { names: ['cpu'], argument: 'model', help: 'the CPU is always the one that tsvmm has' },
      { names: ['enable-kvm'], help: 'tsvmm replaces KVM' },
      { names: ['L'], argument: 'path', help: 'no firmware files are needed' },
      { names: ['boot'], argument: '[order=]drives[,…]', help: 'kernels are booted directly' },
      { names: ['no-user-config'], help: 'there are no configuration files' },
      { names: ['no-hpet'], help: 'there is no HPET' },
      { names: ['overcommit'], argument: 'options', help: "memory is the host's affair" },
    ],
  },
  {
    title: 'About',
    options: [
      { names: ['h', 'help'], help: 'this text' },
      { names: ['version'], help: 'the version' },
    ],
  },
];

function noDefaults(draft: Draft): void {
  draft.noDefaults = true;
}

function setNographic(draft: Draft): void {
  draft.nographic = true;
}

function addSerial(draft: Draft, text: string): void {
  draft.serialGiven = true;
  draft.serials.push(addShortForm(draft, '-serial', text, `serial${draft.serials.length}`));
}

function setMonitor(draft: Draft, text: string): void {
  draft.monitorGiven = true;
  const character = addShortForm(draft, '-monitor', text, `monitor${draft.monitors.length}`);
  if (character !== undefined && !draft.monitors.includes(character)) {
    draft.monitors.push(character);
  }
}

function addQmp(draft: Draft, text: string): void {
  const character = addShortForm(draft, '-qmp', text, `compat_monitor${draft.qmps.length}`);
  if (character !== undefined) {
    draft.qmps.push(character);
  }
}

function addDebugcon(draft: Draft, text: string): void {
  const character = addShortForm(draft, '-debugcon', text, 'debugcon');
  if (character !== undefined) {
    draft.devices.push({ model: 'isa-debugcon', iobase: PORT_DEBUGCON, character });
  }
}
