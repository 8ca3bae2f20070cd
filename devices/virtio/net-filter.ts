/** Which frames a virtio-net driver wants (virtio 1.2 §5.1.6.5.1 and §5.1.6.5.2). After a reset: all of them. */

export const MAC_SIZE = 6;

/** Addresses of each kind that are filtered exactly; a driver with more gets all of that kind. */
export const MAC_TABLE_ENTRIES = 64;

/** A fixed table of addresses. */
export class MacTable {
  /** More addresses were set than fit: everything matches. */
  overflow = false;
  private count = 0;
  private readonly bytes = new Uint8Array(MAC_TABLE_ENTRIES * MAC_SIZE);

  /** Starts a new table of `count` addresses. @returns where their bytes go. */
  replace(count: number): Uint8Array {
    this.overflow = count > MAC_TABLE_ENTRIES;
    this.count = this.overflow ? 0 : count;
    return this.bytes.subarray(0, this.count * MAC_SIZE);
  }

  has(mac: Uint8Array): boolean {
    if (this.overflow) return true;
    for (let i = 0; i < this.count; i++) if (sameMac(this.bytes, i * MAC_SIZE, mac)) return true;
    return false;
  }
}

export class NetFilter {
  readonly mac = new Uint8Array(MAC_SIZE);
  promisc = true;
  allmulti = false;
  alluni = false;
  nomulti = false;
  nouni = false;
  nobcast = false;
  readonly unicast = new MacTable();
  readonly multicast = new MacTable();

  reset(mac: Uint8Array): void {
    this.mac.set(mac);
    this.promisc = true;
    this.allmulti = false;
    this.alluni = false;
    this.nomulti = false;
    this.nouni = false;
    this.nobcast = false;
    this.unicast.replace(0);
    this.multicast.replace(0);
  }

  /** Does the driver want frames to `destination`? */
  accepts(destination: Uint8Array): boolean {
    if (this.promisc) return true;
    if ((destination[0] & 1) === 0) {
      if (this.nouni) return false;
      return this.alluni || sameMac(this.mac, 0, destination) || this.unicast.has(destination);
    }
    if (isBroadcast(destination)) return !this.nobcast;
    if (this.nomulti) return false;
    return this.allmulti || this.multicast.has(destination);
  }
}

function sameMac(bytes: Uint8Array, offset: number, mac: Uint8Array): boolean {
  for (let i = 0; i < MAC_SIZE; i++) if (bytes[offset + i] !== mac[i]) return false;
  return true;
}

function isBroadcast(mac: Uint8Array): boolean {
  for (let i = 0; i < MAC_SIZE; i++) if (mac[i] !== 0xff) return false;
  return true;
}
