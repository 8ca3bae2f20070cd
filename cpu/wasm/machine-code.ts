/**
 * V8's machine code of a module, so that another process need not compile it again. Browsers keep such code by V8's own
 * interface, which Node does not offer; what there is are the functions by which V8 tests it (runtime-test-wasm.cc). V8
 * refuses code of another version, of other flags or for a processor with other features; it trusts all else that it is
 * given. So what else there is to know stands beside the code, and is compared here.
 */
import { readFileSync, statSync } from 'node:fs';
import type { MachineCode } from '../core.ts';
import { setTranslationFlags } from '../v8-flags.ts';

/** Major versions of V8 that were tried: Node 20, 22 and 24. Others may mean something else by these names. */
const TRIED = ['11', '12', '13'];

/**
 * Runs a function body that calls such functions with `a` and `b`. It is compiled each time: V8 forgets the code of what
 * has not run for a while, and reads the source again, which only means something while the flag is set.
 * @returns undefined also where Node was told to compile no source
 */
function run(body: string, a: unknown, b?: unknown): unknown {
  setTranslationFlags('--allow-natives-syntax');
  try {
    return new Function('a', 'b', body)(a, b);
  } catch (error) {
    if (error instanceof EvalError) return undefined;
    throw error;
  } finally {
    setTranslationFlags('--no-allow-natives-syntax');
  }
}

let host: string | undefined;

/**
 * Which program this is, as builds of Node that call themselves the same may differ: in the libraries that they have, or
 * else in their size. Empty: it cannot be done.
 */
function hostName(): string {
  if (host === undefined) {
    host = '';
    const { versions, arch, execPath } = process;
    if (TRIED.includes(versions.v8.split('.')[0]))
      try {
        host = `${Object.values(versions).join()} ${arch} ${statSync(execPath).size}`;
      } catch {
        // Started from where we no longer see.
      }
  }
  return host;
}

/** @param exported its functions @param bytes of the module @returns undefined when there is nothing worth keeping */
export function machineCodeOf(
  module: WebAssembly.Module,
  exported: readonly unknown[],
  bytes: Uint8Array,
): MachineCode | undefined {
  // V8 aborts the process if no function is optimised.
  if (hostName() === '' || !run('return a.some((f) => %IsTurboFanFunction(f))', exported)) return undefined;
  return serialized(module, bytes);
}

function serialized(module: WebAssembly.Module, bytes: Uint8Array): MachineCode | undefined {
  const code = run('return %SerializeWasmModule(a)', module) as ArrayBuffer | undefined;
  return code && { host: hostName(), module: bytes, bytes: new Uint8Array(code) };
}

/** @param bytes of the module @returns undefined if it has to be compiled */
export function moduleOf(code: MachineCode | undefined, bytes: Uint8Array): WebAssembly.Module | undefined {
  if (code === undefined || hostName() === '' || code.host !== hostName()) return undefined;
  if (Buffer.compare(code.module, bytes) !== 0) return undefined;
  const copy = new Uint8Array(code.bytes).buffer;
  // Code that was made with it looks at no bounds, and Node can be told to do without, or has to (`ulimit -v`).
  const deserialize = 'return %IsWasmTrapHandlerEnabled() ? %DeserializeWasmModule(a, b) : undefined';
  return run(deserialize, copy, bytes) as WebAssembly.Module | undefined;
}

// --- files ------------------------------------------------------------------------------------------------------------

/** What stands before the module and its code, which have so many bytes together. */
function header(length: number): Buffer {
  return Buffer.from(`${hostName()} ${length}\n`, 'latin1');
}

/**
 * Has V8's optimising compiler make all of a module at once.
 * @returns what a file for `moduleFromFile` is to hold; undefined: it cannot be had
 */
export function precompiled(bytes: Uint8Array): Uint8Array | undefined {
  if (hostName() === '') return undefined;
  const flags = ['liftoff', 'wasm-lazy-compilation', 'wasm-dynamic-tiering'];
  setTranslationFlags(...flags.map((flag) => `--no-${flag}`));
  const module = new WebAssembly.Module(bytes);
  // As the code is only good under the flags that it is written with.
  setTranslationFlags(...flags.map((flag) => `--${flag}`));
  const code = serialized(module, bytes);
  return code && Buffer.concat([header(bytes.length + code.bytes.length), bytes, code.bytes]);
}

/** @param path of a file of `precompiled` @param bytes of the module @returns undefined if it has to be compiled */
export function moduleFromFile(path: string, bytes: Uint8Array): WebAssembly.Module | undefined {
  let file: Buffer;
  try {
    file = readFileSync(path);
  } catch {
    return undefined; // It only saves time.
  }
  const rest = file.subarray(file.indexOf('\n') + 1);
  if (!file.subarray(0, file.length - rest.length).equals(header(rest.length))) return undefined;
  const [module, code] = [rest.subarray(0, bytes.length), rest.subarray(bytes.length)];
  return moduleOf({ host: hostName(), module, bytes: code }, bytes);
}
