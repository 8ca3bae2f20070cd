/** Regions that call each other end as the interpreter does, whatever becomes of the code and the stack meanwhile. */
import { describe, expect, test } from 'vitest';
import { EXIT_SITE } from '../../../cpu/exits.ts';
import { testCore } from '../core.ts';
import { BareCpu, CODE, RAX, RBX, RCX } from '../system/bare-cpu.ts';
import { assemble } from './pinned/assemble.ts';

const BUDGET = 100_000_000;

/** Long enough not to be followed where it is called. */
const LONG = Array(16).fill('lea rdx, [rdx+rax*2]; xor rdx, rcx').join('; ');

const PROGRAMS: Record<string, string> = {
  'a function that calls itself deeper than regions may': `
    mov ecx, 100; again: mov edi, 200; call sum; add rbx, rax; dec ecx; jnz again; hlt
    sum: test edi, edi; jz 1f; push rdi; dec edi; call sum; pop rdi; add rax, rdi; ${LONG}; ret
    1: xor eax, eax; ret`,
  'two functions that call each other': `
    mov ecx, 2000; again: mov edi, 9; call even; add rbx, rax; dec ecx; jnz again; hlt
    even: mov eax, 1; test edi, edi; jz 1f; dec edi; ${LONG}; call odd; inc rbx; 1: ret
    odd: xor eax, eax; test edi, edi; jz 1f; dec edi; ${LONG}; call even; add rbx, 3; 1: ret`,
  'a call by pointers, more than a site has links': `
    mov ecx, 40000; again: mov edi, ecx; and edi, 15; imul edi, edi, 128; lea rsi, [rip+table]; add rdi, rsi
    call rdi; add rbx, rax; dec ecx; jnz again; hlt
    .balign 128; table: ${Array.from({ length: 16 }, (_, i) => `.balign 128; mov eax, ${i * i}; ${LONG}; ret`).join('; ')}`,
  'a callee that does not come back where it was called from': `
    mov ecx, 5000; again: call away; add rbx, 7; jmp next; add rbx, 100; next: dec ecx; jnz again; hlt
    away: ${LONG}; test cl, 3; jnz 1f; add qword ptr [rsp], 6; 1: ret`,
  'a callee that ends with a jump to another function': `
    mov ecx, 5000; again: call first; add rbx, rax; call second; sub rbx, rdx; dec ecx; jnz again; hlt
    first: mov eax, ecx; ${LONG}; jmp second
    second: lea rax, [rax+rcx]; ${LONG}; ret`,
  'a callee that writes its caller, and itself': `
    mov ecx, 6000; again: call change; patch: add rbx, 1; dec ecx; jnz again; hlt
    change: ${LONG}; test ecx, 1023; jnz 1f; inc byte ptr [rip+patch+3]; inc byte ptr [rip+here+1]; 1:
    here: mov eax, 1; add rbx, rax; ret`,
};

describe.each(['wasm', 'js'])('%s', (form) => {
  const names = Object.keys(PROGRAMS);
  const codes = names.map((name) => assemble([PROGRAMS[name]])[0]);
  test.each(names.map((name, i) => [name, codes[i]] as const))('%s', (_, code) => {
    const run = (hotThreshold: number, patience?: number) => {
      const options = { core: testCore(form), hotThreshold, batch: 1, ...(patience && { patience }) };
      const machine = new BareCpu({}, options).long();
      machine.ram.set(code, CODE);
      const { vector } = machine.go(CODE, BUDGET);
      const registers = [RAX, RCX, RBX].map((n) => [machine.cpu.gprLow(n), machine.cpu.gprHigh(n)]);
      return { vector, registers, sites: machine.cpu.counters.exits[EXIT_SITE] };
    };
    const expected = run(0);
    expect(expected.vector).toBe(-1);
    for (const patience of [undefined, 3, 200]) {
      const { vector, registers, sites } = run(8, patience);
      expect({ vector, registers }).toEqual({ vector: -1, registers: expected.registers });
      expect(sites).toBeGreaterThan(0);
    }
  });
});
