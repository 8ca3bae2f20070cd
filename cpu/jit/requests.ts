/** Regions that are to be made: they wait for each other, as a module of several costs hardly more than one of one. */

export interface Request {
  readonly ripLow: number;
  readonly ripHigh: number;
  readonly mode: number;
  /** Reach memory by the TLB even if there is a direct window. */
  readonly paged: boolean;
  readonly generation: number;
  /** Is there a region already, to be made anew? */
  readonly anew: boolean;
}

/**
 * Regions are made so many at once at most, in one module, or after so many ms: modules are dear, functions in them
 * cheap, and those that stand side by side are found faster.
 */
const BATCH = 16;
const BATCH_TIME = 50;

export class RequestQueue {
  private requests: Request[] = [];
  /** When the first of them was made, ms of performance.now(). */
  private since = 0;
  private readonly batch: number;
  private readonly batchTime: number;

  /** @param batch regions made at once, at once; undefined: as many as usual */
  constructor(batch: number | undefined) {
    this.batch = batch ?? BATCH;
    this.batchTime = batch === undefined ? BATCH_TIME : 0;
  }

  /** @returns false if there is one for the same code already */
  add(request: Request): boolean {
    const { requests } = this;
    if (requests.length === 0) this.since = performance.now();
    if (!request.anew && requests.some((other) => !other.anew && isSameCode(other, request))) return false;
    requests.push(request);
    return true;
  }

  get length(): number {
    return this.requests.length;
  }

  get isFull(): boolean {
    return this.requests.length >= this.batch;
  }

  /** Have they waited long enough? */
  get isDue(): boolean {
    return this.requests.length > 0 && performance.now() - this.since >= this.batchTime;
  }

  /** All of them, which no longer wait. */
  take(): Request[] {
    const { requests } = this;
    this.requests = [];
    return requests;
  }
}

/** One request for each code, with all that is asked of it. */
export function merged(requests: readonly Request[]): Request[] {
  const all = new Map<string, Request>();
  for (const request of requests) {
    const key = `${request.ripLow} ${request.ripHigh} ${request.mode}`;
    const other = all.get(key);
    const paged = request.paged || (other?.paged ?? false);
    all.set(key, { ...request, paged, generation: Math.max(request.generation, other?.generation ?? 0) });
  }
  return [...all.values()];
}

/** Do two places hold the same code in the same mode? */
function isSameCode(a: Request, b: Request): boolean {
  return a.ripLow === b.ripLow && a.ripHigh === b.ripHigh && a.mode === b.mode;
}
