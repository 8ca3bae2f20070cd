/** Finds out whether anybody watches the machine, and loads what that takes. */

import { openSync, readFileSync } from 'node:fs';
import { requireBuilt } from '../core.ts';
import { reasonOf, UserError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { MachineConfig } from '../options/config.ts';
import type { MachineWatcher } from './watch.ts';

/** Set by the bundler: the file beside the bundle that holds the watchers. */
declare const WATCHERS_FILE: string;

/** Items of `-d` that the machine itself sees to. */
const OWN_ITEMS: readonly string[] = ['startup', 'stats'];

async function loadWatchers(): Promise<typeof import('./watchers.ts')> {
  if (typeof WATCHERS_FILE !== 'string') {
    return await import('./watchers.ts');
  }
  return requireBuilt(WATCHERS_FILE) as typeof import('./watchers.ts');
}

/**
 * @returns undefined: nobody watches
 * @throws UserError when a file that it needs cannot be had
 */
export async function loadWatcher(config: MachineConfig, log: Log): Promise<MachineWatcher | undefined> {
  const { symbols, profile } = config;
  const items = config.log.filter((item) => !OWN_ITEMS.includes(item));
  if (items.length === 0 && profile === undefined) {
    if (symbols !== undefined) {
      throw new UserError(`-symbols ${symbols}: nothing uses them without -profile or -d exec,in_asm …`);
    }
    return undefined;
  }
  const { createWatcher, readSymbols } = await loadWatchers();
  const file = symbols ?? config.kernel;
  const found = readSymbols(open(`-${symbols === undefined ? 'kernel' : 'symbols'} ${file}`, () => readFileSync(file)));
  if (symbols !== undefined && found.count === 0) {
    throw new UserError(`-symbols ${symbols}: no ELF file with symbols of functions`);
  }
  const profileFd = profile === undefined ? undefined : open(`-profile ${profile}`, () => openSync(profile, 'w'));
  return createWatcher({
    items,
    log,
    symbols: found,
    profileFd,
    name: config.name || config.kernel,
    jit: config.accelerator.jit,
  });
}

function open<T>(what: string, opening: () => T): T {
  try {
    return opening();
  } catch (error) {
    throw new UserError(`${what}: ${reasonOf(error)}`);
  }
}
