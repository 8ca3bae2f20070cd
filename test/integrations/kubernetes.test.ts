/**
 * integrations/kubernetes, offline: the manifests against the API's types as Kubernetes' OpenAPI document has them (no
 * unknown field, none missing, none of another type), each name against what it refers to, and install.sh on a file
 * system that looks like a node's.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { VERSION } from '../../vmm/version.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const KUBERNETES = join(ROOT, 'integrations', 'kubernetes');
const INSTALL = join(KUBERNETES, 'install.sh');

/** Inside the project, because the compiler looks for the types from here on upwards. */
mkdirSync(join(ROOT, 'build'), { recursive: true });
const checks = mkdtempSync(join(ROOT, 'build', 'kubernetes-'));
const directory = mkdtempSync(join(tmpdir(), 'tsvmm-kubernetes-'));
afterAll(() => {
  for (const path of [checks, directory]) rmSync(path, { recursive: true, force: true });
});

interface Container {
  readonly image: string;
  readonly command?: readonly string[];
  readonly ports?: readonly { readonly name: string }[];
  readonly volumeMounts?: readonly { readonly name: string }[];
}

/** As far as the tests read it; the compiler sees all of it. */
interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

type Labels = Readonly<Record<string, string>>;

interface RuntimeClass extends Manifest {
  readonly handler: string;
  readonly scheduling: { readonly nodeSelector: Labels };
}

interface PodSpec {
  readonly runtimeClassName?: string;
  readonly nodeSelector?: Labels;
  readonly initContainers?: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes?: readonly { readonly name: string }[];
}

interface Workload extends Manifest {
  readonly spec: {
    readonly selector: { readonly matchLabels: Labels };
    readonly template: { readonly metadata: { readonly labels: Labels }; readonly spec: PodSpec };
  };
}

interface Service extends Manifest {
  readonly spec: { readonly selector: Labels; readonly ports: readonly { readonly targetPort: string }[] };
}

function manifestsOf(file: string): Manifest[] {
  const documents = parseAllDocuments(readFileSync(join(KUBERNETES, file), 'utf8'), { strict: true, uniqueKeys: true });
  return documents.map((document) => {
    expect(document.errors).toEqual([]);
    return document.toJS() as Manifest;
  });
}

/** @returns what the compiler finds wrong with objects written out as constants of their types */
function typeErrors(manifests: readonly Manifest[]): string {
  const lines = manifests.map((manifest, index) => {
    // `apps/v1`, `node.k8s.io/v1`, and `v1` of the group that has no name.
    const [group, version] = manifest.apiVersion.includes('/')
      ? manifest.apiVersion.split('/')
      : ['core', manifest.apiVersion];
    const type = `import('kubernetes-types/${group.split('.')[0]}/${version}').${manifest.kind}`;
    return `export const m${index}: ${type} = ${JSON.stringify(manifest, null, 2)};`;
  });
  writeFileSync(join(checks, 'manifests.ts'), lines.join('\n'));
  const options = { strict: true, noEmit: true, module: 'esnext', moduleResolution: 'bundler', types: [] };
  writeFileSync(join(checks, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: ['manifests.ts'] }));
  const tsc = join(ROOT, 'node_modules', '.bin', 'tsc');
  const { status, stdout, stderr, error } = spawnSync(tsc, ['--pretty', 'false', '-p', checks], { encoding: 'utf8' });
  expect(error).toBeUndefined();
  expect(status === 0).toBe(stdout === '');
  return stdout + stderr;
}

const files = readdirSync(KUBERNETES).filter((name) => name.endsWith('.yaml'));

