/** The core and the regions as WebAssembly: one module owns the function table, regions come in modules of their own. */
import type {
  CompiledRegions,
  Core,
  CoreFactory,
  CoreImports,
  MachineCode,
  RegionBody,
  RegionFunction,
  RestoredRegions,
} from '../core.ts';
import { REGION_HELPERS } from '../jit/region-helpers.ts';
import { setTranslationFlags } from '../v8-flags.ts';
import { CORE_TYPES, TYPE_REGION } from './core-types.ts';
import * as wasm from './encoder.ts';
import { machineCodeOf, moduleOf } from './machine-code.ts';

const PAGE_SIZE = 65536;

class WasmCore implements Core {
  readonly buffer: ArrayBuffer;
  readonly run: (op: number) => number;
  readonly flags: () => number;
  private readonly memory: WebAssembly.Memory;
  private readonly table: WebAssembly.Table;
  private readonly helpers: unknown[];
  readonly linkDepth = 64;
  readonly linkLocals = 8192;
  readonly hasTailCalls = true;
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
    this.helpers = REGION_HELPERS.map(({ name }) => exports[name]);
  }

  compile(bodies: readonly RegionBody[], slots: number): CompiledRegions {
    const bytes = this.assemble(bodies, slots, []);
    return this.instantiate(new WebAssembly.Module(bytes), bodies.length, slots, bytes.length);
  }

  restore(
    bodies: readonly RegionBody[],
    slots: number,
    links: readonly number[],
    machineCode: MachineCode | undefined,
  ): RestoredRegions {
    const bytes = this.assemble(bodies, slots, links);
    const known = moduleOf(machineCode, bytes);
    const module = known ?? new WebAssembly.Module(bytes);
    const compiled = this.instantiate(module, bodies.length, slots, bytes.length);
    return {
      ...compiled,
      isMachineCode: known !== undefined,
      machineCode: () => machineCodeOf(module, compiled.functions, bytes),
    };
  }

  /** Bytes of a module of regions. */
  private assemble(bodies: readonly RegionBody[], slots: number, links: readonly number[]): Uint8Array {
    if (!this.heedsHints) {
      this.heedsHints = true;
      // V8 heeds branch hints only when told to.
      setTranslationFlags('--experimental-wasm-branch-hinting');
    }
    return wasm.assembleModule({
      types: CORE_TYPES,
      functionImports: [],
      memory: { initial: 256, maximum: 65536 },
      ownTable: slots + REGION_HELPERS.length,
      links: links.map((value, i) => (i % 2 === 0 ? value : value + REGION_HELPERS.length)),
      functions: [
        ...REGION_HELPERS.map(({ type }, i) => ({ type, body: throughTable(type, slots + i) })),
        ...bodies.map(({ code, hints }, i) => ({ type: TYPE_REGION, body: code, hints, exportAs: `f${i}` })),
      ],
    });
  }

  private instantiate(module: WebAssembly.Module, count: number, slots: number, size: number): CompiledRegions {
    const { exports } = new WebAssembly.Instance(module, { e: { m: this.memory } });
    const table = exports.table as WebAssembly.Table;
    for (let i = 0; i < REGION_HELPERS.length; i++) table.set(slots + i, this.helpers[i]);
    return {
      functions: Array.from({ length: count }, (_, i) => exports[`f${i}`] as RegionFunction),
      size,
      link: (slot, region) => table.set(slot, region),
    };
  }

  setRegion(index: number, region: RegionFunction | null): void {
    if (index >= this.table.length) this.table.grow(this.table.length);
    this.table.set(index, region);
  }
}

/**
 * Body of a function that calls the one at an index of the table. Regions reach helpers so, as for functions that a module
 * imports V8 makes code to call JavaScript, though none of them is, for each module: a tenth of all translation. Nor is a
 * table imported: V8 looks through those that share one whenever it changes.
 */
function throughTable(type: number, index: number): Uint8Array {
  const out = new wasm.Encoder();
  out.u32(0);
  for (let i = 0; i < CORE_TYPES[type].parameters.length; i++) out.localGet(i);
  out.i32Const(index);
  out.byte(wasm.RETURN_CALL_INDIRECT);
  out.u32(type);
  out.u32(0);
  out.byte(wasm.END);
  return out.written();
}

/** @param module the core module (interpreter.ts), compiled */
export function wasmCore(module: WebAssembly.Module): CoreFactory {
  return (size, imports) => new WasmCore(module, size, imports);
}
