/** The results as Markdown. */

import type { PartName } from './arguments.ts';
import { judge } from './bars.ts';
import { type Host, loadWarning } from './host.ts';
import { ratioTo } from './ratios.ts';
import type { Row } from './samples.ts';
import { geometricMean, median } from './statistics.ts';
import { BASE, VMM_NAMES, VMM_TITLES, type VmmName } from './vmm.ts';

/** A part as it was last measured. */
export interface PartResult {
  readonly command: string;
  readonly date: string;
  readonly pairs: number;
  readonly host: Host;
  readonly notes: readonly string[];
  readonly rows: readonly Row[];
}

export type Results = Partial<Record<PartName, PartResult>>;

export const PART_TITLES: Record<PartName, string> = {
  kernels: 'Kernels',
  boot: 'Start',
  serving: 'Serving',
  cpu: 'Guests that compute',
  memory: 'Memory and idling',
  density: 'Many idle guests',
};

/** Three significant digits, large numbers in full. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  return value === 0 ? '0' : Number(value.toPrecision(3)).toString();
}

/** `2.10 (1.98–2.25)` */
export function ratioText(row: Row, vmm: VmmName): string {
  const ratio = ratioTo(row, vmm);
  if (ratio === undefined) return '–';
  return `${ratio.median.toFixed(2)} (${ratio.low.toFixed(2)}–${ratio.high.toFixed(2)})`;
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

const vmmsOf = (rows: readonly Row[]) => VMM_NAMES.filter((vmm) => rows.some((row) => row.samples[vmm] !== undefined));

function rowsTable(rows: readonly Row[]): string {
  const vmms = vmmsOf(rows);
  const others = vmms.includes(BASE) ? vmms.filter((vmm) => vmm !== BASE) : [];
  const oneName = new Set(rows.map(({ name }) => name)).size === 1;
  const titles = vmms.map((vmm) => VMM_TITLES[vmm]);
  const head = [
    oneName ? rows[0].name : 'what',
    'unit',
    ...titles,
    ...others.map((vmm) => `${VMM_TITLES[vmm]} : QEMU`),
  ];
  const lines = rows.map((row) => [
    oneName ? row.subject : `${row.subject}: ${row.name}`,
    row.unit,
    ...vmms.map((vmm) => figure(median(row.samples[vmm] ?? []))),
    ...others.map((vmm) => ratioText(row, vmm)),
  ]);
  return table(head, lines);
}

/** The mean over all kernels, as a last line of their table would not be of one unit. */
function means(rows: readonly Row[]): string {
  const vmms = vmmsOf(rows).filter((vmm) => vmm !== BASE);
  const texts = vmms.map((vmm) => {
    const ratios = rows.map((row) => ratioTo(row, vmm)?.median ?? Number.NaN);
    return `${VMM_TITLES[vmm]} ${geometricMean(ratios).toFixed(2)}`;
  });
  return `Geometric mean of the speeds relative to QEMU TCG: ${texts.join(', ')}.`;
}

function verdicts(results: Results): string {
  const all = (Object.keys(PART_TITLES) as PartName[]).flatMap((part) => judge(part, results[part]?.rows ?? []));
  if (all.length === 0) return '';
  const head = ['what, relative to QEMU TCG', 'image', 'measured', 'must', 'aim', 'reached'];
  const lines = all.map(({ what, subject, figure: value, must, aim, better, reached }) => {
    const sign = better === 'higher' ? '≥' : '≤';
    return [
      what,
      subject,
      value.toFixed(2),
      `${sign} ${must}`,
      `${sign} ${aim}`,
      reached === 'no' ? '**no**' : reached,
    ];
  });
  return `### Bars\n\n${table(head, lines)}\n`;
}

/** The run that a part comes from: command, machine, and what disturbed it. */
function runText({ host, date, pairs, command }: PartResult): string {
  const { cpu, cores, memory, kernel, node, load, commit, versions } = host;
  const monitors = [...new Set(Object.values(versions))].map((text) => text.replace(/^tsvmm .*/, `$& (${commit})`));
  const machine = `${cpu}, ${cores} cores, ${memory} GiB, Linux ${kernel}, Node ${node}, load ${load} at the start`;
  const text = `    ${command}\n\n${date}; interleaved pairs: ${pairs}. ${machine}. ${monitors.join(', ')}.`;
  const warning = loadWarning(load);
  return warning === '' ? text : `${text}\n\n**${warning}**`;
}

/** @param run what there is to say about its run; empty: it was said */
function partText(part: PartName, { rows, notes }: PartResult, run: string): string {
  const pieces = [`### ${PART_TITLES[part]}`, run, notes.map((text) => `- ${text}`).join('\n')];
  if (rows.length > 0) pieces.push(rowsTable(rows));
  if (part === 'kernels' && rows.some((row) => row.samples[BASE])) pieces.push(means(rows));
  return `${pieces.filter((text) => text !== '').join('\n\n')}\n`;
}

/** Everything between the marks of RESULTS.md. */
export function markdown(results: Results): string {
  const pieces = [verdicts(results), '![Ratios to QEMU TCG](results.svg)\n'];
  let last = '';
  for (const part of Object.keys(PART_TITLES) as PartName[]) {
    const result = results[part];
    if (result === undefined) continue;
    const run = runText(result);
    pieces.push(partText(part, result, run === last ? '' : run));
    last = run;
  }
  return pieces.filter((text) => text !== '').join('\n');
}
