/**
 * The machine: makes CPU, board, clock and console from a configuration, and runs them (Design §6). One thread runs the
 * CPU in slices of a few milliseconds and serves devices and the event loop in between.
 */

import type { CoreFactory } from '../cpu/core.ts';
import { type ApicRegisters, Cpu, STOP_BUDGET, STOP_SHUTDOWN } from '../cpu/cpu.ts';
import { CodeOutsideRam } from '../cpu/fault.ts';
import { RAM_BASE } from '../cpu/state.ts';
import { InterruptHub } from '../devices/apic/interrupt-hub.ts';
import type { LocalApic } from '../devices/apic/local-apic.ts';
import { MmioBus } from '../devices/mmio-bus.ts';
import type { NetBackend } from '../devices/net/backend.ts';
import type { PciBus } from '../devices/pci/pci-bus.ts';
import { PortBus } from '../devices/port-bus.ts';
import { VirtioNet } from '../devices/virtio/net.ts';
import { writeBootImage } from '../firmware/boot-state.ts';
import { tryLoadAddon } from '../native/addon.ts';
import { Board } from './board.ts';
import { boot, fileKeeper } from './boot.ts';
import { enterKernel } from './boot-cpu.ts';
import { HostClock, IcountClock, type MachineClock, TSC_KHZ } from './clock.ts';
import { Console } from './console/console.ts';
import { loadCore, translation } from './core.ts';
import { describeCpu, instructionPointer, pagingOf } from './cpu-text.ts';
import { GuestCrash } from './errors.ts';
import { RamGuestMemory } from './guest-memory.ts';
import { startHeapTrim } from './heap-trim.ts';
import { Idling } from './idle.ts';
import { Log } from './log.ts';
import { Monitor } from './monitor/hmp.ts';
import type { PagingState } from './monitor/page-tables.ts';
import { QmpMonitor } from './monitor/qmp.ts';
import type { MachineEvent, MonitorTarget } from './monitor/target.ts';
import { openBackends } from './network.ts';
import type { MachineConfig } from './options/config.ts';
import { RegionStore } from './region-store.ts';
import { confine } from './sandbox.ts';
import { mark, markFirst, startupLines } from './startup.ts';
import { loadWatcher } from './watch/load.ts';
import type { MachineWatcher } from './watch/watch.ts';

const MILLION = 1e6;
/** A slice lasts about so long, ns. */
const SLICE = 2e6;
const BUDGET_FIRST = 100_000;
const BUDGET_LEAST = 1000;
const BUDGET_MOST = 50_000_000;
/** Input is opened so long after our own start, ms: it takes milliseconds that a booting guest can use better. */
const INPUT_DELAY = 400;
/** How long the machine waits before it looks again whether its output was taken, ns. */
const CONGESTION_DELAY = 2e6;
/** Without any progress, output is given up after so many ms; when a signal ends us, sooner. */
const PATIENCE = 10_000;
const PATIENCE_SIGNAL = 20;

/** Who ends or resets the machine, and how, in QEMU's words (ShutdownCause of qapi/run-state.json). */
interface Cause {
  readonly guest: boolean;
  readonly reason: string;
}

const GUEST_SHUTDOWN: Cause = { guest: true, reason: 'guest-shutdown' };
const GUEST_PANIC: Cause = { guest: true, reason: 'guest-panic' };
const GUEST_RESET: Cause = { guest: true, reason: 'guest-reset' };
/** QEMU tells it from no other reset. */
const TRIPLE_FAULT: Cause = { guest: true, reason: 'guest-reset' };
const HOST_RESET: Cause = { guest: false, reason: 'host-qmp-system-reset' };
const CODE_OUTSIDE_RAM: Cause = { guest: true, reason: 'guest-panic' };
const HOST_QUIT: Cause = { guest: false, reason: 'host-qmp-quit' };
const HOST_SIGNAL: Cause = { guest: false, reason: 'host-signal' };

