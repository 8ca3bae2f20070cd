/** The program: command line in, exit status out. Everything that goes wrong ends here as one line on stderr. */

import { unlinkSync, writeFileSync } from 'node:fs';
import { NetBackendError } from '../devices/net/errors.ts';
import { BootError } from '../firmware/boot-state.ts';
import { AddonError } from '../native/addon.ts';
import { GuestCrash, reasonOf, UserError } from './errors.ts';
import type { Machine } from './machine.ts';
import type { MachineConfig } from './options/config.ts';
import { parseArguments } from './options/parse.ts';
import { print, STDERR, STDOUT } from './print.ts';
import { mark } from './startup.ts';
import { VERSION } from './version.ts';

const STATUS_OK = 0;
const STATUS_USER_ERROR = 1;
/** EX_SOFTWARE of sysexits.h. */
const STATUS_INTERNAL_ERROR = 70;

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 };

/**
 * @param argv the words after the program's name
 * @returns the exit status
 */
export async function main(argv: readonly string[]): Promise<number> {
  mark('program loaded');
  try {
    const command = parseArguments(argv);
    mark('command line read');
    switch (command.kind) {
      case 'version':
        print(STDOUT, `tsvmm ${VERSION}\n`);
        return STATUS_OK;
      case 'help':
        print(STDOUT, (await import('./options/help.ts')).helpText());
        return STATUS_OK;
      case 'text':
        print(STDOUT, command.text);
        return STATUS_OK;
      case 'run':
        return await runMachine(command.config);
    }
  } catch (error) {
    if (isUsersError(error)) {
      complain(error.message);
      return STATUS_USER_ERROR;
    }
    reportInternalError(error, undefined);
    return STATUS_INTERNAL_ERROR;
  }
}

async function runMachine(config: MachineConfig): Promise<number> {
  for (const warning of config.warnings) {
    complain(`warning: ${warning}`);
  }
  let machine: Machine | undefined;
  /** A signal that came while the machine was being made. */
  let signalled = false;
  const onSignal = (signal: keyof typeof SIGNALS) => {
    complain(`terminating on signal ${SIGNALS[signal]}`);
    signalled = true;
    machine?.terminate();
  };
  for (const signal of Object.keys(SIGNALS) as (keyof typeof SIGNALS)[]) {
    process.on(signal, onSignal);
  }
  // A mistake in a callback of the event loop, where no caller is left to catch it.
  const onCrash = (error: unknown) => {
    reportInternalError(error, machine);
    process.exit(STATUS_INTERNAL_ERROR);
  };
  process.on('uncaughtException', onCrash);
  let removePidFile = () => {};
  try {
    removePidFile = writePidFile(config.pidFile);
    // Loaded here: `-version` and mistakes in the command line need none of it.
    const { createMachine } = await import('./machine.ts');
    mark('modules of the machine ready');
    machine = await createMachine(config);
    if (signalled) {
      machine.terminate();
    }
    return await machine.run();
  } catch (error) {
    if (isUsersError(error)) {
      throw error;
    }
    reportInternalError(error, machine);
    return STATUS_INTERNAL_ERROR;
  } finally {
    removePidFile();
    process.off('uncaughtException', onCrash);
    for (const signal of Object.keys(SIGNALS)) {
      process.off(signal, onSignal);
    }
  }
}

/** @returns what removes it */
function writePidFile(path: string | undefined): () => void {
  if (path === undefined) {
    return () => {};
  }
  try {
    writeFileSync(path, `${process.pid}\n`);
  } catch (error) {
    throw new UserError(`-pidfile ${path}: cannot create PID file: ${reasonOf(error)}`);
  }
  return () => {
    try {
      unlinkSync(path);
    } catch {
      // Somebody else removed it.
    }
  };
}

function complain(message: string): void {
  print(STDERR, `tsvmm: ${message.replace(/\s*\n\s*/g, ' ')}\n`);
}

/** Is it something that the user can put right, here or in the guest? */
function isUsersError(error: unknown): error is Error {
  return [UserError, GuestCrash, BootError, NetBackendError, AddonError].some((kind) => error instanceof kind);
}

function reportInternalError(error: unknown, machine: Machine | undefined): void {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  print(
    STDERR,
    `tsvmm: internal error: ${text}\n${machine?.registers() ?? ''}This is a mistake in tsvmm ${VERSION} on Node ${process.version}. Please report it with these lines, the command line and the kernel.\n`,
  );
}
