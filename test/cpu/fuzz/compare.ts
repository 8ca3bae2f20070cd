/** The tiers that run each program, what differs among them, and the smallest program that shows it. */
import { Buffer } from 'node:buffer';
import type { CpuOptions } from '../../../cpu/cpu.ts';
import { testCore } from '../core.ts';
import * as at from './layout.ts';
import { FuzzMachine } from './machine.ts';
import { build, type Program } from './program.ts';

export interface Tier {
  readonly name: string;
  readonly form: string;
  /** Which of SHARES programs it runs, on a scale from 0 to SHARES: from the end of the tier before to this. */
  readonly until: number;
  readonly options: Omit<CpuOptions, 'core' | 'ramSize'>;
  /** Runs each program once more, with what was translated in the first run. */
  readonly again?: boolean;
}

export const INTERPRETER: Tier = { name: 'interpreter', form: 'wasm', until: 0, options: {} };
/** Each program runs in one tier beside the interpreter: dear ones take fewer, so that more programs are tried in an hour. */
export const SHARES = 16;
export const TIERS: readonly Tier[] = [
  { name: 'wasm at once', form: 'wasm', until: 1, options: { hotThreshold: 1, batch: 1 } },
  { name: 'wasm growing', form: 'wasm', until: 11, options: { hotThreshold: 8, batch: 4, patience: 3 } },
  {
    name: 'wasm evicting',
    form: 'wasm',
    until: 12,
    options: { hotThreshold: 3, batch: 2, patience: 3, cacheSize: 4000 },
  },
  {
    name: 'wasm stored',
    form: 'wasm',
    until: 14,
    options: { hotThreshold: 3, batch: 2, patience: 3 },
    again: true,
  },
  { name: 'js stored', form: 'js', until: 15, options: { hotThreshold: 3, batch: 2, patience: 3 }, again: true },
  { name: 'js', form: 'js', until: 16, options: { hotThreshold: 1, batch: 1 } },
];

export function machine({ form, options, again = false }: Tier, direct: boolean): FuzzMachine {
  return new FuzzMachine(testCore(form), options, direct, again);
}

/** How the machine's end differs from the reference's; undefined: it does not. */
export function difference(reference: FuzzMachine, subject: FuzzMachine): string | undefined {
  const expected = reference.state();
  const actual = subject.state();
  const lines = Object.keys(expected)
    .filter((name) => expected[name] !== actual[name])
    .map((name) => `${name}: ${expected[name]} expected, ${actual[name]}`);
  reference.forgetExcluded();
  subject.forgetExcluded();
  if (reference.ram.compare(subject.ram) !== 0) {
    let shown = 0;
    for (let i = 0; i < at.RAM_SIZE && shown < 8; i++)
      if (reference.ram[i] !== subject.ram[i]) {
        lines.push(`${subject.linear(i).toString(16)}: ${reference.ram[i]} expected, ${subject.ram[i]}`);
        shown++;
      }
  }
  return lines.length === 0 ? undefined : lines.join('\n');
}

/** Runs a program that the reference has just run, as `scheduling` says. @returns the difference, if any */
export function runAndCompare(
  reference: FuzzMachine,
  subject: FuzzMachine,
  program: Program,
  scheduling: number,
): string | undefined {
  try {
    if (subject.again) subject.forgetStored();
    if (!subject.run(program, scheduling)) return 'does not end';
    const first = difference(reference, subject);
    if (first !== undefined || !subject.again) return first;
    subject.useStored();
    if (!subject.run(program, scheduling)) return 'does not end when run again';
    const second = difference(reference, subject);
    return second && `when run again: ${second}`;
  } catch (error) {
    return `throws ${(error as Error).stack}`;
  }
}

/** The same on new machines: what earlier programs left behind plays no part. */
export function differsAnew(program: Program, tier: Tier, direct: boolean, scheduling: number): string | undefined {
  const reference = machine(INTERPRETER, direct);
  if (!reference.run(program, scheduling)) return undefined;
  return runAndCompare(reference, machine(tier, direct), program, scheduling);
}

/** Leaves out instructions while it still differs. */
export function minimise(program: Program, differs: (program: Program) => boolean): Program {
  let smallest = program;
  for (let chunk = Math.ceil(program.items.length / 2); chunk >= 1; chunk = chunk > 1 ? Math.ceil(chunk / 2) : 0) {
    let isSmaller = true;
    while (isSmaller) {
      isSmaller = false;
      for (let first = smallest.items.length - chunk; first > -chunk; first -= chunk) {
        const items = smallest.items.filter((item, i) => i < first || i >= first + chunk || item.label !== undefined);
        if (items.length === smallest.items.length) continue;
        const candidate = { ...smallest, items };
        if (differs(candidate)) {
          smallest = candidate;
          isSmaller = chunk === 1;
        }
      }
    }
  }
  return smallest;
}

export function listing(program: Program): string {
  const { code, instructions, labels } = build(program);
  const names = new Map([...labels].map(([label, address]) => [address, label]));
  return instructions
    .map(([first, end]) => {
      const label = names.get(at.CODE + first);
      const bytes = Buffer.from(code.subarray(first, end)).toString('hex');
      return `${(at.CODE + first).toString(16)}: ${bytes}${label === undefined ? '' : ` ; label ${label}`}`;
    })
    .join('\n');
}
