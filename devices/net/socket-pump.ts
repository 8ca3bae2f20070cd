/** Moves bytes between a socket and byte rings, bounded both ways: a full ring pauses the socket. */

import type { Socket } from 'node:net';
import { ByteRing } from './byte-ring.ts';

/** Node reads sockets in pieces of this size: reading goes on only while a whole one fits. */
const READ_CHUNK = 64 * 1024;

/** So much is worth a write of its own. Gathering saves a third of the system time of a stream in 1460-byte pieces. */
const GATHER_BYTES = 16 * 1024;

/** Socket → ring. */
export class SocketReader {
  readonly ring = new ByteRing();
  private readonly socket: Socket;
  private paused = false;

  /** @param onData the ring got more bytes. */
  constructor(socket: Socket, onData: () => void) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      const length = Math.min(chunk.length, this.ring.free);
      this.ring.push(chunk, 0, length);
      if (this.ring.free < READ_CHUNK) {
        this.paused = true;
        socket.pause();
        if (length < chunk.length) socket.unshift(chunk.subarray(length));
      }
      onData();
    });
  }

  /** Removes bytes at the front of the ring, and reads on when there is room again. */
  skip(length: number): void {
    this.ring.skip(length);
    if (this.paused && this.ring.free >= READ_CHUNK) {
      this.paused = false;
      this.socket.resume();
    }
  }
}

/** Ring → socket. */
export class SocketWriter {
  readonly ring = new ByteRing();
  private readonly socket: Socket;
  private readonly onSpace: () => void;
  /** Bytes at the front of the ring that the socket is writing. */
  private writing = 0;
  private scheduled = false;
  private readonly onImmediate = (): void => {
    this.scheduled = false;
    this.flush();
  };
  private readonly onWritten = (): void => {
    // Of a write that was done at once the callback comes late, perhaps while another is under way.
    if (this.writing > 0 && this.socket.writableLength === 0) {
      this.settle();
      this.flush();
    }
  };

  /** @param onSpace bytes left the ring. */
  constructor(socket: Socket, onSpace: () => void) {
    this.socket = socket;
    this.onSpace = onSpace;
  }

  /** Hands what the ring holds to the socket: at once as far as the kernel takes it, and the rest when it can. */
  flush(): void {
    while (this.writing === 0 && this.ring.length > 0 && this.socket.writable) {
      const bytes = this.ring.front();
      this.writing = bytes.length;
      this.socket.write(bytes, this.onWritten);
      if (this.socket.writableLength === 0) this.settle();
    }
  }

  /** As {@link flush}, but more bytes are likely to come: small pieces are gathered into one write. */
  flushLater(): void {
    if (this.ring.length >= GATHER_BYTES) {
      this.flush();
    } else if (!this.scheduled) {
      this.scheduled = true;
      setImmediate(this.onImmediate);
    }
  }

  private settle(): void {
    const written = this.writing;
    this.writing = 0;
    this.ring.skip(written);
    this.onSpace();
  }
}
