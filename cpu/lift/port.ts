/** IN and OUT where IOPL allows every port (SDM vol. 2); elsewhere their helpers look at the I/O bitmap. */
import * as op from '../ir/ops.ts';
import type { Lifter } from './lifter.ts';

export const ports: Record<string, (l: Lifter) => void> = {
  IN: (l) => {
    l.set(0, l.ir.add(op.PORT_IN, op.T_I32, l.get(1), 0, 0, 0, l.bytes(0)));
  },
  OUT: (l) => {
    l.ir.add(op.PORT_OUT, op.T_NONE, l.get(0), l.get(1), 0, 0, l.bytes(1));
  },
};
