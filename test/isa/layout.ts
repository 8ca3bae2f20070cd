/**
 * The address space in which test cases run, the same for every executor: the native oracle maps it as it is, the
 * emulated CPU by page tables of its own. Everything else is unmapped, so each region ends at a fault.
 *
 * Code runs in user mode (CPL 3, IOPL 0, IF = 1, CR0.AM = NE = WP = 1) as a Linux process does.
 */

export interface Region {
  readonly name: string;
  readonly address: number;
  /** Bytes, a multiple of the page size. */
  readonly length: number;
  readonly writable: boolean;
  readonly executable: boolean;
}

const PAGE = 0x1000;

export const CODE: Region = region('code', 0x2000_0000, 2, true, true);
export const DATA: Region = region('data', 0x1000_0000, 2, true, false);
export const READ_ONLY: Region = region('read-only', 0x1001_0000, 1, false, false);
export const STACK: Region = region('stack', 0x1002_0000, 1, true, false);
/** Beyond 4 GiB, for addresses that need 64 bits. */
export const HIGH: Region = region('high', 0x1234_5678_9000, 1, true, false);
/** Within reach of 16-bit addressing. */
export const LOW: Region = region('low', 0x9000, 1, true, false);
export const REGIONS: readonly Region[] = [CODE, DATA, READ_ONLY, STACK, HIGH, LOW];

/** Never mapped, whatever else is: for faults. */
export const UNMAPPED = 0x1800_0000;

/**
 * Pages that the native runner has of its own at fixed addresses (EXIT_PAGE and EXIT_POINTER64 in native/runner.c): on
 * the host they are mapped, and a random address may hit them.
 */
export const RUNNER_PAGES: readonly number[] = [0x2000_f000, 0x4001_e000];

/** Selectors of the user segments, all flat: Linux' __USER32_CS, __USER_DS and __USER_CS. */
export const CS32 = 0x23;
export const DS = 0x2b;
export const CS64 = 0x33;

/** INT3: what lies around the code. */
const INT3 = 0xcc;

/** What values are worth meeting in memory, as qwords; between them lie pseudo-random ones. */
const NOTABLE: readonly bigint[] = [
  0n,
  0xffff_ffff_ffff_ffffn,
  1n,
  0x8000_0000_0000_0000n,
  0x7fff_ffff_ffff_ffffn,
  0x8000_0000_8000_0000n,
  0x7fff_ffff_7fff_ffffn,
  0x8000_8000_8000_8000n,
  0x8080_8080_8080_8080n,
  0x3ff0_0000_0000_0000n, // 1.0
  0x7ff0_0000_0000_0000n, // +∞
  0xfff8_0000_0000_0000n, // the default NaN
  0x7ff0_0000_0000_0001n, // a signalling NaN
  0x0000_0000_0000_0001n, // the smallest denormal
  0x3f80_0000_bf80_0000n, // 1.0f, -1.0f
  0x7f80_0000_ffc0_0000n, // +∞f, NaNf
];

function region(name: string, address: number, pages: number, writable: boolean, executable: boolean): Region {
  return { name, address, length: pages * PAGE, writable, executable };
}

/** @returns what `region` holds before each case's own bytes are put there. */
export function contents(region: Region): Uint8Array {
  const bytes = new Uint8Array(region.length);
  if (region.executable) return bytes.fill(INT3);
  const words = new BigUint64Array(bytes.buffer);
  let seed = BigInt(region.address) | 1n;
  for (let i = 0; i < words.length; i++) {
    seed = BigInt.asUintN(64, seed * 6364136223846793005n + 1442695040888963407n);
    words[i] = i % 3 === 0 ? NOTABLE[(i / 3) % NOTABLE.length] : seed ^ (seed >> 29n);
  }
  return bytes;
}
