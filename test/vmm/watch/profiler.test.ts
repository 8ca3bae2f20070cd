/** What `-profile` finds out about programs whose share of time is known. */

import { describe, expect, test } from 'vitest';
import { CODE, RCX } from '../../cpu/system/bare-cpu.ts';
import { checkSpeedscope, shareOf } from './speedscope-schema.ts';
import { watchedCpu } from './watched-cpu.ts';

const FUNCTIONS = 'guest: functions';

describe.each([
  ['interpreter', { hotThreshold: 0 }],
  ['region', { hotThreshold: 10, batch: 1 }],
])('%s', (tier, options) => {
  test('functions by their share of the time, also where there is no loop', () => {
    const { bare, profile } = watchedCpu({
      options,
      symbols: [
        { name: 'main', start: BigInt(CODE), size: 0x20n },
        { name: 'straight', start: BigInt(CODE + 0x20), size: 0xe0n },
      ],
    });
    // main: 1: call straight; dec %ecx; jnz 1b; hlt. straight: 80 times inc %eax; ret
    bare.put(CODE, 'e8 1b 00 00 00 ff c9 75 f7');
    bare.put(CODE + 0x20, `${'ff c0 '.repeat(80)} c3`);
    bare.set(RCX, 400_000);
    bare.go(CODE, 1_000_000_000);
    expect(bare.gpr(0)).toBe(80 * 400_000);
    const file = checkSpeedscope(profile());
    const { share, total } = shareOf(file, FUNCTIONS, /^straight$/);
    // 81 of 84 instructions.
    expect(total).toBeGreaterThan(5);
    expect(share).toBeGreaterThan(0.75);
    expect(shareOf(file, FUNCTIONS, /^(main|straight)$/).share).toBeCloseTo(1, 6);
    const tiers = file.profiles.find(({ name }) => name === 'guest: functions by tier')!;
    const ofTier = tiers.weights.filter((_, i) => file.shared.frames[tiers.samples[i][0]].name === tier);
    expect(ofTier.reduce((sum, weight) => sum + weight, 0) / tiers.endValue).toBeGreaterThan(0.6);
  });
});

test('a program does the same as without, in as many instructions', () => {
  const outcomes = [undefined, ['in_asm']].map((items) => {
    const { bare } = watchedCpu({ ...(items && { items }), options: { hotThreshold: 10, batch: 1 } });
    bare.set(RCX, 300_000);
    // 1: push %rcx; add %rcx, %rax; ror $3, %rax; pop %rdx; dec %ecx; jnz 1b
    bare.run('51 48 01 c8 48 c1 c8 03 5a ff c9 75 f3', 1_000_000_000);
    return { rax: bare.gpr64(0), rip: bare.cpu.i32[0x190 >> 2], instructions: bare.cpu.instructions };
  });
  expect(outcomes[0]).toEqual(outcomes[1]);
});

test('callers by frame pointers, and none where RBP is something else', () => {
  const { bare, profile } = watchedCpu({
    symbols: [
      { name: 'main', start: BigInt(CODE), size: 0x40n },
      { name: 'middle', start: BigInt(CODE + 0x40), size: 0x40n },
      { name: 'leaf', start: BigInt(CODE + 0x80), size: 0x40n },
    ],
  });
  // main: push $0; mov %rsp, %rbp; call middle; mov $0x123456789, %rbp; call leaf; hlt
  bare.put(CODE, '6a 00 48 89 e5 e8 36 00 00 00 48 bd 89 67 45 23 01 00 00 00 e8 67 00 00 00');
  // middle: push %rbp; mov %rsp, %rbp; call leaf; pop %rbp; ret
  bare.put(CODE + 0x40, '55 48 89 e5 e8 37 00 00 00 5d c3');
  // leaf: mov $2000000, %ecx; 1: dec %ecx; jnz 1b; ret
  bare.put(CODE + 0x80, 'b9 80 84 1e 00 ff c9 75 fc c3');
  bare.go(CODE, 1_000_000_000);
  const file = checkSpeedscope(profile());
  const { samples } = file.profiles.find(({ name }) => name === FUNCTIONS)!;
  const stacks = new Set(samples.map((stack) => stack.map((i) => file.shared.frames[i].name).join(' > ')));
  // leaf has no frame of its own, so its caller's caller follows it.
  expect(stacks).toContain('main > leaf');
  expect(stacks).toContain('leaf');
  expect([...stacks].filter((stack) => !/^(main > )?(leaf|middle|main)$/.test(stack))).toEqual([]);
});

test('exits and helpers with counts, devices by where they are', () => {
  const { bare, ports, profile } = watchedCpu({ options: { hotThreshold: 0 } });
  class TestDevice {
    writes = 0;
    read() {
      return 0x5a;
    }
    write() {
      this.writes++;
    }
  }
  const device = new TestDevice();
  ports.add(0x80, 4, device);
  // 10 times: out %al, $0x80; in $0x81, %al; cpuid
  bare.set(3, 0);
  bare.run(`be 0a 00 00 00 e6 80 e4 81 0f a2 ff ce 75 f6`);
  expect(device.writes).toBe(10);
  const file = checkSpeedscope(profile());
  const counts = file.profiles.find(({ name }) => name === 'monitor: exits and devices, how often')!;
  const count = (...path: string[]) => {
    const index = counts.samples.findIndex(
      (stack) => stack.map((i) => file.shared.frames[i].name).join(' > ') === path.join(' > '),
    );
    return counts.weights[index];
  };
  expect(count('guest code', 'port write', 'TestDevice at port 0x80')).toBe(10);
  expect(count('guest code', 'port read', 'TestDevice at port 0x80')).toBe(10);
  expect(count('guest code', 'helper: CPUID')).toBe(10);
  expect(count('exit: halt')).toBe(1);
  ports.remove(0x80, device);
  expect(ports.read(0x81, 1)).toBe(0xff);
});
