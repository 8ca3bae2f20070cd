/** IPv4 addresses as unsigned 32-bit numbers. */

export const BROADCAST_ADDRESS = 0xffffffff;

/** @returns the address, or undefined when `text` is no dotted quad. */
export function parseIpv4(text: string): number | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (!match) return undefined;
  let address = 0;
  for (let i = 1; i <= 4; i++) {
    const byte = Number(match[i]);
    if (byte > 255) return undefined;
    address = address * 256 + byte;
  }
  return address;
}

export function formatIpv4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 0xff}.${(address >>> 8) & 0xff}.${address & 0xff}`;
}

/** 127.0.0.0/8 */
export function isLoopback(address: number): boolean {
  return address >>> 24 === 127;
}

/** An address that a datagram on the internet can be sent to: not 0/8, loopback, multicast, reserved or broadcast. */
export function isUnicast(address: number): boolean {
  const top = address >>> 24;
  return top !== 0 && top !== 127 && top < 224;
}
