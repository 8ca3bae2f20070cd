/**
 * QEMU's `value,key=value,key,nokey` grammar (util/keyval.c, util/qemu-option.c): a comma separates, `,,` is a comma
 * within a value; a first word without `=` is the value of the option's implied key; a later word without `=` is `on`,
 * and `nokey` is `off`.
 */

import { UserError } from './errors.ts';

/** Reads one value from `at` on. @returns it unescaped, and the index of the comma that ended it (or the end). */
export function nextOptionValue(text: string, at: number): { value: string; next: number } {
  let value = '';
  while (at < text.length) {
    const comma = text.indexOf(',', at);
    if (comma < 0) {
      return { value: value + text.slice(at), next: text.length };
    }
    value += text.slice(at, comma);
    if (text[comma + 1] !== ',') {
      return { value, next: comma };
    }
    value += ',';
    at = comma + 2;
  }
  return { value, next: at };
}

/** The suboptions of one occurrence of an option; each may be taken once, and none may be left over. */
export class Suboptions {
  /** The option as the user wrote it, for messages. */
  readonly where: string;
  private readonly values = new Map<string, string[]>();

  /** @param implied the key that a first word without `=` is the value of; undefined when there is none. */
  constructor(option: string, text: string, implied?: string) {
    this.where = `${option} ${text}`.trimEnd();
    for (let at = 0, first = true; at < text.length; first = false) {
      const { value: word, next } = nextOptionValue(text, at);
      this.add(word, first ? implied : undefined);
      at = next + 1;
    }
  }

  private add(word: string, implied: string | undefined): void {
    const equals = word.indexOf('=');
    if (equals >= 0) {
      this.put(word.slice(0, equals), word.slice(equals + 1));
    } else if (implied !== undefined) {
      this.put(implied, word);
    } else if (word !== '') {
      this.put(word, 'on');
    }
  }

  private put(key: string, value: string): void {
    const values = this.values.get(key);
    if (values) {
      values.push(value);
    } else {
      this.values.set(key, [value]);
    }
  }

  /** Takes a value out; of several, the last. */
  take(key: string): string | undefined {
    return this.takeAll(key).at(-1);
  }

  /** Takes all values of a key that may be repeated. */
  takeAll(key: string): readonly string[] {
    const values = this.values.get(key) ?? [];
    this.values.delete(key);
    return values;
  }

  /** Takes everything that is left, for somebody else to judge. */
  takeRest(): readonly (readonly [string, string])[] {
    const rest = [...this.values].flatMap(([key, values]) => values.map((value) => [key, value] as const));
    this.values.clear();
    return rest;
  }

  /** Takes the id. @throws UserError when it is not one. */
  takeId(): string | undefined {
    const id = this.take('id');
    return id === undefined || /^[A-Za-z][A-Za-z0-9._-]*$/.test(id)
      ? id
      : this.fail("Parameter 'id' expects a letter, then letters, digits, '-', '.' or '_'");
  }

  /** Takes a value that must be there. */
  require(key: string): string {
    return this.take(key) ?? this.fail(`Parameter '${key}' is missing`);
  }

  /** Takes an on/off value. QEMU's old `noKEY` form counts as off. */
  takeBoolean(key: string): boolean | undefined {
    const value = this.take(key);
    if (value === undefined) {
      return this.take(`no${key}`) === undefined ? undefined : false;
    }
    if (['on', 'yes', 'true', 'y'].includes(value)) {
      return true;
    }
    if (['off', 'no', 'false', 'n'].includes(value)) {
      return false;
    }
    return this.fail(`Parameter '${key}' expects 'on' or 'off'`);
  }

  /** Takes a number, decimal or 0x…, within bounds. */
  takeInteger(key: string, least: number, most: number): number | undefined {
    const text = this.take(key);
    if (text === undefined) {
      return undefined;
    }
    const value = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : Number.NaN;
    if (!(value >= least && value <= most)) {
      this.fail(`Parameter '${key}' expects a number from ${least} to ${most}`);
    }
    return value;
  }

  /** Takes one of a few words. */
  takeOneOf<Word extends string>(key: string, words: readonly Word[]): Word | undefined {
    const value = this.take(key);
    if (value !== undefined && !(words as readonly string[]).includes(value)) {
      this.fail(`Parameter '${key}' does not accept value '${value}' (one of: ${words.join(', ')})`);
    }
    return value as Word | undefined;
  }

  /** Takes keys that mean nothing here. */
  ignore(...keys: readonly string[]): void {
    for (const key of keys) {
      this.take(key);
    }
  }

  /** Refuses whatever was not taken. */
  finish(): void {
    for (const key of this.values.keys()) {
      this.fail(`Invalid parameter '${key}'`);
    }
  }

  fail(message: string): never {
    throw new UserError(`${this.where}: ${message}`);
  }
}

const SIZE_SHIFT = { b: 0, k: 10, m: 20, g: 30, t: 40, p: 50, e: 60 };

/**
 * Reads a size such as `268M`, `1.5G`, `0x1000k`.
 * @param unit bytes per unit of a number without suffix
 * @returns bytes, undefined when `text` is no size
 */
export function parseSize(text: string, unit: number): number | undefined {
  const match = /^(0x[0-9a-f]+|\d+(?:\.\d+)?)([bkmgtpe]?)$/i.exec(text);
  if (!match) {
    return undefined;
  }
  const suffix = match[2].toLowerCase() as keyof typeof SIZE_SHIFT | '';
  return Math.floor(Number(match[1]) * (suffix === '' ? unit : 2 ** SIZE_SHIFT[suffix]));
}
