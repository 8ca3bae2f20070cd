/** `-serial unix:PATH[,server=on][,wait=off]`: a UNIX stream socket, one peer at a time. */

import { lstatSync, unlinkSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { reasonOf, UserError } from '../errors.ts';
import type { Character, CharacterFrontend } from './character.ts';
import { InputQueue } from './input-queue.ts';

/** Output that a slow peer has not taken; from here on the machine waits. */
const CONGESTION = 64 * 1024;
const INPUT_MAX = 4096;

export interface SocketOptions {
  readonly path: string;
  readonly server: boolean;
  /** A server waits for its first client before the machine starts. */
  readonly wait: boolean;
}

export class SocketCharacter implements Character {
  private readonly options: SocketOptions;
  private readonly input = new InputQueue();
  private output: number[] = [];
  private listener: Server | undefined;
  private peer: Socket | undefined;

  constructor(options: SocketOptions) {
    this.options = options;
  }

  get congested(): boolean {
    return (this.peer?.writableLength ?? 0) > CONGESTION;
  }

  write(byte: number): void {
    this.output.push(byte);
  }

  /** Without a peer output is lost, as on a cable that is not plugged in. */
  flush(): void {
    if (this.output.length > 0) {
      this.peer?.write(Uint8Array.from(this.output));
      this.output = [];
    }
  }

  connect(frontend: CharacterFrontend): void {
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
    const { path, server, wait } = this.options;
    const fail = (verb: string, error: Error) => new UserError(`could not ${verb} '${path}': ${reasonOf(error)}`);
    return new Promise((resolve, reject) => {
      if (!server) {
        const socket = connect(path);
        socket.once('error', (error) => reject(fail('connect to', error)));
        socket.once('connect', () => {
          this.attach(socket);
          resolve();
        });
        return;
      }
      try {
        removeStale(path);
      } catch (error) {
        reject(fail('listen on', error as Error));
        return;
      }
      this.listener = createServer((socket) => {
        // One peer at a time, as a serial cable has two ends.
        if (this.peer) {
          socket.destroy();
          return;
        }
        this.attach(socket);
        resolve();
      });
      this.listener.once('error', (error) => reject(fail('listen on', error)));
      this.listener.listen(path, () => {
        if (!wait) {
          resolve();
        }
      });
    });
  }

  openInput(): void {}

  private attach(socket: Socket): void {
    this.peer = socket;
    socket.removeAllListeners('error');
    socket.on('error', () => {});
    socket.on('close', () => {
      this.peer = undefined;
    });
    socket.on('data', (bytes) => {
      this.input.push(bytes);
      if (this.input.length >= INPUT_MAX) {
        socket.pause();
      }
    });
  }

  close(): void {
    this.flush();
    this.listener?.close();
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
