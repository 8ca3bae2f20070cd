import { beforeEach, expect, test } from 'vitest';
import { Monitor } from '../../../vmm/monitor/hmp.ts';
import { VERSION } from '../../../vmm/version.ts';
import { fakeTarget } from './fake-target.ts';

let text: string;
let calls: string[];
let runState: string;
let monitor: Monitor;

beforeEach(() => {
  text = '';
  calls = [];
  runState = 'running';
  const note = (name: string) => () => {
    calls.push(name);
  };
  monitor = new Monitor(
    fakeTarget({
      stop: note('stop'),
      cont: () => {
        calls.push('cont');
        return runState !== 'shutdown';
      },
      systemReset: note('reset'),
      systemPowerdown: note('powerdown'),
      quit: note('quit'),
      registers: () => 'RAX=0\nRBX=1\n',
      physicalByte: (address) => (address < 0x1000 ? (address * 7) & 0xff : undefined),
      get runState() {
        return runState;
      },
    }),
    {
      write: (byte) => {
        text += String.fromCharCode(byte);
      },
      flush() {},
    },
  );
});

const type = (input: string) => monitor.receive(Buffer.from(input));
/** What the monitor answers to a line, without the echo. */
const answer = (line: string) => {
  text = '';
  type(`${line}\r`);
  expect(text.startsWith(`${line}\r\n`)).toBe(true);
  expect(text.endsWith('(tsvmm) ')).toBe(true);
  return text.slice(line.length + 2, -'(tsvmm) '.length);
};

test('greets once', () => {
  monitor.onFocus();
  expect(text).toBe(`tsvmm ${VERSION} monitor - type 'help' for more information\r\n(tsvmm) `);
  text = '';
  monitor.onFocus();
  expect(text).toBe('(tsvmm) ');
});

test.each([
  ['stop', ['stop']],
  ['s', ['stop']],
  ['cont', ['cont']],
  ['c', ['cont']],
  ['  system_reset  ', ['reset']],
  ['system_powerdown', ['powerdown']],
  ['quit', ['quit']],
  ['q', ['quit']],
  ['', []],
])('%s', (line, expected) => {
  expect(answer(line)).toBe('');
  expect(calls).toEqual(expected);
});

test('answers as QEMU does', () => {
  expect(answer('info status')).toBe('VM status: running\r\n');
  expect(answer('info version')).toBe(`${VERSION}\r\n`);
  expect(answer('info registers')).toBe('RAX=0\r\nRBX=1\r\n');
  expect(answer('foo bar')).toBe("unknown command: 'foo bar'\r\n");
  expect(answer('info foo')).toBe("unknown command: 'info foo'\r\n");
  expect(answer('help quit')).toBe('quit|q  -- quit the emulator\r\n');
  expect(answer('help')).toContain('system_powerdown  -- send system power down event\r\n');
  expect(answer('info')).toContain('info status  -- show the current VM status');
  expect(answer('help nothing')).toBe('');
});

test('edits its line: backspace, Ctrl-U, CR LF as one end', () => {
  type('stoo\x7fp\r\n');
  expect(calls).toEqual(['stop']);
  type('quit\x15cont\n');
  expect(calls).toEqual(['stop', 'cont']);
  type('\x7f\x08\x1b\0c\r');
  expect(calls).toEqual(['stop', 'cont', 'cont']);
});

test('dumps memory in the form of QEMU', () => {
  expect(answer('xp 0x10')).toBe('0000000000000010: 0x857e7770\r\n');
  expect(answer('xp /9xb 0x10')).toBe(
    '0000000000000010: 0x70 0x77 0x7e 0x85 0x8c 0x93 0x9a 0xa1\r\n0000000000000018: 0xa8\r\n',
  );
  expect(answer('xp /2gx 16')).toBe('0000000000000010: 0xa19a938c857e7770 0xd9d2cbc4bdb6afa8\r\n');
  expect(answer('xp /2dh 0x12')).toBe('0000000000000012: -31362 -27764\r\n');
  expect(answer('xp /2uh 0x12')).toBe('0000000000000012: 34174 37772\r\n');
  expect(answer('xp /3c 0x4')).toBe("0000000000000004: '\\x1c' '#' '*'\r\n");
  expect(answer('xp /2xb 0xfff')).toBe('Cannot access memory at address 0x1000\r\n');
  expect(answer('xp /2q 0')).toContain('xp /fmt addr');
  expect(answer('xp')).toContain('xp /fmt addr');
  // Without paging a linear address is a physical one.
  expect(answer('x/2xb 0x10')).toBe('0000000000000010: 0x70 0x77\r\n');
  expect(answer('x /1xb 0xffffffff80000000')).toBe('Cannot access memory at address 0xffffffff80000000\r\n');
  expect(answer('gva2gpa 0x10')).toBe('gpa: 0x10\r\n');
  expect(answer('gva2gpa ten')).toContain('expected');
});

test('names what stands still, and why it does not go on', () => {
  runState = 'paused';
  expect(answer('info status')).toBe('VM status: paused\r\n');
  runState = 'shutdown';
  expect(answer('info status')).toBe('VM status: paused (shutdown)\r\n');
  expect(answer('cont')).toBe('Error: Resetting the Virtual Machine is required\r\n');
});

test('greets whoever connects, who has a line of his own', () => {
  type('sto');
  text = '';
  monitor.onOpen();
  expect(text).toBe(`tsvmm ${VERSION} monitor - type 'help' for more information\r\n(tsvmm) `);
  type('p\r');
  expect(calls).toEqual([]);
});
