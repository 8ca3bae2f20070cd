/**
 * Output to a descriptor, gathered and written once per slice. A full pipe keeps what it did not take; a closed one
 * swallows the rest.
 */

import { writeSync } from 'node:fs';

const INITIAL_SIZE = 16 * 1024;
/** From here on the machine should wait. */
const CONGESTION = 64 * 1024;
const RETRY_MS = 5;

/** write(2), throwing as fs.writeSync does; tests bring their own. */
export type WriteFd = (fd: number, bytes: Uint8Array, offset: number, length: number) => number;

export class FdOutput {
  private readonly fd: number;
  private readonly writeFd: WriteFd;
  private buffer = new Uint8Array(INITIAL_SIZE);
  private start = 0;
  private end = 0;
  /** Nobody reads any more. */
  private broken = false;
  private retry: NodeJS.Timeout | undefined;

  constructor(fd: number, writeFd: WriteFd = writeSync) {
    this.fd = fd;
    this.writeFd = writeFd;
  }

  get congested(): boolean {
    return this.end - this.start > CONGESTION;
  }

  write(byte: number): void {
    if (this.end === this.buffer.length) {
      this.makeRoom();
    }
    this.buffer[this.end++] = byte;
  }

  private makeRoom(): void {
    this.flush();
    const pending = this.end - this.start;
    if (pending > this.buffer.length / 2) {
      const larger = new Uint8Array(this.buffer.length * 2);
      larger.set(this.buffer.subarray(this.start, this.end));
      this.buffer = larger;
    } else {
      this.buffer.copyWithin(0, this.start, this.end);
    }
    this.start = 0;
    this.end = pending;
  }

  /** Writes what the host takes; the rest is tried again soon. */
  flush(): void {
    while (this.start < this.end && !this.broken) {
      try {
        this.start += this.writeFd(this.fd, this.buffer, this.start, this.end - this.start);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EAGAIN' || code === 'EINTR') {
          this.retry ??= setTimeout(() => {
            this.retry = undefined;
            this.flush();
          }, RETRY_MS).unref();
          return;
        }
        // EPIPE: the reader is gone. The guest goes on, as it would under QEMU.
        this.broken = true;
      }
    }
    this.start = 0;
    this.end = 0;
  }

  /** Writes everything, waiting for a slow reader as long as it takes something every `patience` ms. */
  drain(patience: number): void {
    let last = performance.now();
    for (;;) {
      const before = this.start;
      this.flush();
      if (this.end === 0) {
        break;
      }
      if (this.start !== before) {
        last = performance.now();
      } else if (performance.now() - last >= patience) {
        break;
      }
      sleep(1);
    }
    clearTimeout(this.retry);
  }
}

const NEVER = new Int32Array(new SharedArrayBuffer(4));

function sleep(ms: number): void {
  Atomics.wait(NEVER, 0, 0, ms);
}
