/** The built program (`npm run build`) as its user meets it: output, exit status, signals, terminal. */

import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { VERSION } from '../../vmm/version.ts';
import { GUESTS } from './tiny-guests.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const program = join(root, 'bin', 'tsvmm');
const directory = mkdtempSync(join(tmpdir(), 'tsvmm-'));

function kernelFile(name: keyof typeof GUESTS): string {
  const path = join(directory, name);
  writeFileSync(path, GUESTS[name]);
  return path;
}

function run(argv: readonly string[], input = '') {
  return spawnSync(program, argv, { encoding: 'utf8', input, timeout: 20_000 });
}

const runGuest = (name: keyof typeof GUESTS, ...argv: readonly string[]) =>
  run(['-kernel', kernelFile(name), '-m', '16M', ...argv]);

/** A running guest; `output` grows. */
function watch(child: ChildProcessByStdio<Writable, Readable, Readable>) {
  const state = { child, output: '', errors: '' };
  child.stdout.on('data', (bytes) => {
    state.output += bytes;
  });
  child.stderr.on('data', (bytes) => {
    state.errors += bytes;
  });
  const ended = new Promise<{ status: number | null; signal: string | null }>((resolve) => {
    child.once('close', (status, signal) => resolve({ status, signal }));
  });
  return Object.assign(state, { ended });
}

function start(name: keyof typeof GUESTS, ...argv: readonly string[]) {
  return watch(
    spawn(program, ['-kernel', kernelFile(name), '-m', '16M', ...argv], { stdio: ['pipe', 'pipe', 'pipe'] }),
  );
}

describe('without a guest', () => {
  test('-version', () => {
    expect(run(['-version'])).toMatchObject({ stdout: `tsvmm ${VERSION}\n`, stderr: '', status: 0 });
    expect(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version).toBe(VERSION);
  });

  test('-help', () => {
    const { stdout, status } = run(['-help']);
    expect(status).toBe(0);
    expect(stdout).toContain('-kernel file');
  });

  test.each([
    [['-foo'], 'tsvmm: -foo: invalid option; -help lists them all\n'],
    [['-kernel', '/no/such'], "tsvmm: could not open kernel file '/no/such': no such file or directory\n"],
    [['-kernel', program], /^tsvmm: cannot boot '.*': not a kernel: neither Linux.*\n$/],
    [['-kernel', '/dev/null'], /not a regular file\n$/],
    [['-kernel', 'x', '-m', '64\nG'], /^tsvmm: [^\n]*\n$/],
    [
      ['-kernel', 'x', '-virtfs', 'local,path=/no/such,mount_tag=t,security_model=none,id=f'],
      /^tsvmm: (cannot initialize fsdev 'f': failed to open '\/no\/such': no such file or directory|the native addon .*)\n$/,
    ],
    [['-kernel', 'x', '-nic', 'tap,ifname=no_such_tap0'], /^tsvmm: [^\n]*\n$/],
  ])('%s is one line and status 1', (argv, message) => {
    const { stdout, stderr, status } = run(argv);
    expect([stdout, status]).toEqual(['', 1]);
    if (typeof message === 'string') expect(stderr).toBe(message);
    else expect(stderr).toMatch(message);
  });

  test('a checkout that was not built says so', () => {
    const lone = join(directory, 'bin');
    const result = spawnSync('sh', ['-c', `mkdir -p ${lone} && cp ${program} ${lone} && ${lone}/tsvmm -version`], {
      encoding: 'utf8',
    });
    expect(result.stderr).toMatch(/dist\/tsvmm.js is missing: run 'npm run build'/);
    expect(result.status).toBe(1);
  });
});

