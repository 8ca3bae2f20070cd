/**
 * Chooses how to boot: reads kernel and initrd, probes the formats in QEMU's order, and adds what firmware would have
 * left in RAM (BIOS data area, ACPI tables).
 */

import { constants, fstatSync, openSync, readSync } from 'node:fs';
import { buildAcpi } from '../firmware/acpi.ts';
import { buildBda } from '../firmware/bda.ts';
import { BootError, type BootState } from '../firmware/boot-state.ts';
import { isElf, parseElf } from '../firmware/elf.ts';
import { isLinux, loadBzImage, loadLinuxElf } from '../firmware/linux.ts';
import { findMultibootHeader, loadMultiboot, type MultibootModule } from '../firmware/multiboot1.ts';
import { findPvhEntry, loadPvh } from '../firmware/pvh.ts';
import { reasonOf, UserError } from './errors.ts';
import { nextOptionValue } from './keyval.ts';
import { VIRTIO_MMIO_SIZE } from './layout.ts';

export interface BootOptions {
  readonly kernel: string;
  readonly append: string;
  /** Path of the initrd; for multiboot kernels a list of modules `file args,file args…`. */
  readonly initrd?: string | undefined;
  readonly ramSize: number;
  readonly cpus: number;
  /** `microvm` has no PCI and enters ELF64 kernels by the Linux 64-bit protocol, as Firecracker does. */
  readonly machine: 'pc' | 'microvm';
  readonly vga: boolean;
  /** virtio-mmio windows, named to Linux-style kernels on their command line. */
  readonly virtioMmio: readonly { readonly base: number; readonly irq: number }[];
}

/** Reads a whole regular file, or throws with the system's reason. */
export type ReadFile = (path: string) => Uint8Array;

/**
 * Reads files that stay open: a reset reads them again, when the process can open none any more. It ends as the process
 * does.
 */
export function fileKeeper(): ReadFile {
  const files = new Map<string, number>();
  return (path) => {
    let fd = files.get(path);
    if (fd === undefined) {
      // A FIFO would keep us waiting for its writer.
      fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      files.set(path, fd);
    }
    const stat = fstatSync(fd);
    if (!stat.isFile()) {
      throw new Error('not a regular file');
    }
    const bytes = new Uint8Array(stat.size);
    let length = 0;
    for (let count = -1; count !== 0 && length < bytes.length; length += count) {
      count = readSync(fd, bytes, length, bytes.length - length, length);
    }
    return bytes.subarray(0, length);
  };
}

/**
 * @returns the kernel's file too
 * @throws UserError when a file cannot be read
 * @throws BootError when the kernel cannot be booted
 */
export function boot(options: BootOptions, readFile: ReadFile): BootState & { kernel: Uint8Array } {
  const read = (kind: string, path: string): Uint8Array => {
    try {
      return readFile(path);
    } catch (error) {
      throw new UserError(`could not open ${kind} '${path}': ${reasonOf(error)}`);
    }
  };
  const kernel = read('kernel file', options.kernel);
  try {
    const state = load(kernel, options, (path) => read('initrd', path));
    if (state.rip >= options.ramSize) {
      throw new BootError(`its entry point 0x${state.rip.toString(16)} lies outside RAM`);
    }
    const { ramSize, cpus, vga } = options;
    const acpi = buildAcpi({ ramSize, cpus, vga, pci: options.machine === 'pc' });
    return { ...state, kernel, writes: [...buildBda(vga), ...acpi, ...state.writes] };
  } catch (error) {
    throw error instanceof BootError ? new BootError(`cannot boot '${options.kernel}': ${error.message}`) : error;
  }
}

/** QEMU's order: Linux, multiboot, PVH. Then, on `microvm` only, plain ELF64. */
function load(kernel: Uint8Array, options: BootOptions, readInitrd: ReadFile): BootState {
  const { append, initrd, ramSize, vga } = options;
  const linuxOptions = () => ({
    ramSize,
    commandLine: linuxCommandLine(options),
    initrd: initrd === undefined ? undefined : readInitrd(initrd),
    vga,
  });
  if (isLinux(kernel)) {
    return loadBzImage(kernel, linuxOptions());
  }
  if (findMultibootHeader(kernel) !== undefined) {
    const modules = initrd === undefined ? [] : readModules(initrd, readInitrd);
    return loadMultiboot(kernel, { ramSize, commandLine: `${options.kernel} ${append}`, modules });
  }
  if (!isElf(kernel)) {
    throw new BootError(
      kernel.length === 0 ? 'the file is empty' : 'not a kernel: neither Linux (bzImage), multiboot nor ELF',
    );
  }
  const elf = parseElf(kernel);
  const pvhEntry = findPvhEntry(elf);
  if (pvhEntry !== undefined) {
    return loadPvh(elf, pvhEntry, linuxOptions());
  }
  if (elf.bits === 64 && options.machine === 'microvm') {
    return loadLinuxElf(kernel, linuxOptions());
  }
  throw new BootError(
    elf.bits === 64
      ? 'ELF64 without a PVH note or multiboot header; a Firecracker kernel needs -M microvm'
      : 'ELF32 without a multiboot header or PVH note',
  );
}

/** A list `file args,file args…`; `,,` is a comma within one. */
function readModules(list: string, readInitrd: ReadFile): MultibootModule[] {
  const modules: MultibootModule[] = [];
  for (let at = 0; at <= list.length; ) {
    const { value: commandLine, next } = nextOptionValue(list, at);
    modules.push({ commandLine, bytes: readInitrd(commandLine.split(' ', 1)[0]) });
    at = next + 1;
  }
  return modules;
}

/** Names the virtio-mmio devices as Firecracker does, before a ` -- ` that ends the kernel's own arguments. */
function linuxCommandLine({ append, virtioMmio }: BootOptions): string {
  if (virtioMmio.length === 0) {
    return append;
  }
  const devices = virtioMmio
    .map(({ base, irq }) => `virtio_mmio.device=${VIRTIO_MMIO_SIZE / 1024}K@0x${base.toString(16)}:${irq}`)
    .join(' ');
  const separator = /(^| )--( |$)/.exec(append);
  if (!separator) {
    return append === '' ? devices : `${append} ${devices}`;
  }
  const before = append.slice(0, separator.index).trimEnd();
  return [before, devices, append.slice(separator.index).trimStart()].filter((part) => part !== '').join(' ');
}
