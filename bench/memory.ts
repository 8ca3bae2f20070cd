/** Memory after boot and after load, and the CPU that an idle guest takes in between. */

import { type Context, takeTurns, withServer, withTap } from './context.ts';
import { sleep } from './guest-process.ts';
import { missing, wrk } from './loads.ts';
import { tap } from './network.ts';
import { loadOf, memoryOf } from './process-cost.ts';

/** What the start made hot is compiled in the background for a while. */
const SETTLE_MS = 3000;

export async function measureMemory(context: Context): Promise<void> {
  const { options, samples } = context;
  const noLoad = missing('wrk');
  if (noLoad) samples.note(`Memory under load is not measured: ${noLoad}`);
  for (const image of options.images.filter(({ kind }) => kind === 'http')) {
    const metric = (name: string, unit: string) => ({ subject: image.name, name, unit, better: 'lower' }) as const;
    await takeTurns(context, withTap(context.vmms), `memory of ${image.name}`, async (vmm) => {
      const cost = await withServer(context, vmm, image, async ({ pid }) => {
        const booted = memoryOf(pid);
        await sleep(SETTLE_MS);
        const idle = await loadOf([pid], options.quick ? 3 : 10);
        if (noLoad) return { booted, idle, loaded: undefined };
        await wrk(`http://${tap(0).guest}:${image.port}/`, 16, options.quick ? 3 : 15);
        return { booted, idle, loaded: memoryOf(pid) };
      });
      const add = (name: string, unit: string, value: number | undefined) =>
        samples.add(metric(name, unit), vmm, value ?? Number.NaN);
      add('RSS after boot', 'MB', cost?.booted.rss);
      add('PSS after boot', 'MB', cost?.booted.pss);
      add('RSS after load', 'MB', cost?.loaded?.rss);
      add('PSS after load', 'MB', cost?.loaded?.pss);
      add('CPU of one idle guest', '% of a core', cost?.idle);
    });
  }
}
