/** What this project wants to reach beside QEMU's TCG, and whether it does. */

import type { PartName } from './arguments.ts';
import { ratioTo } from './ratios.ts';
import type { Row } from './samples.ts';
import { geometricMean, median } from './statistics.ts';
import { VMM_TITLES, type VmmName } from './vmm.ts';

interface Bar {
  readonly what: string;
  readonly part: PartName;
  readonly must: number;
  readonly aim: number;
  /** Is it reached at or above the number, or at or below? */
  readonly better: 'higher' | 'lower';
  /** The figure from the rows that belong to it; NaN when there is none. */
  readonly figure: (rows: readonly Row[]) => number;
  /** Rows, by name. Each subject is judged by itself, unless `all`. */
  readonly row: string;
  readonly all?: boolean;
}

const ratios = (rows: readonly Row[], vmm: VmmName = 'tsvmm') =>
  rows.map((row) => ratioTo(row, vmm)?.median ?? Number.NaN);

/** Those of integers in registers and memory (bench/guests/{integer,calls,bytecode,digest,sort,memory}.c). */
const INTEGER_KERNELS = new Set(
  'alu branches hash sort calls indirect bytecode sha256 crc32 inet bytes qwords chase copy scan'.split(' '),
);

export const BARS: readonly Bar[] = [
  {
    what: 'kernels, geometric mean of speed',
    part: 'kernels',
    row: 'speed',
    all: true,
    must: 1.7,
    aim: 2.4,
    better: 'higher',
    figure: (rows) => geometricMean(ratios(rows)),
  },
  {
    what: 'slowest single kernel',
    part: 'kernels',
    row: 'speed',
    all: true,
    must: 0.8,
    aim: 1.2,
    better: 'higher',
    figure: (rows) => Math.min(...ratios(rows).filter((value) => !Number.isNaN(value))),
  },
  {
    what: 'integer kernels with jit=js, geometric mean of speed',
    part: 'kernels',
    row: 'speed',
    all: true,
    must: 0.7,
    aim: 1,
    better: 'higher',
    figure: (rows) =>
      geometricMean(
        ratios(
          rows.filter(({ subject }) => INTEGER_KERNELS.has(subject)),
          'js',
        ),
      ),
  },
  ...bar('boot', 'exec to first HTTP 200', 'lower', 0.5, 0.3),
  ...bar('boot', 'exec to first HTTP 200', 'lower', 0.5, 0.3, 'usual'),
  ...bar('boot', 'exec to first HTTP 200', 'lower', 0.5, 0.3, 'later'),
  ...bar('serving', 'keep-alive, 16 connections', 'higher', 1.3, 2),
  ...bar('serving', 'keep-alive, 1 connection', 'higher', 1.3, 2),
  ...bar('serving', '1 MiB files', 'higher', 2, 5),
  ...bar('cpu', 'exec to exit', 'lower', 0.6, 0.4),
  ...bar('cpu', 'exec to exit', 'lower', 0.6, 0.4, 'usual'),
  ...bar('cpu', 'exec to exit', 'lower', 0.6, 0.4, 'later'),
  ...bar('memory', 'RSS after load', 'lower', 1.3, 0.9),
  {
    what: 'CPU of one idle guest, % of a core',
    part: 'memory',
    row: 'CPU of one idle guest',
    must: 1,
    aim: 0.2,
    better: 'lower',
    figure: (rows) => median(rows[0].samples.tsvmm ?? []),
  },
];

/** A ratio of one row. */
function bar(
  part: PartName,
  row: string,
  better: 'higher' | 'lower',
  must: number,
  aim: number,
  vmm: VmmName = 'tsvmm',
): readonly Bar[] {
  const what = `${row}${VMM_TITLES[vmm].slice(VMM_TITLES.tsvmm.length)}`;
  return [{ what, part, row, must, aim, better, figure: (rows) => ratioTo(rows[0], vmm)?.median ?? Number.NaN }];
}

export interface Verdict {
  readonly what: string;
  readonly subject: string;
  readonly figure: number;
  readonly must: number;
  readonly aim: number;
  readonly better: 'higher' | 'lower';
  readonly reached: 'aim' | 'must' | 'no';
}

/** @returns a verdict for each bar and subject for which there is a figure */
export function judge(part: PartName, rows: readonly Row[]): Verdict[] {
  return BARS.filter((bar) => bar.part === part).flatMap((bar) => {
    const its = rows.filter((row) => row.name === bar.row);
    const groups = bar.all ? [its] : its.map((row) => [row]);
    return groups.flatMap((group) => {
      const figure = group.length > 0 ? bar.figure(group) : Number.NaN;
      if (!Number.isFinite(figure)) return [];
      const reaches = (wanted: number) => (bar.better === 'higher' ? figure >= wanted : figure <= wanted);
      const { what, must, aim, better } = bar;
      const reached = reaches(aim) ? 'aim' : reaches(must) ? 'must' : 'no';
      return [{ what, subject: bar.all ? '' : group[0].subject, figure, must, aim, better, reached } as const];
    });
  });
}
