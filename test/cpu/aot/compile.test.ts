/** The ahead-of-time compiler: what its subset means is what JavaScript means, and what lies outside is refused. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { AotCompiler } from '../../../cpu/aot/compile.ts';
import { assembleModule } from '../../../cpu/wasm/encoder.ts';

const I32 = 0x7f;
const LEFT = 0x3000;

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-aot-'));
afterAll(() => rmSync(directory, { recursive: true }));

interface Compiled {
  (a: number, b: number, c: number): number;
  i32: Int32Array;
}

/** Compiles a class `A` with a method `f` of three numbers, whose body is given; `more` stands beside it, `also` in it. */
function compile(body: string, more = '', also = '', leaves: string[] = []): Compiled {
  const path = join(directory, 'a.ts');
  const members =
    'private readonly i32: Int32Array; private readonly u16: Uint16Array; private readonly u8: Uint8Array;';
  writeFileSync(path, `${more}\nclass A { ${members} ${also} f(a: number, b: number, c: number): number { ${body} } }`);
  const types = [...Array(6).keys()].flatMap((count) =>
    [[], [I32]].map((results) => ({ parameters: Array(count).fill(I32), results })),
  );
  const compiler = new AotCompiler({
    firstFunction: 0,
    typeOf: (parameters, hasResult) => parameters * 2 + Number(hasResult),
    dataStart: 0x1000,
    dataEnd: 0x2000,
    imports: {},
    records: ['Pair'],
    outside: [],
    leaves,
    leftAt: LEFT,
  });
  compiler.root(path, 'A', 'f');
  const [first, ...others] = compiler.functions();
  const bytes = assembleModule({
    types,
    functionImports: [],
    memory: { initial: 1, maximum: 1 },
    globals: compiler.globalCount,
    data: compiler.data(),
    functions: [{ ...first, exportAs: 'f' }, ...others],
  });
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { e: { m: memory } });
  return Object.assign(exports.f as (a: number, b: number, c: number) => number, {
    i32: new Int32Array(memory.buffer),
  });
}

const int32 = fc.oneof(fc.integer(), fc.constantFrom(0, 1, -1, 31, 32, 0x7fffffff, -0x80000000));

test.each([
  'return ((a + b) | 0) > c ? a - b : b ^ c;',
  'return (a & 0xffff) * (b & 0x7fff) + (c >>> 5);',
  'return a >>> 0 < b >>> 0 ? 1 : a < b ? 2 : a >= c ? 3 : ~c;',
  'const x = a >>> 0; return x > b >>> 0 && (c !== 0 || !a) ? 5 : 6;',
  'let n = 0; for (let i = 0; i < (a & 15); i++) { if (i === 7) break; if (i & 1) continue; n += i; } return n;',
  'let n = 0; outer: for (;;) { switch (n++ & 3) { case 2: if (n > (b & 31)) break outer; break; default: continue; } n += 2; } return n;',
  'switch (a & 3) { case 0: return b; case 1: b++; case 2: return b + c; default: } return -c;',
  'return Math.imul(a, b) ^ Math.clz32(c);',
  'switch (a & 15) { case 3: case 4: return 1; case 5: b++; case 6: return b; case 8: return c; case 9: c--; break; default: return 2; } return c;',
  'let n = 0; const m = (n = a) + 1; return n ^ m ^ (n += b);',
  'let n = a & 255; while (n > 9) n = n >>> 1; return n + --c;',
  'const n = a >>> 0; return n < 0x80000000 ? 1 : b >>> 1 === 0x40000000 ? 2 : Math.min(0xf0000000, c >>> 0);',
  'switch (a >>> 0) { case 0x80000000: return 1; case 0xffffffff: return 2; default: return 0; }',
  'return Math.min(a, Math.max(b, c)) ^ Math.max(a >>> 0, c >>> 0);',
])('%s', (body) => {
  const compiled = compile(body);
  const meant = new Function('a', 'b', 'c', body) as typeof compiled;
  fc.assert(
    fc.property(int32, int32, int32, (a, b, c) => {
      expect(compiled(a, b, c)).toBe(meant(a, b, c) | 0);
    }),
  );
});

