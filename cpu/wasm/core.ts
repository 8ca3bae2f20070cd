/** The core and the regions as WebAssembly: one module owns the function table, regions come in modules of their own. */
import type { CompiledRegions, Core, CoreFactory, CoreImports, RegionBody } from '../core.ts';
import { HELPER_TABLE_SIZE, REGION_HELPERS } from '../jit/region-state.ts';
import { CORE_TYPES, TYPE_REGION } from './core-types.ts';
import { assembleModule } from './encoder.ts';

const PAGE_SIZE = 65536;

class WasmCore implements Core {
  readonly buffer: ArrayBuffer;
  readonly run: (op: number) => number;
  readonly flags: () => number;
  private readonly memory: WebAssembly.Memory;
  private readonly table: WebAssembly.Table;
  private readonly helperTable: WebAssembly.Table;
  private heedsHints = false;

  constructor(module: WebAssembly.Module, size: number, imports: CoreImports) {
    const pages = Math.ceil(size / PAGE_SIZE);
    // V8 does not count shared memory as something that collecting garbage may free: no collection when it is made.
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.buffer = this.memory.buffer;
    const { exports } = new WebAssembly.Instance(module, { e: { m: this.memory, ...imports } });
    this.run = exports.run as (op: number) => number;
    this.flags = exports.flags as () => number;
    this.table = exports.table as WebAssembly.Table;
    this.helperTable = new WebAssembly.Table({ element: 'anyfunc', initial: HELPER_TABLE_SIZE });
    for (const [i, name] of REGION_HELPERS.entries()) this.helperTable.set(i, exports[name]);
  }

  compile(bodies: readonly RegionBody[]): CompiledRegions {
    if (!this.heedsHints) {
      this.heedsHints = true;
      // V8 heeds branch hints only when told to. Now and not before: loading node:v8 takes milliseconds of a start.
      process.getBuiltinModule('node:v8').setFlagsFromString('--experimental-wasm-branch-hinting');
    }
    const bytes = assembleModule({
      types: CORE_TYPES,
      functionImports: [],
      memory: { initial: 256, maximum: 65536 },
      importedTable: HELPER_TABLE_SIZE,
      functions: bodies.map(({ code, hints }, i) => ({ type: TYPE_REGION, body: code, hints, exportAs: `f${i}` })),
    });
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
      e: { m: this.memory, t: this.helperTable },
    });
    return { functions: bodies.map((_, i) => exports[`f${i}`] as () => number), size: bytes.length };
  }

  setRegion(index: number, region: (() => number) | null): void {
    if (index >= this.table.length) this.table.grow(this.table.length);
    this.table.set(index, region);
  }
}

/** @param module the core module (interpreter.ts), compiled */
export function wasmCore(module: WebAssembly.Module): CoreFactory {
  return (size, imports) => new WasmCore(module, size, imports);
}
