/** The CPU's core module (cpu/wasm/interpreter.ts): generated when the bundle is built, or at once when run from source. */

import { readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Set by the bundler: the file beside the bundle that holds the module. */
declare const CORE_FILE: string;

export async function loadCore(): Promise<WebAssembly.Module> {
  if (typeof CORE_FILE === 'string') {
    const directory = join(dirname(realpathSync(process.argv[1])), '..', 'dist');
    return new WebAssembly.Module(readFileSync(join(directory, CORE_FILE)));
  }
  const { buildCoreModule } = await import('../cpu/wasm/interpreter.ts');
  return new WebAssembly.Module(buildCoreModule());
}
