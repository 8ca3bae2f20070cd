/** A whole machine in confinement: what users ask of it goes on working, and the kernel says that it is confined. */

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { HttpClient } from './http-client.ts';
import { GUESTS } from './tiny-guests.ts';
import { freePort, guest, run, Tsvmm } from './tsvmm.ts';

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-e2e-'));
afterAll(() => rmSync(folder, { recursive: true }));

function args(name: keyof typeof GUESTS, ...more: string[]): string[] {
  const kernel = join(folder, `${name}.bin`);
  writeFileSync(kernel, GUESTS[name]);
  return ['-kernel', kernel, '-m', '16M', '-display', 'none', '-serial', 'stdio', ...more];
}

/** What /proc tells of each thread: Seccomp (2: a filter) and NoNewPrivs. */
function confinement(pid: number): string[] {
  const states = readdirSync(`/proc/${pid}/task`).map((thread) => {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8');
    return (status.match(/^(?:Seccomp|NoNewPrivs):\t\d+$/gm) ?? []).join(' ').replaceAll('\t', '');
  });
  return [...new Set(states)];
}

const CONFINED = 'NoNewPrivs:1 Seccomp:2';
const FREE = 'NoNewPrivs:0 Seccomp:0';
const RULES = 'obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny';
const ours = confinement(process.pid);
const skipped = ours.join() === FREE ? '' : ` NOT RUN: this process is confined itself (${ours})`;

describe.skipIf(skipped)(`threads${skipped}`, () => {
  test.each([
    [[], CONFINED],
    [['--sandbox', `on,${RULES}`], CONFINED],
    [['-sandbox', 'off'], FREE],
    [['-virtfs', `local,path=${folder},mount_tag=t,security_model=none`], CONFINED],
  ])('%j: %s', async (more, expected) => {
    const vm = new Tsvmm(args('HALTS', ...more));
    await vm.console(/halt/);
    expect(confinement(vm.process.pid!)).toEqual([expected]);
    await vm.kill();
  });
});

test('files that were asked for are written, and those that go with the process go', async () => {
  const [pid, socket, log] = ['pid', 'socket', 'log'].map((name) => join(folder, name));
  const share = join(folder, 'share');
  mkdirSync(share);
  for (const shared of [[], ['-virtfs', `local,path=${share},mount_tag=t,security_model=none`]]) {
    rmSync(log, { force: true });
    const sockets = ['-qmp', `unix:${socket},server=on,wait=off`];
    const vm = new Tsvmm(args('HALTS', '-pidfile', pid, ...sockets, '-d', 'stats', '-D', log, ...shared));
    await vm.console(/halt/);
    expect([existsSync(pid), existsSync(socket)]).toEqual([true, true]);
    vm.process.kill('SIGTERM');
    expect((await vm.ended).status).toBe(0);
    expect([existsSync(pid), existsSync(socket)]).toEqual([false, false]);
    expect(readFileSync(log, 'utf8')).toContain('instructions: ');
  }
});

test('a reset boots the kernel again', async () => {
  const vm = new Tsvmm(args('RESETS'));
  await vm.console(/(boot\n){3}/);
  rmSync(join(folder, 'RESETS.bin'));
  await vm.console(/(boot\n){6}/);
  await vm.kill();
});

test('user networking connects and is connected to', async () => {
  const port = await freePort();
  const nic = ['-nic', `user,hostfwd=tcp:127.0.0.1:${port}-:80`];
  const vm = new Tsvmm(['-kernel', guest('http.elf'), '-m', '64M', '-nographic', '-sandbox', 'on', ...nic]);
  await vm.console(/Open/);
  expect(await new HttpClient(`http://127.0.0.1:${port}`).get('/')).toContain('HTTP/1.1 200');
  await vm.kill();
});

test('a log that cannot be written is an error at the start', async () => {
  const { status, stderr } = await run(args('HALTS', '-D', '/nowhere/log'));
  expect([status, stderr]).toEqual([1, 'tsvmm: -D /nowhere/log: could not open the log: no such file or directory\n']);
});
