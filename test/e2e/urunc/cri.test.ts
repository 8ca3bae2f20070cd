/** As the kubelet does it: a pod sandbox with a runtime handler, and our container in it. */

import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { HttpClient } from '../http-client.ts';
import { call, field, type Message } from './cri.ts';
import { CONTAINERD_SOCKET, commandLine, ctr, docker, firstAnswer, until, WORK } from './host.ts';
import { build, buildPause, httpImage } from './images.ts';

const HANDLER = 'urunc';
const CONTAINER_EXITED = 2;
const LOGS = `${WORK}/pod-logs`;

const cri = (method: string, request: Message) => call(CONTAINERD_SOCKET, method, request);
const text = (bytes: Buffer, ...path: number[]) => String(field(bytes, ...path));

/** Hands an image of Docker's to the part of containerd that Kubernetes uses. */
async function toKubernetes(image: string): Promise<void> {
  const archive = `${WORK}/image.tar`;
  await docker('save', '--output', archive, image);
  await ctr('--namespace', 'k8s.io', 'images', 'import', archive);
}

it('runs a pod with the runtime handler', { timeout: 120_000 }, async () => {
  await buildPause('localhost/pause:1');
  await build('localhost/http:1', httpImage('tsvmm'));
  await toKubernetes('localhost/pause:1');
  await toKubernetes('localhost/http:1');

  // PodSandboxConfig: metadata { name, uid, namespace }, log_directory, linux
  const sandboxConfig = { 1: { 1: 'web', 2: 'uid-1', 3: 'default' }, 3: LOGS, 8: { 2: { 1: { 2: 1 } } } };
  const sandbox = text(await cri('RunPodSandbox', { 1: sandboxConfig, 2: HANDLER }), 1);
  // PodSandboxStatusResponse.status.network.ip
  const ip = text(await cri('PodSandboxStatus', { 1: sandbox }), 1, 5, 1);
  expect(ip).toMatch(/^10\.88\.0\./);

  // ContainerConfig: metadata { name, attempt }, image { image }, args, log_path, linux { resources { memory_limit_in_bytes } }
  const config = {
    2: { 1: 'localhost/http:1' },
    4: ['url=here'],
    11: 'http.log',
    // and security_context { namespace_options { pid: CONTAINER } }, as Kubernetes has it
    15: { 1: { 4: 64 << 20 }, 2: { 3: { 2: 1 } } },
  };
  const start = async (attempt: number) => {
    const attempted = { ...config, 1: { 1: 'http', 2: attempt } };
    const id = text(await cri('CreateContainer', { 1: sandbox, 2: attempted, 3: sandboxConfig }), 1);
    await cri('StartContainer', { 1: id });
    return id;
  };
  const container = await start(0);
  expect(await firstAnswer(`http://${ip}/`)).toContain('200 OK');
  // What the guest prints takes its time to get there.
  await until(
    'log',
    async () => readFileSync(`${LOGS}/http.log`, 'utf8'),
    (said) => said.includes('memory   64 MiB'),
  );

  const begin = performance.now();
  // StopContainerRequest: container_id, timeout
  await cri('StopContainer', { 1: container, 2: 5 });
  expect(performance.now() - begin).toBeLessThan(1000);
  // ContainerStatusResponse.status { state, exit_code }; a zero is left out of a message.
  const status = await cri('ContainerStatus', { 1: container });
  expect([field(status, 1, 3), field(status, 1, 7) ?? 0]).toEqual([CONTAINER_EXITED, 0]);

  // What the kubelet does then: another container in the same sandbox, which has the same address.
  await cri('RemoveContainer', { 1: container });
  const second = await start(1);
  expect(await firstAnswer(`http://${ip}/`)).toContain('200 OK');

  // The same after a crash.
  new HttpClient(`http://${ip}`).get('/crash').catch(() => 'no answer');
  await until(
    'end',
    async () => field(await cri('ContainerStatus', { 1: second }), 1, 3),
    (state) => state === CONTAINER_EXITED,
  );
  await start(2);
  expect(await firstAnswer(`http://${ip}/`)).toContain('200 OK');

  await cri('StopPodSandbox', { 1: sandbox });
  await cri('RemovePodSandbox', { 1: sandbox });
  const monitors = async () =>
    readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && commandLine(pid)[0]?.includes('tsvmm'));
  await until('monitors', monitors, (pids) => pids.length === 0);
});
