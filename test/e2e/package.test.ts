/**
 * The packages that `npm run package` makes: what is in them, that they install, and that tsvmm starts from them where
 * a container's engine starts it: in the root that urunc gives its monitors, under any uid, with any environment.
 */

import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { NO_MACHINE_CODE } from '../../vmm/core.ts';
import { VERSION } from '../../vmm/version.ts';
import { inMonitorRoot } from './monitor-root.ts';
import { GUESTS } from './tiny-guests.ts';
import { isRoot, ROOT } from './tsvmm.ts';

const TARBALL = join(ROOT, 'dist', `tsvmm-${VERSION}-linux-x64.tar.gz`);
const DEB = join(ROOT, 'dist', `tsvmm_${VERSION}_amd64.deb`);
const IMAGE = join(ROOT, 'dist', `tsvmm-${VERSION}-oci.tar`);

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-package-'));
const unpacked = join(directory, 'unpacked');
const launcher = join(unpacked, 'usr', 'local', 'bin', 'tsvmm');
const kernels = join(directory, 'kernels');
const kernel = (name: keyof typeof GUESTS) => join(kernels, name);

const notRoot = isRoot ? '' : ' NOT RUN: not root';

/** Each of these stops Node, slows it down, or loads something into it, unless it is kept away. */
const HOSTILE = {
  NODE_OPTIONS: '--require=/no/such/file',
  NODE_EXTRA_CA_CERTS: '/no/such/file',
  NODE_V8_COVERAGE: '/no/such/directory',
  NODE_DEBUG: 'fs,net',
  OPENSSL_CONF: '/no/such/file',
  GCONV_PATH: '/tmp',
};