test('memory, constant tables, module variables and calls', () => {
  const compiled = compile(
    `const at = (a & 63) << 2;
     this.i32[(at + 8) >> 2] = b;
     this.u16[at >> 1] = c;
     this.u8[at + 2] += 3;
     this.i32.copyWithin(64, 0, 32);
     this.u8.fill(0, at + 1, at + 2);
     this.u8.fill(b + 3, 300, 304);
     this.u8.copyWithin(301, 299, 299 + (b >> 1));
     this.u8.copyWithin(at + 100, 300, 304);
     last = SQUARES[a & 3] + twice(c & 1);
     return this.i32[at >> 2] + last + this.i32[(at + 100) >> 2];`,
    `const SQUARES = Uint8Array.of(0, 1, 4, 9);
     let last = 0;
     function twice(n: number, more = 2): number { return n * more; }`,
  );
  // Bytes of 10, of which three are then 0, 10, 10: what stood one before them.
  expect(compiled(2, 7, 0x1234)).toBe(0x30034 + 4 + 0x0a0a000a);
  expect(compiled(3, 7, 0x1235)).toBe(0x30035 + 9 + 2 + 0x0a0a000a);
});

test('a class with several instances', () => {
  const compiled = compile(
    `set(first, a, b);
     set(second, c, 1);
     swap(first, a > b ? second : third(a));
     const { low, high } = second;
     first.low++;
     first.high -= first.low = low;
     return first.high * 3 + sum(first) + high;`,
    `class Pair { low = 0; high = 0; }
     const first = new Pair();
     const second = new Pair();
     const other = new Pair();
     function set(z: Pair, low: number, high: number): Pair { z.low = low; z.high = z.low + high; return z; }
     function third(a: number): Pair { return set(other, a, a); }
     function swap(x: Pair, y: Pair): void { const { low } = x; x.low = y.low; y.low = low; }
     function sum(x: Pair): number { return x.low + x.high; }`,
  );
  const meant = (a: number, b: number, c: number): number => {
    const low = a > b ? a : c;
    return (a + b - low) * 3 + low + (a + b - low) + c + 1;
  };
  for (const [a, b, c] of [
    [5, 3, 9],
    [2, 7, 9],
    [-4, -4, 11],
  ])
    expect(compiled(a, b, c)).toBe(meant(a, b, c));
});

test('a property that is read and set by methods changes in place', () => {
  const compiled = compile(
    'this.word = a; this.nibble += b; this.nibble--; return this.word + Math.log2(SIZE);',
    'const SIZE = 4096;',
    `word = 0;
     get nibble(): number { return this.word & 15; }
     set nibble(value: number) { this.word = (this.word & ~15) | (value & 15); }`,
  );
  expect(compiled(0x123, 14, 0)).toBe(0x120 + 12);
});

test.each([
  ['throw a;', 'ThrowStatement'],
  ['return a / b;', 'BinaryExpression'],
  ['const f = () => a; return 0;', 'ArrowFunctionExpression'],
  ['return this.missing;', 'no such member'],
  ['return Math.max(a, b, c);', 'CallExpression'],
  ['this.u16.fill(a, b, c); return 0;', 'CallExpression'],
  ['return a < 0x80000000 ? 1 : 0;', 'BinaryExpression'],
  ['return a !== 0x100000000 ? 1 : 0;', 'BinaryExpression'],
  ['return 0.5 > a ? 1 : 0;', 'BinaryExpression'],
  ['return a >>> 0 > 0x100000000 ? 1 : 0;', 'BinaryExpression'],
  ['return a >>> 0 > -1 ? 1 : 0;', 'BinaryExpression'],
  ['return Math.min(a, 0xffffffff);', 'CallExpression'],
  ['switch (a) { case 0x80000000: return 1; default: return 0; }', 'Literal'],
  ['return +5;', 'UnaryExpression'],
  ['return typeof 5 ? a : b;', 'UnaryExpression'],
])('refused: %s', (body, message) => {
  expect(() => compile(body)).toThrow(message);
});

