/**
 * When the phases of a start were reached (`-d startup`), in milliseconds since the process began, as Node measures it:
 * performance.timeOrigin, some ms after exec.
 */

interface Phase {
  readonly name: string;
  readonly time: number;
}

const phases: Phase[] = [];

/** A phase of the start has been reached. */
export function mark(name: string): void {
  phases.push({ name, time: performance.now() });
}

type Methods<T> = { [K in keyof T]: T[K] extends (...words: never[]) => unknown ? K : never }[keyof T];

/** Marks the first call of a method whose result `counts`; the method is wrapped only until then. */
export function markFirst<T extends object>(
  object: T,
  method: Methods<T>,
  name: string,
  counts: (result: unknown) => boolean = () => true,
): void {
  const original = object[method] as (...words: unknown[]) => unknown;
  object[method] = function (this: T, ...words: unknown[]): unknown {
    const result = original.apply(this, words);
    if (counts(result)) {
      object[method] = original as T[typeof method];
      mark(name);
    }
    return result;
  } as T[typeof method];
}

/** What has been marked, in the order of time, after what Node says of itself. */
export function startupLines(): string[] {
  const { v8Start, bootstrapComplete } = performance.nodeTiming;
  const own = [
    { name: 'V8 starts', time: v8Start },
    { name: 'Node is up', time: bootstrapComplete },
  ];
  return [...own, ...phases].map(({ name, time }) => `${time.toFixed(1).padStart(8)} ms: ${name}`);
}