function succeed(command: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', cwd: ROOT });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error ?? stdout + stderr}`);
  return stdout;
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const packages = () => [TARBALL, DEB, IMAGE].map((file) => sha256(readFileSync(file)));

beforeAll(() => {
  succeed(process.execPath, 'scripts/package.mjs');
  for (const path of [unpacked, kernels]) mkdirSync(path);
  succeed('tar', '-C', unpacked, '-xzf', TARBALL);
  for (const [name, bytes] of Object.entries(GUESTS)) writeFileSync(join(kernels, name), bytes);
  // Other users are to read them.
  chmodSync(directory, 0o755);
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('what is packed', () => {
  test('the same tree makes the same bytes', () => {
    const before = packages();
    succeed(process.execPath, 'scripts/package.mjs');
    expect(packages()).toEqual(before);
  });

  test('the tarball brings no directory of the system, and everything belongs to root', () => {
    const lines = succeed('tar', '-tvzf', TARBALL).trim().split('\n');
    for (const line of lines) {
      expect(line).toMatch(/^\S+ root\/root .* \.\/usr\/(lib\/tsvmm\/|local\/bin\/tsvmm -> )/);
    }
  });

  test('the image is a valid OCI layout whose only layer is the tarball', () => {
    const image = join(directory, 'image');
    mkdirSync(image);
    succeed('tar', '-C', image, '-xf', IMAGE);
    const blobs = join(image, 'blobs', 'sha256');
    for (const name of readdirSync(blobs)) expect(sha256(readFileSync(join(blobs, name)))).toBe(name);
    const json = (path: string) => JSON.parse(readFileSync(join(image, path), 'utf8'));
    const blob = (digest: string) => join('blobs', ...digest.split(':'));
    expect(json('oci-layout')).toEqual({ imageLayoutVersion: '1.0.0' });
    const manifest = json(blob(json('index.json').manifests[0].digest));
    const [layer] = manifest.layers;
    expect(manifest.layers).toHaveLength(1);
    expect(layer.digest).toBe(`sha256:${sha256(readFileSync(TARBALL))}`);
    expect(layer.size).toBe(readFileSync(TARBALL).length);
    const config = json(blob(manifest.config.digest));
    const tar = spawnSync('gzip', ['-dc', TARBALL], { maxBuffer: 1 << 30 }).stdout;
    expect(config.rootfs.diff_ids).toEqual([`sha256:${sha256(tar)}`]);
    expect(json('manifest.json')).toEqual([
      { Config: blob(manifest.config.digest), RepoTags: [`tsvmm:${VERSION}`], Layers: [blob(layer.digest)] },
    ]);
  });

  const noDpkg = existsSync('/usr/bin/dpkg') ? notRoot : ' NOT RUN: no dpkg';

  test.skipIf(noDpkg)(`the Debian package installs, verifies, runs and goes without a trace${noDpkg}`, () => {
    const target = join(directory, 'debian');
    mkdirSync(join(target, 'admin', 'updates'), { recursive: true });
    writeFileSync(join(target, 'admin', 'status'), '');
    writeFileSync(join(target, 'admin', 'available'), '');
    // Its dependencies are on this machine, but not in that database.
    const dpkg = (...args: readonly string[]) =>
      succeed('dpkg', `--admindir=${target}/admin`, `--instdir=${target}`, '--force-depends', ...args);
    dpkg('--install', DEB);
    expect(dpkg('--verify', 'tsvmm')).toBe('');
    expect(succeed(join(target, 'usr/bin/tsvmm'), '-version')).toBe(`tsvmm ${VERSION}\n`);
    dpkg('--purge', 'tsvmm');
    expect(readdirSync(target)).toEqual(['admin']);
  });
});

describe('the launcher', () => {
  const run = (argv: readonly string[], env: NodeJS.ProcessEnv) =>
    spawnSync(launcher, argv, { encoding: 'utf8', env, timeout: 20_000 });

  test('ignores what the environment tells Node and the dynamic linker', () => {
    const { stdout, stderr, status } = run(['-kernel', kernel('POWERS_OFF'), '-m', '16M'], {
      ...HOSTILE,
      LD_PRELOAD: '/no/such/library.so',
      LD_LIBRARY_PATH: '/tmp',
    });
    expect({ stdout, stderr, status }).toEqual({ stdout: 'hello\r\n', stderr: '', status: 0 });
  });

  test('starts with the core compiled for the Node beside it, and without that code too', () => {
    const code = join(unpacked, 'usr/lib/tsvmm/dist/core.wasm.code');
    const start = () => run(['-kernel', kernel('POWERS_OFF'), '-m', '16M', '-d', 'startup'], {});
    const { stderr: compiled } = start();
    renameSync(code, `${code}.away`);
    const { stdout, stderr, status } = start();
    renameSync(`${code}.away`, code);
    expect(compiled).toMatch(/ ms: core loaded\n/);
    expect(compiled).not.toContain(NO_MACHINE_CODE);
    expect(stderr).toContain(NO_MACHINE_CODE);
    expect({ stdout, status }).toEqual({ stdout: 'hello\r\n', status: 0 });
  });

  test('hands on words as they are, empty ones and those that look like options of Node', () => {
    const { stderr, status } = run(['-append', '', '--inspect', '-kernel', 'x'], {});
    expect(stderr).toBe('tsvmm: --inspect: invalid option; -help lists them all\n');
    expect(status).toBe(1);
  });

  test('becomes the monitor: one process, with nothing but TZ in its environment', async () => {
    const child = spawn(launcher, ['-kernel', kernel('HALTS'), '-m', '16M'], {
      env: { ...HOSTILE, TZ: 'Europe/Berlin', PATH: '/bin' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    expect(readFileSync(`/proc/${child.pid}/environ`, 'latin1')).toBe('TZ=Europe/Berlin\0');
    expect(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'latin1')).toBe('');
    child.kill('SIGTERM');
    expect((await once(child, 'exit'))[0]).toBe(0);
  });

  test('a copy of it alone belongs to /usr/lib/tsvmm, whatever lies beside it', () => {
    const copy = join(directory, 'copy');
    succeed('cp', '-rL', join(unpacked, 'usr/lib/tsvmm/bin'), copy);
    const { stderr, status } = spawnSync(join(copy, 'tsvmm'), ['-no-such-option'], { encoding: 'utf8' });
    const installed = existsSync('/usr/lib/tsvmm/bin/node');
    expect(status).toBe(installed ? 1 : 127);
    if (!installed) {
      expect(stderr).toBe('tsvmm: cannot start /usr/lib/tsvmm/bin/node: No such file or directory\n');
    }
  });

  /**
   * From execve to the first character of a guest that prints at once, in times that Node takes for an empty program.
   * On a machine where that is 23 ms, this is a bar of 80 ms.
   */
  const START = 80 / 23;

  test(`a guest's first instruction runs within ${START.toFixed(1)} times a bare start of Node`, async () => {
    const empty = join(directory, 'empty.cjs');
    writeFileSync(empty, 'process.stdout.write(".")');
    /** @returns ms until it prints */
    const time = async (command: string, ...args: readonly string[]) => {
      const start = performance.now();
      const child = spawn(command, args, { env: {}, stdio: ['ignore', 'pipe', 'inherit'] });
      await once(child.stdout, 'data');
      const elapsed = performance.now() - start;
      await once(child, 'exit');
      return elapsed;
    };
    let bare = Number.POSITIVE_INFINITY;
    let whole = Number.POSITIVE_INFINITY;
    // A busy test machine is late often, a slow program always: the least times count.
    for (let tries = 0; tries < 8 || (tries < 40 && whole > START * bare); tries++) {
      bare = Math.min(bare, await time(process.execPath, empty));
      whole = Math.min(whole, await time(launcher, '-kernel', kernel('POWERS_OFF'), '-m', '64M', '-nic', 'user'));
    }
    expect(whole).toBeLessThan(START * bare);
  });
});

describe.skipIf(notRoot)(`in the root of urunc's monitors${notRoot}`, () => {
  const root = join(directory, 'root');
  beforeAll(() => {
    mkdirSync(root);
  });

  /** It is PID 1 there. */
  const argv = (user: string, proc: 'yes' | 'no', ...words: readonly string[]) =>
    inMonitorRoot({ root, unpacked, files: kernels, user, proc }, ...words);
  const env = { ...process.env, ...HOSTILE };
  const monitor = (user: string, proc: 'yes' | 'no', ...words: readonly string[]) => {
    const { stdout, stderr, status } = spawnSync('unshare', argv(user, proc, ...words), {
      encoding: 'utf8',
      env,
      timeout: 20_000,
    });
    return { stdout, stderr, status };
  };
  const quiet = ['-display', 'none', '-vga', 'none', '-serial', 'stdio', '-monitor', 'null'];
  const boot = (name: keyof typeof GUESTS) => ['-kernel', `/cntrRootfs/${name}`, '-m', '16M', ...quiet];

  const PLACES = [
    ['0:0', 'yes'],
    ['0:0', 'no'],
    ['65534:65534', 'yes'],
    ['65534:65534', 'no'],
  ] as const;

  test.each(PLACES)('as %s, /proc %s: a guest runs to its end', (user, proc) => {
    expect(monitor(user, proc, ...boot('POWERS_OFF'), '-nic', 'user')).toEqual({
      stdout: 'hello\r\n',
      stderr: '',
      status: 0,
    });
  });

  test.each(PLACES)('as %s, /proc %s: the addon is found and loads', (user, proc) => {
    const { stderr, status } = monitor(user, proc, ...boot('HALTS'), '-nic', 'tap,ifname=tap0_urunc,script=no');
    // It was the addon that looked for the interface.
    expect(stderr).toMatch(/^tsvmm: tap tap0_urunc: no such interface[^\n]*\n$/);
    expect(status).toBe(1);
  });

  test.each(PLACES)('as %s, /proc %s: PID 1 ends on SIGTERM', async (user, proc) => {
    const child = spawn('unshare', argv(user, proc, ...boot('SPINS')), { env, stdio: ['ignore', 'pipe', 'pipe'] });
    await once(child.stdout, 'data');
    const init = Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8'));
    process.kill(init, 'SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
  });
});
