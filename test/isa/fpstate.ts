/** Random x87, MMX and SSE states as FXSAVE64 images (Intel SDM vol. 1, 8.1 and 10.2). */
import { FX_FCW, FX_FSW, FX_FTW, FX_MXCSR, FX_ST0, FX_XMM0 } from './case.ts';
import type { Rng } from './rng.ts';
import { type ElementKind, float80, qword } from './values.ts';

const EXCEPTIONS = 0x3f;
const FSW_ES = 0x80;
const FSW_B = 0x8000;
/** FCW and MXCSR with every exception masked. */
const FCW_RESET = 0x37f;
const MXCSR_RESET = 0x1f80;

export function randomX87(image: Uint8Array, rng: Rng): void {
  const view = new DataView(image.buffer, image.byteOffset);
  let fcw = FCW_RESET;
  if (rng.chance(50)) fcw = (fcw & ~0xf00) | (rng.below(4) << 10) | (rng.pick([0, 2, 3, 3]) << 8);
  if (rng.chance(12)) fcw &= ~EXCEPTIONS | rng.u32();
  // C0–C3 and TOP at random, exceptions now and then; ES and B follow from them.
  let fsw = rng.u32() & 0x7f00;
  if (rng.chance(30)) fsw |= rng.u32() & (EXCEPTIONS | 0x40);
  // An exception already pending hides everything else: keep that rare.
  if (!rng.chance(15)) fsw &= ~EXCEPTIONS | (fcw & EXCEPTIONS);
  if (fsw & ~fcw & EXCEPTIONS) fsw |= FSW_ES | FSW_B;
  view.setUint16(FX_FCW, fcw, true);
  view.setUint16(FX_FSW, fsw, true);
  const top = (fsw >> 11) & 7;
  view.setUint8(
    FX_FTW,
    rng.weighted([
      [0xff, 30],
      [0, 5],
      [rng.below(256), 20],
      [stackOf(rng.below(9), top), 45],
    ]),
  );
  for (let i = 0; i < 8; i++) {
    const { significand, signExponent } = float80(rng);
    view.setBigUint64(FX_ST0 + i * 16, significand, true);
    view.setUint16(FX_ST0 + i * 16 + 8, signExponent, true);
  }
}

/** The abridged tags of a stack whose `depth` uppermost registers are in use. */
function stackOf(depth: number, top: number): number {
  let tags = 0;
  for (let i = 0; i < depth; i++) tags |= 1 << ((top + i) & 7);
  return tags;
}

/** MMX registers in use: all tags valid, TOP 0, exponents all ones. */
export function randomMmx(image: Uint8Array, rng: Rng): void {
  const view = new DataView(image.buffer, image.byteOffset);
  view.setUint8(FX_FTW, 0xff);
  const kind = rng.pick<ElementKind>(['integer', 'bytes', 'float32']);
  for (let i = 0; i < 8; i++) {
    view.setBigUint64(FX_ST0 + i * 16, qword(rng, kind), true);
    view.setUint16(FX_ST0 + i * 16 + 8, 0xffff, true);
  }
}

export function randomMxcsr(rng: Rng): number {
  let mxcsr = MXCSR_RESET;
  if (rng.chance(40)) mxcsr |= rng.below(4) << 13; // RC
  if (rng.chance(20)) mxcsr |= 0x8000; // FTZ
  if (rng.chance(20)) mxcsr |= 0x40; // DAZ
  if (rng.chance(20)) mxcsr |= rng.u32() & EXCEPTIONS;
  if (rng.chance(12)) mxcsr &= ~(EXCEPTIONS << 7) | rng.u32();
  return mxcsr;
}

/** @param kind of the elements of most registers. */
export function randomSse(image: Uint8Array, rng: Rng, kind: ElementKind): void {
  const view = new DataView(image.buffer, image.byteOffset);
  view.setUint32(FX_MXCSR, randomMxcsr(rng), true);
  for (let i = 0; i < 32; i++) view.setBigUint64(FX_XMM0 + i * 8, qword(rng, kind), true);
}
