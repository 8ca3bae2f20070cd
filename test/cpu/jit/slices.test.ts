/** Loops and switches as they leave regions in the middle: slices of few instructions see what the interpreter shows. */
import { expect, test } from 'vitest';
import { STOP_BUDGET } from '../../../cpu/cpu.ts';
import { S_RIP } from '../../../cpu/state.ts';
import { testCore } from '../core.ts';
import { BareCpu, CODE, RAX, RBX, RCX } from '../system/bare-cpu.ts';
import { assemble } from './pinned/assemble.ts';

const N = 40;
const ARM = 80;
const [SWITCH] = assemble([
  `mov ecx, 100000; lea rsi, [rip+arms]
  again: mov eax, ecx; xor edx, edx; mov edi, ${N}; div edi; imul edx, edx, ${ARM}; lea rdi, [rsi+rdx]; jmp rdi
  ${Array.from({ length: N }, (_, i) => `.org 0x100 + ${i * ARM}, 0xf4; ${i === 0 ? 'arms:' : ''} ${Array(60).fill('nop').join(';')}; add rbx, ${i}; dec ecx; jnz again; hlt`).join('\n')}`,
]);
const [BACK] = assemble([
  `xor ebx, ebx; mov ebp, 400; mov esi, 0x40000
  0: mov edi, 1; mov ecx, 20; call w; mov cr2, r9; mov r10, cr2; imul rbx, rbx, 3; add rbx, r10; dec ebp; jnz 0b; hlt
  w: test edi, edi; jz 3f; jmp 2f
  1: xor edi, edi; call w; mov r9d, 1; ${Array.from({ length: 14 }, (_, i) => `mov [rsi+${i * 8}], r9`).join('; ')}; call w
  2: dec ecx; jnz 1b; ret
  3: ${Array(40).fill('lea rdx, [rdx+rax*2]').join('; ')}; lea r9, [rcx+7]; ret`,
]);
const [LATCH] = assemble([
  `xor ebx, ebx; xor r10, r10; mov ecx, 20000
  0: cmp ecx, 0; je 2f; test cl, 1; jz 1f; lea r8, [rcx*8]; shl r8, 59; add r10, r8
  1: lea ecx, [rcx-1]; jmp 0b; 2: hlt`,
]);
test('flags that a loop shows on its way back', () => {
  const flags = (hotThreshold: number, slice: number) => {
    const machine = new BareCpu({}, { core: testCore('wasm'), hotThreshold, batch: 1 }).long();
    machine.ram.set(LATCH, CODE);
    machine.cpu.i32[S_RIP >> 2] = CODE;
    const seen = new Map<string, number>();
    while (machine.cpu.run(slice) === STOP_BUDGET)
      seen.set(`${machine.cpu.i32[S_RIP >> 2]} ${machine.gpr(RCX)}`, machine.cpu.rflags);
    return seen;
  };
  const expected = new Map([5, 6, 7, 8, 9].flatMap((slice) => [...flags(0, slice)]));
  const seen = [...flags(8, 301)].filter(([place]) => expected.has(place));
  expect(seen.length).toBeGreaterThan(50);
  expect(seen).toEqual(seen.map(([place]) => [place, expected.get(place)]));
});
test.each([
  ['a switch of more arms than the region has', SWITCH],
  ['calls in a loop', BACK],
])('%s', (_, code) => {
  let slice = 5001;
  const run = (hotThreshold: number, patience?: number) => {
    const machine = new BareCpu(
      {},
      { core: testCore('wasm'), hotThreshold, batch: 1, ...(patience && { patience }) },
    ).long();
    machine.ram.set(code, CODE);
    machine.cpu.i32[S_RIP >> 2] = CODE;
    let stop = STOP_BUDGET;
    while (stop === STOP_BUDGET) stop = machine.cpu.run(slice);
    return { rip: machine.cpu.i32[S_RIP >> 2], registers: [RAX, RCX, RBX].map((n) => machine.cpu.gprLow(n)) };
  };
  const expected = run(0);

  for (slice of [5001, 101, 73]) for (const patience of [undefined, 3, 200]) expect(run(8, patience)).toEqual(expected);
});
