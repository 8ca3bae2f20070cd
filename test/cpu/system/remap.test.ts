/**
 * Translated code and the direct window while the guest changes its page tables: what it may rely on once it has flushed
 * translations (SDM vol. 3A 4.10.4), however the change was made, and what must not cost it its translations.
 */
import { describe, expect, test } from 'vitest';
import { EXIT_MISS } from '../../../cpu/exits.ts';
import { BareCpu, CODE, call, DATA, le32, PD, PDPT, PML4, PT, RAX, RBX } from './bare-cpu.ts';

const PF = 14;
const D = 0x40;
const G = 0x100;
/** Linear addresses from here on are outside RAM: a large page there shows the first 2 MiB once more. */
const ALIAS = 0x1000000;
const FUNCTION = CODE + 0x1000;
/** A page of tables for a second address space. */
const SPARE_TABLES = 0x90000;

/** mov dword [address], value (both below 2 GiB) */
const store = (address: number, value: number) => `c7 04 25 ${le32(address)} ${le32(value)}`;
const invlpg = (address: number) => `0f 01 3c 25 ${le32(address)}`;
/** mov eax, root; mov cr3, rax */
const loadRoot = (root: number) => `b8 ${le32(root)} 0f 22 d8`;
/** A loop of 40 turns around `body`, and a RET. */
const loop = (body: string) => {
  const length = body.trim().split(/\s+/).length;
  return `b9 28 00 00 00 ${body} ff c9 75 ${(256 - length - 4).toString(16)} c3`;
};
/** mov eax, [address] and mov ebx, [address] */
const load = (address: number) => `8b 04 25 ${le32(address)}`;
const loadB = (address: number) => `8b 1c 25 ${le32(address)}`;
const pte = (address: number) => PT + (address >> 12) * 8;

