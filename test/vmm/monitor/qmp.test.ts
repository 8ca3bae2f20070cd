import fc from 'fast-check';
import { beforeEach, expect, test } from 'vitest';
import { QmpMonitor } from '../../../vmm/monitor/qmp.ts';
import type { MachineEvent } from '../../../vmm/monitor/target.ts';
import { VERSION } from '../../../vmm/version.ts';
import { fakeTarget } from './fake-target.ts';

let text: string;
let calls: string[];
let runState: string;
let report: (event: MachineEvent) => void;
let monitor: QmpMonitor;

beforeEach(() => {
  text = '';
  calls = [];
  runState = 'running';
  const note = (name: string) => () => {
    calls.push(name);
  };
  const target = fakeTarget(
    {
      stop: note('stop'),
      cont: () => {
        calls.push('cont');
        return runState !== 'shutdown';
      },
      systemReset: note('system_reset'),
      systemPowerdown: note('system_powerdown'),
      quit: note('quit'),
      get runState() {
        return runState;
      },
      observe: (observer) => {
        report = observer;
      },
    },
    '-name guest',
  );
  const write = (byte: number) => {
    text += String.fromCharCode(byte);
  };
  monitor = new QmpMonitor(target, { write, flush() {} });
});

/** Sends bytes as they are. @returns what comes back, line by line */
function send(bytes: string | Uint8Array) {
  text = '';
  monitor.receive(Buffer.from(bytes as string));
  expect(text === '' || text.endsWith('\r\n')).toBe(true);
  return text.split('\r\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
}
const command = (execute: string, more: object = {}) => send(JSON.stringify({ execute, ...more }))[0];
const error = (desc: string, kind = 'GenericError') => ({ error: { class: kind, desc } });

function open() {
  monitor.onOpen();
  expect(command('qmp_capabilities')).toEqual({ return: {} });
}

test('greets, negotiates, and only then takes commands and tells events', () => {
  monitor.onOpen();
  const qemu = { micro: 0, minor: 2, major: 7 };
  expect(JSON.parse(text)).toEqual({
    QMP: { version: { qemu, package: `tsvmm ${VERSION}` }, capabilities: [] },
  });
  text = '';
  report({ event: 'STOP' });
  expect(text).toBe('');
  const expecting = "Expecting capabilities negotiation with 'qmp_capabilities'";
  expect(command('query-status')).toEqual(error(expecting, 'CommandNotFound'));
  const wanted = { arguments: { enable: ['oob'] } };
  expect(command('qmp_capabilities', wanted)).toEqual(error("Capability 'oob' is not available"));
  expect(command('qmp_capabilities', { arguments: { enable: [] } })).toEqual({ return: {} });
  const complete = 'Capabilities negotiation is already complete, command ignored';
  expect(command('qmp_capabilities')).toEqual(error(complete, 'CommandNotFound'));
  text = '';
  report({ event: 'SHUTDOWN', data: { guest: true, reason: 'guest-shutdown' } });
  expect(JSON.parse(text)).toEqual({
    timestamp: { seconds: expect.closeTo(Date.now() / 1000, -1), microseconds: expect.any(Number) },
    event: 'SHUTDOWN',
    data: { guest: true, reason: 'guest-shutdown' },
  });
  monitor.onOpen();
  expect(command('stop')).toEqual(error(expecting, 'CommandNotFound'));
  expect(calls).toEqual([]);
});

test('tells about the machine', () => {
  open();
  expect(command('query-status')).toEqual({ return: { status: 'running', running: true } });
  runState = 'paused';
  expect(command('query-status', { id: 7 })).toEqual({ return: { status: 'paused', running: false }, id: 7 });
  expect(command('query-name')).toEqual({ return: { name: 'guest' } });
  expect(command('query-version').return.package).toBe(`tsvmm ${VERSION}`);
  expect(command('query-commands').return).toContainEqual({ name: 'system_powerdown' });
  expect(command('query-kvm')).toEqual({ return: { enabled: false, present: false } });
});

test('does things to the machine', () => {
  open();
  for (const name of ['stop', 'cont', 'system_powerdown', 'system_reset', 'quit']) {
    expect(command(name, { id: { any: ['thing'] } })).toEqual({ return: {}, id: { any: ['thing'] } });
  }
  expect(calls).toEqual(['stop', 'cont', 'system_powerdown', 'system_reset', 'quit']);
  runState = 'shutdown';
  expect(command('cont')).toEqual(error('Resetting the Virtual Machine is required'));
});

test('runs commands of the human monitor', () => {
  open();
  const run = (line: unknown) => command('human-monitor-command', { arguments: { 'command-line': line } });
  expect(run('info status')).toEqual({ return: 'VM status: running\r\n' });
  expect(run('stop')).toEqual({ return: '' });
  expect(run(5)).toEqual(error("Invalid parameter type for 'command-line', expected: string"));
  expect(command('human-monitor-command')).toEqual(error("Parameter 'command-line' is missing"));
});

test.each([
  ['[]', 'JSON parse error, expecting value'],
  ['nonsense', 'JSON parse error, expecting value'],
  ['{"execute": stop}', 'JSON parse error, invalid keyword'],
  ['{}', "QMP input lacks member 'execute'"],
  ['{"execute": 5}', "QMP input member 'execute' must be a string"],
  ['{"execute": "stop", "arguments": []}', "QMP input member 'arguments' must be an object"],
  ['{"execute": "stop", "arguments": {"x": 1}}', "Parameter 'x' is unexpected"],
  ['{"execute": "stop", "more": 1}', "QMP input member 'more' is unexpected"],
])('%s', (line, desc) => {
  open();
  expect(send(`${line}\n`)).toEqual([error(desc)]);
  expect(command('query-name')).toEqual({ return: { name: 'guest' } });
  expect(calls).toEqual([]);
});

test('an unknown command, also by a name that objects have', () => {
  open();
  for (const name of ['device_add', 'constructor', '__proto__']) {
    expect(command(name, { id: 1 })).toEqual({
      ...error(`The command ${name} has not been found`, 'CommandNotFound'),
      id: 1,
    });
  }
});

test('takes requests in any pieces, with anything between them', () => {
  open();
  const request = '{"execute":"query-name","id":"a}\\"{"} {"execute" : "query-name"}\n\n{"execute":"query-name"}';
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }), (lengths) => {
      const answers: object[] = [];
      for (let at = 0, i = 0; at < request.length; i++) {
        const length = lengths[i % lengths.length];
        answers.push(...send(request.slice(at, at + length)));
        at += length;
      }
      const answer = { return: { name: 'guest' } };
      expect(answers).toEqual([{ ...answer, id: 'a}"{' }, answer, answer]);
    }),
  );
});

test('what is too long or too deep is refused, and the next line is looked at again', () => {
  open();
  expect(send(`{"a":"${'x'.repeat(2 << 20)}"}\n`)).toEqual([error('JSON token size limit exceeded')]);
  expect(send(`{"a":${'['.repeat(5000)}\n`)).toEqual([error('JSON nesting depth limit exceeded')]);
  expect(command('query-name')).toEqual({ return: { name: 'guest' } });
});

test('no bytes at all do any harm', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.uint8Array({ maxLength: 50 }),
          fc.json().map((json) => Buffer.from(json)),
          fc.constantFrom('{"execute":"', '"}', '{', '}', '"arguments":', '\n').map((part) => Buffer.from(part)),
        ),
        { maxLength: 30 },
      ),
      (pieces) => {
        open();
        for (const piece of pieces) send(piece);
        monitor.receive(Buffer.from('\n'));
      },
    ),
  );
});
