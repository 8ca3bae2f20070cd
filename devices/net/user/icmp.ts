/** ICMP (RFC 792, RFC 1122 §3.2.2): echo for the network's own addresses, and the bad news about all others. */

import { fold, sumBytes } from '../checksum.ts';

const ECHO_REPLY = 0;
const DESTINATION_UNREACHABLE = 3;
const ECHO_REQUEST = 8;
/** type, code, checksum, and four bytes that depend on the type */
const HEADER_SIZE = 8;

export const CODE_NET_UNREACHABLE = 0;
export const CODE_HOST_UNREACHABLE = 1;
export const CODE_ADMINISTRATIVELY_PROHIBITED = 13;

/** Of the packet that cannot be delivered, its header and this much goes back to the sender. */
const QUOTED_PAYLOAD = 8;

export function isEchoRequest(message: Uint8Array): boolean {
  return (
    message.length >= HEADER_SIZE &&
    message[0] === ECHO_REQUEST &&
    fold(sumBytes(message, 0, message.length)) === 0xffff
  );
}

/** @returns the answer to an echo request. */
export function echoReply(request: Uint8Array): Uint8Array {
  const reply = request.slice();
  reply[0] = ECHO_REPLY;
  return withChecksum(reply);
}

/** @param packet the IPv4 packet that cannot be delivered. */
export function unreachable(code: number, packet: Uint8Array): Uint8Array {
  const headerLength = (packet[0] & 0xf) * 4;
  const quoted = packet.subarray(0, headerLength + QUOTED_PAYLOAD);
  const message = new Uint8Array(HEADER_SIZE + quoted.length);
  message[0] = DESTINATION_UNREACHABLE;
  message[1] = code;
  message.set(quoted, HEADER_SIZE);
  return withChecksum(message);
}

function withChecksum(message: Uint8Array): Uint8Array {
  message[2] = 0;
  message[3] = 0;
  const checksum = ~fold(sumBytes(message, 0, message.length));
  message[2] = checksum >>> 8;
  message[3] = checksum;
  return message;
}
