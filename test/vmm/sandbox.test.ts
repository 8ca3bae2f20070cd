/** What a confined process can do no more, and what it still can: system calls made from within. */

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SANDBOX_CONNECT, SANDBOX_UNLINK } from '../../native/addon.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const ADDON = join(ROOT, 'build', 'Release', 'tsvmm_net.node');
const unbuilt = existsSync(ADDON) ? '' : " NOT RUN: the addon is not built ('node scripts/build-addon.mjs')";
const EPERM = -1;
const ENOSYS = -38;
const EACCES = -13;
const EXDEV = -18;
const ELOOP = -40;

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-sandbox-'));
const share = join(folder, 'share');
const syscalls = join(folder, 'syscall.node');
mkdirSync(share);
writeFileSync(join(share, 'file'), 'inside');
writeFileSync(join(folder, 'secret'), 'outside');
afterAll(() => rmSync(folder, { recursive: true }));

type Call = readonly [name: string, number: number, ...args: (number | string)[]];

/** @returns what each call gives: on the main thread, on another that was there before, and on one that came later */
function attempt(calls: readonly Call[], { needs = 0, roots = [] as readonly string[], threads = false } = {}) {
  const request = { needs, roots, threads, calls: calls.map(([, ...call]) => call) };
  const child = join(ROOT, 'test', 'vmm', 'sandbox-child.mjs');
  const { stdout, stderr, status } = spawnSync(process.execPath, [child, ADDON, syscalls, JSON.stringify(request)], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  if (status !== 0) throw new Error(`status ${status}: ${stderr}`);
  const { main, before, after, ...rest } = JSON.parse(stdout);
  const named = (results: number[]) => Object.fromEntries(calls.map(([name], index) => [name, results[index]]));
  return { ...rest, main: named(main), before: named(before), after: named(after) };
}

const all = (calls: readonly Call[], result: number) => Object.fromEntries(calls.map(([name]) => [name, result]));

/** Each is harmless should it succeed, by what it is given. */
const FORBIDDEN: readonly Call[] = [
  ['execve', 59, '/bin/true', 0, 0],
  ['execveat', 322, -100, '/bin/true', 0, 0, 0],
  ['fork', 57],
  ['vfork', 58],
  ['clone of a process', 56, 17, 0, 0, 0, 0],
  ['clone of a thread in a namespace of its own', 56, 0x10000 | 0x100 | 0x800 | 0x10000000, 0, 0, 0, 0],
  ['unshare', 272, 0x20000],
  ['setns', 308, 0, 0],
  ['open', 2, '/etc/passwd', 0],
  ['openat', 257, -100, '/etc/passwd', 0],
  ['openat2', 437, -100, '/etc/passwd', '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0', 24],
  ['creat', 85, join(folder, 'new'), 0o600],
  ['open_by_handle_at', 304, 0, 0, 0],
  ['memfd_create', 319, 'memory', 0],
  ['unlink', 87, join(folder, 'secret')],
  ['rename', 82, join(folder, 'secret'), join(folder, 'moved')],
  ['mkdir', 83, join(folder, 'new'), 0o700],
  ['symlink', 88, 'x', join(folder, 'new')],
  ['mknod', 133, join(folder, 'new'), 0o10600, 0],
  ['chmod', 90, join(folder, 'secret'), 0o600],
  ['chown', 92, join(folder, 'secret'), -1, -1],
  ['truncate', 76, join(folder, 'secret'), 7],
  ['chdir', 80, '/'],
  ['chroot', 161, '/'],
  ['pivot_root', 155, '/', '/'],
  ['mount', 165, 0, 0, 0, 0, 0],
  ['umount2', 166, '/nowhere', 0],
  ['open_tree', 428, -100, '/', 0],
  ['fsopen', 430, 'tmpfs', 0],
  ['setuid', 105, 65534],
  ['setgid', 106, 65534],
  ['setresuid', 117, -1, -1, -1],
  ['setgroups', 116, 0, 0],
  ['capset', 126, 0, 0],
  ['ptrace', 101, 0, 0, 0, 0],
  ['process_vm_readv', 310, 1, 0, 0, 0, 0],
  ['process_vm_writev', 311, 1, 0, 0, 0, 0],
  ['pidfd_open', 434, 1, 0],
  ['pidfd_getfd', 438, -1, 0, 0],
  ['kcmp', 312, 1, 1, 0, 0, 0],
  ['kill of another process', 62, 1, 0],
  ['tgkill of another process', 234, 1, 1, 0],
  ['tkill', 200, 1, 0],
  ['rt_sigqueueinfo', 129, 1, 0, 0],
  ['bpf', 321, 0, 0, 0],
  ['perf_event_open', 298, 0, 0, 0, 0, 0],
  ['userfaultfd', 323, 0],
  ['kexec_load', 246, 0, 0, 0, 0],
  ['kexec_file_load', 320, -1, -1, 0, 0, 0],
  ['init_module', 175, 0, 0, ''],
  ['finit_module', 313, -1, '', 0],
  ['delete_module', 176, 'nothing', 0],
  ['reboot', 169, 0, 0, 0, 0],
  ['swapon', 167, '/nowhere', 0],
  ['sethostname', 170, 'x', -1],
  ['settimeofday', 164, 0, 0],
  ['clock_settime', 227, 99, 0],
  ['acct', 163, '/nowhere'],
  ['quotactl', 179, 0, 0, 0, 0],
  ['keyctl', 250, 99, 0, 0, 0, 0],
  ['add_key', 248, 0, 0, 0, 0, 0],
  ['seccomp', 317, 99, 0, 0],
  ['personality', 135, 0xffffffff],
  ['modify_ldt', 154, 0, 0, 0],
  ['iopl', 172, 0],
  ['ioperm', 173, 0, 0, 0],
  ['setrlimit', 160, 7, 0],
  ['prlimit64 that sets', 302, 0, 7, 1, 0],
  ['setpriority', 141, 0, 0, 0],
  ['sched_setscheduler', 144, 0, 0, 0],
  ['sched_setaffinity', 203, 0, 0, 0],
  ['ioprio_set', 251, 1, 0, 0],
  ['prctl(PR_SET_DUMPABLE)', 157, 4, 1, 0, 0, 0],
  ['prctl(PR_SET_SECCOMP)', 157, 22, 1, 0, 0, 0],
  ['prctl(PR_CAPBSET_DROP)', 157, 24, 0, 0, 0, 0],
  ['ioctl(TIOCSTI)', 16, 0, 0x5412, 0],
  ['ioctl(TUNSETIFF)', 16, 0, 0x400454ca, 0],
  ['fcntl(F_SETOWN)', 72, 0, 8, 1],
  ['socket(AF_INET)', 41, 2, 1, 0],
  ['socket(AF_UNIX)', 41, 1, 1, 0],
  ['socket(AF_NETLINK)', 41, 16, 3, 0],
  ['socket(AF_PACKET)', 41, 17, 3, 0],
  ['connect', 42, -1, 0, 0],
  ['bind', 49, -1, 0, 0],
  ['listen', 50, -1, 0],
  ['io_uring_enter', 426, -1, 0, 0, 0, 0],
  ['io_uring_register', 427, -1, 0, 0, 0],
  ['shmget', 29, 0, 4096, 0],
  ['msgget', 68, 0, 0],
  ['name_to_handle_at', 303, -100, '/', 0, 0, 0],
  ['inotify_init1', 294, 0],
  ['fanotify_init', 300, 0, 0],
  ['landlock_restrict_self', 446, -1, 0],
  ['vmsplice', 278, -1, 0, 0, 0],
  ['a call that nobody knows', 9999],
  ['getpid by the x32 numbers', 0x40000000 + 39],
];

const MISSING: readonly Call[] = [
  ['clone3', 435, 0, 0],
  ['io_uring_setup', 425, 0, 0],
];

describe.skipIf(unbuilt)(`the sandbox${unbuilt}`, () => {
  beforeAll(() => {
    const { include_dir: include } = createRequire(import.meta.url)('node-api-headers');
    const source = join(ROOT, 'test', 'native', 'syscall.c');
    execFileSync('cc', ['-O1', '-Wall', '-Wextra', '-shared', '-fPIC', '-I', include, '-o', syscalls, source]);
  });

  test('forbids, on every thread, what a machine does not need', () => {
    const calls = [...FORBIDDEN, ...MISSING];
    const { installed, milliseconds, main, before, after, life } = attempt(calls, { threads: true });
    expect(installed).toBe(0);
    const expected = { ...all(FORBIDDEN, EPERM), ...all(MISSING, ENOSYS) };
    expect(main).toEqual(expected);
    expect(before).toEqual(expected);
    expect(after).toEqual(expected);
    expect(life).toEqual({
      code: 2,
      wasm: 42,
      memory: 1,
      timer: 'later',
      file: true,
    });
    expect(milliseconds).toBeLessThan(20);
    expect(readdirSync(folder).sort()).toEqual(['secret', 'share', 'syscall.node']);
  });

  test('cannot be got rid of: neither by threads, nor by another filter', () => {
    const calls: readonly Call[] = [
      ['prctl(PR_GET_NO_NEW_PRIVS)', 157, 39, 0, 0, 0, 0],
      ['prctl(PR_SET_NO_NEW_PRIVS)', 157, 38, 0, 0, 0, 0],
    ];
    expect(attempt(calls).main).toEqual(all(calls, EPERM));
  });

  test('allows what a machine may need where it needs it', () => {
    const calls: readonly Call[] = [
      ['socket(AF_INET)', 41, 2, 2, 0],
      ['socket(AF_INET6)', 41, 10, 2, 0],
    ];
    const refused: readonly Call[] = [
      ['socket(AF_UNIX)', 41, 1, 1, 0],
      ['socket(AF_PACKET)', 41, 17, 3, 0],
      ['socket(AF_NETLINK)', 41, 16, 3, 0],
      ['execve', 59, '/bin/true', 0, 0],
      ['open', 2, '/etc/passwd', 0],
    ];
    const { main } = attempt([...calls, ...refused], { needs: SANDBOX_CONNECT });
    expect(main['socket(AF_INET)']).toBeGreaterThan(2);
    expect(main['socket(AF_INET6)']).toBeGreaterThan(2);
    expect(main).toMatchObject(all(refused, EPERM));
    const gone: Call = ['unlink', 87, join(folder, 'nothing')];
    expect(attempt([gone], { needs: SANDBOX_UNLINK }).main).toEqual({ unlink: -2 });
  });

  test('with a shared directory, files are opened beneath it and nowhere else', () => {
    /** struct open_how with flags, mode 0 and no restriction of paths: what our own code would never pass. */
    const how = '\0';
    const calls: readonly Call[] = [
      ['open', 2, '/etc/passwd', 0],
      ['openat', 257, 'ROOT', 'file', 0],
      ['openat2 from another directory', 437, -100, '/etc/passwd', how, 24],
      ['mkdir', 83, join(folder, 'new'), 0o700],
      ['execve', 59, '/bin/true', 0, 0],
      ['openat2 by an absolute path', 437, 'ROOT', '/etc/passwd', how, 24],
      ['openat2 upwards', 437, 'ROOT', '../secret', how, 24],
      ['mkdirat elsewhere', 258, -100, join(folder, 'new'), 0o700],
      ['symlinkat elsewhere', 266, 'x', -100, join(folder, 'new')],
      ['unlinkat elsewhere', 263, -100, join(folder, 'secret'), 0],
    ];
    const { installed, main } = attempt(calls, { roots: [share] });
    expect(installed).toBe(0);
    expect(main).toMatchObject(all(calls.slice(0, 5), EPERM));
    // Landlock refuses these; without it, only our own code would not make such calls.
    for (const [name] of calls.slice(5)) {
      expect([EACCES, EXDEV, ELOOP]).toContain(main[name]);
    }
    expect(readdirSync(folder).sort()).toEqual(['secret', 'share', 'syscall.node']);
  });
});
