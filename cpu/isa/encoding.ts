/** The columns of the opcode table that say how instructions are encoded: what the decoder searches. */
import { byteColumn, column } from './columns.ts';
import { ATTR_MODRM, allRows, MAPS } from './table.ts';

export const attributesOf = column('attributes', Uint32Array, () =>
  Uint32Array.from(allRows(), (row) => row.attributes),
);
export const prefixesOf = byteColumn('prefixes', (row) => row.prefixes);
export const modrmMaskOf = byteColumn('modrmMask', (row) => row.modrmMask);
export const modrmValueOf = byteColumn('modrmValue', (row) => row.modrmValue);

/** The rows that each opcode (map * 256 + byte) may mean. */
function rowsByOpcode(): number[][] {
  const lists: number[][] = Array.from({ length: MAPS * 256 }, () => []);
  for (const row of allRows().slice(1)) {
    const last = row.opcode | (row.registerInOpcode ? 7 : 0);
    for (let opcode = row.opcode; opcode <= last; opcode++) lists[row.map * 256 + opcode].push(row.index);
  }
  return lists;
}

/** For opcode `o` of map `m`: rows `candidates[firstCandidate[m * 256 + o]] … [firstCandidate[m * 256 + o + 1])`. */
export const firstCandidate = column('firstCandidate', Uint16Array, () => {
  let next = 0;
  return Uint16Array.from([0, ...rowsByOpcode().map((list) => (next += list.length))]);
});
export const candidates = column('candidates', Uint16Array, () => Uint16Array.from(rowsByOpcode().flat()));
/** Does opcode `m * 256 + o` take a ModRM byte (in any of its rows)? */
export const opcodeHasModrm = column('opcodeHasModrm', Uint8Array, () =>
  Uint8Array.from(rowsByOpcode(), (list) => Number(list.some((index) => attributesOf[index] & ATTR_MODRM))),
);
