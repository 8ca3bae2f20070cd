/** The debug registers' fixed and defined bits (Intel SDM vol. 3B 18.2). */

export const DR6_BD = 1 << 13;
export const DR6_BS = 1 << 14;
export const DR7_GD = 1 << 13;

const DR6_FIXED = 0xffff0ff0 | 0;
const DR6_WRITABLE = 0xe00f;
const DR7_FIXED = 0x400;
const DR7_WRITABLE = 0xffff23ff | 0;

/** DR6 as it reads after `value` was written. */
export function dr6Image(value: number): number {
  return (value & DR6_WRITABLE) | DR6_FIXED;
}

export function dr7Image(value: number): number {
  return (value & DR7_WRITABLE) | DR7_FIXED;
}
