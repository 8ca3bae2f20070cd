/** Has the region compiler translate small pieces of code that do not run, and keeps what it makes. */
import type { CoreFactory, RegionBody } from '../../../../cpu/core.ts';
import { decode } from '../../../../cpu/decode/decoder.ts';
import { Insn } from '../../../../cpu/decode/insn.ts';
import { attributesOf } from '../../../../cpu/isa/encoding.ts';
import { ATTR_END } from '../../../../cpu/isa/table.ts';
import { definitionOf } from '../../../../cpu/lift/lift.ts';
import { Lifter } from '../../../../cpu/lift/lifter.ts';
import { S_MODE } from '../../../../cpu/state.ts';
import { IrText } from '../../../../cpu/text/ir-text.ts';
import { hexBytes } from '../../../../cpu/text/names.ts';
import { testCore } from '../../core.ts';
import { BareCpu, CODE } from '../../system/bare-cpu.ts';

const CODE_SIZE_64 = 8;
/** What stands behind the code. */
const HLT = 0xf4;

export interface TranslationOptions {
  /** Reach memory by the TLB. */
  readonly paged?: boolean;
  /** Offset from which on the code hardly ever ran. */
  readonly cold?: number;
}

/** @returns the body of the region that begins with the first of these bytes */
export function translate(code: Uint8Array, { paged = false, cold }: TranslationOptions = {}): Uint8Array {
  const bodies: RegionBody[] = [];
  const machine = new BareCpu({}, { core: keeping(bodies), hotThreshold: 1 }).long();
  const { cpu } = machine;
  machine.ram.set(code, CODE);
  // Nothing has run, but all else counts as warm.
  const warm = cold ?? code.findLastIndex((byte) => byte !== HLT) + 1;
  cpu.blocks.executions = (low) => (low < CODE + warm ? 1 : 0);
  const regions = cpu.regions!;
  regions.request(CODE, 0, cpu.i32[S_MODE >> 2], paged);
  regions.compile();
  return bodies[0].code;
}

/** Runs a program. @returns the body of the last region that was made of it */
export function translateRunning(code: Uint8Array): Uint8Array {
  const bodies: RegionBody[] = [];
  const machine = new BareCpu({}, { core: keeping(bodies), hotThreshold: 8, batch: 1, patience: 4 }).long();
  machine.ram.set(code, CODE);
  machine.go(CODE);
  return bodies[bodies.length - 1].code;
}

/** A core that notes the bodies of regions. */
function keeping(bodies: RegionBody[]): CoreFactory {
  return (size, imports) => {
    const core = testCore('wasm')(size, imports);
    const compile = core.compile.bind(core);
    core.compile = (made, ...rest) => {
      bodies.push(...made);
      return compile(made, ...rest);
    };
    return core;
  };
}

/**
 * Lifts one instruction after the other, `count` of them from offset `first` on.
 * @returns the bytes of each as text, and its IR (undefined: a helper executes it)
 */
export function lift(code: Uint8Array, first: number, count: number): { bytes: string; ir: string[] | undefined }[] {
  const insn = new Insn();
  const lifter = new Lifter(false);
  const text = new IrText(lifter.ir);
  let at = first;
  return Array.from({ length: count }, () => {
    const length = decode(insn, code, at, CODE_SIZE_64, 8);
    const bytes = hexBytes(code.subarray(at, at + length));
    at += length;
    const definition = definitionOf(insn.row);
    lifter.begin(insn, CODE + at, 0);
    definition?.(lifter);
    const ir = definition === undefined ? undefined : text.more();
    // What defines a flag is known within a block only.
    if (definition === undefined || attributesOf[insn.row] & ATTR_END) lifter.flags.reset();
    return { bytes, ir };
  });
}
