/**
 * The monitor: the commands of QEMU's human monitor (HMP) that have a meaning here, with a line editor of one line.
 */

import { type Character, writeText } from './console/character.ts';
import type { MuxFrontend } from './console/mux.ts';
import { dumpMemory, parseDumpRequest } from './memory-dump.ts';
import { VERSION } from './version.ts';

/** What the monitor can do to a machine. */
export interface MonitorTarget {
  /** As QEMU names them: `running`, `paused`, `paused (shutdown)` … */
  status(): string;
  stop(): void;
  cont(): void;
  systemReset(): void;
  systemPowerdown(): void;
  quit(): void;
  /** CPU state as text. */
  registers(): string;
  /** A byte of guest physical memory; undefined where there is none. */
  physicalByte(address: number): number | undefined;
}

interface Command {
  readonly names: readonly string[];
  readonly parameters?: string;
  readonly help: string;
  /** @returns the answer, empty for none */
  readonly run: (monitor: Monitor, argument: string) => string;
}

const PROMPT = '(tsvmm) ';
const LINE_MAX = 4096;
const BACKSPACE = 0x08;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
const CTRL_C = 0x03;
const CTRL_U = 0x15;
const DELETE = 0x7f;

const COMMANDS: readonly Command[] = [
  { names: ['help', '?'], parameters: '[cmd]', help: 'show the help', run: (_, topic) => help(COMMANDS, topic, '') },
  {
    names: ['info'],
    parameters: '[subcommand]',
    help: 'show various information about the system state',
    run: (monitor, rest) => monitor.info(rest),
  },
  { names: ['quit', 'q'], help: 'quit the emulator', run: act((target) => target.quit()) },
  { names: ['stop', 's'], help: 'stop emulation', run: act((target) => target.stop()) },
  { names: ['cont', 'c'], help: 'resume emulation', run: act((target) => target.cont()) },
  { names: ['system_reset'], help: 'reset the system', run: act((target) => target.systemReset()) },
  {
    names: ['system_powerdown'],
    help: 'send system power down event',
    run: act((target) => target.systemPowerdown()),
  },
  {
    names: ['xp'],
    parameters: '/fmt addr',
    help: "physical memory dump starting at 'addr'",
    run: ({ target }, rest) => {
      const request = parseDumpRequest(rest);
      return request
        ? dumpMemory(request, (address) => target.physicalByte(address))
        : 'xp /fmt addr: fmt is a count, one of x d u c, and one of b h w g, as in xp /16xb 0xb8000';
    },
  },
];

const INFO_COMMANDS: readonly Command[] = [
  { names: ['registers'], help: 'show the cpu registers', run: ({ target }) => target.registers() },
  {
    names: ['status'],
    help: 'show the current VM status (running|paused)',
    run: ({ target }) => `VM status: ${target.status()}`,
  },
  { names: ['version'], help: 'show the version of tsvmm', run: () => VERSION },
];

function act(action: (target: MonitorTarget) => void): Command['run'] {
  return ({ target }) => {
    action(target);
    return '';
  };
}

function help(commands: readonly Command[], topic: string, prefix: string): string {
  return commands
    .filter((command) => topic === '' || command.names.includes(topic))
    .map(({ names, parameters, help }) => `${prefix}${names.join('|')} ${parameters ?? ''} -- ${help}`)
    .join('\n');
}

export class Monitor implements MuxFrontend {
  readonly target: MonitorTarget;
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
        this.execute(line.trim());
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

  private execute(line: string): void {
    if (line !== '') {
      this.print(this.runFrom(COMMANDS, line) ?? `unknown command: '${line}'`);
    }
  }

  /** The subcommands of `info`. */
  info(rest: string): string {
    return rest === ''
      ? help(INFO_COMMANDS, '', 'info ')
      : (this.runFrom(INFO_COMMANDS, rest) ?? `unknown command: 'info ${rest}'`);
  }

  private runFrom(commands: readonly Command[], line: string): string | undefined {
    const [, word, argument] = /^(\S*)\s*(.*)$/.exec(line)!;
    return commands.find((command) => command.names.includes(word))?.run(this, argument);
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