export class Machine implements MonitorTarget {
  readonly config: MachineConfig;
  private readonly backends: ReadonlyMap<string, NetBackend>;
  private readonly console: Console;
  private readonly clock: MachineClock;
  /** The clock, if the guest's time may be put forward. */
  private readonly icount: IcountClock | undefined;
  readonly interrupts: InterruptHub;
  private readonly cpu: Cpu;
  private readonly memory: RamGuestMemory;
  private readonly board: Board;
  private readonly idling: Idling;
  private readonly endHeapTrim: () => void;
  private readonly tapCards: readonly VirtioNet[];
  /** Descriptors of `tapCards`, as far as they can take packets just now; -1 for the others. */
  private readonly tapFds: Int32Array;
  private budget = BUDGET_FIRST;
  /** Nanoseconds that an instruction takes, measured over the last slice. */
  private nsPerInstruction = 10;
  private inputIsOpen = false;
  /** Why the CPU stands still, as QEMU names it; undefined: it runs. */
  private paused: string | undefined;
  /** The CPU was told to shut down so that `run` returns; it is no triple fault. */
  private stopRequested = false;
  private resetRequested: Cause | undefined;
  private powerOffRequested: Cause | undefined;
  private readonly log: Log;
  private readonly watcher: MachineWatcher | undefined;
  private readonly readFile = fileKeeper();
  /** Where translations are kept; undefined: nowhere. */
  private store: RegionStore | undefined;
  private readonly observers = new Set<(event: MachineEvent) => void>();
  private exitStatus: number | undefined;
  /** The machine ends by a triple fault. */
  /** What the guest's crash was, if that is how it ended. */
  private crash: string | undefined;
  private patience = PATIENCE;

  /** @throws UserError when something that the configuration asks for cannot be had */
  constructor(
    config: MachineConfig,
    backends: ReadonlyMap<string, NetBackend>,
    core: CoreFactory,
    log: Log,
    watcher: MachineWatcher | undefined,
  ) {
    this.config = config;
    this.log = log;
    this.watcher = watcher;
    this.backends = backends;
    this.console = new Console(config.characters, () => this.quit());
    this.icount =
      config.icountShift === undefined ? undefined : new IcountClock(() => this.cpu.instructions, config.icountShift);
    this.clock = this.icount ?? new HostClock();
    const ports = new PortBus();
    const mmio = new MmioBus();
    watcher?.watchBuses(ports, mmio);
    const { tsc } = this.clock;
    this.interrupts = new InterruptHub({
      clock: this.clock,
      timeOfTsc: (low, high) => tsc.timeOf(low, high),
      onPending: () => this.interruptPending(),
      onInit: () => this.requestReset(GUEST_RESET),
      // There is one processor, and it runs already.
      onStartUp: () => {},
    });
    const { localApic } = this.interrupts;
    this.cpu = new Cpu(
      {
        ramSize: config.ramSize,
        core: watcher?.watchCore(core) ?? core,
        observer: watcher,
        ...translation(config.accelerator),
      },
      {
        ports,
        mmio,
        interrupts: this.interrupts,
        tsc,
        tscKHz: TSC_KHZ,
        apic: apicRegisters(localApic),
        coprocessorError: () => this.board.coprocessorError.raise(),
      },
    );
    this.memory = new RamGuestMemory(this.cpu.buffer, RAM_BASE, config.ramSize, (address, length) =>
      this.cpu.ramWritten(address, length),
    );
    this.board = new Board(config, {
      ports,
      mmio,
      interrupts: this.interrupts,
      memory: this.memory,
      clock: this.clock,
      console: this.console,
      backends,
      events: {
        powerOff: () => this.requestPowerOff(GUEST_SHUTDOWN),
        reset: () => this.requestReset(GUEST_RESET),
        exit: (status) => this.exit(status),
        panicked: () => this.requestPowerOff(GUEST_PANIC),
      },
    });
    for (const id of config.monitors) {
      this.console.connect(id, new Monitor(this, this.console.output(id)));
    }
    for (const id of config.qmps) {
      this.console.connect(id, new QmpMonitor(this, this.console.output(id)));
    }
    this.tapCards = this.board.virtioDevices.filter(
      (device): device is VirtioNet => device instanceof VirtioNet && device.backend.pollFd !== undefined,
    );
    this.tapFds = new Int32Array(this.tapCards.length);
    const addon = tryLoadAddon();
    // Code that jumps between many modules is found faster so. Where the kernel refuses, nothing else changes.
    addon?.gatherMemory();
    this.idling = new Idling(addon, this.tapFds, (quiet) => this.step(quiet));
    this.endHeapTrim = startHeapTrim(addon, () => this.cpu.regions?.counters.regions ?? 0);
    for (const backend of backends.values()) {
      backend.onReceive = () => this.idling.wake();
    }
    if (config.log.includes('startup')) {
      this.markFirsts();
    }
    const { cpu, interrupts } = this;
    watcher?.watchMachine({ cpu, interrupts, virtioDevices: this.board.virtioDevices, backends });
    if (config.startStopped) {
      this.paused = 'prelaunch';
      this.clock.pause();
    }
  }