describe('how a guest ends', () => {
  test('power-off: its output, and status 0', () => {
    expect(runGuest('POWERS_OFF')).toMatchObject({ stdout: 'hello\r\n', stderr: '', status: 0 });
  });

  test('isa-debug-exit: (v << 1) | 1', () => {
    expect(runGuest('DEBUG_EXIT', '-device', 'isa-debug-exit,iobase=0x501').status).toBe(0x53);
  });

  test('a reset with -no-reboot: status 0', () => {
    expect(runGuest('RESETS', '-no-reboot')).toMatchObject({ stdout: 'boot\n', stderr: '', status: 0 });
  });

  test('a triple fault with -no-reboot: status 1, and where it was', () => {
    const { stderr, status } = runGuest('TRIPLE_FAULTS', '-no-reboot');
    expect(stderr).toBe('tsvmm: the guest crashed: triple fault at RIP 0x000000000010002d\n');
    expect(status).toBe(1);
  });

  test('a jump to where nothing is: status 1, and where that is', () => {
    for (const name of ['LEAVES_RAM', 'LEAVES_RAM_LATER'] as const) {
      const { stderr, status } = runGuest(name);
      expect(stderr).toBe('tsvmm: the guest crashed: it executes code outside RAM at RIP 0x00000000d0000000\n');
      expect(status).toBe(1);
    }
  });

  test('reset boots again', async () => {
    const guest = start('RESETS');
    await expect.poll(() => guest.output.split('boot\n').length, { timeout: 10_000 }).toBeGreaterThan(3);
    guest.child.kill('SIGTERM');
    expect((await guest.ended).status).toBe(0);
  });

  test('all output of a long print arrives through a slow pipe', () => {
    const { stdout } = spawnSync(
      'sh',
      ['-c', `${program} -m 16M -kernel ${kernelFile('PRINTS_MUCH')} | (sleep 1; wc -c)`],
      {
        encoding: 'utf8',
      },
    );
    expect(stdout.trim()).toBe('200000');
  });

  test('-pidfile is there while it runs', async () => {
    const pidFile = join(directory, 'pid');
    const guest = start('HALTS', '-pidfile', pidFile);
    await expect.poll(() => guest.output, { timeout: 10_000 }).toBe('halt\n');
    expect(readFileSync(pidFile, 'utf8')).toBe(`${guest.child.pid}\n`);
    guest.child.kill('SIGTERM');
    await guest.ended;
    expect(existsSync(pidFile)).toBe(false);
  });
});

/** A signal ends it within so many ms. */
const SIGNAL_LATENCY = 100;
/** A busy test machine is late now and then, a broken program always. */
const SIGNAL_TRIES = 5;

const SIGNALLED = [
  ['SPINS', 'SIGTERM'],
  ['SPINS', 'SIGINT'],
  ['SPINS', 'SIGHUP'],
  ['HALTS', 'SIGTERM'],
  ['HALTS', 'SIGINT'],
  ['HALTS', 'SIGHUP'],
  ['FLOODS', 'SIGTERM'],
] as const;

describe('signals', () => {
  /** @returns how long it took, ms */
  async function signal(guest: ReturnType<typeof start>, pid: number, name: NodeJS.Signals): Promise<number> {
    const sent = performance.now();
    process.kill(pid, name);
    expect(await guest.ended).toEqual({ status: 0, signal: null });
    expect(guest.errors).toMatch(/^tsvmm: terminating on signal \d+\n$/);
    return performance.now() - sent;
  }

  async function leastLatency(once: () => Promise<number>): Promise<number> {
    let least = Number.POSITIVE_INFINITY;
    for (let tries = 0; tries < SIGNAL_TRIES && least > SIGNAL_LATENCY; tries++) {
      least = Math.min(least, await once());
    }
    return least;
  }

  const printed = (guest: ReturnType<typeof start>) =>
    expect.poll(() => guest.output.length, { timeout: 10_000 }).toBeGreaterThan(0);

  test.each(SIGNALLED)(`%s ends within ${SIGNAL_LATENCY} ms of %s, with status 0`, async (name, signalName) => {
    const latency = await leastLatency(async () => {
      const guest = start(name);
      await printed(guest);
      return await signal(guest, guest.child.pid!, signalName);
    });
    expect(latency).toBeLessThan(SIGNAL_LATENCY);
  });

  const notRoot = process.getuid?.() === 0 ? '' : ' NOT RUN: not root';

  test.skipIf(notRoot).each(SIGNALLED)(`as PID 1, %s ends on %s${notRoot}`, async (name, signalName) => {
    const latency = await leastLatency(async () => {
      const argv = ['--pid', '--fork', program, '-kernel', kernelFile(name), '-m', '16M'];
      const guest = watch(spawn('unshare', argv, { stdio: ['pipe', 'pipe', 'pipe'] }));
      await printed(guest);
      const unshare = guest.child.pid;
      const init = Number(readFileSync(`/proc/${unshare}/task/${unshare}/children`, 'utf8'));
      return await signal(guest, init, signalName);
    });
    expect(latency).toBeLessThan(SIGNAL_LATENCY);
  });

  test('also when nobody reads its output', async () => {
    const guest = start('FLOODS');
    await printed(guest);
    guest.child.stdout.pause();
    await new Promise((resolve) => setTimeout(resolve, 500));
    guest.child.kill('SIGTERM');
    guest.child.stdout.resume();
    expect((await guest.ended).status).toBe(0);
  });
});

