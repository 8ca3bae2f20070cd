#!/bin/sh
# Puts tsvmm and urunc on a node and makes them known to its containerd, or takes them away again:
#
#   install.sh install|uninstall
#
# The node's root is mounted at $HOST (/host). Running it again changes nothing, and containerd is restarted, by $RESTART,
# only when its configuration changed. Containers that run keep running through all of this.
set -eu

HOST=${HOST:-/host}
RESTART=${RESTART:-nsenter --target 1 --mount -- systemctl restart containerd}
here=$(dirname "$0")
config=$HOST/etc/containerd/config.toml
urunc_config=$HOST/etc/urunc/config.toml
begin='# BEGIN tsvmm (its install.sh made this)'
end='# END tsvmm'

fail() {
  echo "install.sh: $*" >&2
  exit 1
}

# The configuration as it is without us, into $config.new.
without_us() {
  mkdir -p "${config%/*}"
  if [ -e "$config" ]; then
    sed "/^$begin\$/,/^$end\$/d" "$config" >"$config.new"
  else
    : >"$config.new"
  fi
}

# Appends the runtime. Its section goes into config.toml itself: a file that this imports would, before containerd 2,
# replace all of the section of the CRI plug-in, the pause image and the cgroup driver with it.
add_us() {
  if grep -q 'containerd\.runtimes\.urunc\]' "$config.new"; then
    fail "$config has a runtime urunc already; remove it first"
  fi
  if [ -s "$config.new" ]; then
    version=$(sed -n '/^version *=/{s/[^0-9]*\([0-9]*\).*/\1/p;q;}' "$config.new")
    echo "$begin" >>"$config.new"
  else
    version=2
    printf '%s\nversion = 2\n' "$begin" >>"$config.new"
  fi
  case $version in
    2) plugin=io.containerd.grpc.v1.cri ;;
    3) plugin=io.containerd.cri.v1.runtime ;;
    *) fail "$config is of version ${version:-1}; run 'containerd config migrate' first" ;;
  esac
  cat >>"$config.new" <<EOF
[plugins."$plugin".containerd.runtimes.urunc]
  runtime_type = "io.containerd.urunc.v2"
  container_annotations = ["com.urunc.unikernel.*"]
  pod_annotations = ["com.urunc.unikernel.*"]
$end
EOF
}

# Puts $config.new in place; an empty configuration is none.
configure() {
  if [ ! -s "$config.new" ]; then
    if [ ! -e "$config" ]; then return; fi
    rm "$config"
  elif cmp -s "$config.new" "$config"; then
    return
  else
    mv "$config.new" "$config"
  fi
  echo "containerd's configuration changed; restarting it"
  $RESTART
}

# By renaming: the old file may be running.
put() {
  cp "$1" "$2.new"
  chmod 755 "$2.new"
  mv "$2.new" "$2"
}

trap 'rm -f "$config.new"' EXIT
case ${1:-} in
  install)
    without_us
    add_us
    mkdir -p "$HOST/usr/local/bin"
    tar -C "$HOST" -xzf "$here/tsvmm.tar.gz"
    for program in urunc containerd-shim-urunc-v2; do
      put "$here/$program" "$HOST/usr/local/bin/$program"
    done
    # Without a configuration urunc complains into every container's log. One that is there is somebody's.
    if [ ! -e "$urunc_config" ]; then
      mkdir -p "$HOST/etc/urunc"
      cp "$here/config.toml" "$urunc_config"
    fi
    configure
    # It has to run on the node, whose libraries it uses.
    chroot "$HOST" /usr/local/bin/tsvmm -version
    ;;
  uninstall)
    without_us
    configure
    rm -rf "$HOST/usr/lib/tsvmm"
    if cmp -s "$here/config.toml" "$urunc_config"; then
      rm "$urunc_config"
      rmdir "$HOST/etc/urunc" 2>/dev/null || true
    fi
    for program in tsvmm urunc containerd-shim-urunc-v2; do
      rm -f "$HOST/usr/local/bin/$program"
    done
    ;;
  *) fail 'install or uninstall?' ;;
esac
