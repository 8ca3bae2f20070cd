/**
 * A network namespace for the whole run, with a tap for each guest that may run at once; the monitors take turns on the
 * same taps, so the network is the same for all. Needs root, iproute2 and /dev/net/tun.
 */

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';

/** Taps, the most guests at once. */
export const TAPS = 16;

export interface Tap {
  readonly name: string;
  readonly mac: string;
  /** Address of our end. */
  readonly host: string;
  readonly guest: string;
}

export function tap(index: number): Tap {
  const hex = index.toString(16).padStart(2, '0');
  return { name: `tap${index}`, mac: `02:b0:b0:01:02:${hex}`, host: `172.44.${index}.1`, guest: `172.44.${index}.2` };
}

/** Why there can be no network of taps here; empty: there can. */
export function noNetwork(): string {
  if (process.getuid?.() !== 0) return 'taps need root';
  if (!existsSync('/dev/net/tun')) return 'there is no /dev/net/tun';
  return spawnSync('ip', ['-V']).status === 0 ? '' : 'the program ip is missing (Debian: iproute2)';
}

const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });

/** Runs a command inside such a namespace, which goes away with it. @returns its exit status */
export async function runInNamespace(command: readonly string[]): Promise<number> {
  const namespace = `tsvmm-bench-${process.pid}`;
  ip('netns', 'add', namespace);
  try {
    ip('-n', namespace, 'link', 'set', 'lo', 'up');
    for (let index = 0; index < TAPS; index++) {
      const { name, mac, host, guest } = tap(index);
      ip('-n', namespace, 'tuntap', 'add', 'dev', name, 'mode', 'tap', 'vnet_hdr');
      ip('-n', namespace, 'addr', 'add', `${host}/24`, 'dev', name);
      ip('-n', namespace, 'link', 'set', name, 'up');
      // Without this the first packet would wait a second for ARP to ask again.
      ip('-n', namespace, 'neigh', 'replace', guest, 'lladdr', mac, 'dev', name, 'nud', 'permanent');
    }
    const child = spawn('ip', ['netns', 'exec', namespace, ...command], { stdio: 'inherit' });
    // It ends, and then we clean up.
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
    const [status] = await once(child, 'exit');
    return status ?? 1;
  } finally {
    ip('netns', 'del', namespace);
  }
}
