/**
 * Columns of the opcode table: what the decoder, the records, the translator … know of each row, as numbers. Where the
 * sources run as they are (tests, the build) they are computed from the rows; the build embeds the result in the program
 * (OPCODE_COLUMNS), so that a start parses no table.
 */
import { allRows, type OpcodeRow } from './table.ts';

/** JSON: name → base64. */
declare const OPCODE_COLUMNS: string;

const embedded: Record<string, string> | undefined =
  typeof OPCODE_COLUMNS === 'string' ? JSON.parse(OPCODE_COLUMNS) : undefined;

export type Column = Uint8Array | Uint16Array | Uint32Array;

const computed = new Map<string, Column>();

/** The column `name`: the embedded one, else what `compute` gives. */
export function column<T extends Column>(name: string, Type: new (data: ArrayBuffer) => T, compute: () => T): T {
  if (embedded !== undefined) return new Type(new Uint8Array(Buffer.from(embedded[name], 'base64')).buffer);
  if (computed.has(name)) throw new Error(`two columns ${name}`);
  const values = compute();
  computed.set(name, values);
  return values;
}

/** A byte (or a truth value) for each row. */
export function byteColumn(name: string, of: (row: OpcodeRow) => number | boolean): Uint8Array {
  return column(name, Uint8Array, () => Uint8Array.from(allRows(), (row) => Number(of(row))));
}

/** A column that was computed here. */
export function columnOf(name: string): Column {
  const values = computed.get(name);
  if (values === undefined) throw new Error(`no column ${name}: its module is not loaded`);
  return values;
}

/** What the build embeds: all columns of the modules that are loaded. */
export function embeddedColumns(): Record<string, string> {
  const entries = [...computed].map(([name, { buffer, byteOffset, byteLength }]) => [
    name,
    Buffer.from(buffer, byteOffset, byteLength).toString('base64'),
  ]);
  return Object.fromEntries(entries);
}
