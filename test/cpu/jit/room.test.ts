/** Records with which regions have helpers execute instructions stay in the arena of operations. */
import { expect, test } from 'vitest';
import { S_MODE, S_OPS_END, S_OPS_NEXT } from '../../../cpu/state.ts';
import { testCore } from '../core.ts';
import { BareCpu, CODE } from '../system/bare-cpu.ts';

test('a region is made only where there is room for its records', () => {
  const { cpu, ram } = new BareCpu({}, { core: testCore('wasm'), hotThreshold: 1 }).long();
  const regions = cpu.regions!;
  // RDTSC, which has no definition, a hundred times, and RET.
  for (let i = 0; i < 100; i++) ram.set([0x0f, 0x31], CODE + i * 2);
  ram[CODE + 200] = 0xc3;
  const make = () => {
    regions.request(CODE, 0, cpu.i32[S_MODE >> 2]);
    regions.compile();
    return regions.counters.regions;
  };
  cpu.i32[S_OPS_NEXT >> 2] = S_OPS_END - 400;
  expect(make()).toBe(0);
  expect(cpu.i32[S_OPS_NEXT >> 2]).toBeLessThan(S_OPS_END - 400);
  expect(make()).toBe(1);
});