describe.each([
  ['interpreted', 0],
  ['translated', 4],
])('%s', (_, hotThreshold) => {
  /** 64-bit mode, 1:1, with the alias, two values in DATA's frame and the next, and a hot loop that reads DATA. */
  function machine(): BareCpu {
    const bare = new BareCpu({}, { hotThreshold, batch: 1 }).long();
    bare.view.setBigUint64(PD + (ALIAS >> 21) * 8, 0x87n, true);
    bare.view.setUint32(DATA, 1, true);
    bare.view.setUint32(DATA + 0x1000, 2, true);
    bare.put(FUNCTION, loop(load(DATA)));
    for (let i = 0; i < 3; i++) bare.run(`${call(FUNCTION)} ${call(FUNCTION)}`);
    expect(bare.gpr(RAX)).toBe(1);
    if (hotThreshold !== 0) expect(bare.cpu.regions!.counters.regions).toBeGreaterThan(0);
    return bare;
  }

  const moved = (DATA + 0x1000) | 7;

  test('a page of the window moves: a store to its table, and INVLPG', () => {
    const bare = machine();
    bare.run(`${store(pte(DATA), moved)} ${invlpg(DATA)} ${call(FUNCTION)}`);
    expect(bare.gpr(RAX)).toBe(2);
    bare.run(`${store(pte(DATA), DATA | 7)} ${invlpg(DATA)} ${call(FUNCTION)}`);
    expect(bare.gpr(RAX)).toBe(1);
  });

  test('a page that is elsewhere stays clean: the window does not reach it', () => {
    const bare = machine();
    const other = pte(DATA + 0x1000);
    bare.run(`${store(other, DATA | 7)} ${invlpg(DATA + 0x1000)} ${call(FUNCTION)}`);
    expect(bare.view.getUint32(other, true) & D).toBe(0);
  });

  test('the store goes through another linear address', () => {
    const bare = machine();
    bare.run(`${store(ALIAS + pte(DATA), moved)} ${invlpg(DATA)} ${call(FUNCTION)}`);
    expect(bare.gpr(RAX)).toBe(2);
  });

  test('the store is that of a hot loop', () => {
    const bare = machine();
    bare.put(FUNCTION + 0x100, loop(`${store(pte(DATA), moved)} ${invlpg(DATA)} ${loadB(DATA)}`));
    bare.run(`${call(FUNCTION + 0x100)} ${call(FUNCTION)}`);
    expect([bare.gpr(RAX), bare.gpr(RBX)]).toEqual([2, 2]);
  });

  test('the store is a string instruction', () => {
    const bare = machine();
    bare.view.setBigUint64(DATA + 0x800, BigInt(moved), true);
    // mov esi, DATA + 0x800; mov edi, PTE; mov ecx, 8; rep movsb
    const copy = `be ${le32(DATA + 0x800)} bf ${le32(pte(DATA))} b9 08 00 00 00 f3 a4`;
    bare.run(`${copy} ${invlpg(DATA)} ${call(FUNCTION)}`);
    expect(bare.gpr(RAX)).toBe(2);
  });

  test('the store is made by a device, and CR3 is loaded with what it had', () => {
    const bare = machine();
    bare.view.setUint32(pte(DATA), moved, true);
    bare.cpu.ramWritten(pte(DATA), 4);
    bare.run(`${loadRoot(PML4)} ${call(FUNCTION)}`);
    expect(bare.gpr(RAX)).toBe(2);
  });

  test('a level above changes', () => {
    const bare = machine();
    // A copy of the page table with DATA moved takes the old one's place.
    for (let n = 0; n < 512; n++) bare.view.setBigUint64(SPARE_TABLES + n * 8, BigInt(n << 12) | 7n, true);
    bare.view.setUint32(SPARE_TABLES + (DATA >> 12) * 8, moved, true);
    bare.run(`${store(PD, SPARE_TABLES | 7)} ${invlpg(DATA)} ${call(FUNCTION)}`);
    expect(bare.gpr(RAX)).toBe(2);
  });

  test('a page of the window goes away', () => {
    const bare = machine();
    expect(bare.run(`${store(pte(DATA), 0)} ${invlpg(DATA)} ${call(FUNCTION)}`)).toMatchObject({
      vector: PF,
      error: 0,
    });
    expect(bare.cr2).toBe(DATA);
  });

  test('a page of the window becomes read-only', () => {
    const bare = machine();
    bare.put(FUNCTION + 0x100, loop(`89 04 25 ${le32(DATA)}`));
    bare.run(call(FUNCTION + 0x100));
    const outcome = bare.run(`${store(pte(DATA), DATA | 5)} ${invlpg(DATA)} ${call(FUNCTION + 0x100)}`);
    expect(outcome).toMatchObject({ vector: PF, error: 3 });
  });

  test('a dirty bit that was cleared is set again', () => {
    const bare = machine();
    bare.put(FUNCTION + 0x100, loop(`89 04 25 ${le32(DATA)}`));
    bare.run(call(FUNCTION + 0x100));
    expect(bare.view.getUint8(pte(DATA)) & D).toBe(D);
    bare.run(`${store(pte(DATA), DATA | 7)} ${invlpg(DATA)} ${call(FUNCTION + 0x100)}`);
    expect(bare.view.getUint8(pte(DATA)) & D).toBe(D);
  });

  test('a global page moves', () => {
    const bare = machine();
    // mov rax, cr4; bts eax, 7; mov cr4, rax
    bare.run(`0f 20 e0 0f ba e8 07 0f 22 e0 ${store(pte(DATA), DATA | G | 7)} ${invlpg(DATA)} ${call(FUNCTION)}`);
    expect(bare.gpr(RAX)).toBe(1);
    bare.run(`${store(pte(DATA), moved | G)} ${invlpg(DATA)} ${call(FUNCTION)}`);
    expect(bare.gpr(RAX)).toBe(2);
  });

  test('a block goes on in a frame that does not follow, and stores to itself there', () => {
    const bare = machine();
    // The page behind FUNCTION's is in a frame further on; the MOV stands there.
    const frame = SPARE_TABLES;
    bare.view.setBigUint64(pte(FUNCTION + 0x1000), BigInt(frame | 7), true);
    // loop: mov edi, DATA; cmp ebx, 1; cmove edi, esi; mov ecx, 1; mov al, bl; a32 rep stosb; mov eax, …
    const body = `bf ${le32(DATA)} 83 fb 01 0f 44 fe b9 01 00 00 00 88 d8 67 f3 aa`;
    const length = body.split(' ').length;
    const start = FUNCTION + 0x1000 - length;
    bare.put(start, body);
    bare.put(frame, `b8 ${le32(7)} ff cb 75 ${(256 - length - 9).toString(16)} c3`);
    // mov esi, …; mov ebx, 40
    const turns = (last: number) => `be ${le32(last)} bb 28 00 00 00 ${call(start)}`;
    bare.run(`${loadRoot(PML4)} ${turns(DATA)} ${turns(DATA)}`);
    expect(bare.gpr(RAX)).toBe(7);
    bare.run(turns(FUNCTION + 0x1001));
    expect(bare.gpr(RAX)).toBe(1);
  });

  test('code moves to another frame', () => {
    const bare = machine();
    bare.put(FUNCTION + 0x2000, loop(load(DATA + 0x1000)));
    bare.run(`${store(pte(FUNCTION), (FUNCTION + 0x2000) | 7)} ${invlpg(FUNCTION)} ${call(FUNCTION)}`);
    expect(bare.gpr(RAX)).toBe(2);
  });

  test('code in the middle of a region moves, and its entry stays', () => {
    const bare = machine();
    const OUTER = FUNCTION + 0x4000;
    bare.put(FUNCTION, `${load(DATA)} c3`);
    bare.put(FUNCTION + 0x2000, `${load(DATA + 0x1000)} c3`);
    bare.put(OUTER, loop(`e8 ${le32(FUNCTION - OUTER - 10)}`));
    for (let i = 0; i < 3; i++) bare.run(call(OUTER));
    expect(bare.gpr(RAX)).toBe(1);
    bare.run(`${store(pte(FUNCTION), (FUNCTION + 0x2000) | 7)} ${invlpg(FUNCTION)} ${call(OUTER)}`);
    expect(bare.gpr(RAX)).toBe(2);
  });

  test('code in a large page that is split: INVLPG of another part of it', () => {
    const bare = machine();
    const LARGE = 0x200000;
    bare.put(LARGE, loop(load(DATA)));
    bare.put(LARGE + 0x1000, loop(load(DATA + 0x1000)));
    bare.run(`${call(LARGE)} ${call(LARGE)}`);
    expect(bare.gpr(RAX)).toBe(1);
    for (let n = 0; n < 512; n++) bare.view.setBigUint64(SPARE_TABLES + n * 8, BigInt(LARGE + (n << 12)) | 7n, true);
    bare.view.setBigUint64(SPARE_TABLES, BigInt(LARGE + 0x1000) | 7n, true);
    bare.run(`${store(PD + 8, SPARE_TABLES | 7)} ${invlpg(LARGE + 0x123456)} ${call(LARGE)}`);
    expect(bare.gpr(RAX)).toBe(2);
  });

  test('data of a large page that is split', () => {
    const bare = machine();
    const LARGE = 0x200000;
    bare.view.setUint32(LARGE, 3, true);
    bare.view.setUint32(LARGE + 0x1000, 4, true);
    bare.put(FUNCTION + 0x100, loop(load(LARGE)));
    bare.run(call(FUNCTION + 0x100));
    expect(bare.gpr(RAX)).toBe(3);
    for (let n = 0; n < 512; n++) bare.view.setBigUint64(SPARE_TABLES + n * 8, BigInt(LARGE + (n << 12)) | 7n, true);
    bare.view.setBigUint64(SPARE_TABLES, BigInt(LARGE + 0x1000) | 7n, true);
    bare.run(`${store(PD + 8, SPARE_TABLES | 7)} ${invlpg(LARGE)} ${call(FUNCTION + 0x100)}`);
    expect(bare.gpr(RAX)).toBe(4);
    // One of the small pages again.
    bare.run(`${store(SPARE_TABLES, LARGE | 7)} ${invlpg(LARGE)} ${call(FUNCTION + 0x100)}`);
    expect(bare.gpr(RAX)).toBe(3);
  });

  describe('two address spaces', () => {
    const ROOT = SPARE_TABLES;
    /** A second root; its own tables down to that of the first 2 MiB, where `entries` differ. */
    function second(bare: BareCpu, entries: readonly (readonly [address: number, frame: number])[]): void {
      const { view } = bare;
      const [pdpt, pd, pt] = [0x1000, 0x2000, 0x3000].map((distance) => ROOT + distance);
      for (const [from, to] of [
        [PML4, ROOT],
        [PDPT, pdpt],
        [PD, pd],
        [PT, pt],
      ])
        for (let n = 0; n < 512; n++) view.setBigUint64(to + n * 8, view.getBigUint64(from + n * 8, true), true);
      view.setBigUint64(ROOT, BigInt(pdpt) | 7n, true);
      view.setBigUint64(pdpt, BigInt(pd) | 7n, true);
      view.setBigUint64(pd, BigInt(pt) | 7n, true);
      for (const [address, frame] of entries) view.setBigUint64(pt + (address >> 12) * 8, BigInt(frame) | 7n, true);
    }
    const results = (bare: BareCpu, code: string) =>
      [ROOT, PML4, ROOT, PML4].map((root) => {
        bare.run(`${loadRoot(root)} ${code}`);
        return bare.gpr(RAX);
      });

    test('data is elsewhere: other windows', () => {
      const bare = machine();
      second(bare, [[DATA, DATA + 0x1000]]);
      expect(results(bare, call(FUNCTION))).toEqual([2, 1, 2, 1]);
    });

    test('data is elsewhere, in one piece of code', () => {
      const bare = machine();
      second(bare, [[DATA, DATA + 0x1000]]);
      // push rcx; …; mov ecx, eax; switch back; load; pop rcx
      bare.put(FUNCTION + 0x100, loop(`${loadRoot(ROOT)} ${load(DATA)} 89 c3 ${loadRoot(PML4)} ${load(DATA)}`));
      for (let i = 0; i < 3; i++) bare.run(call(FUNCTION + 0x100));
      expect([bare.gpr(RAX), bare.gpr(RBX)]).toEqual([1, 2]);
    });

    test('code is elsewhere', () => {
      const bare = machine();
      second(bare, [[FUNCTION, FUNCTION + 0x2000]]);
      bare.put(FUNCTION + 0x2000, loop(load(DATA + 0x1000)));
      expect(results(bare, call(FUNCTION))).toEqual([2, 1, 2, 1]);
    });

    test('the same translations serve both where they agree', () => {
      const bare = machine();
      second(bare, []);
      expect(results(bare, call(FUNCTION))).toEqual([1, 1, 1, 1]);
      bare.put(FUNCTION + 0x100, loop(`${loadRoot(ROOT)} ${load(DATA)} ${loadRoot(PML4)} ${loadB(DATA)}`));
      bare.run(call(FUNCTION + 0x100));
      bare.run(call(FUNCTION + 0x100));
      const misses = bare.cpu.counters.exits[EXIT_MISS];
      bare.go(CODE);
      expect(bare.cpu.counters.exits[EXIT_MISS]).toBe(misses);
    });

    test('a table that both use changes while the other one is active', () => {
      const bare = machine();
      second(bare, []);
      // Both directories point to the first one's page table.
      bare.view.setBigUint64(ROOT + 0x2000, BigInt(PT) | 7n, true);
      expect(results(bare, call(FUNCTION))).toEqual([1, 1, 1, 1]);
      bare.run(`${loadRoot(ROOT)} ${store(pte(DATA), moved)} ${invlpg(DATA)} ${call(FUNCTION)}`);
      expect(bare.gpr(RAX)).toBe(2);
      expect(results(bare, call(FUNCTION))).toEqual([2, 2, 2, 2]);
    });
  });

  test('INVLPG of pages without code leaves what is known by address alone', () => {
    const bare = machine();
    // movabs rax, 0x1_0002_1000 (FUNCTION's page, one 4 GiB further); invlpg [rax]
    const elsewhere = `48 b8 ${le32(FUNCTION)} 01 00 00 00 0f 01 38`;
    const code = `${elsewhere} ${invlpg(DATA)} ${call(FUNCTION)}`;
    bare.run(code);
    bare.go(CODE);
    const misses = bare.cpu.counters.exits[EXIT_MISS];
    const killed = bare.cpu.regions?.counters.killed;
    bare.go(CODE);
    expect(bare.cpu.counters.exits[EXIT_MISS]).toBe(misses);
    expect(bare.cpu.regions?.counters.killed).toBe(killed);
  });
});
