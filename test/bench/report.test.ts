import { describe, expect, test } from 'vitest';
import { judge } from '../../bench/bars.ts';
import { chart } from '../../bench/chart.ts';
import { loadWarning } from '../../bench/host.ts';
import { figure, markdown, type PartResult, ratioText, table } from '../../bench/report.ts';
import { commandText, insert } from '../../bench/results.ts';
import { type Row, Samples } from '../../bench/samples.ts';

const row = (subject: string, name: string, better: 'higher' | 'lower', tsvmm: number[], qemu?: number[]): Row => ({
  subject,
  name,
  unit: 'x',
  better,
  samples: qemu ? { tsvmm, qemu } : { tsvmm },
});
const part = (rows: Row[], load = 0, notes: string[] = []): PartResult => ({
  command: 'npm run bench',
  date: '2026-01-02',
  pairs: 3,
  host: {
    cpu: 'Some CPU',
    cores: 2,
    memory: 8,
    kernel: '6.1',
    node: 'v20',
    load,
    commit: 'abc',
    versions: { tsvmm: 'tsvmm 1', qemu: 'QEMU 7', js: 'tsvmm 1' },
  },
  notes,
  rows,
});

test('samples of a row come together, and notes are not repeated', () => {
  const samples = new Samples();
  const metric = { subject: 'a', name: 'b', unit: 'c', better: 'lower' } as const;
  samples.add(metric, 'tsvmm', 1);
  samples.add(metric, 'qemu', 2);
  samples.add({ ...metric }, 'tsvmm', 3);
  samples.note('x\n y\n');
  samples.note('x y');
  expect(samples.rows).toEqual([{ ...metric, samples: { tsvmm: [1, 3], qemu: [2] } }]);
  expect(samples).toMatchObject({ notes: ['x y'], failed: false });
  samples.fail('z');
  expect(samples).toMatchObject({ notes: ['x y', 'z'], failed: true });
});

test('figures have three digits, or are whole', () => {
  expect([0, 0.012345, 1.5, 123.456, 1234.5, 1e6, Number.NaN].map(figure)).toEqual([
    '0',
    '0.0123',
    '1.5',
    '123',
    '1,235',
    '1,000,000',
    '–',
  ]);
});

test('ratios are those of the pairs', () => {
  expect(ratioText(row('a', 'b', 'higher', [2, 8, 3], [1, 2, 3]), 'tsvmm')).toBe('2.00 (1.00–4.00)');
  expect(ratioText(row('a', 'b', 'higher', [2]), 'tsvmm')).toBe('–');
});

test('tables', () => {
  expect(table(['a', 'b'], [['1', '2']])).toBe('| a | b |\n|---|---|\n| 1 | 2 |');
});

describe('bars', () => {
  test('kernels are judged together, by mean and by the slowest', () => {
    const verdicts = judge('kernels', [row('a', 'speed', 'higher', [4], [1]), row('b', 'speed', 'higher', [1], [1])]);
    expect(verdicts.map(({ what, figure: value, reached }) => [what, value, reached])).toEqual([
      ['kernels, geometric mean of speed', 2, 'must'],
      ['slowest single kernel', 1, 'must'],
    ]);
  });

  test('images are judged each by itself', () => {
    const name = 'exec to first HTTP 200';
    const rows = [row('fast', name, 'lower', [25], [100]), row('slow', name, 'lower', [90], [100])];
    expect(judge('boot', rows).map(({ subject, reached }) => [subject, reached])).toEqual([
      ['fast', 'aim'],
      ['slow', 'no'],
    ]);
  });

  test('idle CPU is absolute; without QEMU nothing else is judged', () => {
    const rows = [row('a', 'CPU of one idle guest', 'lower', [0.1]), row('a', 'RSS after load', 'lower', [100])];
    expect(judge('memory', rows).map(({ what, reached }) => [what, reached])).toEqual([
      ['CPU of one idle guest, % of a core', 'aim'],
    ]);
  });
});

describe('Markdown', () => {
  test('has machine, command, table, mean and notes', () => {
    const rows = [row('alu', 'speed', 'higher', [4], [1]), row('sort', 'speed', 'higher', [1], [1])];
    const text = markdown({ kernels: part(rows, 0, ['v86 cannot be run here.']) });
    expect(text).toContain('    npm run bench\n\n2026-01-02; interleaved pairs: 3. Some CPU, 2 cores, 8 GiB');
    expect(text).toContain('- v86 cannot be run here.');
    expect(text).toContain('| alu | x | 4 | 1 | 4.00 (4.00–4.00) |');
    expect(text).toContain('relative to QEMU TCG: tsvmm 2.00.');
    expect(text).not.toContain('load average');
  });

  test('parts of one run name it once', () => {
    expect(markdown({ boot: part([]), memory: part([]) }).split('npm run bench').length).toBe(2);
    expect(markdown({ boot: part([]), memory: part([], 1) }).split('npm run bench').length).toBe(3);
  });

  test('says when the machine was busy', () => {
    expect(loadWarning(0)).toBe('');
    expect(markdown({ boot: part([], 3) })).toContain('**The load average was 3');
  });
});

describe('chart', () => {
  test('has a bar for each row, to the right of 1 where it is better', () => {
    const rows = [row('a & b', 'time', 'lower', [1], [4]), row('c', 'rate', 'higher', [1], [4])];
    const svg = chart({ boot: part(rows) });
    expect(svg.startsWith('<svg ')).toBe(true);
    expect(svg).toContain('a &amp; b: time');
    const bars = [...svg.matchAll(/<rect x="([\d.]+)" y="(\d+)" width="([\d.]+)" height="10" fill="#2b6cb0"/g)];
    // The first is the legend's.
    const [, better, worse] = bars.map(([, x, , width]) => ({ x: Number(x), width: Number(width) }));
    expect(better.width).toBeCloseTo(worse.width);
    expect(worse.x + worse.width).toBeCloseTo(better.x);
  });

  test('leaves out what cannot be compared, and values beyond the scale stay on it', () => {
    const rows = [row('a', 'x', 'lower', [1]), row('b', 'x', 'higher', [1e9], [1]), row('c', 'x', 'higher', [0], [1])];
    const svg = chart({ boot: part(rows) });
    expect(svg).not.toContain('a: x');
    expect(svg).toContain('b: x');
    expect(svg).not.toContain('c: x');
    for (const [, x, width] of svg.matchAll(/<rect x="([\d.]+)" y="\d+" width="([\d.]+)"/g)) {
      expect(Number(x) + Number(width)).toBeLessThanOrEqual(910);
    }
  });
});

describe('files', () => {
  test('the measured text takes the place between its marks, and the rest stays', () => {
    const once = insert('# Results\n\nBy hand.\n', 'one');
    const twice = insert(`${once}\nBelow.\n`, 'two');
    expect(twice).toContain('By hand.');
    expect(twice).toContain('Below.');
    expect(twice).toContain('two');
    expect(twice).not.toContain('one\n');
    expect(insert(twice, 'two')).toBe(twice);
  });

  test('the command names no folder of this machine', () => {
    const words = [
      '--quick',
      '--image',
      'web=/home/me/guests/web/kernel,initrd=/home/me/d.cpio,append=a b',
      '--inside',
    ];
    expect(commandText(words, true)).toBe(
      "npm run bench:quick -- --image 'web=…/web/kernel,initrd=…/me/d.cpio,append=a b'",
    );
    expect(commandText([], false)).toBe('npm run bench');
    expect(commandText(["it's"], false)).toBe("npm run bench -- 'it'\\''s'");
  });
});
