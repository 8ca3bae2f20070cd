/** Measures what nested activities cost: each has the time that passes while it, and nothing within it, goes on. */

import { SampledProfile } from './speedscope.ts';
import { wrap } from './watch.ts';

interface Activity {
  readonly name: string;
  readonly parent: Activity | undefined;
  readonly children: Map<string, Activity>;
  /** Milliseconds. */
  time: number;
  count: number;
}

function activity(name: string, parent: Activity | undefined): Activity {
  return { name, parent, children: new Map(), time: 0, count: 0 };
}

type Procedures<T> = { [K in keyof T]: T[K] extends (...words: never[]) => unknown ? K : never }[keyof T];

export class Stopwatch {
  private readonly root: Activity;
  private current: Activity;
  private since = performance.now();

  /** @param name what goes on when nothing else does */
  constructor(name: string) {
    this.root = activity(name, undefined);
    this.current = this.root;
  }

  enter(name: string): void {
    this.charge();
    let child = this.current.children.get(name);
    if (child === undefined) {
      child = activity(name, this.current);
      this.current.children.set(name, child);
    }
    child.count++;
    this.current = child;
  }

  leave(): void {
    this.charge();
    this.current = this.current.parent ?? this.root;
  }

  private charge(): void {
    const now = performance.now();
    this.current.time += now - this.since;
    this.since = now;
  }

  /** Calls what counts as the activity `name`. */
  during<T>(name: string, procedure: () => T): T {
    this.enter(name);
    try {
      return procedure();
    } finally {
      this.leave();
    }
  }

  /** Has all calls of a method of one object count as the activity `name`. */
  watch<T extends object, K extends Procedures<T>>(object: T, method: K, name: string): void {
    wrap(object, method, (original) => {
      const call = original as (...words: unknown[]) => unknown;
      return ((...words: unknown[]) => this.during(name, () => call(...words))) as T[K];
    });
  }

  /** The times, and how often each happened, as profiles of nested activities. */
  profiles(): SampledProfile[] {
    this.charge();
    const times = new SampledProfile('monitor: exits and devices, time', 'milliseconds');
    const counts = new SampledProfile('monitor: exits and devices, how often', 'none');
    const visit = ({ name, children, time, count }: Activity, above: readonly string[]): void => {
      const stack = [...above, name];
      times.add(stack, time);
      if (count > 0) {
        counts.add(stack, count);
      }
      for (const child of children.values()) {
        visit(child, stack);
      }
    };
    times.add([this.root.name], this.root.time);
    for (const child of this.root.children.values()) {
      visit(child, []);
    }
    return [times, counts];
  }
}
