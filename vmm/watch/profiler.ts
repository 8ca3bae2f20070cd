/**
 * `-profile`: where the time of guest and monitor goes, as a file for speedscope.
 *
 * The guest is sampled by instructions: it runs a piece, and what stands at RIP then gets the time that the piece took.
 * Pieces end at heads of blocks and, within regions, of loops; so each is followed by a random number of single steps, or
 * what has no loops would never be seen.
 */

import type { CoreFactory, CoreImports } from '../../cpu/core.ts';
import { EXIT_NAMES } from '../../cpu/counters.ts';
import { type Cpu, STOP_BUDGET } from '../../cpu/cpu.ts';
import { rowAt } from '../../cpu/isa/table.ts';
import { R_ROW } from '../../cpu/record.ts';
import { S_BLOCK_RIP, S_MODE, S_RIP } from '../../cpu/state.ts';
import type { BusDevice } from '../../devices/bus.ts';
import type { MmioBus } from '../../devices/mmio-bus.ts';
import type { PortBus } from '../../devices/port-bus.ts';
import { print } from '../print.ts';
import { returnAddresses } from './call-stack.ts';
import { SampledProfile, speedscopeFile } from './speedscope.ts';
import { Stopwatch } from './stopwatch.ts';
import { linearAddress, type Symbols } from './symbols.ts';
import { type WatchedMachine, type Watcher, wrap } from './watch.ts';

/** Instructions of a piece: it shall take from TIME_LEAST to TIME_MOST, ms. */
const PIECE_FIRST = 20_011;
const PIECE_LEAST = 1009;
const PIECE_MOST = 10_000_019;
const TIME_LEAST = 1;
const TIME_MOST = 4;
/** Single steps behind a piece, at most: more than instructions lie between heads of loops, as a rule. */
const STEPS_MOST = 512;
/** Names without a symbol tell the page. */
const PAGE_SIZE = 4096;

export class Profiler implements Watcher {
  private readonly fd: number;
  private readonly symbols: Symbols;
  private readonly name: string;
  private readonly functions = new SampledProfile('guest: functions', 'milliseconds');
  private readonly tiers = new SampledProfile('guest: functions by tier', 'milliseconds');
  private readonly stopwatch = new Stopwatch('idle, event loop');
  private piece = PIECE_FIRST;
  /** Instructions until the next sample, and what has been run for it, ms. */
  private left = PIECE_FIRST;
  private time = 0;
  private random = 1;
  private cpu: Cpu | undefined;
  /** Is an exit of the core being dealt with? */
  private inExit = false;

  /** @param name of the profile */
  constructor(fd: number, symbols: Symbols, name: string) {
    this.fd = fd;
    this.symbols = symbols;
    this.name = name;
  }

  // ── The monitor ────────────────────────────────────────────────────────────────────────────────────────────────────

  watchCore(core: CoreFactory): CoreFactory {
    return (size, imports) => {
      const { stopwatch } = this;
      const made = core(
        size,
        this.watchImports(imports, () => new Uint16Array(made.buffer)),
      );
      wrap(made, 'run', (run) => (op) => {
        if (this.cpu?.stepping) {
          return run(op);
        }
        this.endExit();
        const code = stopwatch.during('guest code', () => run(op));
        stopwatch.enter(`exit: ${EXIT_NAMES[code]}`);
        this.inExit = true;
        return code;
      });
      return made;
    };
  }

  private endExit(): void {
    if (this.inExit) {
      this.inExit = false;
      this.stopwatch.leave();
    }
  }

  private watchImports(imports: CoreImports, memory: () => Uint16Array): CoreImports {
    const { stopwatch } = this;
    let u16: Uint16Array | undefined;
    return {
      helper: (op) => {
        u16 ??= memory();
        return stopwatch.during(`helper: ${rowAt(u16[(op + R_ROW) >> 1]).mnemonic}`, () => imports.helper(op));
      },
      load: (sizeAndFlags) => stopwatch.during('slow load', () => imports.load(sizeAndFlags)),
      store: (size) => stopwatch.during('slow store', () => imports.store(size)),
      portIn: (port, size) => stopwatch.during('port read', () => imports.portIn(port, size)),
      portOut: (port, size, value) => stopwatch.during('port write', () => imports.portOut(port, size, value)),
      regionAt: (low, high, mode) => stopwatch.during('region look-up', () => imports.regionAt(low, high, mode)),
    };
  }

  watchBuses(ports: PortBus, mmio: MmioBus): void {
    this.watchBus(ports, 'port');
    this.watchBus(mmio, 'memory');
  }