describe('console', () => {
  test('input from a pipe reaches the guest, and its end ends nothing', async () => {
    const guest = start('ECHOES', '-display', 'none', '-serial', 'stdio');
    guest.child.stdin.write('abc');
    await expect.poll(() => guest.output, { timeout: 10_000 }).toBe('abc');
    guest.child.stdin.end('dq');
    expect((await guest.ended).status).toBe(0);
    expect(guest.output).toBe('abcdq');
  });

  test('without any input the guest still runs', () => {
    const { stdout, status } = spawnSync(program, ['-kernel', kernelFile('POWERS_OFF'), '-m', '16M'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    expect([stdout, status]).toEqual(['hello\r\n', 0]);
  });

  test('Ctrl-A: x ends, c talks to the monitor', async () => {
    const guest = start('ECHOES', '-nographic');
    guest.child.stdin.write('ab\x01cinfo status\rstop\rinfo status\rcont\r\x01ccd\x01x');
    expect((await guest.ended).status).toBe(0);
    expect(guest.output).toContain('VM status: running\r\n');
    expect(guest.output).toContain('VM status: paused\r\n');
    expect(guest.output).toMatch(/tsvmm: Terminated\r\n$/);
  });

  test('-S waits for cont', async () => {
    const guest = start('POWERS_OFF', '-S', '-nographic');
    guest.child.stdin.write('\x01cinfo status\r');
    await expect.poll(() => guest.output, { timeout: 10_000 }).toContain('VM status: paused (prelaunch)');
    expect(guest.output).not.toContain('hello');
    guest.child.stdin.write('cont\r');
    expect((await guest.ended).status).toBe(0);
    expect(guest.output).toContain('hello');
  });

  test('-no-shutdown stops instead of leaving, until quit', async () => {
    const guest = start('POWERS_OFF', '-no-shutdown', '-nographic');
    await expect.poll(() => guest.output, { timeout: 10_000 }).toContain('hello');
    guest.child.stdin.write('\x01cinfo status\rquit\r');
    expect((await guest.ended).status).toBe(0);
    expect(guest.output).toContain('VM status: paused (shutdown)');
  });

  test('a reader that goes away does not end the guest', async () => {
    const guest = start('FLOODS');
    await expect.poll(() => guest.output.length, { timeout: 10_000 }).toBeGreaterThan(0);
    guest.child.stdout.destroy();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(guest.child.exitCode).toBeNull();
    guest.child.kill('SIGTERM');
    await new Promise((resolve) => guest.child.once('exit', resolve));
    expect(guest.child.exitCode).toBe(0);
  });
});

describe('terminal', () => {
  /** Runs a shell command line on a terminal of its own, types `keys`, and shows what the terminal's modes are then. */
  function onTerminal(line: string, keys: string): string {
    const command = `${line}; echo "status $?"; stty -a`;
    const feed = `(sleep 1.5; printf '${keys}'; sleep 1) | script -qec '${command}' /dev/null`;
    return spawnSync('sh', ['-c', feed], { encoding: 'utf8', timeout: 20_000 }).stdout;
  }

  const COOKED = /^isig icanon iexten echo /m;

  test('is raw for the guest, Ctrl-C included, and as before after a power-off', () => {
    const text = onTerminal(`${program} -m 16M -nographic -kernel ${kernelFile('ECHOES')}`, 'ab\\003q');
    expect(text).toContain('ab\x03q');
    expect(text).toContain('status 0');
    expect(text).toMatch(COOKED);
  });

  test('is as before after Ctrl-A x', () => {
    const text = onTerminal(`${program} -m 16M -nographic -kernel ${kernelFile('HALTS')}`, '\\001x');
    expect(text).toMatch(/tsvmm: Terminated\s*status 0/);
    expect(text).toMatch(COOKED);
  });

  test('Ctrl-C ends a guest whose serial port alone has the terminal', () => {
    const text = onTerminal(`${program} -m 16M -display none -serial stdio -kernel ${kernelFile('SPINS')}`, '\\003');
    expect(text).toMatch(/spin\s*status 0/);
    expect(text).toMatch(COOKED);
  });

  test('is as before after a signal', () => {
    const line = `timeout --foreground 2 ${program} -m 16M -nographic -kernel ${kernelFile('HALTS')}`;
    expect(onTerminal(line, '')).toMatch(COOKED);
  });
});
