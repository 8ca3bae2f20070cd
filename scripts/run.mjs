/**
 * Runs a program written in TypeScript, which Node 20 cannot by itself: `node scripts/run.mjs FILE.ts ARGUMENTS…`.
 * The bundle is build/run/FILE.mjs; it runs in the project's folder, and INIT_CWD says where the user was, as npm does.
 */

import { basename } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const [entry, ...words] = process.argv.slice(2);
process.env.INIT_CWD ??= process.cwd();
process.chdir(root);
const outfile = `${root}build/run/${basename(entry, '.ts')}.mjs`;
await build({
  entryPoints: [entry],
  outfile,
  bundle: true,
  packages: 'external',
  platform: 'node',
  target: 'node20.19',
  format: 'esm',
  logLevel: 'warning',
});
process.argv.splice(1, process.argv.length, outfile, ...words);
await import(pathToFileURL(outfile).href);
