/** The host of the containers: where its parts are, and the commands of its user. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { HttpClient } from '../http-client.ts';
import { ROOT } from '../tsvmm.ts';

/** Scratch of one run. On a file system that overlayfs can use; removed and made again by setup.ts. */
export const WORK = `${ROOT}build/e2e-urunc`;
/** urunc and its shim, as integrations/urunc/build.sh leaves them. */
export const URUNC_BUILD = `${ROOT}build/urunc`;

// Paths of sockets have at most 107 characters, and urunc's holds a container id of 64: hence such short names.
export const CONTAINERD_SOCKET = '/run/c/containerd.sock';
export const DOCKER_EXEC_ROOT = '/run/d';
export const URUNC_CONFIG = '/etc/urunc/config.toml';

export interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export async function run(command: string, ...args: string[]): Promise<Result> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const result = { status: null as number | null, stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text) => {
    result.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    result.stderr += text;
  });
  [result.status] = await once(child, 'close');
  return result;
}

/** @returns what a command that succeeds prints. @throws with what it said, when it does not */
export async function succeed(command: string, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await run(command, ...args);
  if (status !== 0) {
    throw new Error(`${command} ${args.join(' ')}: status ${status}\n${stdout}${stderr}`);
  }
  return stdout.trim();
}

// By its full path: other things are called docker too.
export const docker = (...args: string[]) => succeed('/usr/bin/docker', ...args);
export const tryDocker = (...args: string[]) => run('/usr/bin/docker', ...args);
export const ctr = (...args: string[]) => succeed('ctr', '--address', CONTAINERD_SOCKET, ...args);

export const inspect = (name: string, format: string) => docker('inspect', '--format', format, name);
export const addressOf = (name: string) => inspect(name, '{{.NetworkSettings.IPAddress}}');
export const clientOf = async (name: string) => new HttpClient(`http://${await addressOf(name)}`);

/** All that the container has printed, the guest's carriage returns left out. */
export async function logs(name: string): Promise<string> {
  const { stdout, stderr } = await tryDocker('logs', name);
  return (stdout + stderr).replaceAll('\r', '');
}

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Asks until the answer is one that is wanted. */
export async function until<T>(
  what: string,
  ask: () => Promise<T>,
  wanted: (answer: T) => boolean,
  patience = 20_000,
): Promise<T> {
  const deadline = performance.now() + patience;
  for (;;) {
    const answer = await ask();
    if (wanted(answer)) {
      return answer;
    }
    if (performance.now() > deadline) {
      throw new Error(`${what}: still ${JSON.stringify(answer)} after ${patience / 1000} s`);
    }
    await sleep(10);
  }
}

/** Waits until a container's log has `text`: what is printed takes its time to get there. @returns the log so far */
export const logged = (name: string, text: string, patience?: number) =>
  until(
    `the log of ${name}, without "${text}"`,
    () => logs(name),
    (said) => said.includes(text),
    patience,
  );

/** GETs `url` until it answers. @returns the first answer, headers included */
export async function firstAnswer(url: string, patience?: number): Promise<string> {
  // A guest whose host is busy accepts at once and may take its time to answer.
  const get = () => run('curl', '--silent', '--include', '--connect-timeout', '1', '--max-time', '5', url);
  return (await until(url, get, ({ status }) => status === 0, patience)).stdout;
}

export const commandLine = (pid: number | string) =>
  readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);

/** Writes urunc's configuration, which it reads whenever a container is made. */
export function configure(monitors: string): void {
  writeFileSync(URUNC_CONFIG, `[log]\nlevel = "warning"\n${monitors}`);
}
