/** The ahead-of-time compiler: what its subset means is what JavaScript means, and what lies outside is refused. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { AotCompiler } from '../../../cpu/aot/compile.ts';
import { assembleModule } from '../../../cpu/wasm/encoder.ts';

const I32 = 0x7f;

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-aot-'));
afterAll(() => rmSync(directory, { recursive: true }));

/** Compiles a class `A` with a method `f` of three numbers, whose body is given; `more` stands beside it. */
function compile(body: string, more = ''): (a: number, b: number, c: number) => number {
  const path = join(directory, 'a.ts');
  const members =
    'private readonly i32: Int32Array; private readonly u16: Uint16Array; private readonly u8: Uint8Array;';
  writeFileSync(path, `${more}\nclass A { ${members} f(a: number, b: number, c: number): number { ${body} } }`);
  const types = [...Array(6).keys()].flatMap((count) =>
    [[], [I32]].map((results) => ({ parameters: Array(count).fill(I32), results })),
  );
  const compiler = new AotCompiler({
    firstFunction: 0,
    typeOf: (parameters, hasResult) => parameters * 2 + Number(hasResult),
    dataStart: 0x1000,
    dataEnd: 0x2000,
    imports: {},
    outside: [],
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
  return exports.f as (a: number, b: number, c: number) => number;
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
  'let n = a & 255; while (n > 9) n = n >>> 1; return n + --c;',
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
     last = SQUARES[a & 3] + twice(c & 1);
     return this.i32[at >> 2] + last;`,
    `const SQUARES = Uint8Array.of(0, 1, 4, 9);
     let last = 0;
     function twice(n: number, more = 2): number { return n * more; }`,
  );
  expect(compiled(2, 7, 0x1234)).toBe(0x30034 + 4);
  expect(compiled(3, 7, 0x1235)).toBe(0x30035 + 9 + 2);
});

test.each([
  ['throw a;', 'ThrowStatement'],
  ['return a / b;', 'BinaryExpression'],
  ['const f = () => a; return 0;', 'ArrowFunctionExpression'],
  ['return this.missing;', 'no such member'],
])('refused: %s', (body, message) => {
  expect(() => compile(body)).toThrow(message);
});
