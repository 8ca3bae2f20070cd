/** Waiting in the event loop's place, by the built addon. Others use this event loop too, and may end any wait. */

import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { closeSync, existsSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import { describe, expect, it } from 'vitest';
import { loadAddon } from '../../native/addon.ts';

const ADDON = 'build/Release/tsvmm_net.node';
const why = existsSync(ADDON) ? '' : "the addon is not built ('node scripts/build-addon.mjs')";

const EBUSY = -constants.errno.EBUSY;
const EINVAL = -constants.errno.EINVAL;
const NONE = Int32Array.of();

describe.skipIf(why)(`idle${why && ` NOT RUN: ${why}`}`, () => {
  /** Idles once. */
  const idle = (step: () => number, fds = NONE): Promise<void> =>
    new Promise((resolve) => {
      expect(loadAddon().idle(fds, step, resolve)).toBe(0);
    });

  /** Idles, for ever if need be, until the event loop has served what `arrives` waits for. @returns ms */
  async function until(arrives: Promise<unknown>): Promise<number> {
    const start = performance.now();
    let done = false;
    void arrives.then(() => {
      done = true;
    });
    while (!done) await idle(() => (done ? 0 : Number.POSITIVE_INFINITY));
    return performance.now() - start;
  }

  it('waits for nanoseconds', async () => {
    const start = performance.now();
    const end = start + 16.5;
    let steps = 0;
    let busy = false;
    while (!busy)
      await idle(() => {
        steps++;
        const left = end - performance.now();
        busy = left <= 0;
        return Math.max(0, left * 1e6);
      });
    expect(performance.now()).toBeGreaterThanOrEqual(end);
    expect(performance.now()).toBeLessThan(end + 500);
    expect(steps).toBeLessThan(50);
  });

  it('goes on from step to step without the event loop', () => {
    // In a process of its own, where nothing else happens once the event loop has had its first turn.
    const program = `
      const module = { exports: {} };
      process.dlopen(module, '${ADDON}');
      let steps = 0;
      const idle = (step, done) => module.exports.idle(Int32Array.of(), step, done);
      idle(() => 0, () => idle(() => (++steps < 100 ? 1e5 : 0), () => console.log(steps)));`;
    expect(execFileSync(process.execPath, ['-e', program]).toString()).toBe('100\n');
  });

  it('ends for a datagram, a timer, an immediate and a signal', async () => {
    const receiver = createSocket('udp4');
    const sender = createSocket('udp4');
    await new Promise<void>((resolve) => receiver.bind(0, '127.0.0.1', resolve));
    await new Promise<void>((resolve) => sender.connect(receiver.address().port, '127.0.0.1', resolve));
    const message = new Promise((resolve) => receiver.once('message', resolve));
    sender.send('x');
    expect(await until(message)).toBeLessThan(2000);
    receiver.close();
    sender.close();
    expect(await until(new Promise((resolve) => setTimeout(resolve, 20)))).toBeLessThan(2000);
    expect(await until(new Promise((resolve) => setImmediate(resolve)))).toBeLessThan(2000);
    const signal = new Promise((resolve) => process.once('SIGUSR2', resolve));
    process.kill(process.pid, 'SIGUSR2');
    expect(await until(signal)).toBeLessThan(2000);
  });

  it('runs what a step leaves to process.nextTick, promises and immediates', async () => {
    const order: string[] = [];
    await idle(() => {
      process.nextTick(() => order.push('tick'));
      void Promise.resolve().then(() => order.push('promise'));
      setImmediate(() => order.push('immediate'));
      return Number.POSITIVE_INFINITY;
    });
    expect(order.slice(0, 2)).toEqual(['tick', 'promise']);
    expect(await until(new Promise((resolve) => setImmediate(resolve)))).toBeLessThan(2000);
    expect(order).toEqual(['tick', 'promise', 'immediate']);
  });

  it('wakes for a descriptor, unless it is negative', async () => {
    const readable = openSync('/dev/zero', 'r');
    const fds = Int32Array.of(-1, readable);
    const start = performance.now();
    let steps = 0;
    while (steps < 3) await idle(() => (++steps < 3 ? Number.POSITIVE_INFINITY : 0), fds);
    expect(performance.now() - start).toBeLessThan(2000);
    fds[1] = -1;
    const end = performance.now() + 20;
    while (performance.now() < end) {
      steps++;
      await idle(() => Math.max(0, end - performance.now()) * 1e6, fds);
    }
    expect(steps).toBeLessThan(50);
    closeSync(readable);
  });

  it('refuses a second one meanwhile, and wrong arguments', async () => {
    const { idle: native } = loadAddon();
    await idle(() => {
      expect(native(NONE, Date.now, () => {})).toBe(EBUSY);
      return 0;
    });
    expect(native(new Int32Array(31), Date.now, () => {})).toBe(EINVAL);
    expect(native(NONE, undefined as never, () => {})).toBe(EINVAL);
  });

  it('makes what a step throws an uncaught exception', () => {
    const program = `
      const module = { exports: {} };
      process.dlopen(module, '${ADDON}');
      process.on('uncaughtException', (error) => console.log('caught', error.message));
      module.exports.idle(Int32Array.of(), () => { throw new Error('mine'); }, () => console.log('done'));`;
    expect(execFileSync(process.execPath, ['-e', program]).toString()).toBe('caught mine\ndone\n');
  });
});
