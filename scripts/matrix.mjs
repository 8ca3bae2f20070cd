/**
 * Runs the tests that run guest code once in each way that guest code can be run: interpreted, and translated by either
 * back end as usual, at once, and with room for so little code that it is dropped all the time.
 *
 *     npm run test:matrix [-- [--quick] [--only unit|e2e] [NAME…]]
 *
 * NAME is a word of a configuration's name ("js", "tiny"); --quick leaves out the guests and the long comparisons. Prints
 * what each run printed when it failed, and a table; status 1 if anything failed. Wants the build, the addon and the
 * guests to be there (npm run build, build:addon, build:guests).
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

/**
 * TSVMM_ACCEL of each run. Tests of single instructions run next to nothing more often than twice; guests in a tiny cache
 * would do nothing but translate if it took little to become hot. JavaScript takes four times the room.
 */
const CONFIGURATIONS = [
  { name: 'interpreter', unit: 'tcg,jit=off', e2e: 'tcg,jit=off' },
  { name: 'wasm', unit: 'tcg,jit=wasm', e2e: 'tcg,jit=wasm' },
  { name: 'wasm at once', unit: 'tcg,jit=wasm,hot=1', e2e: 'tcg,jit=wasm,hot=1' },
  { name: 'wasm tiny cache', unit: 'tcg,jit=wasm,hot=2,tb-size=4k', e2e: 'tcg,jit=wasm,hot=2000,tb-size=128k' },
  { name: 'js', unit: 'tcg,jit=js', e2e: 'tcg,jit=js' },
  { name: 'js at once', unit: 'tcg,jit=js,hot=1', e2e: 'tcg,jit=js,hot=1' },
  { name: 'js tiny cache', unit: 'tcg,jit=js,hot=2,tb-size=4k', e2e: 'tcg,jit=js,hot=2000,tb-size=512k' },
];

/** Tests whose CPUs and machines heed TSVMM_ACCEL. Those of back ends and of the fuzzer say themselves how code runs. */
const QUICK = ['test/cpu/system', 'test/cpu/helpers', 'test/isa/sse.test.ts'];
const SUITES = {
  unit: { project: 'unit', files: [...QUICK, 'test/isa/isa.test.ts'] },
  e2e: {
    project: 'e2e',
    files: ['kernels', 'bench-kernels', 'console', 'debian-guests', 'http', 'monitor'].map(
      (name) => `test/e2e/${name}.test.ts`,
    ),
  },
};

/** ms that a test may take if it does not say itself how long. */
const PATIENCE = 600_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false }, only: { type: 'string' } },
});

const chosen = CONFIGURATIONS.filter(({ name }) => positionals.every((word) => name.split(' ').includes(word)));
const suites = Object.entries(SUITES).filter(([name]) =>
  values.quick ? name === 'unit' : (values.only ?? name) === name,
);
if (chosen.length === 0 || suites.length === 0) {
  console.error('nothing to run: see scripts/matrix.mjs');
  process.exit(2);
}

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-matrix-'));
const rows = [];
for (const configuration of chosen) {
  for (const [suite, { project, files }] of suites) {
    const accelerator = configuration[suite];
    console.log(`${configuration.name}: ${suite} with ${accelerator}`);
    const result = run(project, values.quick ? QUICK : files, accelerator);
    console.log(`  ${result.passed} passed, ${result.failed} failed in ${result.seconds} s`);
    rows.push({ name: configuration.name, suite, ...result });
  }
}
rmSync(folder, { recursive: true });

const cells = [
  ['configuration', 'tests', 'passed', 'failed', 'skipped', 'seconds'],
  ...rows.map((row) => [row.name, row.suite, row.passed, row.failed, row.skipped, row.seconds].map(String)),
];
const widths = cells[0].map((_, i) => Math.max(...cells.map((row) => row[i].length)));
console.log('');
for (const row of cells)
  console.log(
    row
      .map((cell, i) => cell.padEnd(widths[i]))
      .join('  ')
      .trimEnd(),
  );
process.exitCode = rows.some(({ isGood }) => !isGood) ? 1 : 0;

/** Runs test files of a project. */
function run(project, files, accelerator) {
  const report = join(folder, 'report.json');
  rmSync(report, { force: true });
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(
    'node_modules/.bin/vitest',
    [
      ...['run', '--project', project, '--testTimeout', PATIENCE, '--reporter=json', '--outputFile', report],
      ...['--reporter=default', ...files],
    ],
    { encoding: 'utf8', maxBuffer: 1 << 28, env: { ...process.env, TSVMM_ACCEL: accelerator } },
  );
  const seconds = Math.round((performance.now() - started) / 1000);
  const isGood = status === 0;
  if (!isGood) console.log(stdout + stderr);
  let counts = { numPassedTests: 0, numFailedTests: '?', numPendingTests: 0 };
  try {
    counts = JSON.parse(readFileSync(report, 'utf8'));
  } catch {
    // It ended before it could tell.
  }
  return {
    passed: counts.numPassedTests,
    failed: counts.numFailedTests,
    skipped: counts.numPendingTests,
    seconds,
    isGood,
  };
}
