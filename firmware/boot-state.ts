/**
 * What a boot protocol asks of the machine: bytes in guest RAM and the boot CPU's registers at its first instruction.
 *
 * Every loader in this folder is a pure function from the kernel's bytes to a {@link BootState}; the VMM writes the
 * bytes with {@link writeBootImage} and gives the rest to the CPU. Whatever a field does not say is as after RESET
 * (Intel SDM vol. 3, table 10-1), general registers 0.
 */

/** A segment register with its hidden part. */
export interface SegmentState {
  readonly selector: number;
  readonly base: number;
  /** Highest valid offset in bytes, granularity already applied (0xFFFFFFFF for a flat segment). */
  readonly limit: number;
  /**
   * Bits 40…55 of the descriptor with the limit's bits 16…19 cleared: type 0…3, S 4, DPL 5…6, P 7, AVL 12, L 13, D/B 14,
   * G 15. An absent P bit marks an unusable segment.
   */
  readonly access: number;
}

export interface TableRegister {
  readonly base: number;
  readonly limit: number;
}

export type GeneralRegister = 'rax' | 'rcx' | 'rdx' | 'rbx' | 'rsp' | 'rbp' | 'rsi' | 'rdi';

/** Bytes for guest RAM. */
export interface MemoryWrite {
  /** Guest physical address. */
  readonly address: number;
  readonly bytes: Uint8Array;
  /** How many bytes are set; those beyond `bytes` become 0 (a segment's bss). */
  readonly size: number;
}

export interface BootState {
  /** Which protocol made this, for messages: `multiboot`, `linux`, `linux64`, `pvh`. */
  readonly protocol: string;
  /** First instruction; an exact non-negative integer that lies in RAM. */
  readonly rip: number;
  readonly rflags: number;
  /** Registers that differ from 0; exact non-negative integers. */
  readonly registers: Readonly<Partial<Record<GeneralRegister, number>>>;
  readonly cs: SegmentState;
  /** DS, ES, FS, GS and SS all start alike. */
  readonly data: SegmentState;
  readonly tr: SegmentState;
  readonly ldtr: SegmentState;
  readonly gdtr: TableRegister;
  readonly idtr: TableRegister;
  readonly cr0: number;
  readonly cr3: number;
  readonly cr4: number;
  readonly efer: number;
  /** In order: where two overlap, the later one wins. */
  readonly writes: readonly MemoryWrite[];
}

/** A kernel, module or machine that cannot be booted. The message is one line for the user. */
export class BootError extends Error {
  override readonly name = 'BootError';
}

/** @returns a write of all of `bytes` at `address`, followed by zeros up to `size`. */
export function memoryWrite(address: number, bytes: Uint8Array, size = bytes.length): MemoryWrite {
  return { address, bytes, size };
}

/**
 * Puts `writes` into guest RAM, in order.
 * @param fresh RAM holds nothing but zeros. Pages that stay so are not touched: each costs the host a page fault and the
 * process a page, and the bss of an unikernel has thousands.
 * @throws BootError when one of them does not fit into RAM.
 */
export function writeBootImage(ram: Uint8Array, writes: readonly MemoryWrite[], fresh = false): void {
  for (const [index, { address, bytes, size }] of writes.entries()) {
    if (!(address >= 0 && size >= bytes.length && address + size <= ram.length)) {
      throw new BootError(
        `cannot load ${size} bytes at 0x${address.toString(16)}: RAM ends at 0x${ram.length.toString(16)}; give the guest more memory with -m`,
      );
    }
    ram.set(bytes, address);
    const [zeros, end] = [address + bytes.length, address + size];
    if (!fresh) {
      ram.fill(0, zeros, end);
      continue;
    }
    for (let before = 0; before < index; before++) {
      const written = writes[before];
      ram.fill(0, Math.max(zeros, written.address), Math.min(end, written.address + written.bytes.length));
    }
  }
}
