/** What was measured: a row for each thing, in it a sample for each monitor and pair. */

import type { VmmName } from './vmm.ts';

export interface Metric {
  /** What was run: an image, or a kernel of the image of kernels. */
  readonly subject: string;
  readonly name: string;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
}

export interface Row extends Metric {
  /** Samples in the order of the pairs; NaN (in JSON null) where one could not be taken. */
  readonly samples: Partial<Record<VmmName, number[]>>;
}

export class Samples {
  readonly rows: Row[] = [];
  /** What the reader must know: what is missing, what failed. */
  readonly notes: string[] = [];
  /** Something went wrong that a note tells. */
  failed = false;

  add(metric: Metric, vmm: VmmName, value: number): void {
    let row = this.rows.find((other) => other.subject === metric.subject && other.name === metric.name);
    if (row === undefined) {
      row = { ...metric, samples: {} };
      this.rows.push(row);
    }
    const list = (row.samples[vmm] ??= []);
    list.push(value);
  }

  fail(text: string): void {
    this.failed = true;
    this.note(text);
  }

  note(text: string): void {
    const line = text.trim().replaceAll(/\s+/g, ' ');
    if (!this.notes.includes(line)) this.notes.push(line);
  }
}
