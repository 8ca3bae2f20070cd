import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { writeText } from '../../../vmm/console/character.ts';
import { FdOutput } from '../../../vmm/console/output.ts';

const failure = (code: string) => Object.assign(new Error(code), { code });

/** A pipe of which a test says how much it takes next; -1 stands for EAGAIN, Infinity for all. */
class Pipe {
  readonly taken: number[] = [];
  limits: number[] = [];
  calls = 0;

  readonly write = (_fd: number, bytes: Uint8Array, offset: number, length: number): number => {
    this.calls++;
    const limit = this.limits.shift() ?? Number.POSITIVE_INFINITY;
    if (limit < 0) throw failure('EAGAIN');
    const count = Math.min(limit, length);
    this.taken.push(...bytes.subarray(offset, offset + count));
    return count;
  };

  get text(): string {
    return Buffer.from(this.taken).toString();
  }
}

describe('FdOutput', () => {
  test('gathers until it is flushed', () => {
    const pipe = new Pipe();
    const output = new FdOutput(1, pipe.write);
    writeText(output, 'hello\n');
    expect(pipe.calls).toBe(0);
    output.flush();
    output.flush();
    expect([pipe.text, pipe.calls]).toEqual(['hello\n', 1]);
  });

  test('a full pipe loses nothing, and is tried again without a flush', async () => {
    const pipe = new Pipe();
    pipe.limits = [2, -1, -1];
    const output = new FdOutput(1, pipe.write);
    writeText(output, 'hello');
    output.flush();
    expect(pipe.text).toBe('he');
    await expect.poll(() => pipe.text).toBe('hello');
  });

  test('tells congestion, and its end', () => {
    const pipe = new Pipe();
    pipe.limits = Array(100).fill(-1);
    const output = new FdOutput(1, pipe.write);
    const text = 'x'.repeat(70_000);
    writeText(output, text);
    expect(output.congested).toBe(true);
    pipe.limits = [];
    output.flush();
    expect(output.congested).toBe(false);
    expect(pipe.text).toBe(text);
  });

  test('whatever is written arrives in order, however the pipe takes it', () => {
    const step = fc.oneof(fc.string({ maxLength: 3000 }), fc.constant(undefined));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.array(fc.integer({ min: -1, max: 5000 })), (steps, limits) => {
        const pipe = new Pipe();
        pipe.limits = [...limits];
        const output = new FdOutput(1, pipe.write);
        for (const text of steps) {
          if (text === undefined) output.flush();
          else writeText(output, text);
        }
        pipe.limits = [];
        output.drain(1000);
        expect(pipe.text).toBe(steps.join(''));
      }),
    );
  });

  test.each(['EPIPE', 'EBADF', 'ENOSPC'])('%s swallows the rest', (code) => {
    const output = new FdOutput(1, () => {
      throw failure(code);
    });
    writeText(output, 'x'.repeat(100_000));
    output.flush();
    expect(output.congested).toBe(false);
    output.drain(10_000);
  });

  test('draining gives up when nobody reads for so long', () => {
    const output = new FdOutput(1, () => {
      throw failure('EAGAIN');
    });
    writeText(output, 'x');
    const start = performance.now();
    output.drain(30);
    expect(performance.now() - start).toBeGreaterThanOrEqual(30);
  });
});
