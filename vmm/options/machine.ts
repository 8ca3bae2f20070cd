/** Options about the board: `-m`, `-smp`, `-machine`, `-accel`, `-rtc`, `-icount`, `-d`, `-name`, `-display`, `-vga`. */

import { rtcBase } from '../../devices/legacy/rtc-cmos.ts';
import { UserError } from '../errors.ts';
import { parseSize, Suboptions } from '../keyval.ts';
import { MIB, PAGE_SIZE, RAM_MAX, RAM_MIN } from '../layout.ts';
import type { Draft } from './draft.ts';

/** `-m [size=]megs`: a number without suffix counts MiB. */
export function setMemory(draft: Draft, text: string): void {
  const sub: Suboptions = new Suboptions('-m', text, 'size');
  const size = sub.require('size');
  const bytes = parseSize(size, MIB);
  if (bytes === undefined) {
    sub.fail(`Parameter 'size' expects a number with an optional suffix k, M or G, not '${size}'`);
  }
  if (sub.take('maxmem') !== undefined || sub.take('slots') !== undefined) {
    sub.fail('memory cannot be plugged in later: leave slots= and maxmem= out');
  }
  sub.finish();
  if (bytes < RAM_MIN || bytes > RAM_MAX) {
    sub.fail(`the guest can have from ${RAM_MIN / MIB}M to ${RAM_MAX / MIB}M of memory`);
  }
  draft.ramSize = Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE;
}

/** What local APIC ids, one byte, can tell apart. */
const CPUS_MAX = 255;

/** `-smp [cpus=]n[,sockets=…][,cores=…][,threads=…][,maxcpus=…]` */
export function setSmp(draft: Draft, text: string): void {
  const sub = new Suboptions('-smp', text, 'cpus');
  const take = (key: string) => sub.takeInteger(key, 1, CPUS_MAX);
  const cpus = take('cpus');
  const shape = [take('sockets'), take('dies'), take('cores'), take('threads')];
  sub.ignore('maxcpus');
  sub.finish();
  const asked = cpus ?? shape.reduce<number>((product, factor) => product * (factor ?? 1), 1);
  if (asked > 1) {
    draft.warnings.push(`-smp ${text}: this version runs one CPU`);
  }
  draft.cpus = 1;
}

/** `-machine [type=]pc|microvm[,accel=…]` */
export function setMachine(draft: Draft, text: string): void {
  const sub = new Suboptions('-machine', text, 'type');
  const type = sub.take('type');
  if (type !== undefined) {
    // Versions of QEMU's pc differ in nothing that is modelled here.
    if (type === 'pc' || type.startsWith('pc-i440fx-')) {
      draft.machine = 'pc';
    } else if (type === 'microvm') {
      draft.machine = 'microvm';
    } else {
      sub.fail(`unsupported machine type '${type}' (one of: pc, microvm)`);
    }
  }
  for (const name of (sub.take('accel') ?? '').split(':')) {
    checkAccelerator(sub, name);
  }
  // Parts that QEMU can leave out or tune, and that make no difference to a guest that boots here.
  sub.ignore('acpi', 'usb', 'vmport', 'graphics', 'dump-guest-core', 'mem-merge', 'kernel_irqchip', 'kernel-irqchip');
  sub.ignore('hpet', 'smm', 'pic', 'pit', 'rtc', 'isa-serial', 'x-option-roms', 'auto-kernel-cmdline');
  sub.finish();
}

/** Blocks count their executions in an int32. */
const HOT_MAX = 0x7fffffff;

/** KVM is what we replace: whoever asks for it gets us. */
const ACCELERATORS = ['', 'tcg', 'kvm'];

function checkAccelerator(sub: Suboptions, name: string): void {
  if (!ACCELERATORS.includes(name)) {
    sub.fail(`invalid accelerator ${name} (there is one: tcg)`);
  }
}

/** `-accel [accel=]tcg[,jit=wasm|js|off][,hot=N][,tb-size=megs][,tb-store=directory|off]` */
export function setAccelerator(draft: Draft, text: string): void {
  const sub: Suboptions = new Suboptions('-accel', text, 'accel');
  checkAccelerator(sub, sub.take('accel') ?? '');
  const jit = sub.takeOneOf('jit', ['wasm', 'js', 'off']) ?? draft.accelerator.jit;
  const hot = sub.takeInteger('hot', 1, HOT_MAX) ?? draft.accelerator.hot;
  const size = sub.take('tb-size');
  let { codeCache } = draft.accelerator;
  if (size !== undefined) {
    const bytes = parseSize(size, MIB);
    if (bytes === undefined) {
      sub.fail(`Parameter 'tb-size' expects a number with an optional suffix k, M or G, not '${size}'`);
    }
    // 0 asks for what is usual.
    codeCache = bytes === 0 ? undefined : bytes;
  }
  const store = sub.take('tb-store') ?? draft.accelerator.store;
  if (store === '') {
    sub.fail("Parameter 'tb-store' expects a directory, or off");
  }
  draft.accelerator = { jit, hot, codeCache, store };
  // QEMU's tuning of its own accelerators.
  sub.ignore('thread', 'one-insn-per-tb', 'split-wx', 'kernel-irqchip', 'kvm-shadow-mem', 'dirty-ring-size');
  sub.finish();
}

