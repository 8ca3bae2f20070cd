/** Who is on the virtual wire: the guest's addresses, learned from ARP and from every IPv4 packet it sends. */

/** One address of the guest. */
export interface Neighbour {
  readonly address: number;
  /** 6 bytes, kept up to date. */
  readonly mac: Uint8Array;
}

/** A guest may claim every address there is; only so many are remembered. */
const MAX_NEIGHBOURS = 64;

export class Neighbours {
  /** The address that was learned last: where forwards without a guest address go. */
  latest: Neighbour | undefined;
  private readonly table = new Map<number, Neighbour>();
  private readonly onLearn: () => void;

  /** @param onLearn a new address is known. */
  constructor(onLearn: () => void) {
    this.onLearn = onLearn;
  }

  find(address: number): Neighbour | undefined {
    if (this.latest?.address === address) return this.latest;
    return this.table.get(address);
  }

  /** The sender of a packet: its MAC address stands at `bytes[at]`. */
  learn(address: number, bytes: Uint8Array, at: number): void {
    const known = this.find(address);
    if (known) {
      for (let i = 0; i < 6; i++) known.mac[i] = bytes[at + i];
      return;
    }
    const neighbour = { address, mac: bytes.slice(at, at + 6) };
    if (this.table.size === MAX_NEIGHBOURS) this.table.delete(this.table.keys().next().value as number);
    this.table.set(address, neighbour);
    this.latest = neighbour;
    this.onLearn();
  }
}
