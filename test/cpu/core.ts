/** The generated core that tests run guest code on, made once: WebAssembly, or JavaScript if TSVMM_JIT is `js`. */
import type { CoreFactory } from '../../cpu/core.ts';
import { jsCore } from '../../cpu/js/core.ts';
import { evaluateCore } from '../../cpu/js/core-source.ts';
import { wasmCore } from '../../cpu/wasm/core.ts';
import { buildCoreModule } from '../../cpu/wasm/interpreter.ts';

const cores = new Map<string, CoreFactory>();
const MAKERS: Record<string, () => CoreFactory> = {
  wasm: () => wasmCore(new WebAssembly.Module(buildCoreModule())),
  js: () => jsCore(evaluateCore()),
};

export function testCore(form: string = process.env.TSVMM_JIT ?? 'wasm'): CoreFactory {
  let core = cores.get(form);
  if (core === undefined) {
    core = MAKERS[form]();
    cores.set(form, core);
  }
  return core;
}
