/** SYSCALL and SYSRET: their definitions, which generated code runs, against their helpers, on random state. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { setRflags } from '../../../cpu/helpers/flags.ts';
import {
  S_EFER,
  S_GPR,
  S_INTR_PENDING,
  S_LSTAR,
  S_MODE,
  S_RFLAGS,
  S_RIP,
  S_SEGMENTS,
  S_SFMASK,
  S_STAR,
  S_TLB_BASE,
} from '../../../cpu/state.ts';
import { updateMode } from '../../../cpu/system/mode-word.ts';
import { BareCpu, CODE, RCX } from './bare-cpu.ts';

const R11 = 11;
const SYSCALL = '0f 05';
const SYSRET = '48 0f 07';
const TARGET = CODE + 0x1000;
/** CR0.AM is on in BareCpu: with this, ring 3 has its operands checked. */
const AC = 1 << 18;

interface Input {
  star: number;
  mask: number;
  rflags: number;
  r11: number;
  enabled: boolean;
}

const input: fc.Arbitrary<Input> = fc.record({
  star: fc.integer(),
  mask: fc.integer(),
  // No TF: with it nothing but the helper comes into question.
  rflags: fc.integer().map((bits) => (bits & (0x8d5 | 0x3400 | AC)) | 2),
  r11: fc.integer().map((bits) => bits & ~0x200),
  enabled: fc.boolean(),
});

/** What the instruction leaves behind, by its helper if `alone`, which is what single steps take. */
function outcome(
  machine: BareCpu,
  code: string,
  cpl: number,
  { star, mask, rflags, r11, enabled }: Input,
  alone: boolean,
) {
  machine.long(cpl);
  const { cpu } = machine;
  const { i32 } = cpu;
  i32[S_EFER >> 2] |= enabled ? 1 : 0;
  i32[S_STAR >> 2] = 0;
  i32[(S_STAR + 4) >> 2] = star;
  i32[S_LSTAR >> 2] = TARGET;
  i32[(S_LSTAR + 4) >> 2] = 0;
  i32[S_SFMASK >> 2] = mask;
  i32[S_INTR_PENDING >> 2] = 0;
  for (let n = 0; n < 16; n++) if (n !== 4) machine.set(n, n * 0x11111111);
  machine.set(RCX, TARGET);
  machine.set(R11, r11);
  setRflags(cpu, rflags);
  updateMode(cpu);
  machine.put(TARGET, 'f4');
  machine.put(CODE, code);
  cpu.interruptShadow = alone;
  i32[S_RIP >> 2] = CODE;
  i32[(S_RIP + 4) >> 2] = 0;
  cpu.halted = false;
  cpu.shutdown = false;
  cpu.run(1);
  return {
    registers: [...i32.subarray(S_GPR >> 2, (S_GPR + 16 * 8) >> 2)],
    rip: i32[S_RIP >> 2],
    segments: [...i32.subarray(S_SEGMENTS >> 2, (S_SEGMENTS + 6 * 32) >> 2)],
    mode: i32[S_MODE >> 2],
    tlb: i32[S_TLB_BASE >> 2],
    aligning: cpu.mmu.aligning,
    rflags: cpu.rflags,
    system: i32[S_RFLAGS >> 2],
  };
}

test.each([
  ['SYSCALL from ring 3', SYSCALL, 3],
  ['SYSCALL from ring 0', SYSCALL, 0],
  ['SYSRET', SYSRET, 0],
  ['SYSRET in ring 3', SYSRET, 3],
])('%s', (_, code, cpl) => {
  const [one, other] = [new BareCpu(), new BareCpu()];
  fc.assert(
    fc.property(input, (values) => {
      const defined = outcome(one, code, cpl, values, false);
      const helped = outcome(other, code, cpl, values, true);
      expect(defined).toEqual(helped);
    }),
    { numRuns: 300 },
  );
});
