/** All helpers, by row of the opcode table. */
import './divide.ts';
import './x87.ts';
import { type Helper, helpersByRow } from './registry.ts';

export function allHelpers(): (Helper | undefined)[] {
  return helpersByRow();
}
