/** The CPU's core (cpu/core.ts): generated when the bundle is built, or at once when run from source. */

import { readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { CoreFactory } from '../cpu/core.ts';
import { type CpuOptions, HOT_THRESHOLD, WARM_UP_MS } from '../cpu/cpu.ts';
import { wasmCore } from '../cpu/wasm/core.ts';
import { moduleFromFile } from '../cpu/wasm/machine-code.ts';
import type { AcceleratorConfig } from './options/config.ts';
import { mark } from './startup.ts';

/**
 * Set by the bundler: the files beside the bundle that hold the core as WebAssembly, V8's machine code of that and, with its
 * back end, the core as JavaScript.
 */
declare const WASM_CORE_FILE: string;
declare const MACHINE_CODE_FILE: string;
declare const JS_CORE_FILE: string;

/** What a start tells when there is no machine code of the core, or it is of another Node, of other flags or processor. */
export const NO_MACHINE_CODE = 'core has to be compiled';

/** Path of a file of the build. */
function built(file: string): string {
  return join(dirname(realpathSync(process.argv[1])), '..', 'dist', file);
}

/** What a part of the build exports that is loaded only when it is needed. */
export function requireBuilt(file: string): unknown {
  const { createRequire } = process.getBuiltinModule('node:module');
  return createRequire(built(file))(built(file));
}

/** What `-accel` asks of the translator. */
export function translation({ jit, hot, codeCache }: AcceleratorConfig): Omit<CpuOptions, 'ramSize' | 'core'> {
  if (jit === 'off') return {};
  const cache = codeCache === undefined ? {} : { cacheSize: codeCache };
  // Whoever says when wants it then, and not when several regions are due.
  if (hot !== undefined) return { hotThreshold: hot, batch: 1, ...cache };
  return { hotThreshold: HOT_THRESHOLD, warmUp: WARM_UP_MS, ...cache };
}

/** @param form `js`: without any WebAssembly code */
export async function loadCore(form: 'wasm' | 'js'): Promise<CoreFactory> {
  return form === 'js' ? loadJsCore() : loadWasmCore();
}

async function loadWasmCore(): Promise<CoreFactory> {
  // The bundler drops the branch together with what it imports.
  if (typeof WASM_CORE_FILE !== 'string') {
    const { buildCoreModule } = await import('../cpu/wasm/interpreter.ts');
    return wasmCore(new WebAssembly.Module(buildCoreModule()));
  }
  const bytes = readFileSync(built(WASM_CORE_FILE));
  const compiled = moduleFromFile(built(MACHINE_CODE_FILE), bytes);
  if (compiled === undefined) mark(NO_MACHINE_CODE);
  return wasmCore(compiled ?? new WebAssembly.Module(bytes));
}

async function loadJsCore(): Promise<CoreFactory> {
  if (typeof JS_CORE_FILE !== 'string') {
    const { evaluateCore } = await import('../cpu/js/core-source.ts');
    const { jsCore } = await import('../cpu/js/core.ts');
    return jsCore(evaluateCore());
  }
  return (requireBuilt(JS_CORE_FILE) as { core: CoreFactory }).core;
}
