/**
 * Throughput of the built-in user network, with this machine's kernel as the guest (see LinuxGuest for what it needs):
 *
 *   node scripts/run.mjs bench/user-net.ts [megabytes]
 *
 * Half of the time goes into the TAP interface, which a real guest does not have; so these are lower bounds.
 */

import { spawn } from 'node:child_process';
import { TUN_F_CSUM, TUN_F_TSO4 } from '../devices/net/backend.ts';
import { parseUserOptions } from '../devices/net/user/options.ts';
import { UserBackend } from '../devices/net/user.ts';
import { LinuxGuest } from '../test/devices/net/user/linux-guest.ts';

const GUEST_PORT = '80';
const HOST_PORT = '18081';

/** Prints its readiness, then MB/s. */
const SINK = `let n = 0, start;
  require('net').createServer((socket) => {
    socket.on('data', (chunk) => { start ??= performance.now(); n += chunk.length; });
    socket.on('end', () => { console.log('rate ' + n / 1e3 / (performance.now() - start)); process.exit(); });
  }).listen(+process.argv[1], () => console.log('ready'));`;
const SOURCE = `const block = Buffer.alloc(1 << 18, 65);
  const [, host, port, bytes] = process.argv;
  const socket = require('net').connect(+port, host);
  let left = +bytes;
  const more = () => { while (left > 0) { left -= block.length; if (!socket.write(block)) return; } socket.end(); };
  socket.on('connect', more).on('drain', more).on('error', () => {}).resume();`;

async function measure(into: boolean, offloads: number, bytes: string): Promise<void> {
  const backend = await UserBackend.open(parseUserOptions([['hostfwd', `tcp:127.0.0.1:0-:${GUEST_PORT}`]]));
  const guest = new LinuxGuest(backend, offloads);
  const running = guest.run();
  const onHost = (...args: string[]) =>
    spawn(process.execPath, ['-e', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const inGuest = (...args: string[]) => guest.spawn(process.execPath, '-e', ...args);
  const before = process.cpuUsage();
  const rate = await new Promise<number>((resolve) => {
    const sink = into ? inGuest(SINK, GUEST_PORT) : onHost(SINK, HOST_PORT);
    sink.stdout?.on('data', (chunk) => {
      for (const line of String(chunk).split('\n')) {
        if (line.startsWith('rate')) resolve(Number(line.slice(4)));
        else if (line === 'ready' && into) onHost(SOURCE, '127.0.0.1', String(backend.forwards[0].hostPort), bytes);
        else if (line === 'ready') inGuest(SOURCE, '10.0.2.2', HOST_PORT, bytes);
      }
    });
  });
  const { user, system } = process.cpuUsage(before);
  const seconds = ((user + system) / 1e6).toFixed(2);
  const what = `${into ? 'host to guest' : 'guest to host'}, ${offloads ? 'TSO and CSUM' : 'no offloads'}`;
  console.log(`${what}: ${rate.toFixed(0)} MB/s, ${guest.packets} packets, ${seconds} s of CPU`);
  guest.close();
  await running;
}

const bytes = String((Number(process.argv[2]) || 256) << 20);
for (const into of [true, false]) {
  for (const offloads of [0, TUN_F_CSUM | TUN_F_TSO4]) await measure(into, offloads, bytes);
}
process.exit();
