/** Opens the host ends of network cards. Each kind is loaded only when it is asked for: they cost start-up time. */

import type { NetBackend } from '../devices/net/backend.ts';
import type { FilterDumpConfig, NetdevConfig } from './options/config.ts';

/** @throws NetBackendError or UserError when one cannot be had; those opened before are closed again. */
export async function openBackends(
  netdevs: readonly NetdevConfig[],
  dumps: readonly FilterDumpConfig[],
): Promise<Map<string, NetBackend>> {
  const backends = new Map<string, NetBackend>();
  try {
    for (const netdev of netdevs) {
      let backend = await openBackend(netdev);
      backends.set(netdev.id, backend);
      for (const { file, maxlen } of dumps.filter((dump) => dump.netdev === netdev.id)) {
        const { PcapBackend } = await import('../devices/net/pcap.ts');
        backend = new PcapBackend(backend, { file, maxlen });
        backends.set(netdev.id, backend);
      }
    }
  } catch (error) {
    for (const backend of backends.values()) {
      backend.close();
    }
    throw error;
  }
  return backends;
}

async function openBackend(netdev: NetdevConfig): Promise<NetBackend> {
  switch (netdev.type) {
    case 'tap': {
      const { TapBackend } = await import('../devices/net/tap.ts');
      const { ifname, fd } = netdev;
      return new TapBackend({ ...(ifname === undefined ? {} : { ifname }), ...(fd === undefined ? {} : { fd }) });
    }
    case 'stream': {
      const { StreamBackend } = await import('../devices/net/stream.ts');
      return StreamBackend.open({ path: netdev.path, server: netdev.server });
    }
    case 'user': {
      const { UserBackend } = await import('../devices/net/user.ts');
      const { parseUserOptions } = await import('../devices/net/user/options.ts');
      return UserBackend.open(parseUserOptions(netdev.properties));
    }
  }
}
