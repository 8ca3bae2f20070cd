/**
 * Several frontends on one character device, as QEMU's multiplexer (chardev/char-mux.c): what is typed goes to the one
 * in focus; Ctrl-A introduces commands.
 */

import { type Character, type CharacterFrontend, writeText } from './character.ts';
import { InputQueue } from './input-queue.ts';

const CTRL_A = 0x01;
/** Input that waits for a frontend; more stays with the host. */
const INPUT_MAX = 64 * 1024;

const HELP = [
  '',
  'C-a h    print this help',
  'C-a x    exit emulator',
  'C-a b    send break (magic sysrq)',
  'C-a c    switch between console and monitor',
  'C-a C-a  sends C-a',
];

export interface MuxFrontend extends CharacterFrontend {
  /** The focus came here. */
  onFocus?(): void;
}

interface Port {
  readonly frontend: MuxFrontend;
  readonly input: InputQueue;
}

export class Mux implements CharacterFrontend {
  private readonly character: Character;
  private readonly onExit: () => void;
  private readonly ports: Port[] = [];
  private focus = 0;
  /** The last character was Ctrl-A. */
  private escaped = false;

  /** @param onExit Ctrl-A x */
  constructor(character: Character, onExit: () => void) {
    this.character = character;
    this.onExit = onExit;
    character.connect(this);
  }

  /** Adds a frontend; the first one has the focus. */
  add(frontend: MuxFrontend): void {
    const input = new InputQueue();
    input.connect(frontend);
    this.ports.push({ frontend, input });
    if (this.ports.length === 1) {
      frontend.onFocus?.();
    }
  }

  /** A frontend has room again. */
  frontendHasSpace(): void {
    for (const { input } of this.ports) {
      input.deliver();
    }
    this.character.frontendHasSpace();
  }

  receiveSpace(): number {
    return this.ports.length === 0 ? 0 : INPUT_MAX - this.ports[this.focus].input.length;
  }

  receive(bytes: Uint8Array): void {
    let start = 0;
    for (let at = 0; at < bytes.length; at++) {
      if (this.escaped) {
        this.escaped = false;
        this.command(bytes[at]);
        start = at + 1;
      } else if (bytes[at] === CTRL_A) {
        this.pass(bytes.subarray(start, at));
        this.escaped = true;
        start = at + 1;
      }
    }
    this.pass(bytes.subarray(start));
  }

  receiveBreak(): void {
    this.ports[this.focus]?.frontend.receiveBreak();
  }

  private pass(bytes: Uint8Array): void {
    if (bytes.length > 0) {
      // A copy: the source's buffer is not ours to keep.
      this.ports[this.focus].input.push(bytes.slice());
    }
  }

  private command(byte: number): void {
    switch (String.fromCharCode(byte)) {
      case 'h':
      case '?':
        writeText(this.character, `${HELP.join('\r\n')}\r\n`);
        break;
      case 'x':
        writeText(this.character, '\r\ntsvmm: Terminated\r\n');
        this.onExit();
        break;
      case 'b':
        this.receiveBreak();
        break;
      case 'c':
        this.focus = (this.focus + 1) % this.ports.length;
        this.ports[this.focus].frontend.onFocus?.();
        break;
      case '\x01':
        this.pass(Uint8Array.of(CTRL_A));
        break;
    }
    this.character.flush();
  }
}
