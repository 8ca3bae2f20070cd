/**
 * Brings guests into build/guests: `node scripts/build-guests.mjs [kernels|http|bench|debian|linux]` (default: all but linux).
 * kernels and http are built from test/guests, bench (the kernels that the benchmark times) from bench/guests; debian is
 * the images of Debian's packages memtest86+ and grub-invaders, unpacked, not installed. linux is Debian's kernel for
 * clouds and an initrd of busybox and the modules of virtio, for the tests of urunc.
 *
 * The HTTP guest needs the sources of lwIP. They come from Debian's source package `lwip`, by apt's own client from the
 * archive this machine is set up with and verified by its keys, without root and without touching the system's apt
 * configuration. LWIP_DIR names an unpacked lwIP (the folder that holds src/) to use instead.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = join(root, 'build', 'guests');

/** Debian package that brings each program the build calls. */
const tools = { gcc: 'gcc', make: 'make', ld: 'binutils', objcopy: 'binutils' };
const debianTools = { 'apt-get': 'apt', 'dpkg-deb': 'dpkg' };
const lwipTools = { 'apt-get': 'apt', tar: 'tar', xz: 'xz-utils' };

function fail(message) {
  console.error(`build-guests: ${message}`);
  process.exit(1);
}

function requireTools(wanted) {
  const found = (name) => process.env.PATH.split(':').some((folder) => existsSync(join(folder, name)));
  const packages = Object.entries(wanted).flatMap(([name, debian]) => (found(name) ? [] : [debian]));
  if (packages.length) fail(`programs are missing: apt-get install ${[...new Set(packages)].join(' ')}`);
}

function run(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: 'utf8', ...options });
  if (result.status !== 0)
    fail(`${command} ${args.join(' ')}\n${result.error?.message ?? `${result.stdout ?? ''}${result.stderr ?? ''}`}`);
  return result.stdout;
}

/** Options that give apt-get lists of its own, which hold only the source index of the archive this machine uses. */
function aptOptions(folder) {
  const targets = run('apt-get', [
    'indextargets',
    '--format',
    '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)',
    'Created-By: Packages',
  ]);
  const lines = new Set();
  for (const line of targets.split('\n')) {
    const [origin, uri, release, component] = line.split('|');
    const ofDistribution = origin === 'Debian' || origin === 'Ubuntu';
    const holdsLwip = component === 'main' || component === 'universe';
    if (ofDistribution && holdsLwip && !release.includes('-')) lines.add(`deb-src ${uri} ${release} ${component}`);
  }
  if (!lines.size) fail('apt knows no Debian archive; set LWIP_DIR to an unpacked lwIP of version 2.1 or newer');
  const list = join(folder, 'sources.list');
  const lists = join(folder, 'lists');
  mkdirSync(join(lists, 'partial'), { recursive: true });
  writeFileSync(list, `${[...lines].join('\n')}\n`);
  return ['-o', `Dir::Etc::sourcelist=${list}`, '-o', 'Dir::Etc::sourceparts=-', '-o', `Dir::State::lists=${lists}`];
}

/** @returns lwIP's src folder, fetched once. */
function lwipSource() {
  const given = process.env.LWIP_DIR;
  if (given) {
    const src = join(given, 'src');
    return existsSync(join(src, 'Filelists.mk')) ? src : fail(`LWIP_DIR=${given} holds no src/Filelists.mk`);
  }
  const folder = join(out, 'lwip-src');
  const unpacked = () => {
    const name =
      existsSync(folder) && readdirSync(folder).find((n) => existsSync(join(folder, n, 'src', 'Filelists.mk')));
    return name ? join(folder, name, 'src') : undefined;
  };
  const before = unpacked();
  if (before) return before;
  requireTools(lwipTools);
  console.log("build-guests: fetching the source package lwip from this machine's Debian archive");
  const options = aptOptions(join(folder, 'apt'));
  run('apt-get', [...options, 'update']);
  run('apt-get', [...options, 'source', '--download-only', 'lwip'], { cwd: folder });
  const archive = readdirSync(folder).find((name) => /\.orig\.tar\./.test(name));
  run('tar', ['-xf', archive], { cwd: folder });
  return unpacked() ?? fail(`${archive} holds no src/Filelists.mk`);
}

/** Debian's packages of guests, and the image in each. */
const debianGuests = { 'memtest86+': 'memtest86+x64.bin', 'grub-invaders': 'invaders.exec' };

