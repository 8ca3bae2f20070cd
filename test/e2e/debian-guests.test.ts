/** Programs for bare PCs that Debian ships: memtest86+ by the Linux boot protocol, GRUB Invaders by multiboot. */

import { afterEach, expect, test } from 'vitest';
import { guest, LONG, Tsvmm } from './tsvmm.ts';

let vm: Tsvmm;
afterEach(() => vm?.kill());

const MEMTEST = [
  ...['-kernel', guest('debian/memtest86+x64.bin'), '-m', '8M', '-nographic', '-nic', 'none'],
  ...['-append', 'console=ttyS0,115200 nosmp nobench nosm nopause'],
];
/** The serial console is a screen: these fields are drawn anew as they change. */
const PASS_IN_PROGRESS = /Pass: {2}0 {8}Errors: 0/;
const PASS_DONE = /Pass: {2}1 {8}Errors: (\d+)/;

test('memtest86+ finishes a pass without the bit fade test', { timeout: 240_000 }, async () => {
  vm = new Tsvmm(MEMTEST);
  await vm.console(PASS_IN_PROGRESS);
  // Test 10 sleeps for 160 s; its menus take digits for function keys.
  await vm.type('1', /Settings:/);
  await vm.type('1', /Test Selection:/);
  await vm.type('2', /Enter test #/);
  await vm.type('10\r', /\*\.\*{8}\./);
  await vm.type('0', /Settings:/);
  await vm.type('0', /Testing/);
  expect((await vm.console(PASS_DONE, 200_000))[1]).toBe('0');
});

test.skipIf(!LONG)('memtest86+ finishes a whole pass (TSVMM_LONG=1)', { timeout: 900_000 }, async () => {
  vm = new Tsvmm(MEMTEST);
  expect((await vm.console(PASS_DONE, 880_000))[1]).toBe('0');
  // 160 s of sleep leave their trace on a screen that is drawn every two seconds.
  expect(vm.stdout).toContain('#10 [Bit fade test, 2 patterns]');
});

const COLUMNS = 80;
const ROWS = 25;

/** The text on the VGA screen, as the monitor's `xp` shows its memory. */
async function screen(): Promise<string[]> {
  const dump = await vm.type(`xp /${COLUMNS * ROWS}xh 0xb8000\r`, /xp [^\n]*\n([^(]*)\(tsvmm\)/);
  const cells = [...dump[1].matchAll(/ 0x[0-9a-f]{2}([0-9a-f]{2})/g)].map((cell) => Number.parseInt(cell[1], 16));
  expect(cells).toHaveLength(COLUMNS * ROWS);
  return Array.from({ length: ROWS }, (_, row) =>
    String.fromCharCode(...cells.slice(row * COLUMNS, (row + 1) * COLUMNS)),
  );
}

test('GRUB Invaders paints its screen, and the invaders move', async () => {
  vm = new Tsvmm(['-kernel', guest('debian/invaders.exec'), '-m', '32M', '-nographic', '-nic', 'none']);
  await vm.type('\x01c', /\(tsvmm\) /);
  const invaders = (rows: readonly string[]) => rows.slice(0, 20).join('').split('-*-').length - 1;
  let rows = await screen();
  await expect.poll(async () => invaders((rows = await screen())), { timeout: 20_000 }).toBe(40);
  // Our ship.
  expect(rows[23]).toContain('_');
  expect(rows[24]).toMatch(/\/.*\\/);
  const before = rows.slice(0, 20);
  await expect.poll(async () => (await screen()).slice(0, 20), { timeout: 20_000 }).not.toEqual(before);
});
