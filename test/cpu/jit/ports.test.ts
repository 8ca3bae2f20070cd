/** IN in translated code: what the guest reads is a 32-bit value, whichever way the code runs. */
import { expect, test } from 'vitest';
import { testCore } from '../core.ts';
import { BareCpu, RBX } from '../system/bare-cpu.ts';

test.each(['wasm', 'js'])('%s: a doubleword with its top bit set is negative', (form) => {
  const bare = new BareCpu({}, { core: testCore(form), hotThreshold: 1, batch: 1, warmUp: 0 }).long();
  bare.portValue = 0x92966982;
  // mov ecx, 20; loop: in eax, 0xb4; cmp eax, 1; setl dl; movzx edx, dl; add ebx, edx; dec ecx; jnz loop
  bare.run('31 db b9 14 00 00 00 e5 b4 83 f8 01 0f 9c c2 0f b6 d2 01 d3 ff c9 75 ef');
  expect(bare.gpr(RBX)).toBe(20);
  expect(bare.cpu.regions!.counters.regions).toBeGreaterThan(0);
});
