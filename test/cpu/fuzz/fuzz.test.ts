/**
 * Random programs under the interpreter and under a tier of the translator each: the same end of both. `TSVMM_LONG` runs
 * LONG_COUNT of them; `FUZZ_SEED` and `FUZZ_COUNT` choose others.
 */
import { describe, expect, it } from 'vitest';
import { differsAnew, INTERPRETER, listing, machine, minimise, runAndCompare, SHARES, TIERS } from './compare.ts';
import { generate } from './program.ts';

const LONG_COUNT = 100_000;
const SEED = Number(process.env.FUZZ_SEED ?? 1);
const COUNT = Number(process.env.FUZZ_COUNT ?? (process.env.TSVMM_LONG ? LONG_COUNT : 200));

describe.each([
  ['through a direct window', true],
  ['through the TLB', false],
])('%s', (_, direct) => {
  it(
    'programs end the same in all tiers',
    () => {
      const reference = machine(INTERPRETER, direct);
      const subjects = TIERS.map((tier) => ({ tier, machine: machine(tier, direct) }));
      let ended = 0;
      for (let i = 0; i < COUNT / 2; i++) {
        const seed = SEED + i * 2 + Number(direct);
        const program = generate(seed);
        if (!reference.run(program, seed)) continue;
        ended++;
        const { tier, machine } = subjects.find(({ tier }) => i % SHARES < tier.until)!;
        const found = runAndCompare(reference, machine, program, seed);
        if (found === undefined) continue;
        const differs = (candidate: typeof program) => differsAnew(candidate, tier, direct, seed);
        if (differs(program) === undefined) expect.fail(`${tier.name}, seed ${seed}, only after others:\n${found}`);
        const smallest = minimise(program, (candidate) => differs(candidate) !== undefined);
        expect.fail(`${tier.name}, seed ${seed}:\n${differs(smallest)}\n${listing(smallest)}`);
      }
      // Otherwise little would have been compared: programs that run for ever, tiers that translate nothing.
      expect(ended).toBeGreaterThan((COUNT / 2) * 0.98);
      for (const { tier, machine } of subjects) {
        const { regions, restored } = machine.cpu.regions!.counters;
        expect(regions, tier.name).toBeGreaterThan(COUNT / 2 / SHARES);
        if (tier.again) expect(restored, tier.name).toBeGreaterThan(COUNT / 2 / SHARES);
      }
    },
    60_000 + COUNT * 1000,
  );
});
