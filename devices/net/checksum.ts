/** The internet checksum (RFC 1071). */

/** Words added before carries are folded, so that the sum stays a small integer. */
const FOLD_WORDS = 8192;

/** Adds `length` bytes as big-endian 16-bit words (an odd last byte is the high one) to `sum`. @returns 16 bits */
export function sumBytes(bytes: Uint8Array, from: number, length: number, sum = 0): number {
  const end = from + length;
  let at = from;
  while (at + 1 < end) {
    const stop = Math.min(end - 1, at + 2 * FOLD_WORDS);
    for (; at < stop; at += 2) sum += (bytes[at] << 8) | bytes[at + 1];
    sum = fold(sum);
  }
  if (at < end) sum = fold(sum + (bytes[at] << 8));
  return sum;
}

/** Ends carries around. */
export function fold(sum: number): number {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** The sum of the pseudo-header of TCP and UDP (RFC 9293 §3.1), `length` being that of header and payload. */
export function sumPseudoHeader(source: number, destination: number, protocol: number, length: number): number {
  return fold((source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff) + protocol + length);
}
