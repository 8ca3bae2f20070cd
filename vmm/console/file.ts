/** `-serial file:PATH`: output only. */

import { closeSync, openSync } from 'node:fs';
import { reasonOf, UserError } from '../errors.ts';
import type { Character } from './character.ts';
import { FdOutput } from './output.ts';

/** @throws UserError when the file cannot be opened. */
export function createFileCharacter(path: string, append: boolean): Character {
  let fd: number;
  try {
    fd = openSync(path, append ? 'a' : 'w');
  } catch (error) {
    throw new UserError(`could not open '${path}' for output: ${reasonOf(error)}`);
  }
  const output = new FdOutput(fd);
  return {
    write: (byte) => output.write(byte),
    flush: () => output.flush(),
    get congested() {
      return output.congested;
    },
    connect: (frontend) => frontend.onOpen?.(),
    frontendHasSpace() {},
    prepare: () => undefined,
    openInput() {},
    close(patience) {
      output.drain(patience);
      closeSync(fd);
    },
  };
}
