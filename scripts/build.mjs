/**
 * Bundles the program into dist/tsvmm.js and makes V8's code cache for it (dist/tsvmm.js.cache); makes the CPU's core
 * (dist/core.wasm) and V8's machine code of it (dist/core.wasm.code).
 *
 * The bundle is one function expression, `(function (require) { …; return exports; })`: bin/tsvmm compiles it by
 * vm.Script, which, other than require(), takes a code cache.
 */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const bundle = `${root}dist/tsvmm.js`;
const generator = `${root}build/generator.mjs`;

const core = `${root}dist/core.wasm`;
const codeCache = `${bundle}.cache`;
const machineCode = `${core}.code`;

for (const file of [codeCache, machineCode]) rmSync(file, { force: true });

// The CPU's core, in both forms, and the columns of its opcode table are generated here: the program carries no
// generator, and its start parses no table. All of the CPU is loaded, as its modules define the columns.
await build({
  absWorkingDir: root,
  stdin: {
    contents: `
      import './cpu/cpu.ts';
      export { embeddedColumns } from './cpu/isa/columns.ts';
      export { buildCoreSource } from './cpu/js/core-source.ts';
      export { buildCoreModule } from './cpu/wasm/interpreter.ts';`,
    resolveDir: root,
    loader: 'ts',
  },
  outfile: generator,
  bundle: true,
  platform: 'node',
  packages: 'external',
  format: 'esm',
  logLevel: 'warning',
});
const { buildCoreModule, buildCoreSource, embeddedColumns } = await import(generator);
rmSync(generator);
mkdirSync(`${root}dist`, { recursive: true });
writeFileSync(core, buildCoreModule(`${root}cpu`));

/** Of all sources beneath a directory: an int32. */
function hashOfDirectory(directory) {
  const hash = createHash('sha256');
  for (const name of readdirSync(directory, { recursive: true }).sort())
    if (name.endsWith('.ts')) hash.update(name).update(readFileSync(`${directory}/${name}`));
  return hash.digest().readInt32LE();
}

/** A part of the program that only those load who ask for it: dist/<name>.cjs, which brings along what it needs. */
async function buildPart(name, contents) {
  await build({
    absWorkingDir: root,
    stdin: { contents, resolveDir: root, loader: 'ts' },
    outfile: `${root}dist/${name}.cjs`,
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    format: 'cjs',
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    logLevel: 'warning',
  });
}

await buildPart(
  'core',
  `import { jsCore } from './cpu/js/core.ts';
  export const core = jsCore(${buildCoreSource()});`,
);
await buildPart('watchers', `export * from './vmm/watch/watchers.ts';`);

await build({
  absWorkingDir: root,
  entryPoints: ['vmm/main.ts'],
  outfile: bundle,
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  format: 'cjs',
  banner: { js: '(function (require) { var module = { exports: {} };' },
  footer: { js: 'return module.exports; })' },
  // `import.meta` has no meaning in a function; who needs the bundle's place asks process.argv[1].
  define: {
    'import.meta.url': 'undefined',
    WASM_CORE_FILE: '"core.wasm"',
    MACHINE_CODE_FILE: '"core.wasm.code"',
    JS_CORE_FILE: '"core.cjs"',
    TRANSLATOR_HASH: String(hashOfDirectory(`${root}cpu`)),
    WATCHERS_FILE: '"watchers.cjs"',
    OPCODE_COLUMNS: JSON.stringify(JSON.stringify(embeddedColumns())),
  },
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  logLevel: 'warning',
});

/** In a process of its own, for its flags: what V8 makes is only good under those that it will have. */
function runNode(...words) {
  const env = { ...process.env, NODE_OPTIONS: '' };
  const { status } = spawnSync(process.execPath, words, { stdio: 'inherit', timeout: 60_000, env });
  if (status !== 0) process.exit(status ?? 1);
}

runNode(`${root}scripts/run.mjs`, 'scripts/precompile.ts', core, machineCode);
// V8 orders its hash tables by a random seed; the cache holds for every seed, but with one that is known the same sources
// give the same bytes.
runNode('--random-seed=1', `${root}scripts/code-cache.mjs`, bundle, codeCache);
