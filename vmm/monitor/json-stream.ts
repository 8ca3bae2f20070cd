/** Cuts a stream of bytes into JSON values that are objects, as QMP clients send them: with anything between, or nothing. */

/** Bytes of one object at most, and how deep it may be (QEMU: 1024). */
const OBJECT_MAX = 1 << 20;
const DEPTH_MAX = 1024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const NEWLINE = 0x0a;

/** What is between objects and is no error. */
const isSpace = (byte: number) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);

export class JsonStream {
  private readonly onValue: (value: unknown) => void;
  private readonly onError: (reason: string) => void;
  private bytes: number[] = [];
  private depth = 0;
  private inString = false;
  private escaped = false;
  /** After an error nothing counts until the end of the line. */
  private skipping = false;

  constructor(onValue: (value: unknown) => void, onError: (reason: string) => void) {
    this.onValue = onValue;
    this.onError = onError;
  }

  /** Forgets what it has of an object. */
  reset(): void {
    this.bytes = [];
    this.depth = 0;
    this.inString = false;
    this.escaped = false;
    this.skipping = false;
  }

  push(bytes: Uint8Array): void {
    for (const byte of bytes) {
      this.take(byte);
    }
  }

  private take(byte: number): void {
    if (this.skipping) {
      this.skipping = byte !== NEWLINE;
      return;
    }
    if (this.depth === 0) {
      if (isSpace(byte)) {
        return;
      }
      if (byte !== OPEN_BRACE) {
        this.fail('JSON parse error, expecting value');
        return;
      }
    }
    if (this.bytes.length === OBJECT_MAX) {
      this.fail('JSON token size limit exceeded');
      return;
    }
    this.bytes.push(byte);
    if (this.inString) {
      if (this.escaped) this.escaped = false;
      else if (byte === BACKSLASH) this.escaped = true;
      else if (byte === QUOTE) this.inString = false;
    } else if (byte === QUOTE) {
      this.inString = true;
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      this.depth++;
      if (this.depth > DEPTH_MAX) this.fail('JSON nesting depth limit exceeded');
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      this.depth--;
      if (this.depth === 0) this.finish();
    }
  }

  private finish(): void {
    const text = Buffer.from(this.bytes).toString('utf8');
    this.reset();
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      this.onError('JSON parse error, invalid keyword');
      return;
    }
    this.onValue(value);
  }

  private fail(reason: string): void {
    this.reset();
    this.skipping = true;
    this.onError(reason);
  }
}
