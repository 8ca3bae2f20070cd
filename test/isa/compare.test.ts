/** Results that the reference does not repeat, with a reference that is our CPU and has glitches. */
import { describe, expect, it, vi } from 'vitest';
import type { CaseResult, Executor } from './case.ts';
import { compare } from './compare.ts';
import { Emulator } from './emulator.ts';
import { type GeneratedCase, sequence } from './generate.ts';

const RFLAGS_ID = 0x200000;
const emulator = new Emulator();
const cases = Array.from({ length: 8 }, (_, i) => sequence(true, i, 3));
const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});

/** Our CPU; `glitch` says which results have RFLAGS.ID wrong, by the case and by how often that was run. */
function reference(glitch: (testCase: GeneratedCase, times: number) => boolean): Executor {
  const times = new Map<unknown, number>();
  return {
    name: 'reference',
    run: async (batch) => {
      const results = await emulator.run(batch);
      return results.map((result, i): CaseResult => {
        const testCase = batch[i] as GeneratedCase;
        const before = times.get(testCase) ?? 0;
        times.set(testCase, before + 1);
        if (!glitch(testCase, before)) return result;
        const state = result.state.clone();
        state.rflags ^= RFLAGS_ID;
        return { ...result, state };
      });
    },
  };
}

describe('a result that differs', () => {
  it('counts if the reference repeats it', async () => {
    const unstable: string[] = [];
    const found = await compare(
      reference((testCase) => testCase === cases[3]),
      emulator,
      cases,
      unstable,
    );
    expect(found.map(({ testCase }) => testCase)).toEqual([cases[3]]);
    expect(unstable).toEqual([]);
  });

  it('does not count if the reference had it once; it is told', async () => {
    const unstable: string[] = [];
    const once = reference((testCase, times) => testCase === cases[5] && times === 0);
    expect(await compare(once, emulator, cases, unstable)).toEqual([]);
    expect(unstable).toEqual([cases[5].name]);
    expect(warn.mock.lastCall![0]).toContain(`unstable on this host: ${cases[5].name}`);
  });

  it('counts as the reference usually has it if it was another one at first', async () => {
    const unstable: string[] = [];
    // Wrong always but in one of the repetitions.
    const mostly = reference((testCase, times) => testCase === cases[2] && times !== 2);
    const found = await compare(mostly, emulator, cases, unstable);
    expect(found.map(({ differences }) => differences.map(({ where }) => where))).toEqual([['rflags']]);
    expect(unstable).toEqual([cases[2].name]);
  });

  it('must not be unstable often, over several comparisons', async () => {
    const unstable: string[] = [];
    const once = (of: readonly GeneratedCase[]) => reference((testCase, times) => of.includes(testCase) && times === 0);
    await compare(once(cases.slice(0, 2)), emulator, cases, unstable);
    await compare(once(cases.slice(2, 3)), emulator, cases, unstable);
    await expect(compare(once(cases.slice(3, 4)), emulator, cases, unstable)).rejects.toThrow(
      /4 results that reference/,
    );
  });
});