describe('manifests', () => {
  test('are what the API takes', () => {
    expect(files).toContain('node.yaml');
    expect(typeErrors(files.flatMap(manifestsOf))).toBe('');
  });

  test('mistakes are seen', () => {
    const deployment = manifestsOf('nginx.yaml')[0] as Workload;
    const { spec } = deployment.spec.template;
    const broken = [
      { ...spec, runtimeClas: 'urunc' },
      { ...spec, containers: undefined },
      { ...spec, hostPID: 'yes' },
      { ...spec, containers: [{ ...spec.containers[0], ports: [{ containerport: 80 }] }] },
    ];
    const manifests = broken.map((podSpec) => {
      return { ...deployment, spec: { ...deployment.spec, template: { ...deployment.spec.template, spec: podSpec } } };
    });
    const found = typeErrors(manifests).match(/error TS\d+/g) ?? [];
    expect(found).toHaveLength(broken.length);
  });

  const find = <T extends Manifest>(file: string, kind: string) =>
    manifestsOf(file).find((manifest) => manifest.kind === kind) as T;
  const runtimeClass = find<RuntimeClass>('node.yaml', 'RuntimeClass');
  const installer = find<Workload>('node.yaml', 'DaemonSet');
  const uninstaller = find<Workload>('uninstall.yaml', 'DaemonSet');
  const nginx = find<Workload>('nginx.yaml', 'Deployment');

  test('every name means something that is there', () => {
    for (const { spec } of [installer, uninstaller, nginx]) {
      expect(spec.template.metadata.labels).toMatchObject(spec.selector.matchLabels);
    }
    const service = find<Service>('nginx.yaml', 'Service');
    const pod = nginx.spec.template;
    expect(pod.metadata.labels).toMatchObject(service.spec.selector);
    const ports = pod.spec.containers.flatMap((container) => container.ports ?? []).map((port) => port.name);
    for (const { targetPort } of service.spec.ports) expect(ports).toContain(targetPort);
    expect(pod.spec.runtimeClassName).toBe(runtimeClass.metadata.name);
    for (const { spec } of [installer.spec.template, uninstaller.spec.template]) {
      expect(spec.nodeSelector).toMatchObject(runtimeClass.scheduling.nodeSelector);
      for (const container of [...spec.initContainers!, ...spec.containers]) {
        expect(container.image).toBe(`tsvmm-node:${VERSION}`);
        for (const { name } of container.volumeMounts ?? []) {
          expect(spec.volumes!.map((volume) => volume.name)).toContain(name);
        }
      }
      expect(spec.initContainers![0].command![0]).toBe(`/node/${basename(INSTALL)}`);
    }
    expect(readFileSync(INSTALL, 'utf8')).toContain(`containerd.runtimes.${runtimeClass.handler}]`);
  });
});

