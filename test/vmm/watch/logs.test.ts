/** What `-d` writes, for programs of a few instructions. */

import { describe, expect, test } from 'vitest';
import { CODE, DATA, PML4, PT, RCX } from '../../cpu/system/bare-cpu.ts';
import { watchedCpu } from './watched-cpu.ts';

const SYMBOLS = [{ name: 'program', start: BigInt(CODE), size: 0x100n }];
/** 1: add %ecx, %eax; dec %ecx; jnz 1b */
const LOOP = '01 c8 ff c9 75 fa';
const HOT = { hotThreshold: 10, batch: 1 };

describe('in_asm', () => {
  test('each block once, with symbols, bytes and text', () => {
    const { bare, log } = watchedCpu({ items: ['in_asm'], symbols: SYMBOLS });
    bare.set(RCX, 5);
    bare.run(`48 89 e5 ${LOOP}`);
    expect(log()).toBe(
      [
        '----------------',
        'IN: program',
        '0x00020000:  48 89 e5                 mov rbp, rsp',
        '0x00020003:  01 c8                    add eax, ecx',
        '0x00020005:  ff c9                    dec ecx',
        '0x00020007:  75 fa                    jne 0x20003',
        '',
        '----------------',
        'IN: program+0x3',
        '0x00020003:  01 c8                    add eax, ecx',
        '0x00020005:  ff c9                    dec ecx',
        '0x00020007:  75 fa                    jne 0x20003',
        '',
        '----------------',
        'IN: program+0x9',
        '0x00020009:  f4                       hlt',
        '',
        '',
      ].join('\n'),
    );
    bare.set(RCX, 5);
    bare.go(CODE);
    expect(log().match(/IN:/g)?.length).toBe(3);
  });

  test('an instruction across two pages that do not lie side by side', () => {
    const { bare, log } = watchedCpu({ items: ['in_asm'] });
    // The page behind CODE's is mapped elsewhere.
    bare.view.setBigUint64(PT + ((CODE >> 12) + 1) * 8, BigInt(DATA) | 7n, true);
    bare.ram.set([0xb8, 0x11, 0x22], CODE + 0xffd);
    bare.ram.set([0x33, 0x44, 0xf4], DATA);
    bare.go(CODE + 0xffd);
    expect(log()).toMatch('0x00020ffd:  b8 11 22 33 44           mov eax, 0x44332211\n');
  });

  test('regions that put records of theirs in between do not confuse it', () => {
    const { bare, log } = watchedCpu({ items: ['in_asm'], options: HOT });
    bare.set(RCX, 100);
    // RDTSC is stepped in place by its helper.
    bare.run('0f 31 ff c9 75 fa 90 90');
    expect(bare.cpu.regions!.counters.regions).toBeGreaterThan(0);
    expect(log().match(/rdtsc/g)).toHaveLength(1);
    expect(log()).toMatch(/nop\n.*nop\n.*hlt\n\n$/);
  });
});

describe('exec', () => {
  test('each block that is entered, in order', () => {
    const { bare, log } = watchedCpu({ items: ['exec'], symbols: SYMBOLS });
    bare.set(RCX, 3);
    bare.run(`48 89 e5 ${LOOP}`);
    expect(log()).toBe(
      [
        'Trace: block  00020000 program',
        'Trace: block  00020003 program+0x3',
        'Trace: block  00020003 program+0x3',
        'Trace: block  00020009 program+0x9',
        '',
      ].join('\n'),
    );
  });

  test.each([{ hotThreshold: 0 }, HOT])('a program does the same, in as many instructions (%o)', (options) => {
    const results = [['exec'], ['in_asm']].map((items) => {
      const { bare, log } = watchedCpu({ items, options });
      bare.set(RCX, 1000);
      // push/pop and a port, whose device could ask for the run loop.
      const { rip } = bare.run('51 e6 80 58 ff c9 75 f9');
      expect(bare.cpu.regions === undefined || bare.cpu.regions.counters.regions > 0).toBe(true);
      if (items[0] === 'exec') {
        expect(log().match(/Trace: /g)!.length).toBeGreaterThan(900);
        expect(/Trace: region/.test(log())).toBe(options.hotThreshold > 0);
      }
      return { rip, rax: bare.gpr(0), instructions: bare.cpu.instructions };
    });
    expect(results[0]).toEqual(results[1]);
  });

  test('an interrupt comes at once', () => {
    const { bare, log } = watchedCpu({ items: ['exec'] });
    bare.cpu.env.ports.write = () => {
      bare.waiting.push(0x41);
      bare.cpu.requestEvent();
    };
    // sti; nop; out %al, $0x80; then a loop without end
    expect(bare.run('fb 90 e6 80 eb fe').vector).toBe(0x41);
    expect(log()).not.toContain('00020004');
  });
});

