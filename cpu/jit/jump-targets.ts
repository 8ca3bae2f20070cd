/** Where indirect jumps were seen to go: generated code notes the targets that it did not know, by the jump's address. */
import { JUMP_TARGET_COUNT, JUMP_TARGETS_STRIDE, S_JUMP_TARGETS, S_JUMP_TARGETS_END } from '../state.ts';

/** The slot that a target is noted in: the upper bits of the product with HASH_FACTOR. */
export const HASH_FACTOR = 0x9e3779b1 | 0;
export const HASH_SHIFT = 32 - Math.log2(JUMP_TARGET_COUNT);

export class JumpTargets {
  private readonly i32: Int32Array;
  private readonly offsets = new Map<number, number>();

  constructor(i32: Int32Array) {
    this.i32 = i32;
  }

  /** Forgets all jumps; no code may be left that notes targets. */
  clear(): void {
    this.i32.fill(0, S_JUMP_TARGETS >> 2, (S_JUMP_TARGETS + this.offsets.size * JUMP_TARGETS_STRIDE) >> 2);
    this.offsets.clear();
  }

  /** Memory for the targets of the jump at an address; 0 when there is no room. */
  memory(low: number): number {
    const known = this.offsets.get(low);
    if (known !== undefined) return known;
    const offset = S_JUMP_TARGETS + this.offsets.size * JUMP_TARGETS_STRIDE;
    if (offset + JUMP_TARGETS_STRIDE > S_JUMP_TARGETS_END) return 0;
    this.offsets.set(low, offset);
    return offset;
  }

  /** Notes a target, as generated code does. */
  note(low: number, target: number): void {
    const offset = this.memory(low);
    if (offset !== 0) this.i32[(offset >> 2) + (Math.imul(target, HASH_FACTOR) >>> HASH_SHIFT)] = target;
  }

  /** Targets (low halves) that the jump at an address was seen to take. */
  seen(low: number): number[] {
    const offset = this.offsets.get(low);
    if (offset === undefined) return [];
    return [...this.i32.subarray(offset >> 2, (offset + JUMP_TARGETS_STRIDE) >> 2)].filter((target) => target !== 0);
  }
}
