/** Seeing what happens and where time goes: `-d` and `-profile` on whole machines. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { checkSpeedscope, type SpeedscopeFile, shareOf } from '../vmm/watch/speedscope-schema.ts';
import { symbolFile } from '../vmm/watch/symbol-file.ts';
import { GUESTS } from './tiny-guests.ts';
import { guest, run, Tsvmm } from './tsvmm.ts';

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-e2e-watch-'));
afterAll(() => rmSync(folder, { recursive: true }));

const QUIET = ['-m', '64M', '-display', 'none', '-serial', 'stdio', '-nic', 'none'];
const DEBUG_EXIT = ['-device', 'isa-debug-exit,iobase=0x501,iosize=2'];
const STATUS_PASS = 33;

let files = 0;

/** Runs a guest. @returns what it logged, and how it ended */
async function logged(items: string, kernel: string, ...more: string[]) {
  const log = join(folder, `log${files++}`);
  const ending = await run(['-kernel', guest(kernel), ...QUIET, '-d', items, '-D', log, ...more], { timeout: 55_000 });
  return { ...ending, log: readFileSync(log, 'latin1') };
}

describe('-d', () => {
  test('in_asm: the entry point comes first', async () => {
    const { status, log } = await logged('in_asm', 'hello.elf');
    expect(status).toBe(0);
    expect(log).toMatch(/^-{16}\nIN: _start\n0x[0-9a-f]{8}: {2}fa {22} cli\n0x[0-9a-f]{8}: {2}fc {22} cld\n/);
    expect(log).toMatch(/IN: guest_main\n/);
  });

  test('exec: from the entry point to the end, and the guest does as always', async () => {
    const { status, stdout, log } = await logged('exec', 'hello.elf');
    expect({ status, greeted: stdout.startsWith('Hello from a bare-metal guest') }).toEqual({
      status: 0,
      greeted: true,
    });
    expect(log).toMatch(/^Trace: block {2}[0-9a-f]{8} _start\n/);
    expect(log).toMatch(/^Trace: block {2}[0-9a-f]{8} guest_main$/m);
    expect(log.split('\n').every((line) => line === '' || line.startsWith('Trace: '))).toBe(true);
  });

  test('int, mmu: what a guest of exceptions meets', async () => {
    const { status, log } = await logged('int,mmu,cpu_reset', 'exceptions.elf', ...DEBUG_EXIT);
    expect(status).toBe(STATUS_PASS);
    expect(log).toMatch(/^CPU Reset \(CPU 0\)\nRAX=/m);
    expect(log).toMatch(/^ +\d+: v=0e e=0002 i=0 cpl=0 IP=0010:[0-9a-f]{16} .* CR2=0000000000000010$/m);
    expect(log).toMatch(/^ +\d+: v=00 e=0000 i=0 /m);
    expect(log).toMatch(/^ +\d+: v=0d e=[0-9a-f]{4} i=0 /m);
    expect(log).toMatch(/^mmu: page fault at 0000000000000010 by [0-9a-f]{16}: supervisor write, not present; \[0x/m);
    expect(log).toMatch(/^mmu: CR3=[0-9a-f]{16}: TLB flushed$/m);
  });

  test.each([
    ['wasm', /^OUT: region [0-9a-f]{8} quicksort.*\nlocals \d+\n(.*\n)*?.*loop$/m],
    ['js', /^OUT: region [0-9a-f]{8} quicksort.*\nfunction region\(/m],
  ])('op, out_asm with jit=%s', async (jit, code) => {
    const { status, log } = await logged(
      'op,out_asm',
      'bench64.elf',
      '-append',
      'only=sort',
      '-accel',
      `tcg,jit=${jit}`,
    );
    expect(status).toBe(0);
    expect(log).toMatch(/^OP: region [0-9a-f]{8} quicksort.*\nblock 0/m);
    expect(log).toMatch(/^ {2}%\d+ = LOAD:\d %\d+$/m);
    expect(log).toMatch(code);
  });

  test('without -D to standard error', async () => {
    const { status, stderr } = await run(['-kernel', guest('hello.elf'), ...QUIET, '-d', 'in_asm']);
    expect(status).toBe(0);
    expect(stderr).toMatch(/^-{16}\nIN: _start\n/);
  });

  test('a triple fault is told', async () => {
    const kernel = join(folder, 'triple.elf');
    writeFileSync(kernel, GUESTS.TRIPLE_FAULTS);
    const { status, stderr } = await run(['-kernel', kernel, ...QUIET, '-no-reboot', '-d', 'int']);
    expect(status).toBe(1);
    expect([...stderr.matchAll(/^ +\d+: v=(..) e=(....) i=(.)/gm)].map(([, ...words]) => words.join(' '))).toEqual([
      '03 0000 1', // INT3
      '0d 001a 0', // its gate is beyond the limit
      '08 0000 0', // and so is that of #GP
    ]);
  });
});

describe('-profile', () => {
  async function profiled(...more: string[]): Promise<SpeedscopeFile> {
    const file = join(folder, `profile${files++}.json`);
    const { status, stderr } = await run([...QUIET, '-profile', file, ...more], { timeout: 55_000 });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    return checkSpeedscope(readFileSync(file, 'utf8'));
  }

  test.each(['wasm', 'js', 'off'])('the functions of a guest that sorts and recurses, with jit=%s', async (jit) => {
    const append = `only=sort,calls scale=${jit === 'off' ? 2 : 20}`;
    const file = await profiled('-kernel', guest('bench64.elf'), '-append', append, '-accel', `tcg,jit=${jit}`);
    const { share, total } = shareOf(file, 'guest: functions', /^(quicksort|sort|fib)\b/);
    expect(total).toBeGreaterThan(20);
    expect(share).toBeGreaterThan(0.8);
    for (const name of [/^quicksort\b/, /^fib\b/]) {
      // How much depends on how soon each is translated, and that on what else the machine does.
      expect(shareOf(file, 'guest: functions', name).share).toBeGreaterThan(0.02);
    }
    const tiers = new Set(
      file.profiles
        .find(({ name }) => name === 'guest: functions by tier')!
        .samples.map(([tier]) => file.shared.frames[tier].name),
    );
    expect(tiers).toContain('interpreter');
    expect(tiers.has('region')).toBe(jit !== 'off');
    const monitor = shareOf(file, 'monitor: exits and devices, time', /^Uart16550 at port 0x3f8$/);
    expect(monitor.share).toBeGreaterThan(0);
    expect(shareOf(file, 'monitor: exits and devices, how often', /^exit: halt$/).share).toBeGreaterThan(0);
  });

  test('-symbols names what a flat kernel does; a signal ends it, and the profile is written', async () => {
    const [kernel, symbols, out] = ['spins', 'spins.dbg', 'spins.json'].map((name) => join(folder, name));
    writeFileSync(kernel, GUESTS.SPINS);
    writeFileSync(symbols, symbolFile(32, [{ name: 'spinner', start: 0x100000n, size: 0x100n }]));
    const vm = new Tsvmm(['-kernel', kernel, ...QUIET, '-profile', out, '-symbols', symbols]);
    await vm.console(/spin/);
    await new Promise((resolve) => setTimeout(resolve, 500));
    vm.process.kill('SIGTERM');
    expect((await vm.ended).status).toBe(0);
    const { share, total } = shareOf(checkSpeedscope(readFileSync(out, 'utf8')), 'guest: functions', /^spinner$/);
    expect(total).toBeGreaterThan(100);
    expect(share).toBeCloseTo(1, 6);
  });
});

describe('mistakes are one line', () => {
  test.each([
    [['-d', 'in_asm,frobnicate'], /^tsvmm: -d in_asm,frobnicate: unknown log item 'frobnicate' \(one of: in_asm, op, /],
    [['-profile', '/nowhere/out.json'], /^tsvmm: -profile \/nowhere\/out.json: no such file or directory\n$/],
    [['-d', 'exec', '-symbols', '/nowhere'], /^tsvmm: -symbols \/nowhere: no such file or directory\n$/],
    [['-d', 'exec', '-symbols', '/dev/null'], /^tsvmm: -symbols \/dev\/null: no ELF file with symbols of functions\n$/],
    [['-symbols', '/dev/null'], /^tsvmm: -symbols \/dev\/null: nothing uses them without -profile /],
  ])('%j', async (args, message) => {
    const { status, stdout, stderr } = await run(['-kernel', guest('hello.elf'), ...QUIET, ...args]);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  test('-d help lists the items', async () => {
    const { status, stdout } = await run(['-d', 'help']);
    expect(status).toBe(0);
    for (const item of ['in_asm', 'op', 'out_asm', 'exec', 'cpu', 'int', 'mmu', 'cpu_reset', 'startup', 'stats']) {
      expect(stdout).toMatch(new RegExp(`^${item} +\\S`, 'm'));
    }
  });
});
