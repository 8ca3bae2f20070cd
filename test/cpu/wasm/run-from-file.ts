/**
 * `run-from-file MODULE FILE`: calls a module's `f(1)`, with its machine code from a file of `precompile`. Prints what it
 * answers and whether it was optimised before; `null` when the code is not taken.
 */
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { moduleFromFile } from '../../../cpu/wasm/machine-code.ts';

const [path, file] = process.argv.slice(2);
const module = moduleFromFile(file, readFileSync(path));
if (module === undefined) console.log('null');
else {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const f = new WebAssembly.Instance(module, { e: { m: memory } }).exports.f as (value: number) => number;
  setFlagsFromString('--allow-natives-syntax');
  const isOptimised = new Function('f', 'return %IsTurboFanFunction(f)')(f);
  console.log(JSON.stringify({ isOptimised, result: f(1) }));
}
