#!/bin/bash
# Runs the tests of this directory in mount, network and process namespaces of their own: daemons, bridges, mounts and
# installed files are gone with the last process, and nothing of the host is changed. Arguments go to vitest.
set -euo pipefail
cd "$(dirname "$0")/../../.."
if ((UID != 0)); then
  echo 'the urunc tests make namespaces, taps and containers: run them as root' >&2
  exit 1
fi
# The shell is process 1 there, and waits for whatever the others leave behind; hence no exec.
exec unshare --mount --net --pid --fork --mount-proc --kill-child \
  bash -c 'npx vitest run --config test/e2e/urunc/vitest.config.ts "$@"; exit $?' bash "$@"
