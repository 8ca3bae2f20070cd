/** Regions that outlive their machine: another one runs the same code with them, and only the same. */
import { describe, expect, test } from 'vitest';
import { STOP_BUDGET } from '../../../cpu/cpu.ts';
import { decodeParts, encodeParts } from '../../../cpu/jit/stored-format.ts';
import type { StoredPart } from '../../../cpu/jit/stored-regions.ts';
import { S_RIP } from '../../../cpu/state.ts';
import { testCore } from '../core.ts';
import { BareCpu, CODE, PD, PDPT, RAX, RBX, RCX } from '../system/bare-cpu.ts';
import { assemble } from './pinned/assemble.ts';

const BUDGET = 100_000_000;
const LONG = Array(16).fill('lea rdx, [rdx+rax*2]; xor rdx, rcx').join('; ');
const PROGRAMS: Record<string, string> = {
  'calls by pointers, and a function that is called': `
    mov ecx, 9000; again: mov edi, ecx; and edi, 15; imul edi, edi, 128; lea rsi, [rip+table]; add rdi, rsi
    call rdi; add rbx, rax; call far; dec ecx; jnz again; hlt
    far: ${LONG}; add rbx, rdx; ret
    .balign 128; table: ${Array.from({ length: 16 }, (_, i) => `.balign 128; mov eax, ${i * i}; ${LONG}; ret`).join('; ')}`,
  'instructions that helpers execute': `
    fninit; mov ecx, 3000; again: fld1; fldpi; faddp; fistp qword ptr [rsp-16]; add rbx, [rsp-16]; fnstsw ax
    add rbx, rax; dec ecx; jnz again; hlt`,
  'one at the end of a page': `
    fninit; mov ecx, 3000; again: add rbx, rax; jmp there; back: dec ecx; jnz again; hlt
    .org 0xff8; there: fnstsw ax; jmp back`,
  'a switch and memory': `
    mov ecx, 20000; lea r8, [rip+0x4000]; again: mov eax, ecx; and eax, 7; lea rdi, [rip+arms]; imul edx, eax, 32
    add rdi, rdx; mov [r8+rax*8], rcx; mov [r8+64], rax; jmp rdi
    .balign 32; arms: ${Array.from({ length: 8 }, (_, i) => `.balign 32; add rbx, ${i * 3}; add rbx, [r8+${i * 8}]; dec ecx; jnz again; hlt`).join('; ')}`,
};
const names = Object.keys(PROGRAMS);
const codes = new Map(names.map((name) => [name, assemble([PROGRAMS[name]])[0]]));

function make(
  form: string,
  code: Uint8Array,
  parts?: readonly StoredPart[],
  cpl = 0,
  hotThreshold = 8,
  patience = 3,
): BareCpu {
  const machine = new BareCpu({}, { core: testCore(form), hotThreshold, batch: 1, patience }).long(cpl);
  machine.ram.set(code, CODE);
  if (parts !== undefined) machine.cpu.regions!.useStored(parts);
  return machine;
}

function run(machine: BareCpu): unknown {
  const { vector } = machine.go(CODE, BUDGET);
  return {
    vector,
    registers: [RAX, RCX, RBX].map((n) => [machine.cpu.gprLow(n), machine.cpu.gprHigh(n)]),
    instructions: machine.cpu.instructions,
  };
}

/** What a machine leaves, as the next one reads it. */
const stored = ({ cpu }: BareCpu, ran = 1) => {
  const parts = cpu.regions!.toStore(ran);
  return parts && decodeParts(encodeParts(parts, 7), 7)!;
};

describe.each([
  ['wasm', 0],
  ['wasm', 3],
  ['js', 0],
] as const)('%s, privilege level %i', (form, cpl) => {
  // HLT is for ring 0 only: there the program ends by an exception.
  test.each(names)('%s', (name) => {
    const code = codes.get(name)!;
    const expected = run(make(form, code, undefined, cpl, 0));
    const first = make(form, code, [], cpl);
    expect(run(first)).toEqual(expected);
    const parts = stored(first)!;
    expect(parts.length).toBe(1);
    const second = make(form, code, parts, cpl);
    expect(run(second)).toEqual(expected);
    const { regions, restored } = second.cpu.regions!.counters;
    expect(restored).toBeGreaterThan(0);
    expect(restored).toBeLessThanOrEqual(parts[0].regions.length);
    // Little is left to be translated.
    expect(regions - restored).toBeLessThan(restored);
    // Once more on the same machine, after a reset.
    second.long(cpl);
    second.ram.set(code, CODE);
    expect((run(second) as { registers: unknown }).registers).toEqual((expected as { registers: unknown }).registers);
    expect(second.cpu.regions!.counters.restored).toBeGreaterThan(restored);
  });
});

