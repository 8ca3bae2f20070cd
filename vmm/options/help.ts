/** The text of `-help`, printed from the option table. */

import { OPTION_TABLE } from './table.ts';

const HELP_COLUMN = 34;

export function helpText(): string {
  const lines = [
    'usage: tsvmm -kernel FILE [options]',
    '',
    'Runs an x86-64 unikernel in plain TypeScript, without KVM. Options are those of qemu-system-x86_64.',
  ];
  for (const { title, options } of OPTION_TABLE) {
    lines.push('', `${title}:`);
    for (const { names, argument, help } of options) {
      const [first = '', ...more] = (argument ?? '').split('\n');
      const left = `  -${names.join(', -')} ${first}`.trimEnd();
      const continuation = more.map((form) => `${' '.repeat(`  -${names.join(', -')} `.length)}${form}`);
      if (left.length < HELP_COLUMN && more.length === 0) {
        lines.push(left.padEnd(HELP_COLUMN) + help);
      } else {
        lines.push(left, ...continuation, ' '.repeat(HELP_COLUMN) + help);
      }
    }
  }
  lines.push('', 'On the terminal: Ctrl-A x ends, Ctrl-A c switches to the monitor and back, Ctrl-A h helps.', '');
  return lines.join('\n');
}
