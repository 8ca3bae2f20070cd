/** The benchmark itself: a run of one kernel under two monitors, and what it writes. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { output, ROOT } from './tsvmm.ts';

test('a run writes table, figures and chart', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tsvmm-bench-'));
  const words = ['--quick', '--only', 'kernels', '--kernels', 'calls', '--vmm', 'tsvmm,off', '--pairs', '2'];
  try {
    // With a folder for temporary files of its own, it is not kept away by another benchmark.
    const program = [process.execPath, `${ROOT}scripts/run.mjs`, 'bench/main.ts'];
    const printed = await output('env', `TMPDIR=${folder}`, ...program, ...words, '--out', folder);
    const { kernels } = JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8'));
    expect(kernels.rows).toHaveLength(1);
    const [{ subject, samples }] = kernels.rows;
    expect(subject).toBe('calls');
    for (const vmm of ['tsvmm', 'off']) {
      expect(samples[vmm]).toHaveLength(2);
      for (const rate of samples[vmm]) expect(rate).toBeGreaterThan(0);
    }
    const document = readFileSync(join(folder, 'RESULTS.md'), 'utf8');
    expect(document).toContain('| calls | rounds/s |');
    expect(printed).toContain('| calls | rounds/s |');
    expect(readFileSync(join(folder, 'results.svg'), 'utf8')).toContain('</svg>');
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 120_000);