test('a region is for the code that it was made of', () => {
  const [code, other] = [9000, 9001].map((n) => assemble([PROGRAMS[names[0]].replace('9000', `${n}`)])[0]);
  const first = make('wasm', code, []);
  run(first);
  const parts = stored(first)!;
  const count = parts[0].regions.length;
  const changed = Uint8Array.from(other);
  const at = changed.lastIndexOf(0xc3) - 8 * 128 - 20;
  changed[at] ^= 0x08;
  for (const program of [other, changed]) {
    const machine = make('wasm', program, parts);
    const expected = run(make('wasm', program, undefined, 0, 0));
    expect(run(machine)).toEqual(expected);
    // The loop's count is outside of all regions.
    expect(machine.cpu.regions!.counters.restored).toBe(program === changed ? count - 1 : count);
  }
});

/** Runs in slices, as regions grow in which slices end. */
function runInSlices(machine: BareCpu, from = CODE): void {
  machine.cpu.halted = false;
  machine.cpu.i32[S_RIP >> 2] = from;
  while (machine.cpu.run(1001) === STOP_BUDGET);
}

const largest = (parts: readonly StoredPart[]) =>
  Math.max(...parts.flatMap(({ regions }) => regions.map(({ instructions }) => instructions)));

describe('what is made anew on a later machine', () => {
  const code = codes.get('a switch and memory')!;
  const first = make('wasm', code, [], 0, 100, 1e9);
  run(first);
  const parts = stored(first)!;

  test('knows what was warm, and where jumps went, on the one before', () => {
    expect(parts[0].regions.every(({ generation }) => generation === 0)).toBe(true);
    const targets = parts[0].regions.flatMap(({ jumps }) => Array.from(jumps).filter((_, i) => i % 2 === 1));
    expect(new Set(targets).size).toBe(8);
    // It runs longer than the one before, which left it little time to grow.
    const second = make('wasm', code, [{ ...parts[0], ran: 0.01 }], 0, 100, 3);
    runInSlices(second);
    expect([RAX, RBX, RCX].map((n) => second.gpr(n))).toEqual([RAX, RBX, RCX].map((n) => first.gpr(n)));
    // The loop and all arms of the switch: they ran in regions only.
    expect(largest(stored(second)!)).toBeGreaterThan(largest(parts) * 2);
  });

  test('does not grow before that one has run as long', () => {
    const second = make('wasm', code, [{ ...parts[0], ran: 1000 }], 0, 100, 3);
    runInSlices(second);
    expect(second.cpu.regions!.counters.regions).toBe(parts[0].regions.length);
  });
});

test('parts become one, in which is what this machine had no use for', () => {
  const application = codes.get(names[0])!;
  const loader = CODE + 0x8000;
  let parts: readonly StoredPart[] = [];
  const start = (nops: number, isWhole: boolean) => {
    const machine = make('wasm', isWhole ? application : new Uint8Array(), parts, 0, 50, 1e9);
    const [first] = assemble([
      `mov ecx, 400; 1: dec ecx; ${Array(nops).fill('nop').join(';')}; jnz 1b; mov eax, ${CODE}; ${isWhole ? 'jmp rax' : 'hlt'}`,
    ]);
    machine.ram.set(first, loader);
    runInSlices(machine, loader);
    parts = stored(machine) ?? parts;
    return machine.cpu.regions!.counters;
  };
  const { regions } = start(1, true);
  for (let i = 2; i < 5; i++) start(i, true);
  expect(parts.length).toBe(4);
  // One that ends before the application is there.
  start(5, false);
  expect(parts.length).toBeLessThan(4);
  expect(start(5, true).restored).toBeGreaterThan(regions - 2);
});

test('with nothing new, and nothing optimised, there is nothing to store', () => {
  const code = codes.get('a switch and memory')!;
  const first = make('js', code, []);
  run(first);
  const parts = stored(first)!;
  const second = make('js', code, parts);
  run(second);
  run(second);
  expect(second.cpu.regions!.toStore(1)).toBeUndefined();
});

