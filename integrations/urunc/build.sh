#!/bin/bash
# Builds urunc and its containerd shim with the tsvmm monitor in them:
#
#   integrations/urunc/build.sh [directory, by default build/urunc]
#
# The pinned release comes as a Go module; our files are laid over a copy of it, and no line of it is changed. Leaves
# `urunc` and `containerd-shim-urunc-v2` in the directory. Ends with status 69 when the release cannot be had.
set -euo pipefail

module=github.com/urunc-dev/urunc
version=v0.7.0

here=$(cd "$(dirname "$0")" && pwd)
out=$(realpath -m "${1:-$here/../../build/urunc}")
tree=$out/source

if ! command -v go >/dev/null; then
  PATH=$PATH:/usr/local/go/bin
fi
if ! command -v go >/dev/null; then
  echo 'building urunc needs Go 1.24 or later (apt-get install golang, or go.dev/dl)' >&2
  exit 1
fi
export GOFLAGS=-mod=mod GOTOOLCHAIN=local

mkdir -p "$out"
# Run in a directory without a go.mod: the module is asked for by name, not as somebody's dependency.
if ! found=$(cd "$out" && go mod download -json "$module@$version"); then
  echo "$module@$version cannot be had from ${GOPROXY:-$(go env GOPROXY)}:" >&2
  sed -n 's/\\n\\t/: /; s/^\t"Error": "\(.*\)",\?$/\1/p' <<<"$found" >&2
  exit 69
fi
source=$(sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' <<<"$found")

if [[ -e $tree ]]; then
  chmod -R u+w "$tree"
  rm -rf "$tree"
fi
cp -r "$source" "$tree"
chmod -R u+w "$tree"
cd "$tree"
(cd "$here/overlay" && find . -type f) | while read -r file; do
  if [[ -e $file ]]; then
    echo "$module@$version has a $file of its own" >&2
    exit 1
  fi
  cp "$here/overlay/$file" "$file"
done

ours=(pkg/unikontainers/hypervisors cmd/urunc)
unformatted=$(cd "$here/overlay" && gofmt -l .)
if [[ -n $unformatted ]]; then
  echo "not formatted by gofmt: $unformatted" >&2
  exit 1
fi
go vet "${ours[@]/#/./}"
go test -count=1 "${ours[@]/#/./}"

# Static, as upstream's Makefile does: it re-executes itself in other mount namespaces.
CGO_ENABLED=1 go build -tags 'netgo osusergo' \
  -ldflags "-X main.version=${version#v}-tsvmm -linkmode external -extldflags -static -s -w" -o "$out/urunc" ./cmd/urunc
# The shim is containerd's, with another name for the program that it calls (upstream's Makefile edits the same line).
go mod download github.com/containerd/go-runc
rm -rf "$out/go-runc"
cp -r "$(go list -m -f '{{.Dir}}' github.com/containerd/go-runc)" "$out/go-runc"
chmod -R u+w "$out/go-runc"
sed -i 's/DefaultCommand = "runc"/DefaultCommand = "urunc"/' "$out/go-runc/runc.go"
cp go.mod "$out/shim.mod"
cp go.sum "$out/shim.sum"
go mod edit -replace "github.com/containerd/go-runc=$out/go-runc" "$out/shim.mod"
CGO_ENABLED=0 go build -modfile "$out/shim.mod" -ldflags '-s -w' \
  -o "$out/containerd-shim-urunc-v2" ./cmd/containerd-shim-urunc-v2
echo "built $out/urunc and $out/containerd-shim-urunc-v2"
