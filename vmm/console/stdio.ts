/**
 * The terminal, or whatever standard input and output are. A terminal is raw while it is ours and is restored whatever
 * ends the process.
 */

import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import type { ReadStream } from 'node:tty';
import type { Character, CharacterFrontend } from './character.ts';
import { InputQueue } from './input-queue.ts';
import { FdOutput } from './output.ts';

const STDIN = 0;
const STDOUT = 1;
/** The major number of /dev/null (Linux Documentation/admin-guide/devices.txt). */
const MEM_MAJOR = 1;
const CTRL_C = 0x03;
const CTRL_BACKSLASH = 0x1c;
/** Input that waits for the guest; more stays in the pipe. */
const INPUT_MAX = 4096;

export interface StdioOptions {
  /** Ctrl-C and Ctrl-\ end us, as in a cooked terminal, instead of going to the guest. */
  readonly signals: boolean;
  readonly onInterrupt: () => void;
}

export class StdioCharacter implements Character {
  private readonly options: StdioOptions;
  private readonly output: FdOutput;
  private readonly outputFd: number;
  private readonly input = new InputQueue();
  private stdin: NodeJS.ReadStream | undefined;
  private readonly restore = () => this.setRaw(false);

  constructor(options: StdioOptions) {
    this.options = options;
    this.outputFd = openOutput();
    this.output = new FdOutput(this.outputFd);
  }

  get congested(): boolean {
    return this.output.congested;
  }

  write(byte: number): void {
    this.output.write(byte);
  }

  flush(): void {
    this.output.flush();
  }

  connect(frontend: CharacterFrontend): void {
    this.input.connect(frontend);
    frontend.onOpen?.();
  }

  frontendHasSpace(): void {
    this.input.deliver();
    if (this.input.length < INPUT_MAX && this.stdin?.isPaused()) {
      this.stdin.resume();
    }
  }

  /** A terminal is opened anew by Node, so that its flags are ours alone; a confined process could not. */
  prepare(): undefined {
    if (mayBeTerminal()) {
      this.openInput();
    }
  }

  openInput(): void {
    if (this.stdin) {
      return;
    }
    const { stdin } = process;
    this.stdin = stdin;
    this.setRaw(true);
    process.once('exit', this.restore);
    stdin.on('data', (bytes: Buffer) => this.receive(bytes));
    // End of file or a lost terminal is an input from which nothing comes any more; the guest goes on.
    stdin.on('error', () => {});
  }

  private receive(bytes: Buffer): void {
    if (this.options.signals && this.stdin?.isTTY && (bytes.includes(CTRL_C) || bytes.includes(CTRL_BACKSLASH))) {
      this.options.onInterrupt();
      return;
    }
    this.input.push(bytes);
    if (this.input.length >= INPUT_MAX) {
      this.stdin?.pause();
    }
  }

  private setRaw(raw: boolean): void {
    const stdin = this.stdin as ReadStream | undefined;
    if (stdin?.isTTY) {
      stdin.setRawMode(raw);
    }
  }

  close(patience: number): void {
    this.output.drain(patience);
    if (this.outputFd !== STDOUT) {
      closeSync(this.outputFd);
    }
    if (this.stdin) {
      this.restore();
      process.off('exit', this.restore);
      this.stdin.removeAllListeners('data');
      this.stdin.pause();
      this.stdin.unref?.();
    }
  }
}

/** Is standard input a character device other than /dev/null and its kin? */
function mayBeTerminal(): boolean {
  try {
    const stat = fstatSync(STDIN);
    return stat.isCharacterDevice() && stat.rdev >>> 8 !== MEM_MAJOR;
  } catch {
    return false;
  }
}

/**
 * A pipe is opened anew without blocking: a reader that stalls must not keep us from serving signals, and the flag must
 * not reach those who share our standard output.
 */
function openOutput(): number {
  try {
    if (fstatSync(STDOUT).isFIFO()) {
      return openSync('/proc/self/fd/1', constants.O_WRONLY | constants.O_NONBLOCK);
    }
  } catch {
    // No /proc, or a closed standard output: write to it as it is.
  }
  return STDOUT;
}
