// Builds build/Release/tsvmm_net.node, the addon of native/. Downloads nothing: node-gyp runs only where Node's headers
// are on this machine, and otherwise the C compiler is called directly against the headers of the node-api-headers
// package. Without a compiler it says so and succeeds: most machines run without the addon.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const root = join(import.meta.dirname, '..');
const output = join(root, 'build', 'Release', 'tsvmm_net.node');

function succeeds(command, args) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8' });
  return { ok: result.status === 0, log: result.error ? result.error.message : `${result.stdout}${result.stderr}` };
}

/** A directory that node-gyp takes as --nodedir: the running Node's own headers. */
function headersDirectory() {
  const candidates = [process.env.npm_config_nodedir, dirname(dirname(process.execPath))];
  return candidates.find((directory) => directory && existsSync(join(directory, 'include', 'node', 'config.gypi')));
}

/** npm tells its scripts where its own node-gyp is. */
function buildWithNodeGyp() {
  const nodeGyp = process.env.npm_config_node_gyp;
  const nodedir = headersDirectory();
  if (!nodeGyp || !nodedir) return { ok: false, log: 'no node-gyp with headers at hand' };
  return succeeds(process.execPath, [nodeGyp, 'configure', 'build', `--nodedir=${nodedir}`]);
}

function buildWithCompiler() {
  const require = createRequire(import.meta.url);
  const { include_dir: include } = require('node-api-headers');
  mkdirSync(dirname(output), { recursive: true });
  // Written beside and renamed: a process that has the old file mapped keeps it whole.
  const fresh = `${output}.new`;
  const flags = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-shared', '-fPIC', '-DNODE_GYP_MODULE_NAME=tsvmm_net'];
  const sources = readdirSync(join(root, 'native')).filter((name) => name.endsWith('.c'));
  const result = succeeds(process.env.CC || 'cc', [
    ...flags,
    '-I',
    include,
    '-o',
    fresh,
    ...sources.map((name) => join('native', name)),
    '-lm',
  ]);
  if (result.ok) renameSync(fresh, output);
  return result;
}

const attempts = process.argv.includes('--cc') ? [buildWithCompiler] : [buildWithNodeGyp, buildWithCompiler];
let last;
for (const attempt of attempts) {
  last = attempt();
  if (last.ok) break;
}
if (last.ok) {
  console.log('built build/Release/tsvmm_net.node');
} else {
  console.error(last.log.trim());
  console.error(
    'tsvmm: the addon was not built; without it there are no taps, block devices, shared directories and sandbox. Install a C compiler and run: node scripts/build-addon.mjs',
  );
}
