import { expect, it } from 'vitest';
import '../../cpu/cpu.ts';
import { embeddedColumns } from '../../cpu/isa/columns.ts';
import { attributesOf, candidates } from '../../cpu/isa/encoding.ts';
import { rows } from '../../cpu/isa/table.ts';

it('what the build embeds is what the sources compute', () => {
  const columns = embeddedColumns();
  const words = (name: string) => new Uint8Array(Buffer.from(columns[name], 'base64')).buffer;
  expect(new Uint32Array(words('attributes'))).toEqual(attributesOf);
  expect(new Uint16Array(words('candidates'))).toEqual(candidates);
  expect([...attributesOf]).toEqual(rows.map((row) => row.attributes));
});
