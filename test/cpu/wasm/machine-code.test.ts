/** In processes of their own: V8 takes a module that it has for another of the same bytes, whatever code it is given. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as op from '../../../cpu/ir/ops.ts';
import * as wasm from '../../../cpu/wasm/encoder.ts';

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-code-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const [five, six, code] = ['5.wasm', '6.wasm', '5.wasm.code'].map((name) => join(directory, name));

/** A module whose `f` adds a constant to its parameter. */
function adder(constant: number): Uint8Array {
  const out = new wasm.Encoder();
  out.u32(0);
  out.localGet(0);
  out.i32Const(constant);
  out.byte(op.I32_ADD);
  out.byte(wasm.END);
  const I32 = 0x7f;
  return wasm.assembleModule({
    types: [{ parameters: [I32], results: [I32] }],
    functionImports: [],
    memory: { initial: 1, maximum: 1 },
    functions: [{ type: 0, body: out.written(), exportAs: 'f' }],
  });
}

function node(...words: readonly string[]): string {
  return execFileSync(process.execPath, words, { encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } });
}

/** What run-from-file.ts tells. @param flags Node's */
function runFromFile(module: string, file: string, ...flags: readonly string[]): unknown {
  return JSON.parse(node(...flags, 'scripts/run.mjs', 'test/cpu/wasm/run-from-file.ts', module, file));
}

beforeAll(() => {
  writeFileSync(five, adder(5));
  writeFileSync(six, adder(6));
  node('scripts/run.mjs', 'scripts/precompile.ts', five, code);
});

test('what a file holds is optimised code, before any call', () => {
  expect(runFromFile(five, code)).toEqual({ isOptimised: true, result: 6 });
  // As the launchers start Node.
  expect(runFromFile(five, code, '--no-memory-reducer')).toEqual({ isOptimised: true, result: 6 });
});

test('code of another module is not taken, nor that of another host, nor half a file, nor none', () => {
  expect(runFromFile(six, code)).toBeNull();
  expect(runFromFile(five, join(directory, 'none'))).toBeNull();
  const whole = readFileSync(code);
  const otherHost = Buffer.from(whole);
  otherHost[1] ^= 1;
  const other = join(directory, 'other');
  for (const bytes of [otherHost, whole.subarray(0, -1), whole.subarray(0, 40), whole.subarray(0, 0)]) {
    writeFileSync(other, bytes);
    expect(runFromFile(five, other)).toBeNull();
  }
});

test('nor is code that looks at no bounds where nobody else does, nor any where Node compiles no source', () => {
  expect(runFromFile(five, code, '--disable-wasm-trap-handler')).toBeNull();
  const words = ['--disallow-code-generation-from-strings', 'build/run/run-from-file.mjs', five, code];
  expect(node(...words)).toBe('null\n');
});
