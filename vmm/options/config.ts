/**
 * What the command line asks for, as plain data: the only thing that passes from the options to the machine.
 */

/** A stream socket with one peer at a time. */
export interface SocketConfig {
  /** As in `unix:/run/monitor` or `tcp:127.0.0.1:4444`, for messages. */
  readonly name: string;
  readonly address: { readonly path: string } | { readonly host: string; readonly port: number };
  readonly server: boolean;
  /** A server waits for its first client before the machine starts. */
  readonly wait: boolean;
}

/** A host end for a serial port, the monitor or a debug console. */
export type CharacterConfig = {
  readonly id: string;
  /** Several users share it; Ctrl-A c switches between them, and the Ctrl-A commands work. */
  readonly mux: boolean;
} & (
  | {
      readonly kind: 'stdio';
      /** Ctrl-C ends us instead of going to the guest. */
      readonly signals: boolean;
    }
  | { readonly kind: 'null' }
  | { readonly kind: 'file'; readonly path: string; readonly append: boolean }
  | ({ readonly kind: 'socket' } & SocketConfig)
);

export type NetdevConfig = { readonly id: string } & (
  | {
      readonly type: 'user';
      /** Its suboptions in order, for the back end to read; hostfwd may be there several times. */
      readonly properties: readonly (readonly [string, string])[];
    }
  | { readonly type: 'tap'; readonly ifname?: string | undefined; readonly fd?: number | undefined }
  | { readonly type: 'stream'; readonly path: string; readonly server: boolean }
);

/** Writes every packet of a netdev to a pcap file. */
export interface FilterDumpConfig {
  readonly id: string;
  readonly netdev: string;
  readonly file: string;
  /** Bytes of each packet that are kept. */
  readonly maxlen: number;
}

export interface DriveConfig {
  readonly id: string;
  readonly file: string;
  readonly readonly: boolean;
  /** Are writes done when the host's cache has them? A device may say otherwise. */
  readonly writeback: boolean;
  /** Do flushes reach the disk? */
  readonly flush: boolean;
  /** Is what the guest discards given back to the host? */
  readonly discard: boolean;
}

/** A directory of the host that virtio-9p shares. */
export interface FsdevConfig {
  readonly id: string;
  readonly path: string;
  readonly readonly: boolean;
  /** Hides what is on other file systems than the directory itself. */
  readonly oneDevice: boolean;
}

/** Which faces a virtio PCI device shows; both: transitional. */
export interface VirtioFaces {
  readonly disableLegacy: boolean;
  readonly disableModern: boolean;
}

export type DeviceConfig = { readonly id?: string | undefined } & (
  | ({
      readonly model: 'virtio-net';
      /** Undefined: a card with no cable. */
      readonly netdev?: string | undefined;
      /** Six bytes, `52:54:00:12:34:56`. */
      readonly mac: string;
      readonly hostMtu?: number | undefined;
    } & VirtioFaces)
  | ({
      readonly model: 'virtio-blk';
      readonly drive: string;
      readonly serial: string;
      /** Undefined: as the drive says. */
      readonly writeCache?: boolean | undefined;
      /** May the driver choose how writes are cached? */
      readonly configWce: boolean;
      /** Bytes. */
      readonly logicalBlockSize: number;
      readonly physicalBlockSize: number;
    } & VirtioFaces)
  | ({ readonly model: 'virtio-rng' } & VirtioFaces)
  | ({ readonly model: 'virtio-9p'; readonly fsdev: string; readonly mountTag: string } & VirtioFaces)
  | { readonly model: 'isa-debug-exit'; readonly iobase: number; readonly iosize: number }
  | { readonly model: 'isa-debugcon'; readonly iobase: number; readonly character: string }
  | { readonly model: 'pvpanic'; readonly iobase: number }
  /** Understood, but this version has no such device: the machine refuses it. */
  | { readonly model: 'unsupported'; readonly name: string }
);

/** How guest code runs: `-accel`. */
export interface AcceleratorConfig {
  readonly jit: 'wasm' | 'js' | 'off';
  /** Executions after which code is translated; undefined: what pays. */
  readonly hot: number | undefined;
  /** Bytes of translated code that are kept; undefined: what pays. */
  readonly codeCache: number | undefined;
  /** Directory that translations are kept in for later runs; undefined: the user's own for such things. */
  readonly store: string | 'off' | undefined;
}

export interface MachineConfig {
  /** `microvm`: no PCI, virtio-mmio, and ELF64 kernels by the Linux 64-bit protocol as in Firecracker. */
  readonly machine: 'pc' | 'microvm';
  readonly name: string;
  /** Bytes. */
  readonly ramSize: number;
  readonly cpus: number;
  readonly kernel: string;
  readonly append: string;
  readonly initrd?: string | undefined;
  /** Is there a VGA card (text mode)? */
  readonly vga: boolean;
  /** `utc`, `localtime`, or a date such as `2006-06-17T16:01:21`. */
  readonly rtcBase: string;
  readonly accelerator: AcceleratorConfig;
  /** Guest time is 2^shift ns per instruction; undefined: real time. */
  readonly icountShift?: number | undefined;
  readonly characters: readonly CharacterConfig[];
  /** Character ids of COM1…COM4; undefined: no such port. */
  readonly serials: readonly (string | undefined)[];
  /** Character ids with a human monitor behind. */
  readonly monitors: readonly string[];
  /** Character ids with a QMP server behind. */
  readonly qmps: readonly string[];
  readonly netdevs: readonly NetdevConfig[];
  readonly filterDumps: readonly FilterDumpConfig[];
  readonly drives: readonly DriveConfig[];
  readonly fsdevs: readonly FsdevConfig[];
  readonly devices: readonly DeviceConfig[];
  /** Leave instead of resetting. */
  readonly noReboot: boolean;
  /** Stop instead of leaving when the guest powers off. */
  readonly noShutdown: boolean;
  /** Start with the CPU stopped, until the monitor says `cont`. */
  readonly startStopped: boolean;
  /** Items of `-d`. */
  readonly log: readonly string[];
  /** File of `-D`; undefined: stderr. */
  readonly logFile?: string | undefined;
  /** File of `-profile`; undefined: none is made. */
  readonly profile?: string | undefined;
  /** ELF file with the guest's symbols; undefined: those of the kernel. */
  readonly symbols?: string | undefined;
  readonly pidFile?: string | undefined;
  /** Is the process confined once it runs? `try`: where it can be; it was not asked for. */
  readonly sandbox: 'on' | 'off' | 'try';
  /** Lines for stderr about things that were understood but are not as asked for. */
  readonly warnings: readonly string[];
}
