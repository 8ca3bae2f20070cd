/** When what has become hot is translated: with others in one module, but at once if it runs on and on. */
import { expect, test } from 'vitest';
import { STOP_BUDGET } from '../../../cpu/cpu.ts';
import { S_MODE, S_RIP } from '../../../cpu/state.ts';
import { testCore } from '../core.ts';
import { BareCpu, CODE } from '../system/bare-cpu.ts';

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
