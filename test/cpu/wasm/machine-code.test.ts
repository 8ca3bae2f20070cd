import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { afterAll, expect, test } from 'vitest';
import * as op from '../../../cpu/ir/ops.ts';
import * as wasm from '../../../cpu/wasm/encoder.ts';
import { moduleFromFile, precompiled } from '../../../cpu/wasm/machine-code.ts';

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-code-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const file = join(directory, 'code');

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

type Add = (value: number) => number;

function functionOf(module: WebAssembly.Module): Add {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  return new WebAssembly.Instance(module, { e: { m: memory } }).exports.f as Add;
}

function isOptimised(f: Add): boolean {
  setFlagsFromString('--allow-natives-syntax');
  try {
    return new Function('f', 'return %IsTurboFanFunction(f)')(f);
  } finally {
    setFlagsFromString('--no-allow-natives-syntax');
  }
}

test('what a file holds is optimised code, before any call', () => {
  const module = adder(5);
  writeFileSync(file, precompiled(module)!);
  const f = functionOf(moduleFromFile(file, module)!);
  expect(isOptimised(f)).toBe(true);
  expect(f(37)).toBe(42);
  // Flags are as before: other modules begin unoptimised.
  expect(isOptimised(functionOf(new WebAssembly.Module(adder(6))))).toBe(false);
});

test('code of another host, half a file or none is not taken', () => {
  const module = adder(5);
  const whole = precompiled(module)!;
  const other = whole.slice();
  other[1] ^= 1;
  for (const bytes of [other, whole.subarray(0, -1), whole.subarray(0, 100), new Uint8Array(0)]) {
    writeFileSync(file, bytes);
    expect(moduleFromFile(file, module)).toBeUndefined();
  }
  expect(moduleFromFile(join(directory, 'none'), module)).toBeUndefined();
  // V8 looks at what it is given itself: another processor's features stand in its header.
  const foreign = whole.slice();
  foreign[128 + 8] ^= 1;
  writeFileSync(file, foreign);
  expect(moduleFromFile(file, module)).toBeUndefined();
});
