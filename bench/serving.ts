/** Requests and bytes a second that a server in the guest serves: HTTP by wrk and ab, Redis by redis-benchmark. */

import { type Context, takeTurns, withServer, withTap } from './context.ts';
import type { Image } from './image.ts';
import { ab, type LoadProgram, missing, redisBenchmark, type WebLoad, wrk } from './loads.ts';
import { tap } from './network.ts';
import type { Metric } from './samples.ts';
import type { VmmName } from './vmm.ts';

/** Connections that lwIP has closed wait for two minutes: in one boot it takes some 2,000, those of other loads included. */
const CONNECTIONS_PER_BOOT = 1500;

interface Load {
  readonly name: string;
  readonly unit: 'requests/s' | 'MB/s';
  readonly program: LoadProgram;
  readonly run: (url: string, seconds: number) => Promise<WebLoad>;
  /** What is asked for; undefined when the image has no such thing. */
  readonly path: (image: Image) => string | undefined;
}

const page = () => '/';
/** In the order in which they are run in one boot: the first makes the code hot, the last uses up connections. */
const LOADS: readonly Load[] = [
  {
    name: '16 connections, right after boot',
    unit: 'requests/s',
    program: 'wrk',
    run: (url, seconds) => wrk(url, 16, seconds),
    path: page,
  },
  {
    name: 'keep-alive, 16 connections',
    unit: 'requests/s',
    program: 'wrk',
    run: (url, seconds) => wrk(url, 16, seconds),
    path: page,
  },
  {
    name: 'keep-alive, 1 connection',
    unit: 'requests/s',
    program: 'wrk',
    run: (url, seconds) => wrk(url, 1, seconds),
    path: page,
  },
  {
    name: '64 KiB files',
    unit: 'MB/s',
    program: 'wrk',
    run: (url, seconds) => wrk(url, 4, seconds),
    path: (image) => image.file64k,
  },
  {
    name: '1 MiB files',
    unit: 'MB/s',
    program: 'wrk',
    run: (url, seconds) => wrk(url, 4, seconds),
    path: (image) => image.file1m,
  },
  {
    name: 'a connection per request, 8 at once',
    unit: 'requests/s',
    program: 'ab',
    run: (url) => ab(url, CONNECTIONS_PER_BOOT, 8),
    path: page,
  },
];

const rate = (image: Image, name: string, unit: string): Metric => ({
  subject: image.name,
  name,
  unit,
  better: 'higher',
});

async function serveWeb(context: Context, vmm: VmmName, image: Image, loads: readonly Load[]): Promise<void> {
  const seconds = context.options.quick ? 2 : 5;
  const origin = `http://${tap(0).guest}:${image.port}`;
  const results = new Map<Load, number>();
  await withServer(context, vmm, image, async () => {
    for (const load of loads) {
      const { requestsPerSecond, megabytesPerSecond, failed } = await load.run(origin + load.path(image), seconds);
      results.set(load, load.unit === 'MB/s' ? megabytesPerSecond : requestsPerSecond);
      if (failed > 0) context.samples.fail(`${image.name} under ${vmm}, ${load.name}: ${failed} requests failed`);
    }
  });
  for (const load of loads) {
    context.samples.add(rate(image, load.name, load.unit), vmm, results.get(load) ?? Number.NaN);
  }
}

async function serveRedis(context: Context, vmm: VmmName, image: Image): Promise<void> {
  const requests = context.options.quick ? 5000 : 50_000;
  const { guest } = tap(0);
  const results = await withServer(context, vmm, image, async () => {
    await redisBenchmark(guest, image.port, 'set,get', requests / 5, 1);
    const single = await redisBenchmark(guest, image.port, 'set,get', requests, 1);
    const pipelined = await redisBenchmark(guest, image.port, 'get', requests * 4, 16);
    return { set: single.get('SET'), get: single.get('GET'), pipelined: pipelined.get('GET') };
  });
  const add = (name: string, value: number | undefined) =>
    context.samples.add(rate(image, name, 'requests/s'), vmm, value ?? Number.NaN);
  add('SET, 16 connections', results?.set);
  add('GET, 16 connections', results?.get);
  add('GET, 16 connections, 16 in a pipeline', results?.pipelined);
}

export async function measureServing(context: Context): Promise<void> {
  const { options, samples } = context;
  const absent = (programs: readonly LoadProgram[]) => {
    const texts = programs.map(missing).filter((text) => text !== '');
    for (const text of texts) samples.note(`Not measured: ${text}`);
    return texts.length > 0;
  };
  for (const image of options.images) {
    if (image.kind === 'http' && !absent(['wrk'])) {
      const loads = LOADS.filter(({ program, path }) => path(image) !== undefined && !absent([program]));
      await takeTurns(context, withTap(context.vmms), `serving ${image.name}`, (vmm) =>
        serveWeb(context, vmm, image, loads),
      );
    } else if (image.kind === 'redis' && !absent(['redis-benchmark'])) {
      await takeTurns(context, withTap(context.vmms), `serving ${image.name}`, (vmm) =>
        serveRedis(context, vmm, image),
      );
    }
  }
}
