/**
 * All character devices of a machine: makes them from the configuration, and joins each with what is behind it. A
 * device that is multiplexed has any number of frontends; every other has one.
 */

import { UserError } from '../errors.ts';
import type { CharacterConfig } from '../options/config.ts';
import { type Character, NULL_CHARACTER } from './character.ts';
import { createFileCharacter } from './file.ts';
import { Mux, type MuxFrontend } from './mux.ts';
import { SocketCharacter } from './socket.ts';
import { StdioCharacter } from './stdio.ts';

interface Line {
  readonly character: Character;
  readonly mux: Mux | undefined;
  connected: boolean;
}

export class Console {
  private readonly lines = new Map<string, Line>();
  private readonly characters: Character[] = [];

  /**
   * @param onExit the user ends us: Ctrl-A x, or Ctrl-C where it is a signal
   * @throws UserError when a file cannot be opened
   */
  constructor(configs: readonly CharacterConfig[], onExit: () => void) {
    for (const config of configs) {
      const character = createCharacter(config, onExit);
      this.characters.push(character);
      const mux = config.mux ? new Mux(character, onExit) : undefined;
      this.lines.set(config.id, { character, mux, connected: false });
    }
  }

  /** Where output to this character device goes. */
  output(id: string): Pick<Character, 'write' | 'flush'> {
    return this.line(id).character;
  }

  /**
   * Gives input from a character device to `frontend`.
   * @returns what to call when the frontend has room again
   * @throws UserError when somebody else has it and it is not multiplexed
   */
  connect(id: string, frontend: MuxFrontend): () => void {
    const line = this.line(id);
    const { character, mux } = line;
    if (mux) {
      mux.add(frontend);
      return () => mux.frontendHasSpace();
    }
    if (line.connected) {
      throw new UserError(`chardev '${id}' is already in use; mux=on lets several share it`);
    }
    line.connected = true;
    character.connect(frontend);
    return () => character.frontendHasSpace();
  }

  private line(id: string): Line {
    const line = this.lines.get(id);
    if (!line) {
      throw new Error(`no character device '${id}'`);
    }
    return line;
  }

  /** Some output cannot be taken by the host just now: let the CPU wait. */
  get congested(): boolean {
    for (const character of this.characters) {
      if (character.congested) {
        return true;
      }
    }
    return false;
  }

  /** Once per slice. */
  flush(): void {
    for (const character of this.characters) {
      character.flush();
    }
  }

  /**
   * Makes connections; done when the machine may start.
   * @throws UserError (the promise rejects) when a socket cannot be had
   */
  async prepare(): Promise<void> {
    await Promise.all(this.characters.map((character) => character.prepare()));
  }

  /** Opens terminals for input, once the machine runs. */
  openInput(): void {
    for (const character of this.characters) {
      character.openInput();
    }
  }

  /** @param patience ms to wait for a reader that takes nothing */
  close(patience: number): void {
    for (const character of this.characters) {
      character.close(patience);
    }
  }
}

function createCharacter(config: CharacterConfig, onExit: () => void): Character {
  switch (config.kind) {
    case 'stdio':
      return new StdioCharacter({ signals: config.signals, onInterrupt: onExit });
    case 'null':
      return NULL_CHARACTER;
    case 'file':
      return createFileCharacter(config.path, config.append);
    case 'socket':
      return new SocketCharacter(config);
  }
}