test('cpu: the registers before each block', () => {
  const { bare, log } = watchedCpu({ items: ['cpu'] });
  bare.set(RCX, 2);
  bare.run(LOOP);
  expect([...log().matchAll(/RCX=([0-9a-f]+)/g)].map(([, value]) => Number.parseInt(value, 16))).toEqual([2, 1, 0]);
});

describe('op, out_asm', () => {
  test('intermediate code and WebAssembly of a loop', () => {
    const { bare, log } = watchedCpu({ items: ['op', 'out_asm'], symbols: SYMBOLS, options: HOT });
    bare.set(RCX, 1000);
    bare.run(LOOP);
    expect(log()).toMatch(/^OP: region 00020000 program\n/);
    expect(log()).toMatch(/ {2}---- 0x20000\n.*\n.*\n {2}%3 = i32.add %1 %2\n {2}GPR_WRITE rax:4 %3\n/);
    expect(log()).toMatch(/\nOUT: region 00020000 program \[size=\d+\]\nlocals \d+\n/);
    expect(log()).toMatch(/rax = i64.extend_i32_u/);
  });

  test('JavaScript with jit=js', () => {
    const { bare, log } = watchedCpu({ items: ['out_asm'], options: HOT, jit: 'js' });
    bare.set(RCX, 1000);
    bare.run(LOOP);
    expect(log()).toMatch(/^OUT: region 00020000 \[size=\d+\]\nfunction region\(/);
  });
});

describe('int', () => {
  test('an exception with error code and CR2', () => {
    const { bare, log } = watchedCpu({ items: ['int'] });
    // mov %eax, 0x800000, which is not mapped
    expect(bare.run('89 04 25 00 00 80 00').vector).toBe(14);
    expect(log()).toMatch(
      / {5}0: v=0e e=0002 i=0 cpl=0 IP=0010:0000000000020000 pc=0000000000020000 SP=0018:0000000000060000 CR2=0000000000800000\nRAX=/,
    );
  });

  test('INT n, and an interrupt from outside', () => {
    const { bare, log } = watchedCpu({ items: ['int'] });
    expect(bare.run('cd 42').vector).toBe(0x42);
    bare.waiting.push(0x33);
    expect(bare.run('fb 90 90').vector).toBe(0x33);
    expect(log()).toMatch(/ {5}0: v=42 e=0000 i=1 cpl=0 IP=0010:0000000000020000 /);
    expect(log()).toMatch(/Servicing hardware INT=0x33\n {5}1: v=33 e=0000 i=0 /);
  });
});

test('cpu_reset: the registers before it', () => {
  const { bare, log } = watchedCpu({ items: ['cpu_reset'] });
  bare.run('b8 78 56 34 12');
  bare.cpu.reset();
  expect(log()).toMatch(/CPU Reset \(CPU 0\)\nRAX=0000000012345678 (.|\n)*RIP=0000000000020006 /);
  expect(log()).not.toContain('Triple fault');
});

test('mmu: page faults with the entries on the way, CR3, INVLPG', () => {
  const { bare, log } = watchedCpu({ items: ['mmu'] });
  // mov %cr3, %rax; mov %rax, %cr3; invlpg (%rsp); mov 0x800000, %al
  expect(bare.run('0f 20 d8 0f 22 d8 0f 01 3c 24 8a 04 25 00 00 80 00').vector).toBe(14);
  const [cr3, invlpg, fault] = log().trimEnd().split('\n').slice(-3);
  expect(cr3).toMatch(/^mmu: .*CR3=0000000000010000.*: TLB flushed$/);
  expect(invlpg).toBe('mmu: INVLPG 0000000000060000');
  expect(fault).toMatch(/^mmu: page fault at 0000000000800000 by 000000000002000a: supervisor read, not present; /);
  expect(fault).toMatch(new RegExp(`; \\[0x${PML4.toString(16)}\\]=00000000000110[02]7 .*=0000000000000000$`));
});
