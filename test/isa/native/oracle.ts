/**
 * The native oracle: runs test cases on the host's CPU by native/runner.c, which is built on demand.
 *
 * Records to the runner, each `u32 kind, u32 size` (of the whole record, a multiple of 8), then
 *   MAP: u64 address, u32 length, u32 flags (1 writable, 2 executable), contents
 *   RUN: u64 code address, u32 code length, u32 patches, CpuState, code padded to 8, patches × (u64 address, u64 value)
 * and from it for each RUN: CpuState, i32 trap, u32 changes, u64 error code, u64 CR2, changes × (u64 address, u64 value).
 */
import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { type CaseResult, CpuState, type Executor, type MemoryWord, STATE_SIZE, type TestCase } from '../case.ts';
import { contents, REGIONS } from '../layout.ts';

const SOURCE = fileURLToPath(new URL('runner.c', import.meta.url));
const BUILD = fileURLToPath(new URL('../../../build/', import.meta.url));
const FLAGS = ['-O2', '-Wall', '-Wextra', '-Werror', '-fPIE', '-pie'];

const RECORD_MAP = 1;
const RECORD_RUN = 2;
const RUN_HEAD = 24;
const RESULT_SIZE = STATE_SIZE + 24;
const WORD_SIZE = 16;

/** @returns the path of the runner, built by `cc` if this version of the source was not built before. */
function build(): string {
  const hash = createHash('sha256').update(readFileSync(SOURCE)).update(FLAGS.join(' ')).digest('hex').slice(0, 12);
  const program = `${BUILD}isa-runner-${hash}`;
  if (!existsSync(program)) {
    mkdirSync(BUILD, { recursive: true });
    const unfinished = `${program}.${process.pid}`;
    execFileSync('cc', [...FLAGS, '-o', unfinished, SOURCE], { stdio: ['ignore', 'inherit', 'inherit'] });
    renameSync(unfinished, program);
  }
  return program;
}

const padded = (length: number): number => (length + 7) & ~7;

function runSize(testCase: TestCase): number {
  return RUN_HEAD + STATE_SIZE + padded(testCase.code.length) + testCase.memory.length * WORD_SIZE;
}

/** The MAP records of the whole layout. */
function mapRecords(): Buffer {
  return Buffer.concat(
    REGIONS.map((region) => {
      const head = Buffer.alloc(24);
      head.writeUInt32LE(RECORD_MAP, 0);
      head.writeUInt32LE(head.length + region.length, 4);
      head.writeBigUInt64LE(BigInt(region.address), 8);
      head.writeUInt32LE(region.length, 16);
      head.writeUInt32LE((region.writable ? 1 : 0) | (region.executable ? 2 : 0), 20);
      return Buffer.concat([head, contents(region)]);
    }),
  );
}

function runRecords(cases: readonly TestCase[]): Uint8Array {
  let size = 0;
  for (const testCase of cases) size += runSize(testCase);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const testCase of cases) {
    view.setUint32(at, RECORD_RUN, true);
    view.setUint32(at + 4, runSize(testCase), true);
    view.setBigUint64(at + 8, BigInt(testCase.codeAddress), true);
    view.setUint32(at + 16, testCase.code.length, true);
    view.setUint32(at + 20, testCase.memory.length, true);
    bytes.set(testCase.state.bytes, at + RUN_HEAD);
    at += RUN_HEAD + STATE_SIZE;
    bytes.set(testCase.code, at);
    at += padded(testCase.code.length);
    for (const word of testCase.memory) {
      view.setBigUint64(at, BigInt(word.address), true);
      view.setBigUint64(at + 8, word.value, true);
      at += WORD_SIZE;
    }
  }
  return bytes;
}

/** Takes the runner's output in whatever pieces it comes. */
class ResultReader {
  readonly results: CaseResult[] = [];
  private rest: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): void {
    const bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    let at = 0;
    while (bytes.length - at >= RESULT_SIZE) {
      const size = RESULT_SIZE + bytes.readUInt32LE(at + STATE_SIZE + 4) * WORD_SIZE;
      if (bytes.length - at < size) break;
      this.results.push(parseResult(bytes.subarray(at, at + size)));
      at += size;
    }
    this.rest = bytes.subarray(at);
  }
}

function parseResult(bytes: Uint8Array): CaseResult {
  const state = new CpuState(new ArrayBuffer(STATE_SIZE));
  state.bytes.set(bytes.subarray(0, STATE_SIZE));
  const view = new DataView(bytes.buffer, bytes.byteOffset + STATE_SIZE, bytes.length - STATE_SIZE);
  const memory: MemoryWord[] = [];
  for (let at = 24; at < view.byteLength; at += WORD_SIZE)
    memory.push({ address: Number(view.getBigUint64(at, true)), value: view.getBigUint64(at + 8, true) });
  const error = Number(view.getBigUint64(8, true));
  return { state, trap: view.getInt32(0, true), error, cr2: view.getBigUint64(16, true), memory };
}

/** Executes on the host's CPU. Creating it throws if there is no C compiler; {@link close} it in the end. */
export class NativeOracle implements Executor {
  readonly name = 'native';
  private readonly runner: ChildProcessByStdio<Writable, Readable, null>;
  private reader = new ResultReader();
  private received: () => void = () => {};
  private failure: Error | undefined;
  private idle: Promise<unknown> = Promise.resolve();

  constructor() {
    this.runner = spawn(build(), { stdio: ['pipe', 'pipe', 'inherit'] });
    this.runner.stdout.on('data', (chunk: Buffer) => {
      this.reader.push(chunk);
      this.received();
    });
    const fail = (why: string) => {
      this.failure = new Error(`isa runner: ${why}`);
      this.received();
    };
    this.runner.on('error', (error) => fail(error.message));
    this.runner.stdin.on('error', (error) => fail(error.message));
    this.runner.on('exit', (status, signal) => fail(`ended with ${signal ?? status}`));
    this.runner.stdin.write(mapRecords());
  }

  /** Runs of several callers follow each other. */
  run(cases: readonly TestCase[]): Promise<CaseResult[]> {
    const run = this.idle.then(() => this.exchange(cases));
    this.idle = run.catch(() => {});
    return run;
  }

  private exchange(cases: readonly TestCase[]): Promise<CaseResult[]> {
    this.reader = new ResultReader();
    return new Promise((resolve, reject) => {
      this.received = () => {
        if (this.reader.results.length === cases.length) resolve(this.reader.results);
        else if (this.failure) reject(this.failure);
      };
      this.received();
      this.runner.stdin.write(runRecords(cases));
    });
  }

  close(): void {
    this.runner.stdin.end();
  }
}
