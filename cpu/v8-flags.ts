/**
 * What V8 is told about translated code, when the first of it is loaded or made. Machine code is only good under the flags
 * that it was written under: these have to be the same whenever there is to do with it (wasm/machine-code.ts).
 *
 * The nursery of the heap does not grow: what translation throws away dies at once, and would fill 16 MiB for it.
 */
const FOR_TRANSLATION = '--semi-space-growth-factor=1';

/** @param flags others, of a back end */
export function setTranslationFlags(...flags: readonly string[]): void {
  const { setFlagsFromString } = process.getBuiltinModule('node:v8');
  for (const flag of [FOR_TRANSLATION, ...flags]) setFlagsFromString(flag);
}
