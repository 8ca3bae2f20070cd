/**
 * The two ends of a character device: the host's (terminal, file, socket), and what is behind it in the machine (serial
 * port, monitor, debug console).
 */

/** What takes characters that come from the host: a serial port or a monitor. */
export interface CharacterFrontend {
  /** How many characters {@link receive} can take now. */
  receiveSpace(): number;
  /** Takes characters, at most {@link receiveSpace}. The bytes are only valid during the call. */
  receive(bytes: Uint8Array): void;
  receiveBreak(): void;
  /** Somebody connected on the host's side, where that can be told. */
  onOpen?(): void;
  /** Who does not take its output in time is disconnected, rather than that the machine waits for him. */
  readonly holdsNothingUp?: boolean;
}

/** The host's end. Writing never blocks and never throws. */
export interface Character {
  /** One character from the machine. */
  write(byte: number): void;
  /** Hands over what was written so far; called once per slice of the run loop. */
  flush(): void;
  /**
   * The host takes output more slowly than the machine gives it: the run loop lets the CPU wait, so that nothing is
   * lost and no memory fills up.
   */
  readonly congested: boolean;
  /** Sets who gets the input; without one, input waits. */
  connect(frontend: CharacterFrontend): void;
  /** The frontend has room again. */
  frontendHasSpace(): void;
  /** Makes connections. @returns when the machine may start (a server waits for its client), undefined: at once */
  prepare(): Promise<void> | undefined;
  /** Opens the input, when the machine runs already: it costs a terminal some milliseconds. */
  openInput(): void;
  /** Delivers what is left, for at most `patience` ms without progress, and gives everything back to the host. */
  close(patience: number): void;
}

/** Writes text as characters. */
export function writeText(character: Pick<Character, 'write'>, text: string): void {
  for (const byte of Buffer.from(text)) {
    character.write(byte);
  }
}

/** `-serial null`: output vanishes, input never comes. */
export const NULL_CHARACTER: Character = {
  write() {},
  flush() {},
  congested: false,
  connect() {},
  frontendHasSpace() {},
  prepare: () => undefined,
  openInput() {},
  close() {},
};
