/** `-d op,out_asm`: the IR of each region that is translated, and the code that is made of it. */

import { regionListing } from '../../cpu/js/region-source.ts';
import type { TranslatedRegion } from '../../cpu/observer.ts';
import { regionIr } from '../../cpu/text/ir-text.ts';
import { wasmText } from '../../cpu/text/wasm-text.ts';
import type { Log } from '../log.ts';
import type { AcceleratorConfig } from '../options/config.ts';
import { address } from './block-log.ts';
import { linearAddress, type Symbols } from './symbols.ts';
import type { Watcher } from './watch.ts';

interface Wanted {
  readonly ir: boolean;
  /** The form of the code; `off`: it is not wanted. */
  readonly code: AcceleratorConfig['jit'];
}

export class RegionLog implements Watcher {
  private readonly log: Log;
  private readonly symbols: Symbols;
  private readonly wanted: Wanted;

  constructor(log: Log, symbols: Symbols, wanted: Wanted) {
    this.log = log;
    this.symbols = symbols;
    this.wanted = wanted;
  }

  translated(region: TranslatedRegion): void {
    const { log, wanted } = this;
    const { ripLow, ripHigh, body } = region;
    const place = `${address(ripLow, ripHigh)} ${this.symbols.place(linearAddress(ripLow, ripHigh))}`.trimEnd();
    if (wanted.ir) {
      log.line(`OP: region ${place}`);
      log.lines(regionIr(region));
      log.line('');
    }
    if (wanted.code !== 'off') {
      log.line(`OUT: region ${place} [size=${body.code.length}]`);
      log.lines(wanted.code === 'js' ? [regionListing(body.code)] : wasmText(body.code).text);
      log.line('');
    }
  }
}
