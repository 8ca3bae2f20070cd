/**
 * V8's machine code of a module, so that another process need not compile it again. Browsers keep such code by V8's own
 * interface, which Node does not offer; what there is are the functions by which V8 tests it (runtime-test-wasm.cc). V8
 * refuses code of another version, of other flags or for another processor; it trusts all else that it is given.
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
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

/**
 * Which program this is, as builds of Node that call themselves the same may differ: they hardly have the same size then.
 * Empty: it cannot be done.
 */
function hostName(): string {
  if (host === undefined) {
    host = '';
    const { versions, version, arch, execPath } = process;
    if (TRIED.includes(versions.v8.split('.')[0]))
      try {
        host = `${version} ${versions.v8} ${arch} ${statSync(execPath).size}`;
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
  return { host: hostName(), module: bytes, bytes: serialized(module) };
}

function serialized(module: WebAssembly.Module): Uint8Array {
  return new Uint8Array(run('return %SerializeWasmModule(a)', module) as ArrayBuffer);
}

/** @param bytes of the module @returns undefined if it has to be compiled */
export function moduleOf(code: MachineCode | undefined, bytes: Uint8Array): WebAssembly.Module | undefined {
  if (code === undefined || hostName() === '' || code.host !== hostName()) return undefined;
  if (Buffer.compare(code.module, bytes) !== 0) return undefined;
  return deserialized(new Uint8Array(code.bytes).buffer, bytes);
}

function deserialized(code: ArrayBuffer, bytes: Uint8Array): WebAssembly.Module | undefined {
  return run('return %DeserializeWasmModule(a, b)', code, bytes) as WebAssembly.Module | undefined;
}

/** Bytes at the beginning of a file of machine code that say what it is, with zeros behind the text. */
const HEADER_BYTES = 128;

function header(length: number): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.write(`${hostName()} ${length}`, 'latin1');
  return bytes;
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
  const code = serialized(module);
  return Buffer.concat([header(code.length), code]);
}

/** @param path of a file of `precompiled` @param bytes of the module @returns undefined if it has to be compiled */
export function moduleFromFile(path: string, bytes: Uint8Array): WebAssembly.Module | undefined {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    return undefined; // It only saves time.
  }
  try {
    const code = new Uint8Array(Math.max(0, fstatSync(file).size - HEADER_BYTES));
    const found = Buffer.alloc(HEADER_BYTES);
    readSync(file, found);
    if (hostName() === '' || !found.equals(header(code.length))) return undefined;
    return readSync(file, code) === code.length ? deserialized(code.buffer, bytes) : undefined;
  } finally {
    closeSync(file);
  }
}
