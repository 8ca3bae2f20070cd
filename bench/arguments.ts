/** The command line of the benchmark. */

import { parseArgs } from 'node:util';
import { UserError } from '../vmm/errors.ts';
import { DEMO, type Image, parseImage } from './image.ts';
import { VMM_NAMES, type VmmName } from './vmm.ts';

export const PART_NAMES = ['kernels', 'boot', 'serving', 'cpu', 'memory', 'density'] as const;
export type PartName = (typeof PART_NAMES)[number];

/** Those that matter most. */
const MAIN: readonly VmmName[] = ['tsvmm', 'later', 'usual', 'qemu'];

export interface BenchOptions {
  readonly parts: readonly PartName[];
  /** For the kernels, which all can run, and for whole guests. */
  readonly vmms: readonly VmmName[];
  readonly guestVmms: readonly VmmName[];
  readonly pairs: number;
  readonly quick: boolean;
  readonly images: readonly Image[];
  /** Kernels to run; empty: all. */
  readonly kernels: readonly string[];
  readonly qemu: string;
  /** Folder of the results. */
  readonly out: string;
  /** We are in the namespace that has the taps. */
  readonly inside: boolean;
}

export const USAGE = `npm run bench -- [options]        (npm run bench:quick -- [options]: fewer and shorter runs)

  --only PART,PART…      of ${PART_NAMES.join(', ')} (default: all)
  --vmm NAME,NAME…       of ${VMM_NAMES.join(', ')}: js, off are tsvmm with -accel tcg,jit=…; later and
                         usual (boot and cpu only) find what they translated in earlier runs, the others do not: the
                         runs of usual are all since its cache was empty, later is measured from the fourth on
                         (default: ${MAIN.join(',')}; for kernels, unless quick, all)
  --kernels NAME,NAME…   only these of bench/guests/main.c
  --image NAME=KERNEL[,kind=http|redis|cpu][,append=TEXT][,initrd=FILE][,memory=64M][,port=N]
                    [,file64k=PATH][,file1m=PATH][,expect=TEXT]
                         a guest to measure, any number of times; TEXT may hold {guest} and {host}, the addresses of its
                         network (a /24), and a comma is written twice. expect= is what a guest of kind cpu prints when
                         all went well. Without any: the demo guest (http)
  --pairs N              runs of each monitor, taken in turns (default 5; quick: 2)
  --qemu PROGRAM         (default qemu-system-x86_64)
  --out FOLDER           where RESULTS.md, results.json and results.svg go (default bench; quick: build/bench). A part
                         that is measured anew replaces what they hold of it; the other parts stay
`;

/**
 * @param argv the words after the program's name
 * @param folder that relative paths start from
 * @throws UserError
 */
export function parseBenchArguments(argv: readonly string[], folder: string): BenchOptions | 'help' {
  let values: ReturnType<typeof parse>;
  try {
    values = parse(argv);
  } catch (error) {
    throw new UserError((error as Error).message);
  }
  if (values.help) return 'help';
  const { quick } = values;
  const vmms = words('--vmm', values.vmm, VMM_NAMES);
  const pairs = Number(values.pairs ?? (quick ? 2 : 5));
  if (!Number.isInteger(pairs) || pairs < 1) throw new UserError(`--pairs ${values.pairs}: a number from 1 is wanted`);
  return {
    parts: words('--only', values.only, PART_NAMES) ?? PART_NAMES,
    vmms: vmms ?? (quick ? MAIN : VMM_NAMES),
    guestVmms: vmms ?? MAIN,
    pairs,
    quick,
    images: values.image ? values.image.map((text) => parseImage(text, folder)) : [DEMO],
    kernels: values.kernels?.split(',') ?? [],
    qemu: values.qemu,
    out: values.out ?? (quick ? 'build/bench' : 'bench'),
    inside: values.inside,
  };
}

function parse(argv: readonly string[]) {
  return parseArgs({
    args: [...argv],
    options: {
      only: { type: 'string' },
      vmm: { type: 'string' },
      kernels: { type: 'string' },
      image: { type: 'string', multiple: true },
      pairs: { type: 'string' },
      qemu: { type: 'string', default: 'qemu-system-x86_64' },
      out: { type: 'string' },
      quick: { type: 'boolean', default: false },
      inside: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  }).values;
}

/** @returns the words of a list in the order of `known`, as the parts and the monitors of a pair follow each other. */
function words<Word extends string>(
  option: string,
  text: string | undefined,
  known: readonly Word[],
): Word[] | undefined {
  const wanted = text?.split(',');
  for (const word of wanted ?? []) {
    if (!(known as readonly string[]).includes(word)) {
      throw new UserError(`${option} ${word}: it is not one of ${known.join(', ')}`);
    }
  }
  return wanted && known.filter((word) => wanted.includes(word));
}
