/** The machine that measures: what it is, what else it does, and that only one benchmark runs on it. */

import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { UserError } from '../vmm/errors.ts';
import type { VmmName } from './vmm.ts';

/** A load above this shows that others use the machine. */
const QUIET_LOAD = 0.3;

export interface Host {
  readonly cpu: string;
  readonly cores: number;
  /** GiB. */
  readonly memory: number;
  readonly kernel: string;
  readonly node: string;
  /** Of the last minute, at the start. */
  readonly load: number;
  readonly commit: string;
  readonly versions: Partial<Record<VmmName, string>>;
}

export function describeHost(versions: Partial<Record<VmmName, string>>): Host {
  const all = cpus();
  return {
    cpu: all[0].model,
    cores: all.length,
    memory: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    load: Math.round(loadavg()[0] * 100) / 100,
    commit: commit(),
    versions,
  };
}

function commit(): string {
  try {
    const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8', stdio: 'pipe' }).trim();
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '-uno') === '' ? '' : ' with changes');
  } catch {
    return 'unknown';
  }
}

/** @returns what to say about other work on the machine; empty: it is quiet */
export function loadWarning(load: number): string {
  return load > QUIET_LOAD
    ? `The load average was ${load} at the start: other work disturbed this run, so trust no absolute figure.`
    : '';
}

/**
 * Keeps other benchmarks away.
 * @returns what lets them in again
 * @throws UserError when one is running
 */
export function lock(): () => void {
  const path = join(tmpdir(), 'tsvmm-bench.lock');
  for (let tries = 0; tries < 2; tries++) {
    try {
      const file = openSync(path, 'wx');
      writeSync(file, `${process.pid}\n`);
      closeSync(file);
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const owner = Number(readFileSync(path, 'utf8'));
      if (lives(owner)) throw new UserError(`another benchmark is running (process ${owner}, ${path})`);
      rmSync(path, { force: true });
    }
  }
  throw new UserError(`${path} cannot be taken`);
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
