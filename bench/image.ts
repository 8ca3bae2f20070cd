/** Guest images, as the command line names them. */

import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { UserError } from '../vmm/errors.ts';
import { Suboptions } from '../vmm/keyval.ts';

/** What a guest does: serves HTTP, serves Redis, or computes and ends. */
const KINDS = ['http', 'redis', 'cpu'] as const;

export interface Image {
  readonly name: string;
  readonly kind: (typeof KINDS)[number];
  readonly kernel: string;
  readonly initrd: string | undefined;
  /** Its command line, with {guest} and {host} for the addresses of its network. */
  readonly append: string;
  /** As `-m` takes it. */
  readonly memory: string;
  readonly port: number;
  /** Paths that answer with 64 KiB and with 1 MiB, if it has such. */
  readonly file64k: string | undefined;
  readonly file1m: string | undefined;
  /** What a guest that computes must have printed when it ends. */
  readonly expect: string | undefined;
}

/** The HTTP unikernel of this project, which anybody can build. */
export const DEMO: Image = {
  name: 'demo',
  kind: 'http',
  kernel: 'build/guests/http.elf',
  initrd: undefined,
  append: 'ip={guest}/24 gw={host}',
  memory: '64M',
  port: 80,
  file64k: '/big?n=65536',
  file1m: '/big?n=1048576',
  expect: undefined,
};

/**
 * `NAME=KERNEL[,kind=http|redis|cpu][,append=TEXT][,initrd=FILE][,memory=64M][,port=N][,file64k=PATH][,file1m=PATH]
 * [,expect=TEXT]`, a comma in a value written as two.
 * @param folder that relative paths start from
 * @throws UserError
 */
export function parseImage(text: string, folder: string): Image {
  const name = /^([\w.-]+)=/.exec(text)?.[1];
  if (name === undefined) {
    throw new UserError(`--image ${text}: NAME=KERNEL is wanted`);
  }
  const sub = new Suboptions('--image', text);
  const file = (key: string) => {
    const path = sub.take(key);
    if (path !== undefined && !existsSync(resolve(folder, path))) {
      throw new UserError(`--image ${name}: there is no file ${path}`);
    }
    return path === undefined ? undefined : resolve(folder, path);
  };
  const kernel = file(name)!;
  const kind = sub.takeOneOf('kind', KINDS) ?? 'http';
  const image = {
    name,
    kind,
    kernel,
    initrd: file('initrd'),
    append: sub.take('append') ?? '',
    memory: sub.take('memory') ?? '64M',
    port: Number(sub.take('port') ?? (kind === 'redis' ? 6379 : 80)),
    file64k: sub.take('file64k'),
    file1m: sub.take('file1m'),
    expect: sub.take('expect'),
  };
  sub.finish();
  return image;
}
