/**
 * The kernel of this machine as a guest of the user network: a TAP interface in a network namespace of its own, whose
 * packets are carried to and from the back end through a piece of fake guest RAM. Needs root, /dev/net/tun and the
 * built addon.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { NetBackend, SegmentList } from '../../../../devices/net/backend.ts';
import { TapBackend } from '../../../../devices/net/tap.ts';
import { loadAddon } from '../../../../native/addon.ts';
import { RamGuestMemory } from '../../../../vmm/guest-memory.ts';

/** Why it cannot be had here; empty: it can. */
export const noLinuxGuest = !existsSync('build/Release/tsvmm_net.node')
  ? "the addon is not built ('node scripts/build-addon.mjs')"
  : process.getuid?.() !== 0
    ? 'not root'
    : existsSync('/dev/net/tun')
      ? ''
      : 'no /dev/net/tun';

const BUFFER = 70_000;

const ip = (...args: string[]) => execFileSync('ip', args, { stdio: 'pipe' });

function list(address: number): SegmentList {
  return { count: 1, address: Float64Array.of(address), length: Uint32Array.of(BUFFER) };
}

export class LinuxGuest {
  readonly namespace: string;
  private readonly backend: NetBackend;
  private readonly tap: TapBackend;
  private readonly memory = new RamGuestMemory(new ArrayBuffer(2 * BUFFER), 0, 2 * BUFFER, () => {});
  private readonly toBackend = list(0);
  private readonly toTap = list(BUFFER);
  private readonly children: ChildProcess[] = [];
  private running = true;
  packets = 0;

  /** @param offloads TUN_F_* that the guest's card has, both ways. */
  constructor(backend: NetBackend, offloads: number, address = '10.0.2.15/24', gateway = '10.0.2.2') {
    this.backend = backend;
    this.namespace = `tsvmm-${process.pid % 100000}-${Math.floor(Math.random() * 1000)}`;
    const name = `tg${process.pid % 100000}x${Math.floor(Math.random() * 1000)}`;
    ip('netns', 'add', this.namespace);
    ip('tuntap', 'add', 'dev', name, 'mode', 'tap', 'vnet_hdr');
    this.tap = new TapBackend({ ifname: name });
    this.tap.setGuestOffloads(offloads);
    backend.setGuestOffloads(offloads);
    ip('link', 'set', name, 'netns', this.namespace);
    const inside = (...args: string[]) => ip('-n', this.namespace, ...args);
    inside('link', 'set', 'lo', 'up');
    inside('addr', 'add', address, 'dev', name);
    inside('link', 'set', name, 'up');
    inside('route', 'add', 'default', 'via', gateway);
  }

  /** Starts a program in the guest. */
  spawn(command: string, ...args: string[]): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', this.namespace, command, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.children.push(child);
    return child;
  }

  /** Carries packets until {@link close}, asleep while there are none. */
  async run(): Promise<void> {
    const { idle } = loadAddon();
    const fds = Int32Array.of(this.tap.pollFd);
    const step = () => (this.pump() || !this.running ? 0 : 10e6);
    while (this.running) await new Promise<void>((resolve) => idle(fds, step, resolve));
  }

  close(): void {
    this.running = false;
    for (const child of this.children) child.kill('SIGKILL');
    this.tap.close();
    try {
      ip('netns', 'del', this.namespace);
    } catch {
      // Still in use by a process that is ending.
    }
    this.backend.close();
  }

  private pump(): boolean {
    let moved = false;
    for (let i = 0; i < 64; i++) {
      this.toBackend.length[0] = BUFFER;
      const sent = this.tap.receiveInto(this.memory, this.toBackend);
      if (sent > 0) {
        this.toBackend.length[0] = sent;
        this.backend.send(this.memory, this.toBackend);
      }
      this.toTap.length[0] = BUFFER;
      const received = this.backend.receiveInto(this.memory, this.toTap);
      if (received > 0) {
        this.toTap.length[0] = received;
        this.tap.send(this.memory, this.toTap);
      }
      if (sent === 0 && received === 0) return moved;
      this.packets += (sent > 0 ? 1 : 0) + (received > 0 ? 1 : 0);
      moved = true;
    }
    return moved;
  }
}
