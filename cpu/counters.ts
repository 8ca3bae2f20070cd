/** What the CPU counts for `-d stats`. */

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
  /** Exits of the core to TypeScript, by EXIT_* code. */
  readonly exits = new Float64Array(EXIT_NAMES.length);
  /** Instructions executed by helpers. */
  helperCalls = 0;

  /** One line for each kind of exit that happened, and the helper calls. */
  lines(): string[] {
    const exits = EXIT_NAMES.map((name, code) => `exits, ${name}: ${this.exits[code]}`);
    return [...exits.filter((_, code) => this.exits[code] > 0), `helper calls: ${this.helperCalls}`];
  }
}
