/** From `-netdev type,key=value,…` to a back end: the options of each type, as QEMU names them (qemu(1), -netdev). */

import type { NetBackend } from './backend.ts';
import { NetBackendError } from './errors.ts';
import { NoneBackend } from './none.ts';
import { StreamBackend, type StreamOptions } from './stream.ts';
import { TapBackend, type TapOptions } from './tap.ts';
import { parseUserOptions } from './user/options.ts';
import { UserBackend } from './user.ts';

/** Key and value of each option in order, without `id`; `hostfwd` may come several times. */
export type NetProperties = readonly (readonly [string, string])[];

/**
 * @param type as after -netdev: tap, user, stream or none
 * @throws NetBackendError: one line that says what is wrong and what to do
 */
export async function createNetBackend(type: string, properties: NetProperties): Promise<NetBackend> {
  switch (type) {
    case 'tap':
      return new TapBackend(parseTapOptions(properties));
    case 'user':
      return UserBackend.open(parseUserOptions(properties));
    case 'stream':
      return StreamBackend.open(parseStreamOptions(properties));
    case 'none':
      return new NoneBackend();
    default:
      throw new NetBackendError(`unknown network back end ${type}: known are tap, user, stream, none`);
  }
}

export function parseTapOptions(properties: NetProperties): TapOptions {
  const options: { ifname?: string; fd?: number } = {};
  for (const [key, value] of properties) {
    switch (key) {
      case 'ifname':
        options.ifname = value;
        break;
      case 'fd':
        if (!/^\d{1,9}$/.test(value)) throw new NetBackendError(`tap: fd=${value} is no descriptor number`);
        options.fd = Number(value);
        break;
      case 'script':
      case 'downscript':
        if (value !== 'no') {
          throw new NetBackendError(
            `tap: ${key}=${value}: scripts are not run; set the interface up, and say ${key}=no`,
          );
        }
        break;
      // Here packets go straight into guest RAM anyway.
      case 'vhost':
      case 'vhostforce':
      case 'sndbuf':
        break;
      default:
        throw new NetBackendError(
          `tap: unknown option ${key}=: known are ifname, fd, script, downscript, vhost, sndbuf`,
        );
    }
  }
  return options;
}

export function parseStreamOptions(properties: NetProperties): StreamOptions {
  let path = '';
  let server = false;
  for (const [key, value] of properties) {
    switch (key) {
      case 'addr.type':
        if (value !== 'unix') throw new NetBackendError(`stream: addr.type=${value}: only unix is known`);
        break;
      case 'addr.path':
        path = value;
        break;
      case 'server':
        if (value !== 'on' && value !== 'off') throw new NetBackendError(`stream: server=${value}: on or off`);
        server = value === 'on';
        break;
      default:
        throw new NetBackendError(`stream: unknown option ${key}=: known are addr.type, addr.path, server`);
    }
  }
  if (!path) throw new NetBackendError('stream: no socket named: add addr.type=unix,addr.path=<path>');
  return { path, server };
}