function unpackDebianGuests() {
  const folder = join(out, 'debian');
  const missing = Object.keys(debianGuests).filter((name) => !existsSync(join(folder, debianGuests[name])));
  if (!missing.length) return;
  requireTools(debianTools);
  const packages = join(folder, 'packages');
  mkdirSync(packages, { recursive: true });
  console.log(`build-guests: fetching the packages ${missing.join(' and ')} from this machine's Debian archive`);
  // Their architecture is named, because a guest's is not the host's.
  run('apt-get', ['download', ...missing.map((name) => `${name}:amd64`)], { cwd: packages });
  for (const name of missing) {
    const archive = readdirSync(packages).find((file) => file.startsWith(`${name}_`));
    run('dpkg-deb', ['--extract', archive, 'unpacked'], { cwd: packages });
    copyFileSync(join(packages, 'unpacked', 'boot', debianGuests[name]), join(folder, debianGuests[name]));
  }
}

const LINUX_MODULES = [
  ...['virtio/virtio_ring', 'virtio/virtio', 'virtio/virtio_pci_modern_dev', 'virtio/virtio_pci_legacy_dev'],
  ...['virtio/virtio_pci', 'net/net_failover', 'net/virtio_net', 'block/virtio_blk'],
].map((name) => `drivers/${name}.ko`);

/** build/guests/linux: vmlinuz, and initrd with test/guests/linux/init as the first process. */
function buildLinux() {
  const folder = join(out, 'linux');
  if (existsSync(join(folder, 'initrd'))) return;
  requireTools(debianTools);
  const packages = join(folder, 'packages');
  rmSync(packages, { recursive: true, force: true });
  mkdirSync(packages, { recursive: true });
  const depends = run('apt-cache', ['depends', '--important', 'linux-image-cloud-amd64:amd64']);
  const kernel =
    /Depends: (linux-image-\S+)/.exec(depends)?.[1] ?? fail('apt knows no package linux-image-cloud-amd64');
  console.log(`build-guests: fetching the packages ${kernel} and busybox-static from this machine's Debian archive`);
  run('apt-get', ['download', `${kernel.split(':')[0]}:amd64`, 'busybox-static:amd64'], { cwd: packages });
  for (const name of readdirSync(packages)) run('dpkg-deb', ['--extract', name, 'unpacked'], { cwd: packages });
  const unpacked = join(packages, 'unpacked');
  const [release] = readdirSync(join(unpacked, 'lib', 'modules'));
  const initrd = join(packages, 'initrd');
  for (const name of ['bin', 'dev', 'lib', 'proc', 'www']) mkdirSync(join(initrd, name), { recursive: true });
  const busybox = join(initrd, 'bin', 'busybox');
  copyFileSync(join(unpacked, 'bin', 'busybox'), busybox);
  for (const module of [...LINUX_MODULES, 'net/core/failover.ko'])
    copyFileSync(join(unpacked, 'lib', 'modules', release, 'kernel', module), join(initrd, 'lib', basename(module)));
  copyFileSync(join(root, 'test', 'guests', 'linux', 'init'), join(initrd, 'init'));
  const files = run(busybox, ['find', '.'], { cwd: initrd });
  const archive = spawnSync(busybox, ['cpio', '-o', '-H', 'newc'], { cwd: initrd, input: files, maxBuffer: 1 << 28 });
  if (archive.status !== 0) fail(`busybox cpio: ${archive.stderr}`);
  copyFileSync(join(unpacked, 'boot', `vmlinuz-${release}`), join(folder, 'vmlinuz'));
  writeFileSync(join(folder, 'initrd'), archive.stdout);
}

const targets = ['kernels', 'http', 'bench', 'debian', 'linux'];
const wanted = process.argv.length > 2 ? process.argv.slice(2) : targets.filter((target) => target !== 'linux');
for (const target of wanted)
  if (!targets.includes(target)) fail(`no target ${target}; there are ${targets.join(', ')}`);
mkdirSync(out, { recursive: true });
if (wanted.includes('debian')) unpackDebianGuests();
if (wanted.includes('linux')) buildLinux();
const built = wanted.filter((target) => target !== 'debian' && target !== 'linux');
if (built.length) {
  requireTools(tools);
  if (built.includes('http') && !existsSync('/usr/include/stdlib.h'))
    fail('C headers are missing: apt-get install libc6-dev');
  const lwip = built.includes('http') ? [`LWIP=${lwipSource()}`] : [];
  const make = (folder, ...words) =>
    run('make', ['--silent', '-C', join(root, folder), `OUT=${out}`, ...words], { stdio: 'inherit' });
  const ofTests = built.filter((target) => target !== 'bench');
  if (ofTests.length) make('test/guests', ...lwip, ...ofTests);
  if (built.includes('bench')) make('bench/guests');
}
console.log(`build-guests: ${wanted.join(', ')} in ${out}`);
