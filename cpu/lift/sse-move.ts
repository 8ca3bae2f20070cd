/** SSE data movement (SDM vol. 2: MOVAPS … MOVQ, MOVMSKPS, PMOVMSKB, PMOVSX/PMOVZX, STMXCSR). */
import * as simd from '../ir/simd.ts';
import { S_MXCSR } from '../state.ts';
import type { Lifter } from './lifter.ts';
import {
  type Definitions,
  extract,
  fromInteger,
  low,
  replace,
  requireAligned,
  setXmm,
  shuffle,
  splat,
  unaligned,
  v,
  vector,
  xmm,
} from './vector.ts';

function moveAligned(l: Lifter): void {
  const value = vector(l, 1);
  if (l.isMemory(0)) {
    requireAligned(l);
    l.store(16, l.address(), value);
  } else setXmm(l, 0, value);
}

function moveUnaligned(l: Lifter): void {
  const value = unaligned(l, 1);
  if (l.isMemory(0)) l.store(16, l.address(), value);
  else setXmm(l, 0, value);
}

/** MOVSS, MOVSD: a load clears the rest of the register, a move between registers keeps it. */
function moveScalar(l: Lifter): void {
  const bytes = l.bytes(0);
  const value = low(l, 1, bytes);
  if (l.isMemory(0)) l.store(bytes, l.address(), value);
  else if (l.isMemory(1)) setXmm(l, 0, fromInteger(l, bytes, value));
  else setXmm(l, 0, replace(l, bytes, xmm(l, 0), 0, value));
}

/** MOVLPS, MOVHPS and their double-precision twins: one half of a register from or to memory. */
function moveHalf(l: Lifter, half: number): void {
  if (l.isMemory(0)) l.store(8, l.address(), extract(l, 8, xmm(l, 1), half));
  else setXmm(l, 0, replace(l, 8, xmm(l, 0), half, low(l, 1, 8)));
}

/** MOVD between a general register or memory (4 or 8 bytes) and a register, cleared above. */
function moveInteger(l: Lifter): void {
  if (l.row.operands[0].mode === 'V') setXmm(l, 0, fromInteger(l, l.bytes(1), l.get(1)));
  else l.set(0, extract(l, l.bytes(0), xmm(l, 1), 0));
}

function moveQuad(l: Lifter): void {
  const value = low(l, 1, 8);
  if (l.isMemory(0)) l.store(8, l.address(), value);
  else setXmm(l, 0, fromInteger(l, 8, value));
}

/** PMOVSX, PMOVZX: the low 2, 4 or 8 bytes, widened lane by lane by the operations of `steps`. */
function extend(bytes: number, ...steps: number[]): (l: Lifter) => void {
  return (l) => {
    let value = l.isMemory(1) ? fromInteger(l, bytes, l.load(bytes, l.address())) : xmm(l, 1);
    for (const step of steps) value = v(l, step, value);
    setXmm(l, 0, value);
  };
}

export const sseMoves: Definitions = {
  MOVAPS: moveAligned,
  MOVAPD: moveAligned,
  MOVDQA: moveAligned,
  MOVUPS: moveUnaligned,
  MOVUPD: moveUnaligned,
  MOVDQU: moveUnaligned,
  LDDQU: moveUnaligned,
  MOVNTDQA: moveAligned,
  MOVNTPS: moveAligned,
  MOVNTPD: moveAligned,
  MOVNTDQ: moveAligned,
  MOVSS: moveScalar,
  MOVSD: moveScalar,
  MOVLPS: (l) => moveHalf(l, 0),
  MOVLPD: (l) => moveHalf(l, 0),
  MOVHPS: (l) => moveHalf(l, 1),
  MOVHPD: (l) => moveHalf(l, 1),
  MOVHLPS: (l) => setXmm(l, 0, replace(l, 8, xmm(l, 0), 0, extract(l, 8, xmm(l, 1), 1))),
  MOVLHPS: (l) => setXmm(l, 0, replace(l, 8, xmm(l, 0), 1, extract(l, 8, xmm(l, 1), 0))),
  MOVD: moveInteger,
  MOVQ: moveQuad,
  MOVDDUP: (l) => setXmm(l, 0, splat(l, 8, low(l, 1, 8))),
  MOVSLDUP: (l) => duplicate(l, [0, 0, 2, 2]),
  MOVSHDUP: (l) => duplicate(l, [1, 1, 3, 3]),
  MOVMSKPS: (l) => l.set(0, v(l, simd.I32X4_BITMASK, xmm(l, 1))),
  MOVMSKPD: (l) => l.set(0, v(l, simd.I64X2_BITMASK, xmm(l, 1))),
  PMOVMSKB: (l) => l.set(0, v(l, simd.I8X16_BITMASK, xmm(l, 1))),
  PMOVSXBW: extend(8, simd.I16X8_EXTEND_LOW_I8X16_S),
  PMOVSXBD: extend(4, simd.I16X8_EXTEND_LOW_I8X16_S, simd.I32X4_EXTEND_LOW_I16X8_S),
  PMOVSXBQ: extend(2, simd.I16X8_EXTEND_LOW_I8X16_S, simd.I32X4_EXTEND_LOW_I16X8_S, simd.I64X2_EXTEND_LOW_I32X4_S),
  PMOVSXWD: extend(8, simd.I32X4_EXTEND_LOW_I16X8_S),
  PMOVSXWQ: extend(4, simd.I32X4_EXTEND_LOW_I16X8_S, simd.I64X2_EXTEND_LOW_I32X4_S),
  PMOVSXDQ: extend(8, simd.I64X2_EXTEND_LOW_I32X4_S),
  PMOVZXBW: extend(8, simd.I16X8_EXTEND_LOW_I8X16_U),
  PMOVZXBD: extend(4, simd.I16X8_EXTEND_LOW_I8X16_U, simd.I32X4_EXTEND_LOW_I16X8_U),
  PMOVZXBQ: extend(2, simd.I16X8_EXTEND_LOW_I8X16_U, simd.I32X4_EXTEND_LOW_I16X8_U, simd.I64X2_EXTEND_LOW_I32X4_U),
  PMOVZXWD: extend(8, simd.I32X4_EXTEND_LOW_I16X8_U),
  PMOVZXWQ: extend(4, simd.I32X4_EXTEND_LOW_I16X8_U, simd.I64X2_EXTEND_LOW_I32X4_U),
  PMOVZXDQ: extend(8, simd.I64X2_EXTEND_LOW_I32X4_U),
  STMXCSR: (l) => l.store(4, l.address(), l.field(S_MXCSR, 4)),
};

function duplicate(l: Lifter, lanes: readonly number[]): void {
  const value = vector(l, 1);
  setXmm(l, 0, shuffle(l, value, value, lanes));
}
