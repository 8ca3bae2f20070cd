/**
 * Packs what `npm run build` and `npm run build:addon` made, together with the Node that runs this script, into dist/:
 *
 *   tsvmm-<version>-linux-x64.tar.gz   to unpack in /: usr/lib/tsvmm and the link usr/local/bin/tsvmm
 *   tsvmm_<version>_amd64.deb          the same, with the link in usr/bin (deb(5), Debian Policy 5 and 9)
 *   tsvmm-<version>-oci.tar            the tarball as the only layer of an image (OCI image layout 1.0, and the
 *                                      manifest.json that `docker load` reads), to copy from in other images
 *
 * The same tree on the same machine gives the same bytes; SOURCE_DATE_EPOCH names the time of the files.
 */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';
import { ar, sourceDateEpoch, tar } from './archives.mjs';

const root = join(import.meta.dirname, '..');
const { version, description } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const HOME = 'usr/lib/tsvmm';
const MAINTAINER = 'The tsvmm authors <tsvmm@localhost>';

function fail(message) {
  console.error(`package: ${message}`);
  process.exit(1);
}

function run(command, args, env = process.env) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28, env });
  if (status !== 0) fail(`${command} ${args.join(' ')}\n${error?.message ?? stdout + stderr}`);
  return stdout;
}

/** A file that another script makes. */
function built(path, script) {
  const file = join(root, path);
  return existsSync(file) ? readFileSync(file) : fail(`${path} is missing: npm run ${script}`);
}

