/** The monitors that are compared: how each is started, and whether it is there. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const VMM_NAMES = ['tsvmm', 'later', 'usual', 'qemu', 'js', 'off', 'v86'] as const;
export type VmmName = (typeof VMM_NAMES)[number];

/** As tables and charts name them. */
export const VMM_TITLES: Record<VmmName, string> = {
  tsvmm: 'tsvmm',
  later: 'tsvmm, later runs',
  usual: 'tsvmm, cache empty at first',
  qemu: 'QEMU TCG',
  js: 'tsvmm jit=js',
  off: 'tsvmm jit=off',
  v86: 'v86 (32-bit build)',
};

/** Whom the others are compared with. */
export const BASE: VmmName = 'qemu';

/** Where those that know what they translated before find it: a folder for each, empty at first. */
const stores = new Map<VmmName, string>();

function storeOf(vmm: VmmName): string {
  let store = stores.get(vmm);
  if (store === undefined) {
    store = mkdtempSync(join(tmpdir(), 'tsvmm-bench-'));
    stores.set(vmm, store);
  }
  return store;
}

/** Forgets all that was translated before. */
export function forgetRuns(): void {
  for (const store of stores.values()) rmSync(store, { recursive: true });
  stores.clear();
}

process.on('exit', forgetRuns);

/** Those of tsvmm that know what they translated before. */
export const knowsRuns = (vmm: VmmName) => vmm === 'later' || vmm === 'usual';

/** Options of tsvmm for each of its ways to run code. */
function accelerator(vmm: VmmName): string {
  if (knowsRuns(vmm)) return `tcg,tb-store=${storeOf(vmm)}`;
  return `tcg,tb-store=off${vmm === 'tsvmm' ? '' : `,jit=${vmm}`}`;
}

const TSVMM = 'bin/tsvmm';
const V86_RUNNER = 'bench/v86-runner.mjs';

/** What is run, in terms that every monitor has. */
export interface GuestSpec {
  readonly kernel: string;
  readonly memory: string;
  readonly append: string;
  readonly initrd?: string | undefined;
  readonly tap?: { readonly name: string; readonly mac: string } | undefined;
}

/**
 * The console is on standard output and firmware keeps silent there; nothing is emulated that the guest does not need.
 * @returns program and arguments
 */
export function commandLine(vmm: VmmName, guest: GuestSpec, qemu: string): string[] {
  if (vmm === 'v86') {
    return [process.execPath, V86_RUNNER, guest.kernel, guest.memory, guest.append];
  }
  const words = vmm === 'qemu' ? [qemu, '-accel', 'tcg'] : [TSVMM, '-accel', accelerator(vmm)];
  words.push('-m', guest.memory, '-display', 'none', '-vga', 'none', '-serial', 'stdio', '-monitor', 'none');
  words.push('-no-reboot', '-kernel', guest.kernel, '-append', guest.append);
  if (guest.initrd !== undefined) {
    words.push('-initrd', guest.initrd);
  }
  if (guest.tap === undefined) {
    words.push('-nic', 'none');
  } else {
    words.push('-netdev', `tap,id=net0,ifname=${guest.tap.name},script=no,downscript=no`);
    words.push('-device', `virtio-net-pci,netdev=net0,mac=${guest.tap.mac}`);
  }
  return words;
}

/** @returns what a program prints about its version, first line; undefined when it cannot be run */
function firstLineOf(command: string, ...args: string[]): string | undefined {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8' });
  return status === 0 ? stdout.split('\n')[0].trim() : undefined;
}

/** @returns its version; undefined when it cannot be run here */
export function versionOf(vmm: VmmName, qemu: string): string | undefined {
  switch (vmm) {
    case 'qemu':
      return firstLineOf(qemu, '-version');
    case 'v86':
      try {
        return `v86 ${createRequire(`${process.cwd()}/package.json`)('v86/package.json').version}`;
      } catch {
        return undefined;
      }
    default:
      return firstLineOf(TSVMM, '-accel', accelerator(vmm), '-version');
  }
}
