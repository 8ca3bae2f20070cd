/** Copies of a result with parts of it changed, or taken from another result. */
import { type CaseResult, type CpuState, FX_FSW, FX_ST0, FX_XMM0 } from './case.ts';

/** The x87 status word. */
export const fsw = ({ state }: CaseResult): number => state.fxsave[FX_FSW] | (state.fxsave[FX_FSW + 1] << 8);

/** @returns `result` after `change` of its registers; itself if nothing changed. */
export function withState(result: CaseResult, change: (state: CpuState) => void): CaseResult {
  const state = result.state.clone();
  change(state);
  return Buffer.compare(state.bytes, result.state.bytes) === 0 ? result : { ...result, state };
}

export function withFault(result: CaseResult, { trap, error, cr2 }: CaseResult): CaseResult {
  return { ...result, trap, error, cr2 };
}

/** @returns `result` with its x87 stack turned so that TOP is that of `from`. */
export function withTopOf(result: CaseResult, from: CaseResult): CaseResult {
  const top = (fsw(from) >> 11) & 7;
  const turn = (top - ((fsw(result) >> 11) & 7)) & 7;
  return withState(result, ({ fxsave }) => {
    fxsave[FX_FSW + 1] = (fxsave[FX_FSW + 1] & ~0x38) | (top << 3);
    for (let i = 0; i < 8; i++) {
      const at = FX_ST0 + ((i + turn) & 7) * 16;
      fxsave.set(result.state.fxsave.subarray(at, at + 16), FX_ST0 + i * 16);
    }
  });
}

/** @returns `result` with the elements of XMM registers, of `size` bytes, that are NaNs in both as they are in `from`. */
export function withNaNsOf(result: CaseResult, from: CaseResult, size: 4 | 8): CaseResult {
  const holdsNaN = ({ state: { fxsave } }: CaseResult, at: number) => {
    const view = new DataView(fxsave.buffer, fxsave.byteOffset);
    return Number.isNaN(size === 4 ? view.getFloat32(at, true) : view.getFloat64(at, true));
  };
  return withState(result, ({ fxsave }) => {
    for (let at = FX_XMM0; at < FX_XMM0 + 256; at += size)
      if (holdsNaN(result, at) && holdsNaN(from, at)) fxsave.set(from.state.fxsave.subarray(at, at + size), at);
  });
}
