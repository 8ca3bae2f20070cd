/** `-serial unix:PATH[,server=on][,wait=off]`, `-serial tcp:…`: a stream socket, one peer at a time. */

import { lstatSync, unlinkSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { reasonOf, UserError } from '../errors.ts';
import type { SocketConfig } from '../options/config.ts';
import type { Character, CharacterFrontend } from './character.ts';
import { InputQueue } from './input-queue.ts';

/** Output that a slow peer has not taken; from here on the machine waits. */
const CONGESTION = 64 * 1024;
const INPUT_MAX = 4096;
/** Output that a peer may leave unread where the machine does not wait for it. */
const UNREAD_MAX = 1 << 20;
/** Peers that wait until those before them have gone; more are turned away. */
const WAITING_MAX = 16;

export class SocketCharacter implements Character {
  private readonly options: SocketConfig;
  private readonly input = new InputQueue();
  private output: number[] = [];
  private listener: Server | undefined;
  private peer: Socket | undefined;
  private readonly waiting: Socket[] = [];
  private frontend: CharacterFrontend | undefined;

  constructor(options: SocketConfig) {
    this.options = options;
  }

  get congested(): boolean {
    return !this.frontend?.holdsNothingUp && (this.peer?.writableLength ?? 0) > CONGESTION;
  }

  write(byte: number): void {
    this.output.push(byte);
  }

  /** Without a peer output is lost, as on a cable that is not plugged in. */
  flush(): void {
    if (this.output.length > 0) {
      this.peer?.write(Uint8Array.from(this.output));
      this.output = [];
      if (this.frontend?.holdsNothingUp && (this.peer?.writableLength ?? 0) > UNREAD_MAX) {
        this.peer?.destroy();
      }
    }
  }

  connect(frontend: CharacterFrontend): void {
    this.frontend = frontend;
    this.input.connect(frontend);
  }

  frontendHasSpace(): void {
    this.input.deliver();
    if (this.input.length < INPUT_MAX && this.peer?.isPaused()) {
      this.peer.resume();
    }
  }

  /** @throws UserError (the promise rejects) when the path cannot be listened on or connected to. */
  prepare(): Promise<void> {
    // Loaded here, because it costs every other machine's start milliseconds.
    const { connect, createServer } = process.getBuiltinModule('node:net');
    const { name, address, server, wait } = this.options;
    const fail = (verb: string, error: Error) => new UserError(`could not ${verb} '${name}': ${reasonOf(error)}`);
    return new Promise((resolve, reject) => {
      if (!server) {
        const socket = connect(address);
        socket.once('error', (error) => reject(fail('connect to', error)));
        socket.once('connect', () => {
          this.attach(socket);
          resolve();
        });
        return;
      }
      try {
        if ('path' in address) {
          removeStale(address.path);
        }
      } catch (error) {
        reject(fail('listen on', error as Error));
        return;
      }
      this.listener = createServer((socket) => {
        // One peer at a time, as a serial cable has two ends.
        if (this.peer) {
          this.enqueue(socket);
        } else {
          this.attach(socket);
          resolve();
        }
      });
      this.listener.once('error', (error) => reject(fail('listen on', error)));
      this.listener.listen(address, () => {
        if (!wait) {
          resolve();
        }
      });
    });
  }

  openInput(): void {}

  private enqueue(socket: Socket): void {
    socket.on('error', () => {});
    if (this.waiting.length === WAITING_MAX) {
      socket.destroy();
      return;
    }
    this.waiting.push(socket);
  }

  private attach(socket: Socket): void {
    this.peer = socket;
    socket.removeAllListeners('error');
    socket.on('error', () => {});
    socket.on('close', () => {
      this.peer = undefined;
      let next = this.waiting.shift();
      while (next?.destroyed) {
        next = this.waiting.shift();
      }
      if (next) {
        this.attach(next);
      }
    });
    socket.on('data', (bytes) => {
      this.input.push(bytes);
      if (this.input.length >= INPUT_MAX) {
        socket.pause();
      }
    });
    this.frontend?.onOpen?.();
    this.flush();
  }

  close(): void {
    this.flush();
    this.listener?.close();
    for (const socket of this.waiting) {
      socket.destroy();
    }
    this.peer?.end();
    this.peer?.unref();
  }
}

/** A socket that an earlier process left behind is in the way; any other file is the user's, and stays. */
function removeStale(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket()) {
    unlinkSync(path);
  }
}
