/** The first answer of a guest that boots. */

import { connect, type Socket } from 'node:net';
import type { GuestProcess } from './guest-process.ts';
import { sleep } from './guest-process.ts';

const ATTEMPT_INTERVAL_MS = 4;

/** Asks once. @returns the socket; `onAnswer` is called when a 200 comes (HTTP), or any answer (Redis) */
function attempt(host: string, port: number, request: string, wanted: string, onAnswer: () => void): Socket {
  const socket = connect({ host, port });
  socket.on('connect', () => socket.write(request));
  socket.on('data', (data) => {
    if (data.toString('latin1').startsWith(wanted)) onAnswer();
    socket.destroy();
  });
  socket.on('error', () => {});
  return socket;
}

const PROTOCOLS = {
  http: { request: 'GET / HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n', wanted: 'HTTP/1.1 200' },
  redis: { request: 'PING\r\n', wanted: '+PONG' },
};

/**
 * Asks again and again, on new connections, until the guest answers: a packet that it was not there to take is lost, and
 * TCP would wait a second before it sends another.
 * @returns performance.now() of the first good answer
 * @throws Error when there is none in time, or the guest has ended
 */
export async function firstAnswer(
  guest: GuestProcess,
  protocol: keyof typeof PROTOCOLS,
  host: string,
  port: number,
  timeout = 30_000,
): Promise<number> {
  const { request, wanted } = PROTOCOLS[protocol];
  const sockets: Socket[] = [];
  let answered = Number.NaN;
  while (Number.isNaN(answered)) {
    if (performance.now() - guest.started > timeout) throw new Error(`no answer in ${timeout} ms: ${guest.lastWords}`);
    if (guest.child.exitCode !== null) throw new Error(`it ended with ${guest.child.exitCode}: ${guest.lastWords}`);
    sockets.push(
      attempt(host, port, request, wanted, () => {
        if (Number.isNaN(answered)) answered = performance.now();
      }),
    );
    await sleep(ATTEMPT_INTERVAL_MS);
  }
  for (const socket of sockets) socket.destroy();
  return answered;
}
