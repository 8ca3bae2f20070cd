/**
 * Time from exec to the first HTTP 200, tsvmm beside QEMU's TCG: the same kernel, on a tap in a network namespace of its
 * own, in interleaved pairs. Needs root, iproute2 and (for the comparison) qemu-system-x86_64; says so when one is missing.
 *
 *   node bench/boot.mjs KERNEL [--append TEXT] [--initrd FILE] [-m SIZE] [--pairs N]
 *
 * The guest must serve HTTP on 172.44.0.2:80; the default --append makes a Unikraft nginx do so.
 */

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const GUEST = '172.44.0.2';
const HOST = '172.44.0.1/24';
const MAC = '02:b0:b0:01:02:03';
const NAMESPACE = `tsvmm-bench-${process.pid}`;
const ATTEMPT_INTERVAL_MS = 4;
const GIVE_UP_MS = 30_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    append: { type: 'string', default: `netdev.ip=${GUEST}/24:172.44.0.1 -- -c /nginx/conf/nginx.conf` },
    initrd: { type: 'string' },
    memory: { type: 'string', short: 'm', default: '64M' },
    pairs: { type: 'string', default: '5' },
    inside: { type: 'boolean', default: false },
  },
});
if (positionals.length !== 1) {
  console.error('usage: node bench/boot.mjs KERNEL [--append TEXT] [--initrd FILE] [-m SIZE] [--pairs N]');
  process.exit(1);
}

const ip = (...args) => execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });

/** Runs this program again inside a namespace with a tap. */
function enterNamespace() {
  ip('netns', 'add', NAMESPACE);
  try {
    ip('-n', NAMESPACE, 'link', 'set', 'lo', 'up');
    ip('netns', 'exec', NAMESPACE, 'ip', 'tuntap', 'add', 'dev', 'tap0', 'mode', 'tap', 'vnet_hdr');
    ip('-n', NAMESPACE, 'addr', 'add', HOST, 'dev', 'tap0');
    ip('-n', NAMESPACE, 'link', 'set', 'tap0', 'up');
    // Without this the first packet would wait a second for ARP to ask again.
    ip('-n', NAMESPACE, 'neigh', 'replace', GUEST, 'lladdr', MAC, 'dev', 'tap0', 'nud', 'permanent');
    const args = ['netns', 'exec', NAMESPACE, process.execPath, ...process.argv.slice(1), '--inside'];
    return spawnSync('ip', args, { stdio: 'inherit' }).status ?? 1;
  } finally {
    ip('netns', 'del', NAMESPACE);
  }
}

/** One attempt: resolves true when the answer starts with a 200. */
function attempt() {
  return new Promise((resolve) => {
    const socket = connect({ host: GUEST, port: 80 });
    socket.setTimeout(500);
    socket.on('connect', () => socket.write(`GET / HTTP/1.1\r\nHost: ${GUEST}\r\nConnection: close\r\n\r\n`));
    socket.on('data', (data) => {
      resolve(data.toString('latin1').startsWith('HTTP/1.1 200'));
      socket.destroy();
    });
    for (const event of ['error', 'timeout', 'end']) {
      socket.on(event, () => {
        resolve(false);
        socket.destroy();
      });
    }
  });
}

/** @returns milliseconds from exec to the first 200 */
async function measure(command, args) {
  const start = performance.now();
  const child = spawn(command, args, { stdio: 'ignore' });
  let answered = Number.NaN;
  while (Number.isNaN(answered) && performance.now() - start < GIVE_UP_MS) {
    void attempt().then((ok) => {
      if (ok && Number.isNaN(answered)) {
        answered = performance.now() - start;
      }
    });
    await new Promise((resolve) => setTimeout(resolve, ATTEMPT_INTERVAL_MS));
  }
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
  // Attempts under way must not reach the next guest.
  await new Promise((resolve) => setTimeout(resolve, 600));
  return answered;
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

async function compare() {
  const guest = ['-m', values.memory, '-nographic', '-no-reboot', '-kernel', positionals[0], '-append', values.append];
  if (values.initrd) {
    guest.push('-initrd', values.initrd);
  }
  guest.push('-netdev', 'tap,id=net0,ifname=tap0,script=no,downscript=no');
  guest.push('-device', `virtio-net-pci,netdev=net0,mac=${MAC}`);
  const tsvmm = fileURLToPath(new URL('../bin/tsvmm', import.meta.url));
  const hasQemu = spawnSync('qemu-system-x86_64', ['-version'], { stdio: 'ignore' }).status === 0;
  if (!hasQemu) {
    console.log('qemu-system-x86_64 is not installed: no comparison');
  }
  const ours = [];
  const theirs = [];
  for (let pair = 0; pair < Number(values.pairs); pair++) {
    ours.push(await measure(tsvmm, guest));
    if (hasQemu) {
      theirs.push(await measure('qemu-system-x86_64', ['-accel', 'tcg', ...guest]));
    }
  }
  const row = (name, list) =>
    console.log(`${name}: median ${median(list).toFixed(0)} ms (${list.map((ms) => ms.toFixed(0)).join(' ')})`);
  row('tsvmm', ours);
  if (hasQemu) {
    row('QEMU TCG', theirs);
    console.log(`ratio ${(median(ours) / median(theirs)).toFixed(2)}`);
  }
}

if (values.inside) {
  await compare();
} else {
  process.exit(enterNamespace());
}