describe('install.sh', () => {
  const host = join(directory, 'host');
  const node = join(directory, 'node');
  const config = join(host, 'etc/containerd/config.toml');
  const restarts = join(directory, 'restarts');
  const programs = join(directory, 'programs');

  /** A node that has had nothing to do with us; in the image, a tarball with a program that cannot run there. */
  beforeEach(() => {
    for (const path of [host, node, programs]) rmSync(path, { recursive: true, force: true });
    rmSync(restarts, { force: true });
    for (const path of [join(host, 'etc/containerd'), join(node, 'tree/usr/lib/tsvmm/bin'), programs]) {
      mkdirSync(path, { recursive: true });
    }
    mkdirSync(join(node, 'tree/usr/local/bin'), { recursive: true });
    for (const name of ['usr/lib/tsvmm/bin/tsvmm', 'usr/local/bin/tsvmm']) writeFileSync(join(node, 'tree', name), '');
    spawnSync('tar', ['-C', join(node, 'tree'), '-czf', join(node, 'tsvmm.tar.gz'), 'usr']);
    for (const name of ['urunc', 'containerd-shim-urunc-v2']) writeFileSync(join(node, name), name);
    writeFileSync(join(node, 'install.sh'), readFileSync(INSTALL));
    writeFileSync(join(node, 'config.toml'), 'default');
    // chroot needs root and a node whose programs run.
    writeFileSync(join(programs, 'chroot'), '#!/bin/sh\necho "tsvmm 1.2.3"\n', { mode: 0o755 });
  });

  const run = (verb: string) => {
    const { stdout, stderr, status } = spawnSync('sh', [join(node, 'install.sh'), verb], {
      encoding: 'utf8',
      env: { PATH: programs + delimiter + process.env.PATH, HOST: host, RESTART: `tee -a ${restarts} --` },
      input: 'restart\n',
    });
    return { stdout, stderr, status };
  };
  const timesRestarted = () => (existsSync(restarts) ? 1 : 0);
  const treeOf = (path: string) => readdirSync(path, { recursive: true, encoding: 'utf8' }).sort();

  const ORIGINALS = {
    'of containerd 1': 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "pause:1"\n',
    'of containerd 2':
      "# mine\nversion = 3\nimports = []\n[plugins.'io.containerd.cri.v1.images']\n  snapshotter = 'overlayfs'\n",
  };

  test.each(Object.entries(ORIGINALS))(
    'a configuration %s gets the runtime, once, and loses it again',
    (_, original) => {
      writeFileSync(config, original);
      const before = treeOf(host);
      expect(run('install')).toMatchObject({ status: 0, stderr: '', stdout: expect.stringContaining('tsvmm 1.2.3') });
      expect(timesRestarted()).toBe(1);
      const configured = readFileSync(config, 'utf8');
      expect(configured.startsWith(original)).toBe(true);
      expect(configured.match(/runtimes\.urunc\]/g)).toHaveLength(1);
      expect(readFileSync(join(host, 'usr/local/bin/urunc'), 'utf8')).toBe('urunc');
      rmSync(restarts);
      expect(run('install').status).toBe(0);
      expect([readFileSync(config, 'utf8'), timesRestarted()]).toEqual([configured, 0]);
      expect(run('uninstall')).toMatchObject({ status: 0, stderr: '' });
      expect([readFileSync(config, 'utf8'), timesRestarted()]).toEqual([original, 1]);
      const left = treeOf(host).filter((name) => !before.includes(name));
      expect(left).toEqual(['usr', 'usr/lib', 'usr/local', 'usr/local/bin']);
    },
  );

  test("urunc's configuration is left alone where there is one", () => {
    const ours = join(host, 'etc/urunc/config.toml');
    run('install');
    expect(readFileSync(ours, 'utf8')).toBe('default');
    writeFileSync(ours, 'mine');
    run('install');
    run('uninstall');
    expect(readFileSync(ours, 'utf8')).toBe('mine');
  });

  test('the section is that of the version', () => {
    writeFileSync(config, ORIGINALS['of containerd 1']);
    run('install');
    expect(readFileSync(config, 'utf8')).toContain('[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.urunc]');
    writeFileSync(config, ORIGINALS['of containerd 2']);
    run('install');
    expect(readFileSync(config, 'utf8')).toContain(
      '[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.urunc]',
    );
  });

  test('a node without a configuration gets one, and is left without', () => {
    expect(run('install').status).toBe(0);
    expect(readFileSync(config, 'utf8')).toMatch(/^# BEGIN tsvmm.*\nversion = 2\n/);
    const first = readFileSync(config, 'utf8');
    expect(run('install').status).toBe(0);
    expect(readFileSync(config, 'utf8')).toBe(first);
    expect(run('uninstall').status).toBe(0);
    expect(existsSync(config)).toBe(false);
  });

  test.each([
    ['version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.urunc]\n', /has a runtime urunc already/],
    ['root = "/var/lib/containerd"\n', /is of version 1; run 'containerd config migrate' first/],
  ])('what it cannot change it leaves alone: %j', (original, message) => {
    writeFileSync(config, original);
    const before = treeOf(host);
    const { status, stderr } = run('install');
    expect([status, stderr]).toEqual([1, expect.stringMatching(message)]);
    expect(treeOf(host)).toEqual(before);
    expect(readFileSync(config, 'utf8')).toBe(original);
  });

  const hasContainerd = spawnSync('containerd', ['--version']).status === 0;
  const noContainerd = hasContainerd ? '' : ' NOT RUN: no containerd';

  test.skipIf(noContainerd)(`containerd itself reads the result, and keeps what was there${noContainerd}`, () => {
    writeFileSync(config, ORIGINALS['of containerd 1']);
    run('install');
    const { stdout } = spawnSync('containerd', ['--config', config, 'config', 'dump'], { encoding: 'utf8' });
    expect(stdout).toMatch(/runtimes\.urunc\]/);
    expect(stdout).toContain('io.containerd.urunc.v2');
    expect(stdout).toContain('com.urunc.unikernel.*');
    expect(stdout).toContain('pause:1');
  });
});
