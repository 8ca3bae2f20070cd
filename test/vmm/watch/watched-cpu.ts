/** A bare CPU that is watched as `-d` and `-profile` have it, and what was logged of it. */

import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { CpuOptions } from '../../../cpu/cpu.ts';
import { MmioBus } from '../../../devices/mmio-bus.ts';
import { PortBus } from '../../../devices/port-bus.ts';
import { Log } from '../../../vmm/log.ts';
import { readSymbols } from '../../../vmm/watch/symbols.ts';
import { createWatcher } from '../../../vmm/watch/watchers.ts';
import { testCore } from '../../cpu/core.ts';
import { BareCpu } from '../../cpu/system/bare-cpu.ts';
import { symbolFile, type TestSymbol } from './symbol-file.ts';

export interface Watched {
  readonly bare: BareCpu;
  readonly ports: PortBus;
  /** The log so far. */
  log(): string;
  /** Ends the watch. @returns the profile */
  profile(): string;
}

interface Wishes {
  readonly items?: readonly string[];
  readonly symbols?: readonly TestSymbol[];
  readonly options?: Partial<CpuOptions>;
  readonly jit?: 'wasm' | 'js';
}

export function watchedCpu({ items = [], symbols = [], options = {}, jit = 'wasm' }: Wishes): Watched {
  const folder = mkdtempSync(join(tmpdir(), 'tsvmm-watch-'));
  const [logFile, profileFile] = [join(folder, 'log'), join(folder, 'profile')];
  const log = new Log(logFile);
  const watcher = createWatcher({
    items,
    log,
    symbols: readSymbols(symbolFile(64, symbols)),
    profileFd: items.length === 0 ? openSync(profileFile, 'w') : undefined,
    name: 'test',
    jit,
  });
  let closed = false;
  const close = () => {
    if (!closed) {
      closed = true;
      watcher.close();
    }
  };
  onTestFinished(() => {
    close();
    rmSync(folder, { recursive: true });
  });
  const ports = new PortBus();
  watcher.watchBuses(ports, new MmioBus());
  const bare = new BareCpu({ ports }, { core: watcher.watchCore(testCore(jit)), observer: watcher, ...options });
  watcher.watchMachine({
    cpu: bare.cpu,
    interrupts: bare.cpu.env.interrupts,
    virtioDevices: [],
    backends: new Map(),
  });
  return {
    bare: bare.long(),
    ports,
    log: () => {
      log.flush();
      return readFileSync(logFile, 'latin1');
    },
    profile: () => {
      close();
      return readFileSync(profileFile, 'utf8');
    },
  };
}
