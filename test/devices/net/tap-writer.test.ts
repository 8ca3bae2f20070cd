/** Who writes to a TAP, and in which order, on a file in the TAP's place. */

import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SegmentList } from '../../../devices/net/backend.ts';
import { TapWriter } from '../../../devices/net/tap-writer.ts';
import { type Addon, loadAddon } from '../../../native/addon.ts';
import { RamGuestMemory } from '../../../vmm/guest-memory.ts';

const why = existsSync('build/Release/tsvmm_net.node') ? '' : ' NOT RUN: the addon is not built';
const folder = mkdtempSync(join(tmpdir(), 'tsvmm-tap-writer-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'written');

const RAM = 1 << 20;
const DATA = 1500;
const SMALL = 200;
const MERGED = 65_000;

describe.skipIf(why)(`TapWriter${why}`, () => {
  const memory = new RamGuestMemory(new SharedArrayBuffer(RAM), 0, RAM, () => {});
  const segments: SegmentList = { count: 2, address: new Float64Array(2), length: new Uint32Array(2) };
  let fd: number;
  let writer: TapWriter;
  /** Lengths of what was sent; each packet is so many bytes of its number. */
  let sent: number[];
  let closed: boolean;

  function open(addon: Addon = loadAddon()): void {
    writer = new TapWriter(addon, fd);
  }

  /** In two pieces that lie apart. */
  function send(length: number): void {
    const half = length >> 1;
    memory.bytes.fill(sent.length, 8, 8 + half);
    memory.bytes.fill(sent.length, RAM / 2, RAM / 2 + length - half);
    segments.address.set([8, RAM / 2]);
    segments.length.set([half, length - half]);
    writer.send(memory, segments);
    sent.push(length);
  }

  function close(): void {
    if (!closed) writer.close();
    closed = true;
  }

  function expectAllWritten(): void {
    const bytes = readFileSync(file);
    let at = 0;
    for (const [index, length] of sent.entries()) {
      expect(bytes.subarray(at, at + length).equals(Buffer.alloc(length, index))).toBe(true);
      at += length;
    }
    expect(bytes.length).toBe(at);
  }

  const counts = () => (writer.statistics.match(/\d+/g) ?? []).map(Number);

  beforeEach(() => {
    fd = openSync(file, 'w');
    sent = [];
    closed = false;
    open();
  });
  afterEach(() => {
    close();
    closeSync(fd);
  });

  it('writes at once what is small, and what the guest has merged', () => {
    for (let i = 0; i < 100; i++) send(i & 1 ? SMALL : MERGED);
    expectAllWritten();
    expect(counts()).toEqual([100, 0, 0]);
  });

  it('writes at once what comes now and then', async () => {
    for (let i = 0; i < 20; i++) {
      send(DATA);
      await sleep(2);
    }
    expectAllWritten();
    expect(counts()[0]).toBe(20);
  });

  it('leaves a flood to the thread, in order with all else, and loses nothing where that is slower', () => {
    for (let i = 0; i < 20_000; i++) send(i % 7 === 0 ? SMALL : DATA + (i & 15));
    close();
    expectAllWritten();
    const [direct, byThread, writes] = counts();
    expect(direct + byThread).toBe(20_000);
    expect(byThread).toBeGreaterThan(10_000);
    // None of that is TCP.
    expect(writes).toBe(byThread);
  });

  it('leaves nothing to the thread for a while when the guest merges packets itself', async () => {
    for (let i = 0; i < 100; i++) send(DATA);
    for (let i = 0; i < 100; i++) send(i & 7 ? DATA : MERGED);
    writer.flush();
    await sleep(5);
    const [, before] = counts();
    for (let i = 0; i < 100; i++) send(DATA);
    expect(counts()[1]).toBe(before);
    await sleep(200);
    for (let i = 0; i < 100; i++) send(DATA);
    close();
    expectAllWritten();
    expect(counts()[1]).toBeGreaterThan(before);
  });

  it('has written all when it is flushed and when time has passed', async () => {
    for (let i = 0; i < 10; i++) {
      for (let j = 0; j < 20; j++) send(DATA);
      if (i & 1) await sleep(20);
      else writer.flush();
      // Whoever was at it is done by now.
      await sleep(5);
      expectAllWritten();
    }
  });

  it('does without a thread where there is none to be had', () => {
    let asked = 0;
    open({ ...loadAddon(), tapWriterStart: () => -11 * ++asked });
    for (let i = 0; i < 1000; i++) send(DATA);
    expectAllWritten();
    expect([asked, counts()]).toEqual([1, [1000, 0, 0]]);
  });

  it('goes on when the interface takes nothing', () => {
    close();
    const closedFd = openSync('/dev/null', 'r');
    writer = new TapWriter(loadAddon(), closedFd);
    closed = false;
    for (let i = 0; i < 5000; i++) send(DATA);
    close();
    closeSync(closedFd);
    const [direct, byThread] = counts();
    expect(direct + byThread).toBe(5000);
  });

  it('loses what is longer than the ring', () => {
    for (let i = 0; i < 50; i++) send(DATA);
    segments.address.set([0, 0]);
    segments.length.set([RAM - 1, RAM - 1]);
    writer.send(memory, segments);
    send(DATA);
    close();
    const lost = readFileSync(file).length - sent.reduce((sum, length) => sum + length, 0);
    // Unless the ring was empty just then, and the kernel had to say.
    expect([0, 2 * (RAM - 1)]).toContain(lost);
  });

  it('has nothing to write afterwards', () => {
    for (let i = 0; i < 50; i++) send(DATA);
    close();
    writer.flush();
    for (let i = 0; i < 50; i++) send(DATA);
    expectAllWritten();
  });
});
