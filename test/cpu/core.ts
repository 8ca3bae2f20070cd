/**
 * How tests run guest code: by the interpreter, or as TSVMM_ACCEL says, which is an argument of -accel (`tcg,jit=js,hot=1`).
 * scripts/matrix.mjs runs the tests with several.
 */
import type { CoreFactory } from '../../cpu/core.ts';
import type { CpuOptions } from '../../cpu/cpu.ts';
import { jsCore } from '../../cpu/js/core.ts';
import { evaluateCore } from '../../cpu/js/core-source.ts';
import { wasmCore } from '../../cpu/wasm/core.ts';
import { buildCoreModule } from '../../cpu/wasm/interpreter.ts';
import { translation } from '../../vmm/core.ts';
import { Draft } from '../../vmm/options/draft.ts';
import { setAccelerator } from '../../vmm/options/machine.ts';

const cores = new Map<string, CoreFactory>();
const MAKERS: Record<string, () => CoreFactory> = {
  wasm: () => wasmCore(new WebAssembly.Module(buildCoreModule())),
  js: () => jsCore(evaluateCore()),
};

/** The generated core in one of its forms, made once. */
export function testCore(form: string): CoreFactory {
  let core = cores.get(form);
  if (core === undefined) {
    core = MAKERS[form]();
    cores.set(form, core);
  }
  return core;
}

/** What a test's CPU is made with. */
export function accelerated(): Omit<CpuOptions, 'ramSize'> {
  const draft = new Draft();
  setAccelerator(draft, process.env.TSVMM_ACCEL ?? 'tcg,jit=off');
  const core = testCore(draft.accelerator.jit === 'js' ? 'js' : 'wasm');
  // Whether something is translated shall not depend on the time.
  return { core, ...translation(draft.accelerator), warmUp: 0 };
}
