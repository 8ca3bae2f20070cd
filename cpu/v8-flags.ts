/**
 * What V8 is told when the first region is made. Not before: loading node:v8 takes milliseconds of a start.
 *
 * The nursery of the heap does not grow: what translation throws away dies at once, and would fill 16 MiB for it.
 */
const FOR_TRANSLATION = '--semi-space-growth-factor=1';

/** @param flags others, of a back end */
export function setTranslationFlags(...flags: readonly string[]): void {
  const { setFlagsFromString } = process.getBuiltinModule('node:v8');
  for (const flag of [FOR_TRANSLATION, ...flags]) setFlagsFromString(flag);
}
