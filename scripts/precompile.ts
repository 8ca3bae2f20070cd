/**
 * `precompile MODULE FILE`: writes the machine code that the V8 of the Node that runs this makes of a WebAssembly module.
 * Where that cannot be had no file is written.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { precompiled } from '../cpu/wasm/machine-code.ts';

const [module, file] = process.argv.slice(2);
const code = precompiled(readFileSync(module));
if (code !== undefined) writeFileSync(file, code);
