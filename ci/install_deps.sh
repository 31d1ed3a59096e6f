#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what Ringer needs on Debian 12 and Ubuntu 24.04. Asks apt only for what is missing.
# --minimal: what ci/demo.sh needs; else also what ci/test.sh needs.
set -euo pipefail

packages=(g++ cmake ninja-build libboost-context-dev libfmt-dev libcli11-dev nlohmann-json3-dev)
case "${1:-}" in
  --minimal) ;;
  "")
    packages+=(build-essential ccache catch2 clang clang-format clang-tidy git libbenchmark-dev
      ibverbs-providers ibverbs-utils libibverbs-dev libopenmpi-dev librdmacm-dev openmpi-bin perftest
      python3 python3-pyverbs python3-scapy busybox-static cpio iproute2 kmod procps qemu-system-x86
      tcpdump tshark xz-utils zstd)
    ;;
  *)
    echo "usage: install_deps.sh [--minimal]" >&2
    exit 2
    ;;
esac

if ! command -v apt-get > /dev/null || ! command -v dpkg-query > /dev/null; then
  echo "install_deps: no apt here; please install the equivalents of: ${packages[*]}" >&2
  exit 3
fi

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f='${Status}' "$package" 2> /dev/null || true)
  [ "$state" = "install ok installed" ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "install_deps: all ${#packages[@]} packages are installed"
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo > /dev/null; then
    echo "install_deps: need root or sudo to install: ${missing[*]}" >&2
    exit 3
  fi
  as_root=(sudo)
fi
echo "install_deps: installing ${missing[*]}"
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0 -qq "$@"; }
apt update
apt install -y --no-install-recommends "${missing[@]}" > /dev/null
