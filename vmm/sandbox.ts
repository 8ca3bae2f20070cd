/**
 * Confines the process once everything is open that a machine needs (`-sandbox`): what is allowed from then on is in
 * native/sandbox.c.
 */

import { constants } from 'node:os';
import { SANDBOX_CONNECT, SANDBOX_UNLINK, tryLoadAddon } from '../native/addon.ts';
import { UserError } from './errors.ts';
import type { MachineConfig } from './options/config.ts';

/**
 * @param sharedRoots descriptors of the directories that are shared by 9P
 * @throws UserError when it was asked for and cannot be had
 */
export function confine(config: MachineConfig, sharedRoots: readonly number[]): void {
  if (config.sandbox === 'off') {
    return;
  }
  const addon = tryLoadAddon();
  const error = addon ? -addon.sandbox(needsOf(config), Int32Array.from(sharedRoots)) : undefined;
  if (error !== 0 && config.sandbox === 'on') {
    throw new UserError(`-sandbox on: failed to install seccomp syscall filter: ${reasonFor(error)}`);
  }
}

/** @param error an errno; undefined: there is no addon */
function reasonFor(error: number | undefined): string {
  switch (error) {
    case undefined:
      return 'the native addon is missing';
    case constants.errno.EOPNOTSUPP:
      return `the event loop of Node ${process.version} uses io_uring, which no filter sees into: use Node 20`;
    default:
      return `the kernel refuses it (errno ${error})`;
  }
}

function needsOf({ netdevs, characters, pidFile }: MachineConfig): number {
  // User networking makes the guest's connections to the world.
  const connects = netdevs.some(({ type }) => type === 'user');
  // Node removes the sockets that it listens on, and we the PID file.
  const listensOnPath =
    characters.some((character) => character.kind === 'socket' && character.server && 'path' in character.address) ||
    netdevs.some((netdev) => netdev.type === 'stream' && netdev.server);
  return (connects ? SANDBOX_CONNECT : 0) | (pidFile !== undefined || listensOnPath ? SANDBOX_UNLINK : 0);
}
