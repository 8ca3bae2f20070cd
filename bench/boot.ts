/** Start: from exec to the first byte on the serial line, and to the first good answer. */

import { type Context, takeTurns, withServer, withTap } from './context.ts';

/** A start is short, and its time varies: more of them than of other runs. */
const STARTS_PER_TURN = 3;

export async function measureBoot(context: Context): Promise<void> {
  const { options, samples } = context;
  for (const image of options.images.filter(({ kind }) => kind === 'http')) {
    const metric = (name: string) => ({ subject: image.name, name, unit: 'ms', better: 'lower' }) as const;
    for (let repeat = 0; repeat < (options.quick ? 1 : STARTS_PER_TURN); repeat++) {
      await takeTurns(context, withTap(context.vmms), `boot of ${image.name}`, async (vmm, before) => {
        const times = await withServer(context, vmm, image, async (guest, answered) => ({
          byte: guest.firstByte - guest.started,
          answer: answered - guest.started,
        }));
        if (before) return;
        samples.add(metric('exec to first serial byte'), vmm, times?.byte ?? Number.NaN);
        samples.add(metric('exec to first HTTP 200'), vmm, times?.answer ?? Number.NaN);
      });
    }
  }
}