test.each([
  'return x.operand[a];',
  'x.operand16[0] = a; return 0;',
  'const { operand32 } = x; return operand32[a];',
  'return first(x.operand);',
  'bytes = x.operand; return 0;',
])('what is no view of the memory from its start is refused: %s', (body) => {
  const state = relative(directory, join(import.meta.dirname, '../../../cpu/fpu/x87-state.ts'));
  const more = `import { X87State } from '${state}';
    const x = new X87State();
    let bytes: Uint8Array;
    function first(bytes: Uint8Array): number { return bytes[0]; }`;
  expect(() => compile(body, more)).toThrow(/is not in the subset|is only set by TypeScript/);
});

test('functions that stand in place of their calls, setters, and defaults of parameters', () => {
  const compiled = compile(
    `let n = sum(b, a++) + sum(1, 2);
     put(a & 31);
     this.high = c;
     if (this.high !== c) return -1;
     for (let i = 0; i < 3; i++) n += power(i) + scaled(i + 1);
     return n + this.u8[a & 31];`,
    `const FACTOR = 3;
     function sum(x: number, y: number): number { return x * FACTOR + y; }
     function power(i: number): number { return i < 1 ? 1 : FACTOR; }
     function scaled(i: number, by = FACTOR): number { let n = i; n *= by; return n; }
     class B { u8: Uint8Array; }
     const memory = new B();
     function put(at: number): void { if (at !== 40) memory.u8[at] = 9; }`,
    'get high(): number { return this.i32[40]; } set high(value: number) { this.i32[40] = value; }',
  );
  const n = 20 * 3 + 10 + 5 + (1 + 3 + 3) + 3 * (1 + 2 + 3);
  expect(compiled(10, 20, 30)).toBe(n + 9);
});

test('functions that stand in place of their only call', () => {
  const compiled = compile(
    'let n = 0; for (let i = 0; i < 4; i++) n += many(i, b) * 2; return a > 0 ? n + first(7, c) : -n;',
    `function many(n: number, limit: number): number {
       for (;;) { switch (n) { case 0: return 5; case 1: n = limit; if (n > 9) return n; break; default: n -= 1; continue; } return 3; }
     }
     function first(n: number, c: number): number {
       // Long enough that it would not be put in place of two calls, ${'.'.repeat(250)}
       n++;
       while (n > 0) { if ((n & 3) === c) return n; n--; }
       return -1;
     }`,
  );
  expect(compiled(1, 20, 2)).toBe(2 * (5 + 20 * 3) + 6);
  expect(compiled(1, 3, 9)).toBe(2 * (5 + 3 * 3) - 1);
  expect(compiled(0, 3, 9)).toBe(-28);
});

describe('what only TypeScript can do', () => {
  const more = `
    function raise(): never { throw 1; }
    function even(n: number): number { if (n & 1) raise(); return n; }
    function half(n: number): number { const twice = even(n); return twice >>> 1; }
    function other(n: number): number { return n * 7; }
    function all(n: number): number { let sum = 0; for (let i = 0; i < 3; i++) sum += 100 + half(n); return sum; }`;
  const body = 'this.i32[0] = 1; const n = all(a) + (b ? other(c) : 0); this.i32[0] = 2; return n;';

  test('must be there', () => {
    expect(() => compile(body, more, '', ['other', 'renamed', 'A.g'])).toThrow(/nothing calls: renamed, A\.g$/);
  });

  test('ends all calls', () => {
    const compiled = compile(body, more, '', ['other']);
    expect(compiled(4, 0, 5)).toBe(306);
    expect(compiled.i32[LEFT >> 2]).toBe(0);
    for (const [a, b] of [
      [5, 0],
      [4, 1],
    ]) {
      compiled.i32[LEFT >> 2] = 0;
      compiled(a, b, 5);
      expect(compiled.i32[LEFT >> 2]).toBe(1);
      expect(compiled.i32[0]).toBe(1);
    }
  });
});
