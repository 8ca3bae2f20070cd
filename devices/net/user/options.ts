/** The options of `-netdev user` (qemu(1), net/slirp.c for the defaults). */

import { isIPv4 } from 'node:net';
import { NetBackendError } from '../errors.ts';
import { formatIpv4, parseIpv4 } from './addresses.ts';

/** hostfwd=[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport */
export interface HostForward {
  readonly protocol: 'tcp' | 'udp';
  /** Where the host listens; 0.0.0.0 when left out. */
  readonly hostAddress: string;
  /** 0: any free port. */
  readonly hostPort: number;
  /** 0 when left out: whatever address the guest turns out to have. */
  readonly guestAddress: number;
  readonly guestPort: number;
}

/** Addresses are unsigned 32-bit numbers. */
export interface UserNetOptions {
  readonly net: number;
  readonly mask: number;
  /** The gateway: packets to it reach this host's 127.0.0.1. */
  readonly host: number;
  readonly dns: number;
  readonly dhcpStart: number;
  /** Name that DHCP gives to the guest. */
  readonly hostname?: string;
  /** Nothing but hostfwd, DHCP and the gateway's echo. */
  readonly restrict: boolean;
  readonly forwards: readonly HostForward[];
}

const DEFAULT_NET = '10.0.2.0/24';

/**
 * @param properties key and value as on the command line, in order; hostfwd may come several times.
 * @throws NetBackendError for what is malformed or not supported.
 */
export function parseUserOptions(properties: Iterable<readonly [string, string]>): UserNetOptions {
  const values = new Map<string, string>();
  const forwards: HostForward[] = [];
  for (const [key, value] of properties) {
    switch (key) {
      case 'hostfwd':
        forwards.push(parseHostForward(value));
        break;
      case 'net':
      case 'host':
      case 'dns':
      case 'dhcpstart':
      case 'hostname':
      case 'restrict':
        values.set(key, value);
        break;
      case 'ipv4':
        if (!onOff(key, value)) throw fail('ipv4=off leaves no network: there is no IPv6 here');
        break;
      case 'ipv6':
        if (onOff(key, value)) throw fail('ipv6=on is not supported: leave it out');
        break;
      default:
        throw fail(`unknown option ${key}=: known are net, host, dns, dhcpstart, hostname, restrict, hostfwd, ipv4`);
    }
  }
  const { net, mask } = parseNet(values.get('net') ?? DEFAULT_NET);
  const inside = (key: string, host: number): number => {
    const text = values.get(key);
    const address = text === undefined ? (net | (host & ~mask)) >>> 0 : parseAddress(key, text);
    const isHost = (address & mask) >>> 0 === net && address !== net && address !== (net | ~mask) >>> 0;
    if (!isHost) throw fail(`${key}=${formatIpv4(address)} is no address of a host in net=${formatIpv4(net)}`);
    return address;
  };
  const host = inside('host', 0x0202);
  const dns = inside('dns', 0x0203);
  const dhcpStart = inside('dhcpstart', 0x020f);
  if (new Set([host, dns, dhcpStart]).size !== 3) throw fail('host=, dns= and dhcpstart= must be different addresses');
  const hostname = values.get('hostname');
  return {
    net,
    mask,
    host,
    dns,
    dhcpStart,
    restrict: onOff('restrict', values.get('restrict') ?? 'off'),
    forwards,
    ...(hostname === undefined ? {} : { hostname }),
  };
}

/** address[/prefix | /mask]; without a mask that of the address class, as QEMU does. */
function parseNet(text: string): { net: number; mask: number } {
  const [addressText, maskText] = text.split('/', 2);
  const address = parseAddress('net', addressText);
  let mask: number | undefined;
  if (maskText === undefined) mask = address >>> 31 === 0 ? 0xff000000 : address >>> 30 === 2 ? 0xffff0000 : 0xffffff00;
  else if (/^\d+$/.test(maskText)) mask = maskText === '0' ? 0 : (-1 << (32 - Number(maskText))) >>> 0;
  else mask = parseIpv4(maskText);
  // Contiguous, and with room for the gateway, the name server and a guest.
  const inverse = mask === undefined ? -1 : ~mask >>> 0;
  if (mask === undefined || Number(maskText) > 32 || (inverse & (inverse + 1)) !== 0 || inverse < 7 || mask === 0) {
    throw fail(`net=${text} is no network: write it as 10.0.2.0/24`);
  }
  return { net: (address & mask) >>> 0, mask };
}

function parseHostForward(text: string): HostForward {
  const match = /^(tcp|udp|):([^:]*):(\d+)-([^:]*):(\d+)$/.exec(text);
  const [, protocol, hostAddress, hostPort, guestAddress, guestPort] = match ?? [];
  const valid =
    match !== null &&
    (hostAddress === '' || isIPv4(hostAddress)) &&
    (guestAddress === '' || isIPv4(guestAddress)) &&
    Number(hostPort) <= 65535 &&
    Number(guestPort) >= 1 &&
    Number(guestPort) <= 65535;
  if (!valid) throw fail(`hostfwd=${text}: write it as [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport`);
  return {
    protocol: protocol === 'udp' ? 'udp' : 'tcp',
    hostAddress: hostAddress || '0.0.0.0',
    hostPort: Number(hostPort),
    guestAddress: parseIpv4(guestAddress) ?? 0,
    guestPort: Number(guestPort),
  };
}

function parseAddress(key: string, text: string): number {
  const address = parseIpv4(text);
  if (address === undefined) throw fail(`${key}=${text} is no IPv4 address`);
  return address;
}

function onOff(key: string, value: string): boolean {
  if (value === 'on' || value === 'yes' || value === 'y' || value === 'true') return true;
  if (value === 'off' || value === 'no' || value === 'n' || value === 'false') return false;
  throw fail(`${key}=${value}: on or off`);
}

function fail(message: string): NetBackendError {
  return new NetBackendError(`user: ${message}`);
}
