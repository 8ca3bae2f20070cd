import { expect, it } from 'vitest';
import '../../../cpu/helpers/all.ts';
import { registryFaults } from '../../../cpu/helpers/registry.ts';
import { rows } from '../../../cpu/isa/table.ts';

it('no row has two helpers, and no helper is without a row', () => {
  expect(registryFaults(rows)).toEqual([]);
});
