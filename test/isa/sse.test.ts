/** SSE without the host CPU: when native arithmetic may stand in, what MXCSR then says, and faults. */
import { describe, expect, it } from 'vitest';
import { buildCoreModule } from '../../cpu/wasm/interpreter.ts';
import { type CaseResult, FX_MXCSR, FX_XMM0, initialState, TRAP_NONE } from './case.ts';
import { Emulator } from './emulator.ts';
import { CODE, DATA } from './layout.ts';

const ADDSD = [0xf2, 0x0f, 0x58, 0xc1];
const MULSD = [0xf2, 0x0f, 0x59, 0xc1];
const UCOMISD = [0x66, 0x0f, 0x2e, 0xc1];
const PSRAW_20 = [0x66, 0x0f, 0x71, 0xe0, 0x20];
/** MOVAPS and MOVUPS xmm0, [rbx]. */
const MOVAPS = [0x0f, 0x28, 0x03];
const MOVUPS = [0x0f, 0x10, 0x03];
/** All exceptions masked, none raised; the same with PE raised. */
const MXCSR_RESET = 0x1f80;
const MXCSR_FAST = 0x1fa0;
const VECTOR_GP = 13;
const VECTOR_XM = 19;

const emulator = new Emulator();

/** Runs `code` with XMM0 = a, XMM1 = b and RBX pointing into DATA. */
async function run(code: number[], mxcsr: number, a: number, b: number, offset = 0): Promise<CaseResult> {
  const state = initialState();
  const fx = new DataView(state.fxsave.buffer, state.fxsave.byteOffset);
  fx.setUint32(FX_MXCSR, mxcsr, true);
  fx.setFloat64(FX_XMM0, a, true);
  fx.setFloat64(FX_XMM0 + 16, b, true);
  state.gpr[3] = BigInt(DATA.address + offset);
  const [result] = await emulator.run([{ state, codeAddress: CODE.address, code: Uint8Array.from(code), memory: [] }]);
  return result;
}

function view({ state }: CaseResult): DataView {
  return new DataView(state.fxsave.buffer, state.fxsave.byteOffset);
}
const low = (result: CaseResult) => view(result).getFloat64(FX_XMM0, true);
const mxcsrOf = (result: CaseResult) => view(result).getUint32(FX_MXCSR, true);

describe('scalar double', () => {
  it('leaves generated code neither for usual numbers nor for zeros', async () => {
    const { counters } = emulator.cpu;
    const before = counters.helperCalls;
    expect(low(await run(ADDSD, MXCSR_FAST, 0.1, 0.2))).toBe(0.1 + 0.2);
    expect(low(await run(MULSD, MXCSR_FAST, 0.1, -3))).toBe(0.1 * -3);
    expect(low(await run(MULSD, MXCSR_FAST, 5, -0))).toBe(-0);
    // A comparison does not round: any MXCSR will do.
    expect((await run(UCOMISD, MXCSR_RESET, 1, 2)).state.rflags & 0x45).toBe(0x01);
    // Two each: the HLTs that end the case and its exception's handler.
    expect(counters.helperCalls - before).toBe(8);
    await run(ADDSD, MXCSR_RESET, 0.1, 0.2);
    expect(counters.helperCalls - before).toBe(11);
  });

  it.each([
    ['inexact', ADDSD, MXCSR_RESET, 0.1, 0.2, 0.1 + 0.2, 0x1fa0],
    ['exact', ADDSD, MXCSR_RESET, 1, 2, 3, 0x1f80],
    ['denormal operand', ADDSD, MXCSR_FAST, 1, 5e-324, 1, 0x1fa2],
    ['overflow', MULSD, MXCSR_FAST, 1e300, 1e300, Infinity, 0x1fa8],
    ['underflow', MULSD, MXCSR_FAST, 1e-300, 1e-300, 0, 0x1fb0],
    ['invalid', ADDSD, MXCSR_FAST, Infinity, -Infinity, Number.NaN, 0x1fa1],
    ['rounded up', ADDSD, MXCSR_FAST | 0x4000, 1, 2 ** -60, 1 + 2 ** -52, 0x5fa0],
  ])('%s', async (_, code, mxcsr, a, b, expected, after) => {
    const result = await run(code, mxcsr, a, b);
    expect(result.trap).toBe(TRAP_NONE);
    expect(low(result)).toBe(expected);
    expect(mxcsrOf(result)).toBe(after);
  });

  it('raises #XM for an unmasked exception and keeps the destination', async () => {
    const result = await run(ADDSD, MXCSR_RESET & ~0x1000, 0.1, 0.2);
    expect(result.trap).toBe(VECTOR_XM);
    expect(low(result)).toBe(0.1);
    expect(mxcsrOf(result)).toBe(0xfa0);
  });

  it('compares NaNs as unordered', async () => {
    const result = await run(UCOMISD, MXCSR_RESET, Number.NaN, 1);
    expect(result.state.rflags & 0x8d5).toBe(0x45);
    expect(mxcsrOf(result)).toBe(MXCSR_RESET);
  });
});

it('faults on operands that are not aligned, where they must be', async () => {
  expect((await run(MOVAPS, MXCSR_RESET, 0, 0, 16)).trap).toBe(TRAP_NONE);
  expect((await run(MOVAPS, MXCSR_RESET, 0, 0, 8)).trap).toBe(VECTOR_GP);
  expect((await run(MOVUPS, MXCSR_RESET, 0, 0, 8)).trap).toBe(TRAP_NONE);
});

it('fills with the sign when a shift count exceeds the width', async () => {
  const result = await run(PSRAW_20, MXCSR_RESET, -1, 0);
  // -1 is bff0 0000 0000 0000.
  expect(view(result).getBigUint64(FX_XMM0, true)).toBe(0xffff_0000_0000_0000n);
});

it('keeps the core module small', () => {
  const bytes = buildCoreModule();
  expect(() => new WebAssembly.Module(bytes)).not.toThrow();
  expect(bytes.length).toBeLessThan(450_000);
});
