/** Images as bunny packs them: the kernel, and a urunc.json beside it with the labels' values in base64. */

import { chmodSync, copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { guest } from '../tsvmm.ts';
import { docker, succeed, WORK } from './host.ts';

export interface Labels {
  readonly binary: string;
  readonly unikernelType: string;
  readonly hypervisor: string;
  readonly unikernelVersion?: string;
  readonly initrd?: string;
  readonly block?: string;
  readonly blkMntPoint?: string;
  readonly mountRootfs?: 'true';
}

export interface Image {
  readonly labels: Labels;
  /** Files of build/guests by their path in the image. */
  readonly files: Readonly<Record<string, string>>;
  readonly command?: readonly string[];
  /** Those of `files` that root alone may read. */
  readonly secret?: readonly string[];
}

/** The guest of our own, told its address as a Unikraft guest is. */
export const httpImage = (hypervisor: string): Image => ({
  labels: { binary: '/unikernel/http', unikernelType: 'unikraft', unikernelVersion: '0.17.0', hypervisor },
  files: { '/unikernel/http': 'http.elf' },
});

const PREFIX = 'com.urunc.unikernel.';

export function uruncJson(labels: Labels): string {
  const values = Object.entries(labels).map(([key, value]) => [PREFIX + key, Buffer.from(value).toString('base64')]);
  return JSON.stringify(Object.fromEntries(values));
}

/** Lays out a root file system. */
export function unpack(root: string, { labels, files, secret }: Image): void {
  rmSync(root, { recursive: true, force: true });
  for (const [path, file] of Object.entries(files)) {
    mkdirSync(`${root}${path}`.replace(/\/[^/]*$/, ''), { recursive: true });
    copyFileSync(guest(file), `${root}${path}`);
  }
  for (const path of secret ?? []) {
    chmodSync(`${root}${path}`, 0o600);
  }
  mkdirSync(root, { recursive: true });
  writeFileSync(`${root}/urunc.json`, uruncJson(labels));
}

/** `FROM scratch`, by the Docker that is there. */
export async function build(name: string, image: Image): Promise<void> {
  const context = `${WORK}/context-${name}`;
  unpack(`${context}/root`, image);
  const labels = Object.entries(image.labels).map(([key, value]) => `LABEL "${PREFIX}${key}"="${value}"`);
  const command = `CMD ${JSON.stringify(image.command ?? ['url=here'])}`;
  writeFileSync(`${context}/Dockerfile`, ['FROM scratch', 'COPY root /', ...labels, command, ''].join('\n'));
  await docker('build', '--quiet', '--tag', name, context);
}

/** An ordinary container, for runc, that does nothing: it holds the namespaces of a pod. */
export async function buildPause(name: string): Promise<void> {
  const context = `${WORK}/pause`;
  mkdirSync(context, { recursive: true });
  writeFileSync(`${context}/pause.c`, '#include <unistd.h>\nint main(void) { for (;;) pause(); }\n');
  await succeed('cc', '-static', '-O2', '-o', `${context}/pause`, `${context}/pause.c`);
  writeFileSync(`${context}/Dockerfile`, 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n');
  await docker('build', '--quiet', '--tag', name, context);
}
