/**
 * Profiles in the form of speedscope (https://www.speedscope.app/file-format-schema.json): "sampled" ones, several in one
 * file with one list of frames.
 */

import { VERSION } from '../version.ts';

/** What a profile's weights count. */
export type Unit = 'milliseconds' | 'none';

/** Samples are told apart as long as there are no more; those that come then count where their stack stands already. */
const SAMPLES_MOST = 200_000;

/** Names of frames, each once. */
class Frames {
  private readonly indices = new Map<string, number>();

  index(name: string): number {
    const known = this.indices.get(name) ?? this.indices.size;
    this.indices.set(name, known);
    return known;
  }

  list(): { readonly name: string }[] {
    return [...this.indices.keys()].map((name) => ({ name }));
  }
}

/** One profile: stacks, outermost frame first, each with a weight. */
export class SampledProfile {
  private readonly name: string;
  private readonly unit: Unit;
  private readonly samples: (readonly string[])[] = [];
  private readonly weights: number[] = [];
  /** The last sample of each stack. */
  private readonly latest = new Map<string, number>();

  constructor(name: string, unit: Unit) {
    this.name = name;
    this.unit = unit;
  }

  /** Samples of one stack that follow each other are one. */
  add(stack: readonly string[], weight: number): void {
    const key = stack.join('\0');
    const same = this.latest.get(key);
    if (same !== undefined && (same === this.samples.length - 1 || this.samples.length >= SAMPLES_MOST)) {
      this.weights[same] += weight;
      return;
    }
    this.latest.set(key, this.samples.length);
    this.samples.push(stack);
    this.weights.push(weight);
  }

  /** As the file has it. */
  format(frames: Frames): object {
    return {
      type: 'sampled',
      name: this.name,
      unit: this.unit,
      startValue: 0,
      endValue: this.weights.reduce((sum, weight) => sum + weight, 0),
      samples: this.samples.map((stack) => stack.map((name) => frames.index(name))),
      weights: this.weights,
    };
  }
}

/** @param name of the whole */
export function speedscopeFile(name: string, profiles: readonly SampledProfile[]): string {
  const frames = new Frames();
  const formatted = profiles.map((profile) => profile.format(frames));
  return JSON.stringify({
    $schema: 'https://www.speedscope.app/file-format-schema.json',
    shared: { frames: frames.list() },
    profiles: formatted,
    name,
    activeProfileIndex: 0,
    exporter: `tsvmm ${VERSION}`,
  });
}
