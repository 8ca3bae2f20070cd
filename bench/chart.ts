/** The results as a chart: a bar for each row and monitor, how many times better than QEMU TCG, on a logarithmic scale. */

import { ratioTo } from './ratios.ts';
import { PART_TITLES, type Results } from './report.ts';
import type { Row } from './samples.ts';
import { BASE, VMM_NAMES, VMM_TITLES, type VmmName } from './vmm.ts';

const COLOURS: Record<VmmName, string> = {
  tsvmm: '#2b6cb0',
  later: '#63b3ed',
  usual: '#4299e1',
  qemu: '#718096',
  js: '#38a169',
  off: '#a0aec0',
  v86: '#dd6b20',
};
const LABEL_WIDTH = 330;
const CHART_WIDTH = 520;
const NUMBER_WIDTH = 60;
const BAR_HEIGHT = 11;
const GROUP_GAP = 7;
const TITLE_HEIGHT = 30;
/** Ends of the scale. */
const LEAST = 1 / 32;
const MOST = 32;
const TICKS = [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16, 32];

const escapeXml = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');

/** Where a ratio stands on the scale, px. */
function place(ratio: number): number {
  const within = Math.min(MOST, Math.max(LEAST, ratio));
  return LABEL_WIDTH + (Math.log2(within / LEAST) / Math.log2(MOST / LEAST)) * CHART_WIDTH;
}

/** How many times better, so that right is always good. */
function gain(row: Row, vmm: VmmName): number | undefined {
  const ratio = ratioTo(row, vmm)?.median;
  return ratio === undefined || !(ratio > 0) ? undefined : row.better === 'higher' ? ratio : 1 / ratio;
}

function text(x: number, y: number, content: string, attributes = ''): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}"${attributes}>${escapeXml(content)}</text>`;
}

/** @returns an SVG document */
export function chart(results: Results): string {
  const vmms = VMM_NAMES.filter((vmm) => vmm !== BASE);
  const shapes: string[] = [];
  let y = TITLE_HEIGHT;
  const shown = new Set<VmmName>();
  for (const part of Object.keys(PART_TITLES) as (keyof typeof PART_TITLES)[]) {
    const rows = (results[part]?.rows ?? []).filter((row) => vmms.some((vmm) => gain(row, vmm) !== undefined));
    if (rows.length === 0) continue;
    shapes.push(text(8, y + BAR_HEIGHT, PART_TITLES[part], ' font-weight="bold"'));
    y += BAR_HEIGHT + GROUP_GAP;
    for (const row of rows) {
      const label = part === 'kernels' ? row.subject : `${row.subject}: ${row.name}`;
      shapes.push(text(LABEL_WIDTH - 8, y + BAR_HEIGHT - 2, label, ' text-anchor="end"'));
      for (const vmm of vmms) {
        const times = gain(row, vmm);
        if (times === undefined) continue;
        shown.add(vmm);
        const [from, to] = [place(1), place(times)].sort((a, b) => a - b);
        const box = `x="${from.toFixed(1)}" y="${y}" width="${Math.max(1, to - from).toFixed(1)}" height="${BAR_HEIGHT - 1}"`;
        shapes.push(`<rect ${box} fill="${COLOURS[vmm]}"/>`);
        const at = LABEL_WIDTH + CHART_WIDTH + 8;
        shapes.push(text(at, y + BAR_HEIGHT - 2, times.toPrecision(2), ` fill="${COLOURS[vmm]}"`));
        y += BAR_HEIGHT;
      }
      y += GROUP_GAP;
    }
  }
  const grid = TICKS.map((tick) => {
    const x = place(tick);
    const line = `<line x1="${x}" y1="${TITLE_HEIGHT}" x2="${x}" y2="${y}" stroke="${tick === 1 ? '#1a202c' : '#e2e8f0'}"/>`;
    return line + text(x, TITLE_HEIGHT - 4, tick < 1 ? `1/${1 / tick}` : `${tick}×`, ' text-anchor="middle"');
  });
  let legendX = 8;
  const legend = [...shown].map((vmm) => {
    const x = legendX;
    legendX += 30 + VMM_TITLES[vmm].length * 7;
    return `<rect x="${x}" y="4" width="10" height="10" fill="${COLOURS[vmm]}"/>${text(x + 14, 13, VMM_TITLES[vmm])}`;
  });
  const caption = text(legendX, 13, 'times better than QEMU TCG (logarithmic)');
  const width = LABEL_WIDTH + CHART_WIDTH + NUMBER_WIDTH;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y + 8}" viewBox="0 0 ${width} ${y + 8}" font-family="sans-serif" font-size="10">
<rect width="100%" height="100%" fill="#fff"/>
${[...grid, ...legend, caption, ...shapes].join('\n')}
</svg>
`;
}