  /** Marks what the guest does first (`-d startup`). */
  private markFirsts(): void {
    for (const { id } of this.config.characters) {
      markFirst(this.console.output(id), 'write', `first byte to ${id}`);
    }
    for (const [id, backend] of this.backends) {
      markFirst(backend, 'receiveInto', `first packet from ${id}`, (bytes) => bytes !== 0);
      markFirst(backend, 'send', `first packet to ${id}`);
    }
  }

  // ── Running ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Runs until the machine ends. @returns the exit status of the process. @throws GuestCrash */
  async run(): Promise<number> {
    try {
      this.load(true);
      mark('kernel loaded');
      await this.console.prepare();
      confine(this.config, this.board.sharedRoots);
      mark('confined');
      mark('guest starts');
      while (this.exitStatus === undefined) {
        await this.idling.run();
      }
      if (this.crash !== undefined) {
        throw new GuestCrash(`the guest crashed: ${this.crash}`);
      }
      return this.exitStatus;
    } finally {
      this.close();
    }
  }

  /** Boots the kernel into CPU and RAM; `powerOn`: nothing has been in that yet. */
  private load(powerOn: boolean): void {
    const { config, cpu, memory, board } = this;
    const state = boot({ ...config, virtioMmio: board.virtioMmio }, this.readFile);
    writeBootImage(memory.bytes, state.writes, powerOn);
    cpu.reset();
    enterKernel(cpu, state);
    if (powerOn) this.openStore(state.kernel);
  }

  /** Has the translator know what it made of the kernel earlier, and keep what it makes now. */
  private openStore(kernel: Uint8Array): void {
    const { store, jit } = this.config.accelerator;
    const { regions } = this.cpu;
    // Whoever watches the translator is to see all of its work.
    if (regions === undefined || store === 'off' || this.watcher !== undefined) {
      return;
    }
    this.store = RegionStore.open(store, kernel, jit);
    if (this.store !== undefined) {
      regions.useStored(this.store.parts);
    }
  }

  private closeStore(): void {
    const { store, cpu } = this;
    if (store === undefined) {
      return;
    }
    try {
      const parts = cpu.regions?.toStore(Math.ceil(cpu.instructions / MILLION));
      if (parts !== undefined) {
        store.write(parts);
      }
    } finally {
      store.close();
    }
  }

  /**
   * Does what there is to do, for about a {@link SLICE}.
   * @param quiet since the last step only time has passed
   * @returns for how long nothing more is; ns, 0: there is more
   */
  private step(quiet: boolean): number {
    if (this.exitStatus !== undefined) {
      return 0;
    }
    if (this.paused === undefined && !this.console.congested) {
      try {
        return this.slice(quiet);
      } catch (error) {
        if (!(error instanceof CodeOutsideRam)) {
          throw error;
        }
        this.crash = `it executes code outside RAM at RIP ${instructionPointer(this.cpu)}`;
        this.leave(CODE_OUTSIDE_RAM);
        return 0;
      }
    }
    // The CPU stands still: only the user is served.
    this.console.flush();
    this.openInput();
    return this.paused === undefined ? CONGESTION_DELAY : Number.POSITIVE_INFINITY;
  }

  private slice(quiet: boolean): number {
    const { clock, cpu, console, board } = this;
    clock.runTimers();
    // What has arrived is in the guest's queues before the guest runs.
    if (!quiet) {
      board.pump(true);
    }
    const start = clock.now();
    const before = cpu.instructions;
    const stop = cpu.run(this.nextBudget(start));
    if (stop === STOP_BUDGET) {
      this.adapt(clock.now() - start, cpu.instructions - before);
    }
    // After a mere tick of a timer the guest has hardly anything to do, and is back in its wait for packets at once.
    const work = board.pump(!quiet);
    console.flush();
    if (this.stopRequested) {
      this.stopRequested = false;
      cpu.shutdown = false;
    } else if (stop === STOP_SHUTDOWN) {
      // A triple fault resets a PC.
      this.resetRequested = TRIPLE_FAULT;
    }
    this.serveRequests();
    if (performance.now() >= INPUT_DELAY) {
      this.openInput();
    }
    const busy = !cpu.halted || work > 0 || this.interrupts.pending() || this.exitStatus !== undefined;
    return busy ? 0 : this.untilNextTimer();
  }

