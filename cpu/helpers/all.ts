/** All helpers, by row of the opcode table. */
import './bit-test.ts';
import './branch.ts';
import './divide.ts';
import './interrupt.ts';
import './mmx.ts';
import './mmx-convert.ts';
import './x87.ts';
import './x87-fxsave.ts';
import './control.ts';
import './descriptor-tables.ts';
import './far.ts';
import './iret.ts';
import './popf.ts';
import './port.ts';
import './processor.ts';
import './segment.ts';
import './sse-alignment.ts';
import './sse-convert.ts';
import './sse-float.ts';
import './sse-rare.ts';
import './sse-string.ts';
import './string.ts';
import { type Helper, helpersByRow } from './registry.ts';

export function allHelpers(): (Helper | undefined)[] {
  return helpersByRow();
}