const scratch = mkdtempSync(join(tmpdir(), 'tsvmm-package-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

/** Without symbols and debug information, which nothing loads: what an addon links against is elsewhere and stays. */
function stripped(file) {
  const copy = join(scratch, 'stripped');
  copyFileSync(file, copy);
  chmodSync(copy, 0o755);
  run('strip', [copy]);
  return readFileSync(copy);
}

/** V8's machine code of the core: as it is for one Node only, that of the package makes it, with the options it will have. */
function machineCode(node) {
  const [file, executable] = ['core.wasm.code', 'node'].map((name) => join(scratch, name));
  writeFileSync(executable, node, { mode: 0o755 });
  const words = [join(root, 'scripts', 'run.mjs'), 'scripts/precompile.ts', join(root, 'dist', 'core.wasm'), file];
  run(executable, words, { ...process.env, NODE_OPTIONS: '' });
  if (existsSync(file)) return [{ path: `${HOME}/dist/core.wasm.code`, bytes: readFileSync(file) }];
  console.error(`package: V8 ${process.versions.v8} was not tried: each start will have to compile the core`);
  return [];
}

function launcher() {
  const out = join(scratch, 'tsvmm');
  const flags = ['-std=gnu11', '-Os', '-static', '-s', '-Wall', '-Wextra'];
  run(process.env.CC || 'cc', [...flags, '-o', out, join(root, 'bin', 'launcher.c')]);
  return readFileSync(out);
}

/** The highest version of glibc's symbols that a program or library asks for. */
function glibcOf(file) {
  const versions = [...run('readelf', ['--version-info', '--wide', file]).matchAll(/\bGLIBC_2\.(\d+)/g)];
  return Math.max(...versions.map((match) => Number(match[1])));
}

/** What every machine with glibc and C++ has. A Node that is split into libraries, as some distributions', is no use. */
const LIBRARIES = /^(lib(dl|pthread|rt|m|c)\.so\.\d|libstdc\+\+\.so\.6|libgcc_s\.so\.1|ld-linux-x86-64\.so\.2)$/;

function checkNode() {
  const needed = [...run('readelf', ['--dynamic', process.execPath]).matchAll(/\(NEEDED\).*\[(.*)\]/g)];
  const others = needed.map((match) => match[1]).filter((name) => !LIBRARIES.test(name));
  if (others.length) fail(`${process.execPath} needs ${others.join(', ')}: run this by a Node from nodejs.org`);
}

/** Node's licence and those of what is inside it, as its own packages bring them. */
function nodeLicence() {
  const prefix = dirname(dirname(process.execPath));
  const candidates = [join(prefix, 'LICENSE'), join(prefix, 'share', 'doc', 'nodejs', 'LICENSE')];
  const found = candidates.find((file) => existsSync(file));
  return found ? readFileSync(found) : fail(`no licence of Node in ${candidates.join(' or ')}`);
}

if (process.platform !== 'linux' || process.arch !== 'x64') fail('this packs for Linux on x86-64 only');
checkNode();

const addon = join('build', 'Release', 'tsvmm_net.node');
built(addon, 'build:addon');

const node = stripped(process.execPath);

/** What is the same in every package. */
const files = [
  { path: `${HOME}/bin/tsvmm`, bytes: launcher(), mode: 0o755 },
  { path: `${HOME}/bin/node`, bytes: node, mode: 0o755 },
  { path: `${HOME}/bin/tsvmm.cjs`, bytes: readFileSync(join(root, 'bin', 'tsvmm')) },
  { path: `${HOME}/bin/tsvmm_net.node`, bytes: stripped(join(root, addon)) },
  { path: `${HOME}/dist/tsvmm.js`, bytes: built('dist/tsvmm.js', 'build') },
  { path: `${HOME}/dist/tsvmm.js.cache`, bytes: built('dist/tsvmm.js.cache', 'build') },
  { path: `${HOME}/dist/core.wasm`, bytes: built('dist/core.wasm', 'build') },
  ...machineCode(node),
  { path: `${HOME}/dist/core.cjs`, bytes: built('dist/core.cjs', 'build') },
  { path: `${HOME}/dist/watchers.cjs`, bytes: built('dist/watchers.cjs', 'build') },
];
/** Relative, so that it also holds where the archive is unpacked elsewhere. */
const linkAt = (path) => ({ path, link: relative(dirname(path), `${HOME}/bin/tsvmm`) });
const doc = (path) => [
  {
    path: `${path}/copyright`,
    bytes: Buffer.concat([
      Buffer.from(`tsvmm ${version} is under the MIT licence. It comes with Node.js ${process.version}:\n\n`),
      nodeLicence(),
    ]),
  },
];

// ── Tarball ────────────────────────────────────────────────────────────────────────────────────────────────────────────

// No directory of the system is in it: unpacking leaves their owners and modes alone.
const layer = tar([...files, ...doc(HOME), linkAt('usr/local/bin/tsvmm')], (path) => path.startsWith(HOME));
const layerGz = gzipSync(layer);

// ── Debian ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

const md5 = (bytes) => createHash('md5').update(bytes).digest('hex');

function deb() {
  const data = [...files, ...doc('usr/share/doc/tsvmm'), linkAt('usr/bin/tsvmm')];
  const glibc = Math.max(glibcOf(process.execPath), glibcOf(join(root, addon)));
  const size = data.reduce((sum, { bytes }) => sum + Math.ceil((bytes?.length ?? 0) / 1024), 0);
  const control = `Package: tsvmm
Version: ${version}
Architecture: amd64
Maintainer: ${MAINTAINER}
Installed-Size: ${size}
Depends: libc6 (>= 2.${glibc}), libgcc-s1, libstdc++6
Section: otherosfs
Priority: optional
Description: virtual machine monitor for unikernels
 ${description}.
 Its command line is that of QEMU. It comes with a Node.js of its own.
`;
  const sums = data.filter(({ bytes }) => bytes).map(({ path, bytes }) => `${md5(bytes)}  ${path}\n`);
  const controlFiles = [
    { path: 'control', bytes: Buffer.from(control) },
    { path: 'md5sums', bytes: Buffer.from(sums.join('')) },
  ];
  return ar([
    { name: 'debian-binary', bytes: Buffer.from('2.0\n') },
    { name: 'control.tar.gz', bytes: gzipSync(tar(controlFiles)) },
    { name: 'data.tar.gz', bytes: gzipSync(tar(data)) },
  ]);
}

// ── OCI image ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

function ociImage() {
  const blobs = [];
  /** Stores a blob. @returns its descriptor */
  const blob = (mediaType, content) => {
    const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
    const digest = sha256(bytes);
    blobs.push({ path: `blobs/sha256/${digest}`, bytes });
    return { mediaType: `application/vnd.oci.image.${mediaType}`, digest: `sha256:${digest}`, size: bytes.length };
  };
  const layerBlob = blob('layer.v1.tar+gzip', layerGz);
  const config = blob('config.v1+json', {
    created: new Date(sourceDateEpoch() * 1000).toISOString(),
    architecture: 'amd64',
    os: 'linux',
    config: { Entrypoint: ['/usr/local/bin/tsvmm'] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(layer)}`] },
  });
  const manifest = blob('manifest.v1+json', {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config,
    layers: [layerBlob],
  });
  const platform = { architecture: 'amd64', os: 'linux' };
  const annotations = {
    'io.containerd.image.name': `docker.io/library/tsvmm:${version}`,
    'org.opencontainers.image.ref.name': version,
  };
  const index = { schemaVersion: 2, manifests: [{ ...manifest, platform, annotations }] };
  const path = ({ digest }) => `blobs/sha256/${digest.slice('sha256:'.length)}`;
  const forDocker = [{ Config: path(config), RepoTags: [`tsvmm:${version}`], Layers: [path(layerBlob)] }];
  const json = (name, value) => ({ path: name, bytes: Buffer.from(JSON.stringify(value)) });
  return tar([
    ...blobs,
    json('oci-layout', { imageLayoutVersion: '1.0.0' }),
    json('index.json', index),
    json('manifest.json', forDocker),
  ]);
}

mkdirSync(join(root, 'dist'), { recursive: true });
for (const [name, bytes] of [
  [`tsvmm-${version}-linux-x64.tar.gz`, layerGz],
  [`tsvmm_${version}_amd64.deb`, deb()],
  [`tsvmm-${version}-oci.tar`, ociImage()],
]) {
  writeFileSync(join(root, 'dist', name), bytes);
  console.log(`${(bytes.length / 1e6).toFixed(1).padStart(6)} MB  dist/${name}`);
}