  /** The CPU is idle. @returns ns */
  private untilNextTimer(): number {
    const { clock, icount, tapCards, tapFds } = this;
    const deadline = clock.nextDeadline();
    if (icount !== undefined && deadline !== Number.POSITIVE_INFINITY) {
      icount.skipTo(deadline);
      return 0;
    }
    for (let index = 0; index < tapCards.length; index++) {
      tapCards[index].backend.flush?.();
      tapFds[index] = tapCards[index].canReceive ? tapCards[index].backend.pollFd! : -1;
    }
    const untilInput = this.inputIsOpen ? Number.POSITIVE_INFINITY : (INPUT_DELAY - performance.now()) * 1e6;
    return Math.max(0, Math.min(deadline - clock.now(), untilInput));
  }

  /** Instructions for the next slice: no more than run until the next timer is due. */
  private nextBudget(now: number): number {
    const untilTimer = (this.clock.nextDeadline() - now) / this.nsPerInstruction;
    return Math.max(BUDGET_LEAST, Math.min(this.budget, Math.ceil(untilTimer)));
  }

  /** Learns from a slice that used its budget how fast the CPU is. */
  private adapt(elapsed: number, instructions: number): void {
    if (elapsed > 0 && instructions > 0) {
      this.nsPerInstruction = elapsed / instructions;
      const budget = Math.floor(SLICE / this.nsPerInstruction);
      // Twice at most, because code that has just been translated runs much faster than it did.
      this.budget = Math.max(BUDGET_LEAST, Math.min(budget, this.budget * 2, BUDGET_MOST));
    }
  }

  private interruptPending(): void {
    if (this.interrupts.takeNmi()) {
      this.cpu.nmiPending = true;
    }
    this.cpu.requestEvent();
    this.idling?.wake();
  }

  private openInput(): void {
    if (!this.inputIsOpen) {
      this.inputIsOpen = true;
      this.console.openInput();
    }
  }

  // ── What guest and user ask for ────────────────────────────────────────────────────────────────────────────────────

  private requestReset(cause: Cause): void {
    this.resetRequested ??= cause;
    this.interruptRun();
  }

  private requestPowerOff(cause: Cause): void {
    this.powerOffRequested ??= cause;
    this.interruptRun();
  }

  private exit(status: number): void {
    this.exitStatus ??= status;
    this.interruptRun();
  }

  /** Ends the slice. */
  private interruptRun(): void {
    this.stopRequested = true;
    this.cpu.shutdown = true;
    this.cpu.requestEvent();
    this.idling.wake();
  }

  private serveRequests(): void {
    const { resetRequested: reset, config } = this;
    const powerOff = this.powerOffRequested ?? (config.noReboot ? reset : undefined);
    this.resetRequested = undefined;
    this.powerOffRequested = undefined;
    if (powerOff) {
      this.report({ event: 'SHUTDOWN', data: powerOff });
      if (config.noShutdown) {
        this.pause('shutdown');
      } else {
        this.exitStatus ??= 0;
        if (powerOff === TRIPLE_FAULT) {
          this.crash = `triple fault at RIP ${instructionPointer(this.cpu)}`;
        }
      }
    } else if (reset) {
      this.board.reset();
      this.load(false);
      if (this.paused === 'shutdown') {
        this.paused = 'paused';
      }
      this.report({ event: 'RESET', data: reset });
    }
  }

  private pause(runState: string): void {
    if (this.paused !== undefined) {
      return;
    }
    this.paused = runState;
    this.clock.pause();
    this.interruptRun();
    this.report({ event: 'STOP' });
  }

  get runState(): string {
    return this.paused ?? 'running';
  }

  stop(): void {
    this.pause('paused');
  }

