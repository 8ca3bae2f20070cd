/** Guests that compute and end: wall time from exec to exit. */

import { type Context, specOf, start, takeTurns, withTap } from './context.ts';

const TIMEOUT_MS = 300_000;

export async function measureCpuGuests(context: Context): Promise<void> {
  const { options, samples } = context;
  for (const image of options.images.filter(({ kind }) => kind === 'cpu')) {
    const metric = { subject: image.name, name: 'exec to exit', unit: 's', better: 'lower' } as const;
    await takeTurns(context, withTap(context.vmms), image.name, async (vmm, before) => {
      const guest = start(context, vmm, specOf(image, undefined));
      const status = await guest.exit(TIMEOUT_MS);
      const seconds = (performance.now() - guest.started) / 1000;
      const printed = image.expect === undefined || guest.stdout.includes(image.expect);
      if (status !== 0 || !printed) {
        const what = printed ? `status ${status}` : `no "${image.expect}" on the console`;
        samples.fail(`${image.name} under ${vmm} failed: ${what}: ${guest.lastWords}`);
      }
      if (!before) samples.add(metric, vmm, status === 0 && printed ? seconds : Number.NaN);
    });
  }
}
