/** The core and the regions as JavaScript, for where WebAssembly code must not be generated (`-accel tcg,jit=js`). */
import type {
  CompiledRegions,
  Core,
  CoreFactory,
  CoreImports,
  RegionBody,
  RegionFunction,
  RestoredRegions,
} from '../core.ts';
import { REGION_HELPERS } from '../jit/region-helpers.ts';
import { setTranslationFlags } from '../v8-flags.ts';
import { LIBRARY } from './library.ts';
import { PROLOGUE } from './module.ts';
import { regionSource } from './region-source.ts';

/** What the core's source evaluates to (core-source.ts). */
export type CoreFunction = (buffer: ArrayBuffer, imports: CoreImports, library: typeof LIBRARY) => CoreExports;

interface CoreExports extends Record<(typeof REGION_HELPERS)[number]['name'], unknown> {
  run(op: number): number;
  flags(): number;
  /** The function table: handlers by number, regions. */
  table: (RegionFunction | null)[];
}

/**
 * Source of a function of (buffer, library, core): a compiler of sources that see these names. One for all regions, as
 * taking the names in anew costs more than a small region.
 */
const COMPILER = [
  PROLOGUE,
  `const {${REGION_HELPERS.map(({ name }, i) => `${name}:f${i}`)}}=core;`,
  'return (source,links)=>eval(source);',
].join('\n');

/** V8 never optimises a function of more bytecode than this; its default of 60 KiB is less than a large region has. */
const MAX_BYTECODE = 1 << 20;

class JsCore implements Core {
  readonly buffer: ArrayBuffer;
  readonly run: (op: number) => number;
  readonly flags: () => number;
  private readonly table: CoreExports['table'];
  private readonly evaluate: (source: string, links: (RegionFunction | null)[]) => RegionFunction[];
  /** Less than in WebAssembly: before they are optimised, functions keep every local on the stack. */
  readonly linkDepth = 16;
  readonly linkLocals = 2048;
  readonly hasTailCalls = false;

  constructor(core: CoreFunction, size: number, imports: CoreImports) {
    setTranslationFlags(`--max-optimized-bytecode-size=${MAX_BYTECODE}`);
    this.buffer = new ArrayBuffer(size);
    const exports = core(this.buffer, imports, LIBRARY);
    this.run = exports.run;
    this.flags = exports.flags;
    this.table = exports.table;
    this.evaluate = new Function('buffer', 'library', 'core', COMPILER)(this.buffer, LIBRARY, exports);
  }

  compile(bodies: readonly RegionBody[], slots: number): CompiledRegions {
    return this.restore(bodies, slots, []);
  }

  restore(bodies: readonly RegionBody[], slots: number, links: readonly number[]): RestoredRegions {
    const source = `[${bodies.map(({ code }) => regionSource(code))}]`;
    const table: (RegionFunction | null)[] = Array(slots).fill(null);
    const functions = this.evaluate(source, table);
    for (let i = 0; i < links.length; i += 2) table[links[i]] = functions[links[i + 1]];
    return {
      functions,
      size: source.length,
      link: (slot, region) => {
        table[slot] = region;
      },
      isMachineCode: false,
      machineCode: () => undefined,
    };
  }

  setRegion(index: number, region: RegionFunction | null): void {
    this.table[index] = region;
  }
}

/** @param core the core's source (core-source.ts), evaluated */
export function jsCore(core: CoreFunction): CoreFactory {
  return (size, imports) => new JsCore(core, size, imports);
}
