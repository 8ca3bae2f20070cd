/** The files of the results: results.json, results.svg, and RESULTS.md, of which the part between two marks is ours. */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { chart } from './chart.ts';
import { markdown, type Results } from './report.ts';

const BEGIN = '<!-- measured: written by npm run bench -->';
const END = '<!-- end of what is measured -->';

/** Puts the measured text into the document: between its marks, or at its end. */
export function insert(document: string, measured: string): string {
  const begin = document.indexOf(BEGIN);
  const end = document.indexOf(END);
  const block = `${BEGIN}\n\n${measured}\n${END}`;
  if (begin < 0 || end < begin) return `${document.trimEnd()}\n\n${block}\n`;
  return document.slice(0, begin) + block + document.slice(end + END.length);
}

/** The command that makes the results again; paths lose the folders of this machine. */
export function commandText(argv: readonly string[], quick: boolean): string {
  const words = argv
    .filter((word) => word !== '--quick' && word !== '--inside')
    .map((word) => word.replaceAll(/(?<=^|=)\/[^,=]*\//g, (path) => `…/${basename(dirname(`${path}x`))}/`))
    .map((word) => (/^[\w.,:=/…-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`));
  return ['npm run', quick ? 'bench:quick' : 'bench', ...(words.length > 0 ? ['--', ...words] : [])].join(' ');
}

/** Writes the results of the parts that were measured now; the others stay as they were. @returns where */
export function writeResults(folder: string, measured: Results): string {
  mkdirSync(folder, { recursive: true });
  const json = join(folder, 'results.json');
  const before: Results = existsSync(json) ? JSON.parse(readFileSync(json, 'utf8'), noNull) : {};
  const results = { ...before, ...measured };
  writeFileSync(json, `${JSON.stringify(results, null, 1)}\n`);
  writeFileSync(join(folder, 'results.svg'), chart(results));
  const document = join(folder, 'RESULTS.md');
  const text = existsSync(document) ? readFileSync(document, 'utf8') : '# Results\n';
  writeFileSync(document, insert(text, markdown(results)));
  return document;
}

/** JSON has no NaN: it writes null. */
function noNull(_key: string, value: unknown): unknown {
  return value === null ? Number.NaN : value;
}
