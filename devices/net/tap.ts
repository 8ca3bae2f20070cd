/**
 * A TAP interface of the host as a back end (Linux tuntap.rst, linux/if_tun.h): packets go straight between the
 * kernel and guest RAM, with the vnet header, so that checksums and segmentation are left undone wherever both ends
 * allow it.
 */

import { closeSync } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { type Addon, loadAddon } from '../../native/addon.ts';
import type { GuestMemory } from '../bus.ts';
import {
  type NetBackend,
  type SegmentList,
  TUN_F_CSUM,
  TUN_F_TSO_ECN,
  TUN_F_TSO4,
  TUN_F_TSO6,
  TUN_F_USO4,
  TUN_F_USO6,
} from './backend.ts';
import { NetBackendError } from './errors.ts';
import { TapWriter } from './tap-writer.ts';

export interface TapOptions {
  /** Name of an existing interface; this or `fd`. */
  readonly ifname?: string;
  /** A TAP descriptor opened by our parent, with IFF_VNET_HDR. */
  readonly fd?: number;
}

const { errno } = osConstants;
/** Not in os.constants: what tapAdopt says of a descriptor that is not a TAP with a vnet header. */
const EMEDIUMTYPE = 124;

const OFFLOADS = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
/** From Linux 6.2 on. */
const OFFLOADS_USO = TUN_F_USO4 | TUN_F_USO6;
/** Kinds of segmentation that the kernel refuses without TUN_F_CSUM. */
const NEED_CSUM = ~TUN_F_CSUM;

export class TapBackend implements NetBackend {
  readonly offloads: number;
  readonly pollFd: number;
  private readonly addon: Addon;
  private readonly writer: TapWriter;

  /** @throws NetBackendError when the interface cannot be had. */
  constructor(options: TapOptions) {
    this.addon = loadAddon();
    this.pollFd = options.fd === undefined ? openByName(this.addon, options.ifname) : adopt(this.addon, options.fd);
    const uso = this.addon.setOffload(this.pollFd, OFFLOADS | OFFLOADS_USO) === 0;
    this.offloads = uso ? OFFLOADS | OFFLOADS_USO : OFFLOADS;
    this.setGuestOffloads(0);
    this.writer = new TapWriter(this.addon, this.pollFd);
  }

  setGuestOffloads(flags: number): void {
    flags &= this.offloads;
    if ((flags & TUN_F_CSUM) === 0) flags &= ~NEED_CSUM;
    this.addon.setOffload(this.pollFd, flags);
  }

  receiveInto(memory: GuestMemory, segments: SegmentList): number {
    const { address, length, count } = segments;
    let stored: number;
    do {
      stored = this.addon.readv(this.pollFd, memory.bytes, address, length, count);
    } while (stored === -errno.EMSGSIZE || stored === -errno.EINTR);
    if (stored <= 0) return 0;
    for (let i = 0, rest = stored; i < count && rest > 0; i++) {
      memory.written(address[i], Math.min(length[i], rest));
      rest -= length[i];
    }
    return stored;
  }

  send(memory: GuestMemory, segments: SegmentList): void {
    this.writer.send(memory, segments);
  }

  flush(): void {
    this.writer.flush();
  }

  get statistics(): string {
    return this.writer.statistics;
  }

  close(): void {
    this.writer.close();
    closeSync(this.pollFd);
  }
}

function openByName(addon: Addon, ifname: string | undefined): number {
  if (!ifname) throw new NetBackendError('tap: no interface named: add ifname=<name>');
  let fd = addon.tapOpen(ifname, false);
  // EINVAL: somebody made the interface with several queues; then we are one of them.
  if (fd === -errno.EINVAL) fd = addon.tapOpen(ifname, true);
  if (fd < 0) throw new NetBackendError(`tap ${ifname}: ${openFailure(-fd, ifname)}`);
  return fd;
}

function openFailure(code: number, ifname: string): string {
  switch (code) {
    case errno.ENODEV:
      return `no such interface: make it with 'ip tuntap add dev ${ifname} mode tap user $USER vnet_hdr'`;
    case errno.EBUSY:
      return 'in use by another process: stop that one, or take another interface';
    case errno.EPERM:
    case errno.EACCES:
      return 'not permitted: the interface must belong to this user, or run with CAP_NET_ADMIN';
    case errno.EINVAL:
      return 'not a TAP interface, or not a valid name: see ip -d link';
    case errno.ENOENT:
    case errno.ENXIO:
      return "/dev/net/tun is missing: run 'modprobe tun', or give the container that device";
    default:
      return `cannot be opened (errno ${code})`;
  }
}

function adopt(addon: Addon, fd: number): number {
  const result = addon.tapAdopt(fd);
  if (result >= 0) return result;
  const why = result === -EMEDIUMTYPE ? 'is not a TAP with IFF_VNET_HDR' : `is not a TAP descriptor (errno ${-result})`;
  throw new NetBackendError(`tap: fd=${fd} ${why}: open it with IFF_TAP|IFF_NO_PI|IFF_VNET_HDR`);
}
