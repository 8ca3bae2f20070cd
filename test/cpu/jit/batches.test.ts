/** When what has become hot is translated: with others in one module, but at once if it runs on and on. */
import { expect, test } from 'vitest';
import { STOP_BUDGET } from '../../../cpu/cpu.ts';
import { S_MODE, S_RIP } from '../../../cpu/state.ts';
import { testCore } from '../core.ts';
import { BareCpu, CODE, call, le32, PML4 } from '../system/bare-cpu.ts';

const LOOP = 0x50004;
const RET = 0x50003;
const CR4_FSGSBASE = 1 << 16;

/** mov ebx, turns; body; dec ebx; jnz body */
function turns(count: number, body: string): string {
  const length = body.split(' ').length;
  return `bb ${le32(count)} ${body} ff cb 75 ${(256 - length - 4).toString(16)}`;
}

/** Runs code to its HLT, by slices. */
function run(bare: BareCpu, code: string): void {
  bare.put(CODE, `${code} f4`);
  bare.cpu.halted = false;
  bare.cpu.i32[S_RIP >> 2] = CODE;
  while (bare.cpu.run(100_000) === STOP_BUDGET);
}

test('a loop that waits for its batch does not run for long as it is', () => {
  const bare = new BareCpu({}, { core: testCore('wasm'), hotThreshold: 50, warmUp: 0 }).long();
  // again: inc eax; jmp again
  bare.put(CODE, 'ff c0 eb fc');
  bare.cpu.i32[S_RIP >> 2] = CODE;
  expect(bare.cpu.run(1_000_000)).toBe(STOP_BUDGET);
  expect(bare.cpu.regions!.counters.regions).toBe(1);
  const executions = bare.cpu.blocks.executions(CODE, 0, bare.cpu.i32[S_MODE >> 2]);
  expect(executions).toBeGreaterThan(50);
  expect(executions).toBeLessThan(3000);
});

test('code that the guest rewrites all the time waits for its batch', () => {
  const bare = new BareCpu({}, { core: testCore('wasm'), hotThreshold: 50, warmUp: 0 }).long();
  // add eax, …; dec ecx; jnz -9; ret
  bare.put(LOOP, '05 01 00 00 00 ff c9 75 f7 c3');
  // mov [LOOP + 1], ebx; mov ecx, 1200
  run(bare, turns(300, `89 1c 25 ${le32(LOOP + 1)} b9 ${le32(1200)} ${call(LOOP)}`));
  expect(bare.cpu.regions!.counters.regions).toBeGreaterThan(0);
  expect(bare.cpu.regions!.counters.regions).toBeLessThan(100);
});

test.each([0, CR4_FSGSBASE])('neighbours that become hot together, CR4 %i', (cr4) => {
  const bare = new BareCpu({}, { core: testCore('wasm'), hotThreshold: 400, batch: 2, warmUp: 0 }).long();
  // ret | dec ecx; jnz -4; ret
  bare.put(RET, 'c3 ff c9 75 fc c3');
  // mov rax, cr4; and eax, ~FSGSBASE; or eax, …; mov cr4, rax
  run(bare, `0f 20 e0 25 ${le32(~CR4_FSGSBASE)} 0d ${le32(cr4)} 0f 22 e0`);
  run(bare, turns(900, `b9 01 00 00 00 ${call(LOOP)} ${call(RET)}`));
  const executions = () => bare.cpu.blocks.executions(LOOP, 0, bare.cpu.i32[S_MODE >> 2]);
  const before = executions();
  run(bare, `b9 ${le32(200_000)} ${call(LOOP)}`);
  expect(executions() - before).toBeLessThan(100);
});

test('one address, other code in each of two address spaces: either becomes hot by itself', () => {
  const bare = new BareCpu({}, { core: testCore('wasm'), hotThreshold: 400, batch: 2, warmUp: 0 }).long();
  const { view } = bare;
  const [root, pdpt, pd, pt] = [0x14000, 0x15000, 0x16000, 0x17000];
  view.setBigUint64(root, BigInt(pdpt | 7), true);
  view.setBigUint64(pdpt, BigInt(pd | 7), true);
  view.setBigUint64(pd, BigInt(pt | 7), true);
  for (let n = 0; n < 512; n++) view.setBigUint64(pt + n * 8, BigInt(n << 12) | 7n, true);
  view.setBigUint64(pt + (LOOP >> 12) * 8, BigInt(0x51000 | 7), true);
  // What no region has: a32 sgdt [edi]; ret
  bare.put(LOOP, '67 0f 01 07 c3');
  bare.put(LOOP + 0x1000, 'ff c9 75 fc c3');
  bare.set(7, 0x110000);
  const space = (at: number) => `b8 ${le32(at)} 0f 22 d8`;
  run(bare, `${space(PML4)} ${turns(300, call(LOOP))}`);
  run(bare, `${space(root)} b9 01 00 00 00 ${call(LOOP)}`);
  run(bare, `${space(PML4)} ${turns(2000, call(LOOP))}`);
  run(bare, `${space(root)} b9 ${le32(200_000)} ${call(LOOP)}`);
  expect(bare.cpu.blocks.executions(LOOP, 0, bare.cpu.i32[S_MODE >> 2])).toBeLessThan(10_000);
});
