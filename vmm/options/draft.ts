/**
 * The configuration while options are read: what each option leaves behind for the end, when defaults are filled in
 * and references between options are resolved.
 */

import { UserError } from '../errors.ts';
import { RAM_DEFAULT } from '../layout.ts';
import type {
  AcceleratorConfig,
  CharacterConfig,
  DeviceConfig,
  DriveConfig,
  FilterDumpConfig,
  FsdevConfig,
  NetdevConfig,
} from './config.ts';

/** A card of `-net nic`, to be plugged to the next back end of `-net`. */
export interface LegacyNic {
  readonly model: string | undefined;
  readonly mac: string | undefined;
  readonly netdev: string | undefined;
}

/** A virtio-net card; its MAC may still be open. */
export type NicDraft = Omit<Extract<DeviceConfig, { model: 'virtio-net' }>, 'mac'> & {
  readonly mac: string | undefined;
};

export class Draft {
  machine: 'pc' | 'microvm' = 'pc';
  name = '';
  ramSize = RAM_DEFAULT;
  cpus = 1;
  kernel: string | undefined;
  append = '';
  initrd: string | undefined;
  /** Undefined: not said. */
  vga: boolean | undefined;
  rtcBase = 'utc';
  accelerator: AcceleratorConfig = { jit: 'wasm', hot: undefined, codeCache: undefined, store: undefined };
  icountShift: number | undefined;
  noReboot = false;
  noShutdown = false;
  startStopped = false;
  noDefaults = false;
  nographic = false;
  display: string | undefined;
  log: readonly string[] = [];
  logFile: string | undefined;
  profile: string | undefined;
  symbols: string | undefined;
  pidFile: string | undefined;
  sandbox: 'on' | 'off' | 'try' = 'try';

  readonly characters: CharacterConfig[] = [];
  /** As given by -serial; the strings are resolved at the end. */
  readonly serials: (string | undefined)[] = [];
  serialGiven = false;
  readonly monitors: string[] = [];
  readonly qmps: string[] = [];
  monitorGiven = false;
  readonly netdevs: NetdevConfig[] = [];
  readonly filterDumps: FilterDumpConfig[] = [];
  readonly drives: DriveConfig[] = [];
  readonly fsdevs: FsdevConfig[] = [];
  readonly devices: (DeviceConfig | NicDraft)[] = [];
  readonly legacyNics: LegacyNic[] = [];
  readonly legacyNetdevs: string[] = [];
  readonly warnings: string[] = [];
  /** Drives that devices stand on; they may be named before the drive is. */
  readonly driveUsers: { readonly drive: string; readonly where: string }[] = [];
  /** Kinds of bus that `-device` asked for. */
  readonly buses = new Set<'pci' | 'mmio' | 'isa'>();

  private readonly ids = new Map<string, Set<string>>();

  /** Reserves an id. @throws UserError when something of this kind has it. */
  claimId(kind: string, id: string, where: string): void {
    let taken = this.ids.get(kind);
    if (!taken) {
      taken = new Set();
      this.ids.set(kind, taken);
    }
    if (taken.has(id)) {
      throw new UserError(`${where}: Duplicate ID '${id}' for ${kind}`);
    }
    taken.add(id);
  }

  hasId(kind: string, id: string): boolean {
    return this.ids.get(kind)?.has(id) ?? false;
  }
}