  /** Has devices be plugged in with a stopwatch before them. */
  private watchBus(bus: PortBus | MmioBus, space: string): void {
    const { stopwatch } = this;
    const plugged = new Map<BusDevice, BusDevice>();
    wrap(bus, 'add', (add) => (base, length, device) => {
      const kind = device.constructor.name === 'Object' ? 'device' : device.constructor.name;
      const name = `${kind} at ${space} 0x${base.toString(16)}`;
      const watched: BusDevice = {
        read: (offset, size) => stopwatch.during(name, () => device.read(offset, size)),
        write: (offset, size, value) => stopwatch.during(name, () => device.write(offset, size, value)),
      };
      plugged.set(device, watched);
      add(base, length, watched);
    });
    wrap(bus, 'remove', (remove) => (base, device) => remove(base, plugged.get(device) ?? device));
  }

  watchMachine({ cpu, virtioDevices, backends }: WatchedMachine): void {
    const { stopwatch } = this;
    this.cpu = cpu;
    for (const device of virtioDevices) {
      stopwatch.watch(device, 'pump', `${device.constructor.name}: queues`);
    }
    for (const [id, backend] of backends) {
      stopwatch.watch(backend, 'receiveInto', `${backend.constructor.name} ${id}: receive`);
      stopwatch.watch(backend, 'send', `${backend.constructor.name} ${id}: send`);
    }
    if (cpu.regions !== undefined) {
      stopwatch.watch(cpu.regions, 'compile', 'translation');
    }
    wrap(cpu, 'run', (run) => (budget) => {
      try {
        return this.run(cpu, run, budget);
      } finally {
        this.endExit();
      }
    });
  }

  // ── The guest ──────────────────────────────────────────────────────────────────────────────────────────────────────

  private run(cpu: Cpu, run: Cpu['run'], budget: number): number {
    const end = cpu.instructions + budget;
    for (;;) {
      const before = cpu.instructions;
      const start = performance.now();
      const part = Math.max(1, Math.min(end - before, this.left));
      const isDue = part >= this.left;
      const stop = run(part);
      this.time += performance.now() - start;
      this.left -= cpu.instructions - before;
      if (stop !== STOP_BUDGET || !isDue) {
        return stop;
      }
      this.endExit();
      const stepped = this.stopwatch.during('profiler', () => this.sample(cpu, run));
      if (stepped !== STOP_BUDGET || cpu.instructions >= end) {
        return stepped;
      }
    }
  }

  /** Takes a sample, after some steps. @returns how these ended */
  private sample(cpu: Cpu, run: Cpu['run']): number {
    const tier = tierOf(cpu);
    cpu.stepping = true;
    const stop = run(1 + this.nextRandom(STEPS_MOST));
    cpu.stepping = false;
    const rip = linearAddress(cpu.i32[S_RIP >> 2], cpu.i32[(S_RIP + 4) >> 2]);
    const stack = [...returnAddresses(cpu, this.symbols).reverse(), rip].map((address) => this.nameOf(address));
    this.functions.add(stack, this.time);
    this.tiers.add([tier, stack[stack.length - 1]], this.time);
    if (this.time < TIME_LEAST) {
      this.piece = Math.min(this.piece * 2, PIECE_MOST);
    } else if (this.time > TIME_MOST) {
      this.piece = Math.max(Math.floor(this.piece / 2), PIECE_LEAST);
    }
    // Not always the same, or a guest that does something with the same period would be seen at one point of it.
    this.left = this.piece + this.nextRandom(this.piece >> 2);
    this.time = 0;
    return stop;
  }

  private nameOf(address: number): string {
    const page = address - (address % PAGE_SIZE);
    return this.symbols.find(address)?.name ?? `[0x${page.toString(16)}]`;
  }

  /** Below `limit`; the same ones in each run (xorshift32). */
  private nextRandom(limit: number): number {
    this.random ^= this.random << 13;
    this.random ^= this.random >>> 17;
    this.random ^= this.random << 5;
    return (this.random >>> 0) % limit;
  }

  close(): void {
    const profiles = [this.functions, this.tiers, ...this.stopwatch.profiles()];
    print(this.fd, speedscopeFile(this.name, profiles));
  }
}

/** What ran until the budget was spent: a block of the interpreter notes its address before it looks at the budget. */
function tierOf({ i32, regions }: Cpu): string {
  const low = i32[S_RIP >> 2];
  const high = i32[(S_RIP + 4) >> 2];
  const isBlock = i32[S_BLOCK_RIP >> 2] === low && i32[(S_BLOCK_RIP + 4) >> 2] === high;
  return isBlock && regions?.find(low, high, i32[S_MODE >> 2]) === undefined ? 'interpreter' : 'region';
}
