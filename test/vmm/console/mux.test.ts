import { beforeEach, describe, expect, test } from 'vitest';
import { type Character, type CharacterFrontend, NULL_CHARACTER } from '../../../vmm/console/character.ts';
import { Mux } from '../../../vmm/console/mux.ts';

class Terminal implements Character {
  text = '';
  frontend: CharacterFrontend | undefined;
  readonly congested = false;
  readonly flush = NULL_CHARACTER.flush;
  readonly prepare = NULL_CHARACTER.prepare;
  readonly openInput = NULL_CHARACTER.openInput;
  readonly close = NULL_CHARACTER.close;
  readonly frontendHasSpace = NULL_CHARACTER.frontendHasSpace;

  write(byte: number): void {
    this.text += String.fromCharCode(byte);
  }

  connect(frontend: CharacterFrontend): void {
    this.frontend = frontend;
  }
}

class Frontend implements CharacterFrontend {
  got = '';
  breaks = 0;
  focused = 0;
  space = 1000;

  receiveSpace(): number {
    return this.space;
  }

  receive(bytes: Uint8Array): void {
    this.got += Buffer.from(bytes).toString('latin1');
    this.space -= bytes.length;
  }

  receiveBreak(): void {
    this.breaks++;
  }

  onFocus(): void {
    this.focused++;
  }
}

describe('Mux', () => {
  let terminal: Terminal;
  let serial: Frontend;
  let monitor: Frontend;
  let exits: number;
  let mux: Mux;
  const type = (text: string) => mux.receive(Buffer.from(text, 'latin1'));

  beforeEach(() => {
    terminal = new Terminal();
    serial = new Frontend();
    monitor = new Frontend();
    exits = 0;
    mux = new Mux(terminal, () => exits++);
    mux.add(serial);
    mux.add(monitor);
  });

  test('input goes to the first frontend until Ctrl-A c', () => {
    type('abc\x01cdef\x01cghi');
    expect([serial.got, monitor.got]).toEqual(['abcghi', 'def']);
    expect([serial.focused, monitor.focused]).toEqual([2, 1]);
  });

  test('Ctrl-A twice sends one, also across reads', () => {
    type('a\x01');
    type('\x01b');
    expect(serial.got).toBe('a\x01b');
  });

  test('Ctrl-A x ends, h helps, b breaks, anything else is swallowed', () => {
    type('\x01h\x01b\x01z!\x01x');
    expect(terminal.text).toContain('\r\nC-a x    exit emulator\r\n');
    expect(terminal.text).toMatch(/tsvmm: Terminated\r\n$/);
    expect([serial.breaks, exits, serial.got]).toEqual([1, 1, '!']);
  });

  test('a frontend without room keeps its input, and commands still work', () => {
    serial.space = 2;
    type('abcdef\x01cM\x01x');
    expect([serial.got, monitor.got, exits]).toEqual(['ab', 'M', 1]);
    serial.space = 3;
    mux.frontendHasSpace();
    expect(serial.got).toBe('abcde');
    serial.space = 9;
    mux.frontendHasSpace();
    expect(serial.got).toBe('abcdef');
  });

  test('takes no more than it can hold', () => {
    serial.space = 0;
    type('x'.repeat(1000));
    const left = mux.receiveSpace();
    type('y'.repeat(left));
    expect(mux.receiveSpace()).toBe(0);
  });
});
