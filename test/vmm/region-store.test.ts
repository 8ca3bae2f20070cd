/** Where translations are kept: our own files only, few of them, and nothing that gets in the way. */
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { StoredPart } from '../../cpu/jit/stored-regions.ts';
import { UserError } from '../../vmm/errors.ts';
import { RegionStore } from '../../vmm/region-store.ts';

const KERNEL = Uint8Array.from({ length: 1000 }, (_, i) => i);
const PARTS: StoredPart[] = [
  {
    regions: [],
    ran: 1,
    machineCode: { host: 'v20', ran: 1, module: Uint8Array.of(1), bytes: Uint8Array.of(1, 2, 3) },
  },
];

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tsvmm-store-'));
  vi.stubGlobal('TRANSLATOR_HASH', 9);
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
});

/** Writes something for a kernel. @returns the file's path */
function write(kernel = KERNEL): string {
  const store = RegionStore.open(directory, kernel, 'wasm')!;
  store.write(PARTS);
  store.close();
  return join(directory, readdirSync(directory)[0]);
}

const parts = () => RegionStore.open(directory, KERNEL, 'wasm')!.parts.length;

test('the next run of a kernel finds what was written, for the same form', () => {
  expect(parts()).toBe(0);
  const path = write();
  expect(parts()).toBe(1);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(RegionStore.open(directory, KERNEL, 'js')!.parts).toEqual([]);
  expect(RegionStore.open(directory, KERNEL.with(61, 1), 'wasm')!.parts).toEqual([]);
});

test('not what another make of the program wrote, nor half of it', () => {
  const path = write();
  vi.stubGlobal('TRANSLATOR_HASH', 8);
  expect(parts()).toBe(0);
  vi.stubGlobal('TRANSLATOR_HASH', 9);
  truncateSync(path, readFileSync(path).length - 4);
  expect(parts()).toBe(0);
  write();
  expect(parts()).toBe(1);
});

test('in the directory of the user for such things', () => {
  vi.stubEnv('XDG_CACHE_HOME', directory);
  RegionStore.open(undefined, KERNEL, 'wasm')!.close();
  expect(readdirSync(directory)).toEqual(['tsvmm']);
  vi.stubEnv('XDG_CACHE_HOME', '');
  vi.stubEnv('HOME', directory);
  RegionStore.open(undefined, KERNEL, 'wasm')!.close();
  expect(existsSync(join(directory, '.cache', 'tsvmm'))).toBe(true);
});

test('nobody asked for it: without such a directory there is no store', () => {
  vi.stubEnv('XDG_CACHE_HOME', join(directory, 'none'));
  expect(RegionStore.open(undefined, KERNEL, 'wasm')).toBeUndefined();
  vi.stubEnv('XDG_CACHE_HOME', '');
  vi.stubEnv('HOME', '');
  expect(RegionStore.open(undefined, KERNEL, 'wasm')).toBeUndefined();
  vi.stubGlobal('TRANSLATOR_HASH', undefined);
  expect(RegionStore.open(directory, KERNEL, 'wasm')).toBeUndefined();
});

test('somebody asked for it: a directory that there is not is an error', () => {
  const missing = join(directory, 'none');
  expect(() => RegionStore.open(missing, KERNEL, 'wasm')).toThrow(UserError);
  expect(() => RegionStore.open(missing, KERNEL, 'wasm')).toThrow(
    `-accel tb-store=${missing}: no such file or directory`,
  );
});

test('a file that others may write is not read', () => {
  chmodSync(write(), 0o620);
  expect(() => parts()).toThrow('is not a file that only we write');
  // Where nobody asked for one there is none then.
  vi.stubEnv('XDG_CACHE_HOME', directory);
  RegionStore.open(undefined, KERNEL, 'wasm')!.close();
  directory = join(directory, 'tsvmm');
  chmodSync(join(directory, readdirSync(directory)[0]), 0o620);
  expect(RegionStore.open(undefined, KERNEL, 'wasm')).toBeUndefined();
});

test('nor one that is somewhere else', () => {
  const path = write();
  const other = mkdtempSync(join(tmpdir(), 'tsvmm-store-'));
  writeFileSync(join(other, 'file'), readFileSync(path), { mode: 0o600 });
  directory = mkdtempSync(join(tmpdir(), 'tsvmm-store-'));
  symlinkSync(join(other, 'file'), join(directory, path.split('/').at(-1)!));
  expect(() => parts()).toThrow(UserError);
});

test('of many kernels those that ran last', () => {
  const names: string[] = [];
  for (let i = 0; i < 70; i++) {
    const before = new Set(readdirSync(directory));
    write(KERNEL.with(0, i));
    const made = readdirSync(directory).find((name) => !before.has(name))!;
    names.push(made);
    utimesSync(join(directory, made), 1000 + i, 1000 + i);
    // The first is in use all the time, though nothing new is written.
    RegionStore.open(directory, KERNEL.with(0, 0), 'wasm')!.close();
  }
  const left = readdirSync(directory);
  expect(left.length).toBe(64);
  expect(left).toContain(names[0]);
  expect(left).toContain(names[69]);
  expect(left).not.toContain(names[1]);
});
