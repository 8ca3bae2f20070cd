/** All helpers, by row of the opcode table. */
import './bit-field.ts';
import './bit-test.ts';
import './branch.ts';
import './cache.ts';
import './cmpxchg.ts';
import './control.ts';
import './decimal.ts';
import './descriptor-tables.ts';
import './divide.ts';
import './far.ts';
import './frame.ts';
import './interrupt.ts';
import './iret.ts';
import './mmx.ts';
import './mmx-convert.ts';
import './popf.ts';
import './port.ts';
import './processor.ts';
import './random.ts';
import './segment.ts';
import './sse-alignment.ts';
import './sse-convert.ts';
import './sse-float.ts';
import './sse-rare.ts';
import './sse-string.ts';
import './string.ts';
import './string-compare.ts';
import './string-port.ts';
import './syscall.ts';
import './x87.ts';
import './x87-fxsave.ts';
import './xsave.ts';
import { findHelper, type Helper } from './registry.ts';
import { checkAccess, ROW_SEGMENT_ACCESS } from './segment-access.ts';

/** What has been asked for; null: no helper. */
const known: (Helper | null | undefined)[] = [];

/** The helper of a record's row (of the opcode table, or ROW_SEGMENT_ACCESS); undefined where there is none. */
export function helperOf(row: number): Helper | undefined {
  let helper = known[row];
  if (helper === undefined) {
    helper = row === ROW_SEGMENT_ACCESS ? checkAccess : (findHelper(row) ?? null);
    known[row] = helper;
  }
  return helper ?? undefined;
}
