/** The benchmark: tsvmm beside QEMU's TCG on the same guests in one run. `npm run bench -- --help` tells the options. */

import { resolve } from 'node:path';
import { UserError } from '../vmm/errors.ts';
import { type BenchOptions, type PartName, parseBenchArguments, USAGE } from './arguments.ts';
import { measureBoot } from './boot.ts';
import { type Context, progress } from './context.ts';
import { measureCpuGuests } from './cpu-guests.ts';
import { measureDensity } from './density.ts';
import { describeHost, loadWarning, lock } from './host.ts';
import { measureKernels } from './kernels.ts';
import { measureMemory } from './memory.ts';
import { noNetwork, runInNamespace } from './network.ts';
import { markdown, type Results } from './report.ts';
import { commandText, writeResults } from './results.ts';
import { Samples } from './samples.ts';
import { measureServing } from './serving.ts';
import { knowsRuns, type VmmName, versionOf } from './vmm.ts';

const PARTS: Record<PartName, (context: Context) => Promise<void>> = {
  kernels: measureKernels,
  boot: measureBoot,
  serving: measureServing,
  cpu: measureCpuGuests,
  memory: measureMemory,
  density: measureDensity,
};
const NEED_NETWORK: readonly PartName[] = ['boot', 'serving', 'memory', 'density'];

const argv = process.argv.slice(2);
const userFolder = process.env.INIT_CWD ?? process.cwd();

async function main(): Promise<number> {
  const options = parseBenchArguments(argv, userFolder);
  if (options === 'help') {
    process.stdout.write(USAGE);
    return 0;
  }
  if (options.inside) {
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
    return await measure(options, '');
  }
  const unlock = lock();
  try {
    if (!options.parts.some((part) => NEED_NETWORK.includes(part))) return await measure(options, '');
    const obstacle = noNetwork();
    if (obstacle !== '') return await measure(options, obstacle);
    return await runInNamespace([process.execPath, process.argv[1], ...argv, '--inside']);
  } finally {
    unlock();
  }
}

/** Parts in which it matters how much is translated. */
const HAVE_LATER_RUNS: readonly PartName[] = ['boot', 'cpu'];

/** @param obstacle why there is no network; empty: there is */
async function measure(options: BenchOptions, obstacle: string): Promise<number> {
  const versions: Partial<Record<VmmName, string>> = {};
  const absent: VmmName[] = [];
  for (const vmm of new Set([...options.vmms, ...options.guestVmms])) {
    const version = versionOf(vmm, options.qemu);
    if (version === undefined) absent.push(vmm);
    else versions[vmm] = version;
  }
  const host = describeHost(versions);
  const absence = (vmm: VmmName) => `${vmm} cannot be run here: it is not in this comparison.`;
  const warnings = [loadWarning(host.load), ...absent.map(absence)];
  for (const text of warnings) if (text !== '') progress(`bench: ${text}`);
  const results: Results = {};
  let failed = false;
  for (const part of options.parts) {
    const samples = new Samples();
    const asked = part === 'kernels' ? options.vmms : options.guestVmms;
    const wanted = asked.filter((vmm) => !knowsRuns(vmm) || HAVE_LATER_RUNS.includes(part));
    const vmms = wanted.filter((vmm) => versions[vmm] !== undefined);
    for (const vmm of wanted) if (absent.includes(vmm)) samples.note(absence(vmm));
    if (obstacle !== '' && NEED_NETWORK.includes(part)) samples.note(`Not measured: ${obstacle}.`);
    else await PARTS[part]({ options, vmms, samples });
    failed ||= samples.failed;
    if (samples.rows.length === 0 && samples.notes.length === 0) continue;
    const date = new Date().toISOString().slice(0, 10);
    const command = commandText(argv, options.quick);
    results[part] = { command, date, pairs: options.pairs, host, notes: samples.notes, rows: samples.rows };
    // After each part: a long run that is broken off leaves what it has.
    writeResults(resolve(userFolder, options.out), results);
  }
  process.stdout.write(`\n${markdown(results)}\n`);
  return failed ? 1 : 0;
}

process.exitCode = await main().catch((error: unknown) => {
  const message = error instanceof UserError ? error.message : String((error as Error).stack ?? error);
  process.stderr.write(`bench: ${message}\n`);
  return 1;
});
