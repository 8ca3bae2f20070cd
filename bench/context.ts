/** What every part of the benchmark is given, and what all of them do: run a guest, take turns. */

import type { BenchOptions } from './arguments.ts';
import { GuestProcess } from './guest-process.ts';
import { firstAnswer } from './http.ts';
import type { Image } from './image.ts';
import { tap } from './network.ts';
import type { Samples } from './samples.ts';
import { commandLine, forgetRuns, type GuestSpec, type VmmName } from './vmm.ts';

export interface Context {
  readonly options: BenchOptions;
  /** Those of the monitors asked for that are there. */
  readonly vmms: readonly VmmName[];
  readonly samples: Samples;
}

/** A line for who waits. */
export function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Runs of `later` that are not measured: the first translates, the second has machine code made, for those after it. */
const RUNS_BEFORE = 3;

/** Runs something once for each monitor in turn, as often as pairs are wanted. @param before whether it is a run before */
export async function takeTurns(
  context: Context,
  vmms: readonly VmmName[],
  what: string,
  run: (vmm: VmmName, before: boolean) => Promise<void>,
): Promise<void> {
  const { pairs } = context.options;
  forgetRuns();
  for (let i = 1; vmms.includes('later') && i <= RUNS_BEFORE; i++) {
    progress(`${what}: later, ${i} of ${RUNS_BEFORE} before`);
    await run('later', true);
  }
  for (let pair = 1; pair <= pairs; pair++) {
    for (const vmm of vmms) {
      progress(`${what}: ${vmm}, ${pair} of ${pairs}`);
      await run(vmm, false);
    }
  }
}

/** Monitors that run real images with a network: v86 has no tap. */
export const withTap = (vmms: readonly VmmName[]) => vmms.filter((vmm) => vmm !== 'v86');

/** @param slot which of the taps its network is; undefined: it has none */
export function specOf(image: Image, slot: number | undefined): GuestSpec {
  const { kernel, initrd, memory, append } = image;
  if (slot === undefined) return { kernel, initrd, memory, append };
  const net = tap(slot);
  const addressed = append.replaceAll('{guest}', net.guest).replaceAll('{host}', net.host);
  return { kernel, initrd, memory, append: addressed, tap: net };
}

export function start(context: Context, vmm: VmmName, guest: GuestSpec): GuestProcess {
  return new GuestProcess(commandLine(vmm, guest, context.options.qemu));
}

/**
 * Boots a server, waits until it answers, does something with it, and ends it. What fails is noted.
 * @param use is given the process, and performance.now() of the first answer
 * @returns what `use` does; undefined when something failed
 */
export async function withServer<Result>(
  context: Context,
  vmm: VmmName,
  image: Image,
  use: (guest: GuestProcess, answered: number) => Promise<Result>,
): Promise<Result | undefined> {
  const guest = start(context, vmm, specOf(image, 0));
  try {
    const protocol = image.kind === 'redis' ? 'redis' : 'http';
    const answered = await firstAnswer(guest, protocol, tap(0).guest, image.port);
    return await use(guest, answered);
  } catch (error) {
    context.samples.fail(`${image.name} under ${vmm} failed: ${(error as Error).message}`);
    return undefined;
  } finally {
    await guest.stop();
  }
}
