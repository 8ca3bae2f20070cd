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
import { assembleModule } from './encoder.ts';
import { machineCodeOf, moduleOf } from './machine-code.ts';

const PAGE_SIZE = 65536;

class WasmCore implements Core {
  readonly buffer: ArrayBuffer;
  readonly run: (op: number) => number;
  readonly flags: () => number;
  private readonly memory: WebAssembly.Memory;
  private readonly table: WebAssembly.Table;
  private readonly imports: Record<string, unknown>;
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
    this.imports = { m: this.memory };
    for (const { name } of REGION_HELPERS) this.imports[name] = exports[name];
  }

  compile(bodies: readonly RegionBody[], slots: number): CompiledRegions {
    const bytes = this.assemble(bodies, slots, []);
    return this.instantiate(new WebAssembly.Module(bytes), bodies.length, bytes.length);
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
    const compiled = this.instantiate(module, bodies.length, bytes.length);
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
    return assembleModule({
      types: CORE_TYPES,
      functionImports: [...REGION_HELPERS],
      memory: { initial: 256, maximum: 65536 },
      ownTable: slots,
      links: links.map((value, i) => (i % 2 === 0 ? value : value + REGION_HELPERS.length)),
      functions: bodies.map(({ code, hints }, i) => ({ type: TYPE_REGION, body: code, hints, exportAs: `f${i}` })),
    });
  }

  private instantiate(module: WebAssembly.Module, count: number, size: number): CompiledRegions {
    const { exports } = new WebAssembly.Instance(module, { e: this.imports });
    const table = exports.table as WebAssembly.Table;
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

/** @param module the core module (interpreter.ts), compiled */
export function wasmCore(module: WebAssembly.Module): CoreFactory {
  return (size, imports) => new WasmCore(module, size, imports);
}
