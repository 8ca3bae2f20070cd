/** The root that urunc gives its monitors, made as urunc makes it. */

/** What `unshare` runs as the first process of new namespaces: the five values, then the monitor's words. */
const SCRIPT = `
  set -e
  root=$1 unpacked=$2 files=$3 user=$4 proc=$5; shift 5
  mount --make-rprivate /
  mount -t tmpfs none "$root"
  cd "$root"
  mkdir -p lib lib64 usr/lib usr/local/bin proc dev/net tmp cntrRootfs
  touch usr/local/bin/tsvmm
  mount --bind "$unpacked/usr/local/bin/tsvmm" usr/local/bin/tsvmm
  mount --bind /lib lib
  mount --bind /lib64 lib64
  for directory in /usr/lib/x86_64-linux-gnu "$unpacked/usr/lib/tsvmm"; do
    mkdir "usr/lib/\${directory##*/}"
    mount --bind "$directory" "usr/lib/\${directory##*/}"
  done
  mount --bind "$files" cntrRootfs
  mount -t tmpfs -o noexec,nosuid,nodev none tmp
  chmod 1777 tmp
  if [ "$proc" = yes ]; then mount -t proc none proc; fi
  if [ -n "$TAP" ]; then
    mknod -m 666 dev/net/tun c 10 200
    ip tuntap add dev tap0_urunc mode tap vnet_hdr user "\${user%:*}"
    ip address add "$TAP" dev tap0_urunc
    ip link set tap0_urunc up
  fi
  exec chroot --userspec="$user" . /usr/local/bin/tsvmm "$@"
`;

export interface MonitorRoot {
  /** An empty directory to mount it on. */
  readonly root: string;
  /** Where the tarball of `npm run package` is unpacked. */
  readonly unpacked: string;
  /** A directory that is /cntrRootfs there. */
  readonly files: string;
  /** `uid:gid` */
  readonly user: string;
  readonly proc: 'yes' | 'no';
  /** The address of a tap0_urunc, in a network namespace of its own; without one there is no /dev/net/tun either. */
  readonly tap?: string;
}

/**
 * urunc's prepareMonRootfs (pkg/unikontainers/rootfs.go): the monitor's file and the host's libraries by bind mounts, a
 * tmpfs without exec, perhaps /proc, and nothing else: no shell, no /usr/bin/env, no /etc.
 * @returns arguments of `unshare` that run the monitor in it as process 1. Nothing is left when it ends.
 */
export function inMonitorRoot(
  { root, unpacked, files, user, proc, tap }: MonitorRoot,
  ...words: readonly string[]
): string[] {
  const net = tap === undefined ? [] : ['--net'];
  const shell = ['env', `TAP=${tap ?? ''}`, 'sh', '-c', SCRIPT, 'sh'];
  return ['--mount', '--pid', '--fork', ...net, ...shell, root, unpacked, files, user, proc, ...words];
}
