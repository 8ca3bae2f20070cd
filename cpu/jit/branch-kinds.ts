/** How instructions that end blocks go on, as columns of the opcode table. */
import { byteColumn } from '../isa/columns.ts';

export const isConditional = byteColumn(
  'flow.isConditional',
  (row) => row.operands[0]?.mode === 'J' && row.mnemonic !== 'JMP' && row.mnemonic !== 'CALL',
);
export const isCall = byteColumn('flow.isCall', (row) => row.mnemonic === 'CALL' && row.operands[0].mode === 'J');
export const isJump = byteColumn('flow.isJump', (row) => row.mnemonic === 'JMP' && row.operands[0].mode === 'J');
export const isReturn = byteColumn('flow.isReturn', (row) => row.mnemonic === 'RET');
export const isIndirect = byteColumn(
  'flow.isIndirect',
  (row) => (row.mnemonic === 'JMP' || row.mnemonic === 'CALL') && row.operands[0].mode === 'E',
);
export const isIndirectCall = byteColumn(
  'flow.isIndirectCall',
  (row) => row.mnemonic === 'CALL' && row.operands[0].mode === 'E',
);
/** Instructions that end a block in the interpreter but not in a region. */
export const goesOn = byteColumn('flow.goesOn', (row) => row.mnemonic === 'STI' || row.mnemonic === 'POPF');
