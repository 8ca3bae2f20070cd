/** The human monitor on a character device: a prompt, and a line editor of one line. */

import { type Character, writeText } from '../console/character.ts';
import type { MuxFrontend } from '../console/mux.ts';
import { VERSION } from '../version.ts';
import { runCommand } from './commands.ts';
import type { MonitorTarget } from './target.ts';

const PROMPT = '(tsvmm) ';
const LINE_MAX = 4096;
const BACKSPACE = 0x08;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
const CTRL_C = 0x03;
const CTRL_U = 0x15;
const DELETE = 0x7f;

export class Monitor implements MuxFrontend {
  readonly holdsNothingUp = true;
  private readonly target: MonitorTarget;
  private readonly character: Pick<Character, 'write' | 'flush'>;
  private line = '';
  private greeted = false;
  /** The last character ended a line: a line feed after a carriage return is the same end. */
  private afterReturn = false;

  constructor(target: MonitorTarget, character: Pick<Character, 'write' | 'flush'>) {
    this.target = target;
    this.character = character;
  }

  /** The first time it is looked at, it introduces itself. */
  onFocus(): void {
    if (!this.greeted) {
      this.greeted = true;
      this.print(`tsvmm ${VERSION} monitor - type 'help' for more information`);
    }
    this.prompt();
  }

  /** Somebody new: what the last one began to type is gone. */
  onOpen(): void {
    this.line = '';
    this.greeted = false;
    this.onFocus();
  }

  receiveSpace(): number {
    return LINE_MAX;
  }

  receiveBreak(): void {}

  receive(bytes: Uint8Array): void {
    for (const byte of bytes) {
      this.type(byte);
    }
    this.character.flush();
  }

  private type(byte: number): void {
    const lineFeedOfReturn = byte === NEWLINE && this.afterReturn;
    this.afterReturn = byte === RETURN;
    if (lineFeedOfReturn) {
      return;
    }
    switch (byte) {
      case RETURN:
      case NEWLINE: {
        writeText(this.character, '\r\n');
        const { line } = this;
        this.line = '';
        this.print(runCommand(this.target, line));
        this.prompt();
        break;
      }
      case BACKSPACE:
      case DELETE:
        this.erase(1);
        break;
      case CTRL_U:
      case CTRL_C:
        this.erase(this.line.length);
        break;
      default:
        if (byte >= 0x20 && byte < 0x7f && this.line.length < LINE_MAX) {
          this.line += String.fromCharCode(byte);
          this.character.write(byte);
        }
    }
  }

  private erase(count: number): void {
    for (; count > 0 && this.line.length > 0; count--) {
      this.line = this.line.slice(0, -1);
      writeText(this.character, '\b \b');
    }
  }

  private print(text: string): void {
    if (text !== '') {
      writeText(this.character, `${text.trimEnd().replaceAll('\n', '\r\n')}\r\n`);
    }
  }

  private prompt(): void {
    writeText(this.character, PROMPT);
    this.character.flush();
  }
}
