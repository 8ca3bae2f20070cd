/** Characters on their way from the host to a frontend that takes them at its own pace. */

import type { CharacterFrontend } from './character.ts';

export class InputQueue {
  private frontend: CharacterFrontend | undefined;
  private bytes: Uint8Array = new Uint8Array(0);

  get length(): number {
    return this.bytes.length;
  }

  connect(frontend: CharacterFrontend): void {
    this.frontend = frontend;
    this.deliver();
  }

  push(bytes: Uint8Array): void {
    this.bytes = this.bytes.length === 0 ? bytes : Buffer.concat([this.bytes, bytes]);
    this.deliver();
  }

  /** Hands on what the frontend can take. */
  deliver(): void {
    const { frontend } = this;
    while (frontend && this.bytes.length > 0) {
      const count = Math.min(frontend.receiveSpace(), this.bytes.length);
      if (count <= 0) {
        return;
      }
      const part = this.bytes.subarray(0, count);
      // First, because the frontend may ask for more from within.
      this.bytes = this.bytes.subarray(count);
      frontend.receive(part);
    }
  }
}
