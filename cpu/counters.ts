/** What the CPU counts for `-d stats`. */
import { S_COMPILED_CALLS, S_COMPILED_EXCEPTIONS } from './state.ts';

/** By EXIT_* code. */
export const EXIT_NAMES = [
  'go on',
  'interpret',
  'away',
  'unknown code',
  'budget spent',
  'hot block',
  'exception',
  'halt',
  'event',
  'shutdown',
  'exit site',
];

export class CpuCounters {
  private readonly i32: Int32Array;

  constructor(i32: Int32Array) {
    this.i32 = i32;
  }

  /** Exits of the core to TypeScript, by EXIT_* code. */
  readonly exits = new Float64Array(EXIT_NAMES.length);
  /** Instructions executed by helpers in TypeScript. */
  helperCalls = 0;

  /** One line for each kind of exit that happened, and the helper calls. */
  lines(): string[] {
    const exits = EXIT_NAMES.map((name, code) => `exits, ${name}: ${this.exits[code]}`);
    const compiled = this.i32[S_COMPILED_CALLS >> 2] >>> 0;
    const exceptions = this.i32[S_COMPILED_EXCEPTIONS >> 2] >>> 0;
    return [
      ...exits.filter((_, code) => this.exits[code] > 0),
      `helper calls: ${this.helperCalls}`,
      `by compiled helpers: ${compiled} instructions, ${exceptions} exceptions`,
    ];
  }
}
