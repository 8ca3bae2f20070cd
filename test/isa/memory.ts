/** Single bytes of the memory before and after a case, whose results tell changed qwords only. */
import type { CaseResult, MemoryWord, TestCase } from './case.ts';
import { contents, REGIONS, type Region } from './layout.ts';

const views = new Map<Region, DataView>();

/** The qword at `address`, a multiple of 8, before the case; 0 outside the regions. */
function wordBefore({ memory }: TestCase, address: number): bigint {
  const own = memory.find((word) => word.address === address);
  if (own) return own.value;
  const region = REGIONS.find((r) => address >= r.address && address < r.address + r.length);
  if (!region) return 0n;
  let view = views.get(region);
  if (!view) views.set(region, (view = new DataView(contents(region).buffer)));
  return view.getBigUint64(address - region.address, true);
}

/** The bytes from `address` on before the case, at most 4. */
export function before(testCase: TestCase, address: number, count: number): number {
  const aligned = address - (address % 8);
  const both = (wordBefore(testCase, aligned + 8) << 64n) | wordBefore(testCase, aligned);
  return Number(BigInt.asUintN(count * 8, both >> BigInt((address - aligned) * 8)));
}

/** @returns `to` with the `count` bytes of memory from `address` on as they are in `from`. */
export function takeBytes(
  testCase: TestCase,
  to: CaseResult,
  from: CaseResult,
  address: number,
  count: number,
): CaseResult {
  const words = new Map(to.memory.map((word) => [word.address, word.value]));
  const others = new Map(from.memory.map((word) => [word.address, word.value]));
  let changed = false;
  for (let at = address; at < address + count; at++) {
    const word = at - (at % 8);
    const now = words.get(word) ?? wordBefore(testCase, word);
    const other = others.get(word) ?? wordBefore(testCase, word);
    const mask = 0xffn << BigInt((at % 8) * 8);
    const value = (now & ~mask) | (other & mask);
    changed ||= value !== now;
    if (value === wordBefore(testCase, word)) words.delete(word);
    else words.set(word, value);
  }
  const memory: MemoryWord[] = [...words].map(([where, value]) => ({ address: where, value }));
  return changed ? { ...to, memory } : to;
}
