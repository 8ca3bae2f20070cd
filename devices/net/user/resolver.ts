/** Where the host asks for names: queries to the network's name server go there. */

import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';

export interface Resolver {
  /** IPv4 or IPv6 */
  readonly address: string;
  readonly port: number;
}

const DNS_PORT = 53;

/** The first name server of resolv.conf(5); without one it is this host. */
export function parseResolvConf(text: string): Resolver {
  for (const line of text.split('\n')) {
    const [keyword, address] = line.trim().split(/\s+/);
    if (keyword === 'nameserver' && address && isIP(address.split('%')[0])) return { address, port: DNS_PORT };
  }
  return { address: '127.0.0.1', port: DNS_PORT };
}

export function hostResolver(): Resolver {
  try {
    return parseResolvConf(readFileSync('/etc/resolv.conf', 'utf8'));
  } catch {
    return parseResolvConf('');
  }
}
