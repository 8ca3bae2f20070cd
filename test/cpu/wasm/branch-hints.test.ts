/** The engine heeds the hints that regions carry: what it does not understand it would skip without a word. */
import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { CORE_TYPES, TYPE_RUN } from '../../../cpu/wasm/core-types.ts';
import * as wasm from '../../../cpu/wasm/encoder.ts';

/** f(x): stores a word if x is not 0. @param hint whether that is likely */
function moduleWithHint(hint: 0 | 1): Uint8Array {
  const out = new wasm.Encoder();
  out.u32(0);
  out.localGet(0);
  const at = out.length;
  out.byte(wasm.IF);
  out.byte(wasm.VOID);
  out.i32Const(16);
  out.i32Const(1);
  out.storeSized(0, 4);
  out.byte(wasm.END);
  out.i32Const(16);
  out.loadSized(4, 4);
  out.byte(wasm.END);
  return wasm.assembleModule({
    types: CORE_TYPES,
    functionImports: [],
    memory: { initial: 1, maximum: 65536 },
    functions: [{ type: TYPE_RUN, body: out.written(), exportAs: 'f', hints: [at, hint] }],
  });
}

/** The mnemonics of the optimised code of a module. */
function mnemonics(module: Uint8Array): string[] {
  const script = `new WebAssembly.Module(Buffer.from('${Buffer.from(module).toString('base64')}', 'base64'))`;
  const flags = ['--no-liftoff', '--no-wasm-lazy-compilation', '--print-wasm-code'];
  const text = execFileSync(process.execPath, [...flags, '--experimental-wasm-branch-hinting', '-e', script]);
  return [...text.toString('latin1').matchAll(/^0x[0-9a-f]+ +[0-9a-f]+ +[0-9a-f]+ +(\S+)/gm)].map(([, word]) => word);
}

it('puts what is unlikely out of the way', () => {
  const likely = mnemonics(moduleWithHint(1));
  expect(likely.length).toBeGreaterThan(5);
  expect(mnemonics(moduleWithHint(0))).not.toEqual(likely);
});
