/**
 * A test case, its result, and how both travel to the native runner (native/runner.c repeats the layout).
 */
import { CODE, CS64, DS } from './layout.ts';

export const RSP = 4;
/** Indices into {@link CpuState.segments}. */
export const SEGMENT_NAMES = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const;
export const GPR_NAMES = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
] as const;

export const RFLAGS_IF = 0x200;
export const RFLAGS_FIXED = 0x002;

/** Bytes of {@link CpuState}. */
export const STATE_SIZE = 688;
const RIP = 16;
const RFLAGS = 17;
const FS_BASE = 18;
const GS_BASE = 19;

/** The user-visible registers of a CPU: views of one buffer in the runner's format. */
export class CpuState {
  readonly bytes: Uint8Array;
  /** The sixteen registers in encoding order. */
  readonly gpr: BigUint64Array;
  /** ES CS SS DS FS GS. */
  readonly segments: Uint16Array;
  /** The x87, MMX, SSE state as FXSAVE64 stores it (SDM vol. 1, 10.5.1), without FOP, FIP and FDP. */
  readonly fxsave: Uint8Array;
  private readonly words: BigUint64Array;

  /** @param buffer holds the state at `offset`, a multiple of 8; omitted: {@link initialState}'s. */
  constructor(buffer: ArrayBufferLike, offset = 0) {
    this.bytes = new Uint8Array(buffer, offset, STATE_SIZE);
    this.gpr = new BigUint64Array(buffer, offset, 16);
    this.words = new BigUint64Array(buffer, offset, 20);
    this.segments = new Uint16Array(buffer, offset + 160, 6);
    this.fxsave = new Uint8Array(buffer, offset + 176, 512);
  }

  get rip(): bigint {
    return this.words[RIP];
  }
  set rip(value: bigint) {
    this.words[RIP] = value;
  }
  get rflags(): number {
    return Number(this.words[RFLAGS]);
  }
  set rflags(value: number) {
    this.words[RFLAGS] = BigInt(value);
  }
  get fsBase(): bigint {
    return this.words[FS_BASE];
  }
  set fsBase(value: bigint) {
    this.words[FS_BASE] = value;
  }
  get gsBase(): bigint {
    return this.words[GS_BASE];
  }
  set gsBase(value: bigint) {
    this.words[GS_BASE] = value;
  }
  get mode64(): boolean {
    return this.segments[1] === CS64;
  }

  clone(): CpuState {
    return new CpuState(this.bytes.slice().buffer);
  }
}

/** Offsets into the FXSAVE image. */
export const FX_FCW = 0;
export const FX_FSW = 2;
/** Abridged: one bit per register, 1 = not empty. */
export const FX_FTW = 4;
export const FX_MXCSR = 24;
/** ST(0)…ST(7), 16 bytes each, of which 10 count. */
export const FX_ST0 = 32;
export const FX_XMM0 = 160;

/** @returns zeroed registers in 64-bit user mode, RIP at the start of CODE, FPU and SSE as after FNINIT and reset. */
export function initialState(): CpuState {
  const state = new CpuState(new ArrayBuffer(STATE_SIZE));
  state.rip = BigInt(CODE.address);
  state.rflags = RFLAGS_FIXED | RFLAGS_IF;
  state.segments[1] = CS64;
  state.segments[2] = DS;
  const fx = new DataView(state.fxsave.buffer, state.fxsave.byteOffset);
  fx.setUint16(FX_FCW, 0x37f, true);
  fx.setUint32(FX_MXCSR, 0x1f80, true);
  return state;
}

/** A qword of memory; `address` is a multiple of 8. */
export interface MemoryWord {
  readonly address: number;
  readonly value: bigint;
}

export interface TestCase {
  readonly state: CpuState;
  /** Where the code lies: its end, `codeAddress + code.length`, ends the case. `state.rip` is the entry. */
  readonly codeAddress: number;
  readonly code: Uint8Array;
  /** Qwords that differ from the regions' usual contents. */
  readonly memory: readonly MemoryWord[];
}

/** `trap` when the code reached its end. Otherwise it is an exception vector, or one of the two below. */
export const TRAP_NONE = -1;
/** The code made a system call (SYSCALL, SYSENTER, INT 0x80), which the runner refuses. */
export const TRAP_SYSCALL = 256;
/** The code ran for 40 ms of CPU time or more. */
export const TRAP_TIMEOUT = 257;

export interface CaseResult {
  /** RIP is the end of the code, or what the exception pushed. */
  readonly state: CpuState;
  readonly trap: number;
  /** The exception's error code, 0 if it has none. */
  readonly error: number;
  /** CR2 if `trap` is #PF, otherwise 0. */
  readonly cr2: bigint;
  /** The qwords of the writable regions that changed, in the order of REGIONS and addresses. */
  readonly memory: readonly MemoryWord[];
}

/** Anything that can execute cases: the native oracle, the interpreter, the JIT. */
export interface Executor {
  readonly name: string;
  run(cases: readonly TestCase[]): Promise<CaseResult[]>;
}
