import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UserError } from '../../vmm/errors.ts';
import { nextOptionValue, parseSize, Suboptions } from '../../vmm/keyval.ts';

test('a comma ends a value, two are one in it', () => {
  expect(nextOptionValue('a,b', 0)).toEqual({ value: 'a', next: 1 });
  expect(nextOptionValue('a,,b,c', 0)).toEqual({ value: 'a,b', next: 4 });
  expect(nextOptionValue('a,,', 0)).toEqual({ value: 'a,', next: 3 });
  expect(nextOptionValue('', 0)).toEqual({ value: '', next: 0 });
});

test('values survive escaping, whatever is in them', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), fc.string()), (values) => {
      const text = Object.entries(values)
        .map(([key, value]) => `${key}=${value.replaceAll(',', ',,')}`)
        .join(',');
      const sub = new Suboptions('-x', text);
      for (const [key, value] of Object.entries(values)) {
        expect(sub.take(key)).toBe(value);
      }
      sub.finish();
    }),
  );
});

describe('suboptions', () => {
  test('the first word may be the implied key, later words are on', () => {
    const sub = new Suboptions('-x', 'user,server,id=n', 'type');
    expect(sub.take('type')).toBe('user');
    expect(sub.takeBoolean('server')).toBe(true);
    expect(sub.takeId()).toBe('n');
    sub.finish();
  });

  test('booleans in their spellings', () => {
    const sub = new Suboptions('-x', 'a=on,b=off,nowait,c=yes,d=false,e=maybe');
    expect(['a', 'b', 'wait', 'c', 'd'].map((key) => sub.takeBoolean(key))).toEqual([true, false, false, true, false]);
    expect(() => sub.takeBoolean('e')).toThrow("-x a=on,b=off,nowait,c=yes,d=false,e=maybe: Parameter 'e' expects");
  });

  test('repeated keys: the last counts, or all', () => {
    const sub = new Suboptions('-x', 'a=1,b=2,a=3,b=4');
    expect(sub.take('a')).toBe('3');
    expect(sub.takeAll('b')).toEqual(['2', '4']);
  });

  test('numbers, words and ids are checked', () => {
    expect(new Suboptions('-x', 'n=0x10').takeInteger('n', 0, 16)).toBe(16);
    for (const bad of ['n=17', 'n=-1', 'n=', 'n=1x', 'n=1e3']) {
      expect(() => new Suboptions('-x', bad).takeInteger('n', 0, 16), bad).toThrow(UserError);
    }
    expect(() => new Suboptions('-x', 'w=c').takeOneOf('w', ['a', 'b'])).toThrow("does not accept value 'c'");
    expect(() => new Suboptions('-x', 'id=1a').takeId()).toThrow("'id' expects a letter");
    expect(() => new Suboptions('-x', '').require('k')).toThrow("-x: Parameter 'k' is missing");
  });

  test('what nobody took is refused', () => {
    expect(() => new Suboptions('-netdev', 'tap,foo=1', 'type').finish()).toThrow('Invalid parameter');
  });
});

test.each([
  ['64', 1 << 20, 64 << 20],
  ['268M', 1, 268 << 20],
  ['1.5G', 1, 1.5 * 2 ** 30],
  ['64k', 1, 65536],
  ['512B', 1, 512],
  ['0x40m', 1, 64 << 20],
  ['', 1, undefined],
  ['-1', 1, undefined],
  ['1X', 1, undefined],
  ['1MM', 1, undefined],
])('size %s in units of %d is %s', (text, unit, bytes) => {
  expect(parseSize(text, unit)).toBe(bytes);
});
