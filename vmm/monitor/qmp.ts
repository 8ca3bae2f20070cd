/**
 * The QEMU Machine Protocol on a character device (QEMU's docs/interop/qmp-spec and qapi/): JSON objects in, answers and
 * events out, a line each. The commands are those that make sense for a machine that is made by its command line alone.
 */

import { type Character, writeText } from '../console/character.ts';
import type { MuxFrontend } from '../console/mux.ts';
import { VERSION } from '../version.ts';
import { runCommand } from './commands.ts';
import { JsonStream } from './json-stream.ts';
import type { MachineEvent, MonitorTarget } from './target.ts';

/** Whose QMP this is, for clients that look at the version. */
const QEMU_VERSION = { micro: 0, minor: 2, major: 7 };
const VERSION_INFO = { qemu: QEMU_VERSION, package: `tsvmm ${VERSION}` };

type Arguments = Readonly<Record<string, unknown>>;

/** A command that cannot be carried out, as the client is told. */
class QmpError extends Error {
  override readonly name = 'QmpError';
  readonly kind: 'GenericError' | 'CommandNotFound';

  constructor(message: string, kind: QmpError['kind'] = 'GenericError') {
    super(message);
    this.kind = kind;
  }
}

interface Command {
  /** Arguments it takes, all strings; all of them must be there. */
  readonly parameters?: readonly string[];
  /** @returns what `return` is. @throws QmpError */
  readonly run: (target: MonitorTarget, argument: Readonly<Record<string, string>>) => unknown;
}

const act = (action: (target: MonitorTarget) => void): Command => ({
  run: (target) => {
    action(target);
    return {};
  },
});

const COMMANDS: Readonly<Record<string, Command>> = {
  'query-commands': { run: () => Object.keys(COMMANDS).map((name) => ({ name })) },
  'query-kvm': { run: () => ({ enabled: false, present: false }) },
  'query-name': { run: ({ config }) => (config.name === '' ? {} : { name: config.name }) },
  'query-status': { run: ({ runState }) => ({ status: runState, running: runState === 'running' }) },
  'query-version': { run: () => VERSION_INFO },
  stop: act((target) => target.stop()),
  cont: {
    run: (target) => {
      if (!target.cont()) throw new QmpError('Resetting the Virtual Machine is required');
      return {};
    },
  },
  system_powerdown: act((target) => target.systemPowerdown()),
  system_reset: act((target) => target.systemReset()),
  quit: act((target) => target.quit()),
  'human-monitor-command': {
    parameters: ['command-line'],
    run: (target, { 'command-line': line }) => {
      const text = runCommand(target, line);
      return text === '' ? '' : `${text.trimEnd().replaceAll('\n', '\r\n')}\r\n`;
    },
  },
};

export class QmpMonitor implements MuxFrontend {
  readonly holdsNothingUp = true;
  private readonly target: MonitorTarget;
  private readonly character: Pick<Character, 'write' | 'flush'>;
  private readonly stream = new JsonStream(
    (value) => this.receiveValue(value),
    (reason) => this.refuse(new QmpError(reason)),
  );
  /** Before `qmp_capabilities` there are no other commands, and no events. */
  private negotiated = false;
  private greeted = false;

  constructor(target: MonitorTarget, character: Pick<Character, 'write' | 'flush'>) {
    this.target = target;
    this.character = character;
    target.observe((event) => this.report(event));
  }

  /** On a character device that is shared, the client is there once it looks. */
  onFocus(): void {
    if (!this.greeted) this.onOpen();
  }

  /** A client is there: a new session. */
  onOpen(): void {
    this.greeted = true;
    this.negotiated = false;
    this.stream.reset();
    this.send({ QMP: { version: VERSION_INFO, capabilities: [] } });
  }

  receiveSpace(): number {
    return 4096;
  }

  receiveBreak(): void {}

  receive(bytes: Uint8Array): void {
    this.stream.push(bytes);
  }

  private report(event: MachineEvent): void {
    if (!this.negotiated) {
      return;
    }
    const now = performance.timeOrigin + performance.now();
    const seconds = Math.floor(now / 1000);
    const timestamp = { seconds, microseconds: Math.floor((now - seconds * 1000) * 1000) };
    this.send({ timestamp, ...event });
  }

  private receiveValue(value: unknown): void {
    const request = value as Arguments;
    const { id } = request;
    try {
      this.send({ return: this.execute(request), ...('id' in request ? { id } : {}) });
    } catch (error) {
      this.refuse(error, 'id' in request ? { id } : {});
    }
  }

  private execute(request: Arguments): unknown {
    const { execute: name, arguments: given = {}, id: _, ...rest } = request;
    const unexpected = Object.keys(rest)[0];
    if (unexpected !== undefined) throw new QmpError(`QMP input member '${unexpected}' is unexpected`);
    if (name === undefined) throw new QmpError("QMP input lacks member 'execute'");
    if (typeof name !== 'string') throw new QmpError("QMP input member 'execute' must be a string");
    if (typeof given !== 'object' || given === null || Array.isArray(given)) {
      throw new QmpError("QMP input member 'arguments' must be an object");
    }
    if (name === 'qmp_capabilities') return this.negotiate(given as Arguments);
    if (!this.negotiated) {
      throw new QmpError("Expecting capabilities negotiation with 'qmp_capabilities'", 'CommandNotFound');
    }
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (!command) throw new QmpError(`The command ${name} has not been found`, 'CommandNotFound');
    return command.run(this.target, checkArguments(given as Arguments, command.parameters ?? []));
  }

  private negotiate(given: Arguments): object {
    if (this.negotiated) {
      throw new QmpError('Capabilities negotiation is already complete, command ignored', 'CommandNotFound');
    }
    const { enable = [], ...rest } = given;
    checkArguments(rest, []);
    if (!Array.isArray(enable)) throw new QmpError("Invalid parameter type for 'enable', expected: array");
    for (const capability of enable) throw new QmpError(`Capability '${capability}' is not available`);
    this.negotiated = true;
    return {};
  }

  /** Tells the client what went wrong. @throws what is no QmpError */
  private refuse(error: unknown, extra: object = {}): void {
    if (!(error instanceof QmpError)) throw error;
    this.send({ error: { class: error.kind, desc: error.message }, ...extra });
  }

  private send(message: object): void {
    writeText(this.character, `${JSON.stringify(message)}\r\n`);
    this.character.flush();
  }
}

function checkArguments(given: Arguments, parameters: readonly string[]): Readonly<Record<string, string>> {
  for (const name of Object.keys(given)) {
    if (!parameters.includes(name)) throw new QmpError(`Parameter '${name}' is unexpected`);
  }
  for (const name of parameters) {
    if (given[name] === undefined) throw new QmpError(`Parameter '${name}' is missing`);
    if (typeof given[name] !== 'string') {
      throw new QmpError(`Invalid parameter type for '${name}', expected: string`);
    }
  }
  return given as Readonly<Record<string, string>>;
}
