/**
 * Makes a host in the namespaces of run.sh: tsvmm and urunc installed where users install them, containerd and Docker
 * started by hand.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { VERSION } from '../../../vmm/version.ts';
import { guest, ROOT } from '../tsvmm.ts';
import {
  CONTAINERD_SOCKET,
  configure,
  DOCKER_EXEC_ROOT,
  run,
  succeed,
  tryDocker,
  URUNC_BUILD,
  URUNC_CONFIG,
  until,
  WORK,
} from './host.ts';

const PACKAGE = `${ROOT}dist/tsvmm-${VERSION}-linux-x64.tar.gz`;

/** Whatever the tests call, and who brings it. */
const NEEDED: Readonly<Record<string, string>> = {
  '/usr/bin/docker': 'apt-get install docker.io',
  '/usr/sbin/dockerd': 'apt-get install docker.io',
  '/usr/bin/containerd': 'apt-get install containerd',
  '/usr/sbin/iptables': 'apt-get install iptables',
  '/usr/bin/qemu-system-x86_64': 'apt-get install qemu-system-x86',
  '/usr/lib/cni/bridge': 'apt-get install containernetworking-plugins',
  '/dev/net/tun': 'the tun module of the kernel',
  [`${URUNC_BUILD}/urunc`]: 'integrations/urunc/build.sh',
  [`${URUNC_BUILD}/containerd-shim-urunc-v2`]: 'integrations/urunc/build.sh',
  [PACKAGE]: 'npm run build && npm run build:addon && npm run package',
  [guest('http.elf')]: 'npm run build:guests',
  [guest('linux/initrd')]: 'npm run build:guests linux',
};

/** What a cluster's network add-on writes on each node. */
const POD_NETWORK = {
  cniVersion: '0.4.0',
  name: 'pods',
  plugins: [
    {
      type: 'bridge',
      bridge: 'cni0',
      isGateway: true,
      ipam: {
        type: 'host-local',
        dataDir: `${WORK}/cni`,
        ranges: [[{ subnet: '10.88.0.0/24' }]],
        routes: [{ dst: '0.0.0.0/0' }],
      },
    },
  ],
};

const daemons: ChildProcess[] = [];

export async function setup(): Promise<void> {
  const missing = Object.entries(NEEDED).filter(([path]) => !existsSync(path));
  if (missing.length > 0) {
    throw new Error(missing.map(([path, source]) => `${path} is missing: ${source}`).join('\n'));
  }
  if (Object.keys(networkInterfaces()).length > 0) {
    throw new Error('this is the network of the machine itself: start the tests by test/e2e/urunc/run.sh');
  }
  rmSync(WORK, { recursive: true, force: true });
  await layOver('/usr', async (upper) => {
    mkdirSync(`${upper}/local/bin`, { recursive: true });
    // The tarball's paths begin with ./usr/.
    await succeed('tar', '-xzf', PACKAGE, '-C', upper, '--strip-components=2');
    await succeed('cp', `${URUNC_BUILD}/urunc`, `${URUNC_BUILD}/containerd-shim-urunc-v2`, `${upper}/local/bin`);
  });
  await layOver('/etc', async (upper) => {
    mkdirSync(`${upper}/cni/net.d`, { recursive: true });
    writeFileSync(`${upper}/cni/net.d/10-pods.conflist`, JSON.stringify(POD_NETWORK));
  });
  await succeed('mount', '-t', 'tmpfs', 'tmpfs', '/run');
  mkdirSync('/run/c', { recursive: true });
  mkdirSync(URUNC_CONFIG.replace(/\/[^/]*$/, ''), { recursive: true });
  configure('');
  await succeed('ip', 'link', 'set', 'lo', 'up');
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
  await startContainerd();
  await startDocker();
}

export async function teardown(): Promise<void> {
  for (const daemon of daemons.reverse()) {
    // The namespaces end with them; there is nothing to put in order.
    daemon.kill('SIGKILL');
  }
}

/** Puts an upper layer over a directory, in this mount namespace only. */
async function layOver(directory: string, fill: (upper: string) => Promise<void>): Promise<void> {
  const [upper, work] = [`${WORK}${directory}`, `${WORK}${directory}.work`];
  mkdirSync(upper, { recursive: true });
  mkdirSync(work, { recursive: true });
  await fill(upper);
  const options = `lowerdir=${directory},upperdir=${upper},workdir=${work}`;
  await succeed('mount', '-t', 'overlay', '-o', options, 'overlay', directory);
}

function start(name: string, ...words: string[]): string {
  const log = `${WORK}/${name}.log`;
  const output = openSync(log, 'w');
  // What a daemon's environment holds reaches every monitor; these would change how Node.js runs.
  const env = { ...process.env, NODE_OPTIONS: '--inspect', NODE_EXTRA_CA_CERTS: '/nowhere' };
  daemons.push(spawn(name, words, { stdio: ['ignore', output, output], env }));
  return log;
}

async function startContainerd(): Promise<void> {
  writeFileSync(
    '/run/c/config.toml',
    `version = 2
root = "${WORK}/containerd"
state = "/run/c/state"
[grpc]
address = "${CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:1"
# A machine that is a guest itself may be without CAP_SYS_RESOURCE.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.urunc]
runtime_type = "io.containerd.urunc.v2"
`,
  );
  const log = start('containerd', '--config', '/run/c/config.toml');
  await ready(log, () => run('ctr', '--address', CONTAINERD_SOCKET, 'version'));
}

async function startDocker(): Promise<void> {
  const log = start(
    'dockerd',
    ...['--containerd', CONTAINERD_SOCKET, '--data-root', `${WORK}/docker`, '--exec-root', DOCKER_EXEC_ROOT],
    ...['--pidfile', '/run/c/dockerd.pid', '--host', 'unix:///run/docker.sock'],
    ...['--add-runtime', 'urunc=/usr/local/bin/urunc'],
  );
  await ready(log, () => tryDocker('version'));
}

async function ready(log: string, ask: () => Promise<{ readonly status: number | null }>): Promise<void> {
  await until(log, ask, ({ status }) => status === 0).catch((error) => {
    throw new Error(`${error.message}\n${readFileSync(log, 'utf8')}`);
  });
}
