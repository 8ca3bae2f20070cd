/**
 * The image of kernels (bench/guests): rounds a second of each, by the host's clock from the serial line's "run" to its
 * "done"; the guest's own clock, which it prints too, is as good as its measurement of the TSC's frequency was. All
 * monitors must compute the same checksums.
 */

import { existsSync } from 'node:fs';
import { type Context, start, takeTurns } from './context.ts';
import type { VmmName } from './vmm.ts';

const TIMEOUT_MS = 600_000;

/**
 * Percent of the rounds, and of those before that are not counted: for the slow ones few are enough. JavaScript is
 * measured once warm, and V8 takes longer over it than over WebAssembly.
 */
const SCALES: Record<VmmName, { readonly scale: number; readonly warm: number }> = {
  tsvmm: { scale: 100, warm: 25 },
  later: { scale: 100, warm: 25 },
  usual: { scale: 100, warm: 25 },
  qemu: { scale: 100, warm: 25 },
  js: { scale: 100, warm: 400 },
  v86: { scale: 20, warm: 10 },
  off: { scale: 5, warm: 1 },
};
const QUICK_SCALE = 0.5;

export interface KernelRun {
  readonly checksum: string;
  readonly roundsPerSecond: number;
}

/** Follows the lines of the serial line (see bench/guests/main.c). */
export class KernelWatch {
  readonly runs = new Map<string, KernelRun>();
  ended = false;
  private started = 0;
  private rounds = 0;

  /** @param time of its arrival, ms */
  line(text: string, time: number): void {
    const [word, name, value] = text.split(' ');
    if (word === 'run') {
      this.started = time;
      this.rounds = Number(value);
    } else if (word === 'done') {
      this.runs.set(name, {
        checksum: value,
        roundsPerSecond: (this.rounds / (time - this.started)) * 1000,
      });
    } else if (word === 'end') {
      this.ended = true;
    }
  }
}

/** @returns a message when two runs do not agree; undefined when they do */
export function disagreement(one: ReadonlyMap<string, KernelRun>, other: ReadonlyMap<string, KernelRun>) {
  for (const [name, { checksum }] of one) {
    const theirs = other.get(name)?.checksum;
    if (theirs !== undefined && theirs !== checksum) return `${name}: checksums ${checksum} and ${theirs}`;
  }
  return undefined;
}

/** @throws Error when checksums differ: then no figure means anything */
export async function measureKernels(context: Context): Promise<void> {
  const { options, samples } = context;
  const images: Record<'64' | '32', string> = { 64: 'build/guests/bench64.elf', 32: 'build/guests/bench32.elf' };
  for (const image of Object.values(images)) {
    if (!existsSync(image)) throw new Error(`${image} is missing: npm run build:guests bench`);
  }
  if (options.kernels.length > 0) samples.note(`Only some of the kernels: ${options.kernels.join(', ')}.`);
  let reference: { readonly vmm: VmmName; readonly runs: ReadonlyMap<string, KernelRun> } | undefined;
  await takeTurns(context, context.vmms, 'kernels', async (vmm) => {
    const factor = options.quick ? QUICK_SCALE : 1;
    const { scale, warm } = SCALES[vmm];
    const only = options.kernels.length > 0 ? ` only=${options.kernels.join(',')}` : '';
    const guest = start(context, vmm, {
      kernel: vmm === 'v86' ? images[32] : images[64],
      memory: '64M',
      append: `scale=${Math.ceil(scale * factor)} warm=${Math.ceil(warm * factor)}${only}`,
    });
    const watch = new KernelWatch();
    guest.onLine = (line, time) => watch.line(line, time);
    await guest.exit(TIMEOUT_MS);
    if (!watch.ended) samples.fail(`The kernels did not end under ${vmm}: ${guest.lastWords}`);
    reference ??= { vmm, runs: watch.runs };
    const message = disagreement(reference.runs, watch.runs);
    if (message !== undefined) throw new Error(`${reference.vmm} and ${vmm} compute differently: ${message}`);
    for (const name of new Set([...reference.runs.keys(), ...watch.runs.keys()])) {
      const run = watch.runs.get(name);
      const metric = { subject: name, name: 'speed', unit: 'rounds/s', better: 'higher' } as const;
      samples.add(metric, vmm, run?.roundsPerSecond ?? Number.NaN);
    }
  });
}
