/**
 * Makes V8's code cache for a bundle, with all of its functions: those that a start with a real guest needs are half of
 * them, and to read a function from the cache costs a tenth of compiling it.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';

const [bundle, file] = process.argv.slice(2);
// The cache is only good under the flags that it was made with, so the flag must be gone when it is written.
setFlagsFromString('--no-lazy');
const script = new Script(readFileSync(bundle, 'latin1'), { filename: bundle });
setFlagsFromString('--lazy');
writeFileSync(file, script.createCachedData());