  cont(): boolean {
    if (this.paused === 'shutdown') {
      return false;
    }
    if (this.paused !== undefined) {
      this.paused = undefined;
      this.clock.resume();
      this.idling.wake();
      this.report({ event: 'RESUME' });
    }
    return true;
  }

  /** The reset button: it works whatever the machine is doing, `-no-reboot` or not stopped. */
  systemReset(): void {
    this.requestReset(HOST_RESET);
    if (this.paused !== undefined) {
      this.serveRequests();
    }
  }

  systemPowerdown(): void {
    this.board.pressPowerButton();
    this.report({ event: 'POWERDOWN' });
  }

  quit(): void {
    this.leave(HOST_QUIT);
  }

  /** A signal ends us: nobody is waited for. */
  terminate(): void {
    this.patience = PATIENCE_SIGNAL;
    this.leave(HOST_SIGNAL);
  }

  private leave(cause: Cause): void {
    if (this.exitStatus === undefined) {
      this.report({ event: 'SHUTDOWN', data: cause });
    }
    this.exit(0);
  }

  // ── What monitors see ──────────────────────────────────────────────────────────────────────────────────────────────

  observe(observer: (event: MachineEvent) => void): void {
    this.observers.add(observer);
  }

  private report(event: MachineEvent): void {
    for (const observer of this.observers) {
      observer(event);
    }
  }

  get pci(): PciBus | undefined {
    return this.board.pci;
  }

  paging(): PagingState {
    return pagingOf(this.cpu);
  }

  registers(): string {
    return describeCpu(this.cpu);
  }

  physicalByte(address: number): number | undefined {
    return this.memory.contains(address, 1) ? this.memory.read8(address) : undefined;
  }

  /** `-d stats`, `info jit` */
  statistics(): string[] {
    const { cpu, clock } = this;
    const lines = [
      `time: ${(clock.now() / 1e9).toFixed(3)} s`,
      `instructions: ${cpu.instructions}`,
      ...cpu.counters.lines(),
      `blocks decoded: ${cpu.blocks.decoded}, dropped: ${cpu.blocks.dropped}`,
    ];
    if (cpu.regions !== undefined) {
      const { regions, restored, batches, instructions, bytes, milliseconds, killed } = cpu.regions.counters;
      lines.push(
        `regions translated: ${regions - restored} in ${batches} modules (${instructions} guest instructions, ${bytes} bytes, ${milliseconds.toFixed(0)} ms), of earlier runs: ${restored}, dropped: ${killed}`,
      );
    }
    for (const [id, { statistics }] of this.backends) {
      if (statistics !== undefined) {
        lines.push(`${id}: ${statistics}`);
      }
    }
    return lines;
  }

  private close(): void {
    if (this.config.log.includes('startup')) {
      this.log.lines(startupLines());
    }
    if (this.config.log.includes('stats')) {
      this.log.lines(this.statistics());
    }
    this.watcher?.close();
    this.log.flush();
    this.endHeapTrim();
    this.console.close(this.patience);
    this.board.close();
    for (const backend of this.backends.values()) {
      backend.close();
    }
    // Last: whoever waits for the guest has all of it by now.
    this.closeStore();
  }
}

/** The local APIC as the CPU's MSRs and CR8 show it. */
function apicRegisters(apic: LocalApic): ApicRegisters {
  return {
    get low() {
      return apic.msrs.low | 0;
    },
    get high() {
      return apic.msrs.high | 0;
    },
    get taskPriority() {
      return apic.cr8;
    },
    set taskPriority(value) {
      apic.cr8 = value;
    },
    readMsr: (index) => apic.msrs.read(index),
    writeMsr: (index, low, high) => apic.msrs.write(index, low, high),
  };
}

/** @throws UserError, BootError or NetBackendError when something that the configuration asks for cannot be had */
export async function createMachine(config: MachineConfig): Promise<Machine> {
  const backends = await openBackends(config.netdevs, config.filterDumps);
  mark('network open');
  try {
    const core = await loadCore(config.accelerator.jit === 'js' ? 'js' : 'wasm');
    mark('core loaded');
    const log = new Log(config.logFile);
    const watcher = await loadWatcher(config, log);
    const machine = new Machine(config, backends, core, log, watcher);
    mark('machine built');
    return machine;
  } catch (error) {
    for (const backend of backends.values()) {
      backend.close();
    }
    throw error;
  }
}
