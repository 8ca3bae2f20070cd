/**
 * V8's machine code of a module, so that another process need not compile it again. Browsers keep such code by V8's own
 * interface, which Node does not offer; what there is are the functions by which V8 tests it (runtime-test-wasm.cc). V8
 * refuses code of another version, of other flags or for another processor; it trusts all else that it is given.
 */
import { statSync } from 'node:fs';
import type { MachineCode } from '../core.ts';
import { setTranslationFlags } from '../v8-flags.ts';

/** Major versions of V8 that were tried: Node 20, 22 and 24. Others may mean something else by these names. */
const TRIED = ['11', '12', '13'];

/**
 * Runs a function body that calls such functions with `a` and `b`. It is compiled each time: V8 forgets the code of what
 * has not run for a while, and reads the source again, which only means something while the flag is set.
 */
function run(body: string, a: unknown, b?: unknown): unknown {
  setTranslationFlags('--allow-natives-syntax');
  try {
    return new Function('a', 'b', body)(a, b);
  } finally {
    setTranslationFlags('--no-allow-natives-syntax');
  }
}

let host: string | undefined;

/** Which program this is, as builds of Node that call themselves the same may differ; empty: it cannot be done. */
function hostName(): string {
  if (host === undefined) {
    host = '';
    const { versions, version, arch, execPath } = process;
    if (TRIED.includes(versions.v8.split('.')[0]))
      try {
        const { size, mtimeMs } = statSync(execPath);
        host = `${version} ${versions.v8} ${arch} ${size} ${mtimeMs}`;
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
  const code = run('return %SerializeWasmModule(a)', module) as ArrayBuffer;
  return { host: hostName(), module: bytes, bytes: new Uint8Array(code) };
}

/** @param bytes of the module @returns undefined if it has to be compiled */
export function moduleOf(code: MachineCode | undefined, bytes: Uint8Array): WebAssembly.Module | undefined {
  if (code === undefined || hostName() === '' || code.host !== hostName()) return undefined;
  if (Buffer.compare(code.module, bytes) !== 0) return undefined;
  const copy = new Uint8Array(code.bytes).buffer;
  return run('return %DeserializeWasmModule(a, b)', copy, bytes) as WebAssembly.Module | undefined;
}