test('machine code is taken when V8 has optimised, and used', async () => {
  const code = codes.get('a switch and memory')!;
  const first = make('wasm', code, []);
  run(first);
  const parts = stored(first)!;
  expect(parts[0].machineCode).toBeUndefined();
  const second = make('wasm', code, parts);
  let taken: StoredPart[] | undefined;
  for (let i = 0; i < 200 && taken === undefined; i++) {
    run(second);
    // V8 compiles on another thread.
    await new Promise((resolve) => setTimeout(resolve, 10));
    taken = stored(second, 5);
  }
  expect(taken![0].machineCode).toMatchObject({ ran: 5 });
  const third = make('wasm', code, taken);
  expect(run(third)).toEqual(run(make('wasm', code, undefined, 0, 0)));
  // It was used: there is no better until twice as much has run.
  expect(stored(third, 9)).toBeUndefined();
  expect(stored(third, 10)![0].machineCode!.ran).toBe(10);
  // After a reset the machine has it as a new one would.
  third.cpu.blocks.flush();
  third.long();
  third.ram.set(code, CODE);
  run(third);
  expect(stored(third, 9)).toBeUndefined();
  // Another module's is not used, nor that of another program.
  const { machineCode, regions, ran } = taken![0];
  const module = machineCode!.module.slice();
  module[module.length - 1] ^= 1;
  for (const other of [{ module }, { host: 'v1' }]) {
    const fourth = make('wasm', code, [{ regions, ran, machineCode: { ...machineCode!, ...other } }]);
    expect(run(fourth)).toEqual(run(make('wasm', code, undefined, 0, 0)));
    expect(fourth.cpu.regions!.counters.restored).toBe(regions.length);
    expect(stored(fourth, 9)).toBeDefined();
  }
});

const FUNCTIONS = Array.from({ length: 16 }, () => `.balign 128; ${LONG}; lea rax, [rip+table]; ret`).join('; ');
const [TWICE] = assemble([
  `mov r9, 0; lea r8, [rip+there]; there: mov ecx, 9000
  again: mov edi, ecx; and edi, 15; imul edi, edi, 128; lea rsi, [rip+table]; add rdi, rsi
  call rdi; add rbx, rax; dec ecx; jnz again; test r9, r9; jnz end
  mov r9, 0x100000000; lea rax, [rip+there]; add rax, r9; jmp rax; end: hlt
  .balign 128; table: ${FUNCTIONS}`,
]);

/** The first 8 MiB are at 4 GiB, too. */
function makeTwice(parts?: readonly StoredPart[], hotThreshold = 8): BareCpu {
  const machine = make('wasm', TWICE, parts, 0, hotThreshold);
  machine.view.setBigUint64(PDPT + 4 * 8, BigInt(PD) | 7n, true);
  return machine;
}

test('links keep to the upper half of their address', () => {
  const expected = run(makeTwice(undefined, 0));
  const first = makeTwice([]);
  expect(run(first)).toEqual(expected);
  const [{ regions }] = stored(first)!;
  expect(new Set(regions.map(({ ripHigh }) => ripHigh))).toEqual(new Set([0, 1]));
  for (const order of [regions, [...regions].reverse()]) {
    const machine = makeTwice([{ regions: order, ran: 1, machineCode: undefined }]);
    expect(run(machine)).toEqual(expected);
    expect(machine.cpu.regions!.counters.restored).toBe(regions.length);
  }
});

test('a part that has regions twice', () => {
  const expected = run(makeTwice(undefined, 0));
  const first = makeTwice([]);
  run(first);
  const [{ regions }] = stored(first)!;
  const machine = makeTwice([{ regions: [...regions, ...regions], ran: 1, machineCode: undefined }]);
  expect(run(machine)).toEqual(expected);
  // What is linked lives.
  machine.cpu.regions!.forgetMappings();
  machine.go(CODE, BUDGET);
  expect(machine.cpu.regions!.toStore(1)?.[0].regions.length ?? regions.length).toBeLessThanOrEqual(regions.length * 2);
});

test('code that comes into memory later is found when it is there', () => {
  const at = CODE + 0x10000;
  const [program, loader] = assemble([
    PROGRAMS[names[0]],
    // As boot loaders do: byte by byte, then there.
    `mov ecx, 4096; mov esi, 0x100000; mov edi, ${at}; l: mov al, [rsi]; mov [rdi], al; inc esi; inc edi; dec ecx
    jnz l; xor ebx, ebx; mov eax, ${at}; jmp rax`,
  ]);
  const start = (parts: readonly StoredPart[]) => {
    const machine = make('wasm', loader, parts);
    machine.ram.set(program, 0x100000);
    return machine;
  };
  let parts: readonly StoredPart[] = [];
  const counts = [0, 1, 2, 3].map(() => {
    const machine = start(parts);
    run(machine);
    const { regions, restored } = machine.cpu.regions!.counters;
    parts = stored(machine) ?? parts;
    return { regions, restored };
  });
  expect(counts[0].restored).toBe(0);
  for (const { regions, restored } of counts.slice(1)) expect(restored).toBeGreaterThan(regions * 0.8);
  // Nothing is stored again and again.
  expect(parts.flatMap(({ regions }) => regions).length).toBeLessThan(counts[0].regions * 1.3);
});