/** `-rtc [base=utc|localtime|datetime]` */
export function setRtc(draft: Draft, text: string): void {
  const sub = new Suboptions('-rtc', text);
  const base = sub.take('base') ?? draft.rtcBase;
  if (rtcBase(base, 0) === undefined) {
    sub.fail(`invalid datetime format '${base}' (utc, localtime, 2006-06-17T16:01:21 or 2006-06-17)`);
  }
  draft.rtcBase = base;
  sub.takeOneOf('clock', ['host', 'rt', 'vm']);
  sub.takeOneOf('driftfix', ['none', 'slew']);
  sub.finish();
}

const ICOUNT_SHIFT_MAX = 10;

/** `-icount [shift=]N`: 2^N ns of guest time per instruction. */
export function setIcount(draft: Draft, text: string): void {
  const sub = new Suboptions('-icount', text, 'shift');
  if (sub.takeBoolean('align')) {
    sub.fail('align=on is not supported');
  }
  sub.takeBoolean('sleep');
  const shift = sub.takeInteger('shift', 0, ICOUNT_SHIFT_MAX) ?? sub.fail("Parameter 'shift' is missing");
  sub.finish();
  draft.icountShift = shift;
}

/** What `-d` can write, and what it is. */
export const LOG_ITEMS: Readonly<Record<string, string>> = {
  in_asm: 'guest instructions of each block when it is decoded',
  op: 'intermediate code of each region when it is translated',
  out_asm: 'generated code of each region: WebAssembly, or JavaScript with jit=js',
  exec: 'each block and region when it is entered (slow)',
  cpu: 'registers before each block and region (slow)',
  int: 'exceptions and interrupts, with registers',
  mmu: 'page faults with the entries of the page tables, TLB flushes, INVLPG',
  cpu_reset: 'registers before each reset',
  startup: 'when the phases of the start were reached, told when the machine ends',
  stats: 'counters of CPU and translator when the machine ends',
};

/** `-d item,…` */
export function setLog(draft: Draft, text: string): void {
  const items = text.split(',').filter((item) => item !== '');
  for (const item of items) {
    if (!Object.hasOwn(LOG_ITEMS, item)) {
      throw new UserError(`-d ${text}: unknown log item '${item}' (one of: ${Object.keys(LOG_ITEMS).join(', ')})`);
    }
  }
  draft.log = items;
}

/** What `-sandbox` can say more. Whatever it says, all of it is denied: nothing here needs any. */
const SANDBOX_RULES = ['obsolete', 'elevateprivileges', 'spawn', 'resourcecontrol'];

/** `-sandbox on|off[,obsolete=…][,elevateprivileges=…][,spawn=…][,resourcecontrol=…]` */
export function setSandbox(draft: Draft, text: string): void {
  const sub = new Suboptions('-sandbox', text, 'enable');
  draft.sandbox = (sub.takeBoolean('enable') ?? sub.fail("Parameter 'enable' is missing")) ? 'on' : 'off';
  for (const rule of SANDBOX_RULES) {
    sub.takeOneOf(rule, rule === 'elevateprivileges' ? ['allow', 'deny', 'children'] : ['allow', 'deny']);
  }
  sub.finish();
}

/** `-name [guest=]name[,process=…][,debug-threads=…]` */
export function setName(draft: Draft, text: string): void {
  const sub = new Suboptions('-name', text, 'guest');
  draft.name = sub.take('guest') ?? '';
  sub.ignore('process', 'debug-threads');
  sub.finish();
}

/** `-display none`: there are no windows. */
export function setDisplay(draft: Draft, text: string): void {
  if (text !== 'none') {
    throw new UserError(`-display ${text}: there is no graphical display; use -display none or -nographic`);
  }
  draft.display = text;
}

/** `-vga none|std`: whether there is a card, which shows text mode only. */
export function setVga(draft: Draft, text: string): void {
  if (text !== 'none' && text !== 'std') {
    throw new UserError(`-vga ${text}: unknown vga type (one of: none, std)`);
  }
  draft.vga = text === 'std';
}
