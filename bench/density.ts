/** Many idle guests at once: how many fit a GiB, and how the CPU they take grows. */

import { readFileSync } from 'node:fs';
import { type Context, specOf, start, takeTurns, withTap } from './context.ts';
import { type GuestProcess, sleep } from './guest-process.ts';
import { firstAnswer } from './http.ts';
import type { Image } from './image.ts';
import { TAPS, tap } from './network.ts';
import { loadOf, memoryOf } from './process-cost.ts';
import type { VmmName } from './vmm.ts';

const COUNTS = [1, 2, 4, 8, 16];
const SETTLE_MS = 3000;
const GIB = 2 ** 30 / 1e6;
/** MB that a guest may need at most, with 64M of its own. */
const ROOM = 150;

/** @returns how many guests this machine has the memory for */
function mostGuests(): number {
  const available = Number(/^MemAvailable: +(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]) / 1000;
  return Math.min(TAPS, Math.floor(available / ROOM));
}

/** @returns percent of a core by count, and MB of PSS of each of the most guests; what could not be had is missing */
async function measureOnce(context: Context, vmm: VmmName, image: Image, counts: readonly number[]) {
  const guests: GuestProcess[] = [];
  const loads = new Map<number, number>();
  let each = Number.NaN;
  try {
    for (const count of counts) {
      while (guests.length < count) {
        const slot = guests.length;
        const guest = start(context, vmm, specOf(image, slot));
        guests.push(guest);
        await firstAnswer(guest, 'http', tap(slot).guest, image.port);
      }
      await sleep(SETTLE_MS);
      const pids = guests.map(({ pid }) => pid);
      loads.set(count, await loadOf(pids, context.options.quick ? 3 : 10));
      if (count === counts.at(-1)) each = pids.reduce((sum, pid) => sum + memoryOf(pid).pss, 0) / count;
    }
  } catch (error) {
    context.samples.fail(`${guests.length} guests of ${image.name} under ${vmm} failed: ${(error as Error).message}`);
  } finally {
    await Promise.all(guests.map((guest) => guest.stop()));
  }
  return { loads, each };
}

export async function measureDensity(context: Context): Promise<void> {
  const { options, samples } = context;
  const room = mostGuests();
  const counts = COUNTS.filter((count) => count <= (options.quick ? Math.min(4, room) : room));
  if (room < TAPS) samples.note(`There is memory for ${room} guests only.`);
  for (const image of options.images.filter(({ kind }) => kind === 'http')) {
    if (!image.append.includes('{guest}')) {
      samples.note(
        `Density of ${image.name} is not measured: its append= has no {guest}, so all would have one address`,
      );
      continue;
    }
    await takeTurns(context, withTap(context.vmms), `density of ${image.name}`, async (vmm) => {
      const { loads, each } = await measureOnce(context, vmm, image, counts);
      const add = (name: string, unit: string, better: 'higher' | 'lower', value: number) =>
        samples.add({ subject: image.name, name, unit, better }, vmm, value);
      for (const count of counts) {
        const name = `CPU of ${count} idle guest${count === 1 ? '' : 's'}`;
        add(name, '% of a core', 'lower', loads.get(count) ?? Number.NaN);
      }
      add(`PSS of each of ${counts.at(-1)}`, 'MB', 'lower', each);
      add('idle guests in a GiB', 'guests', 'higher', GIB / each);
    });
  }
}
