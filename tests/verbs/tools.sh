#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools.sh <ringer> ibverbs|perftest|ethernet: the distribution's own binaries on the emulated device, server
# and client as two processes. All must end well on both sides. 77: they are not installed.
set -uo pipefail

ringer=$(realpath "$1")
suite=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
limit=60
options=()
port=$((20000 + $$ % 20000))
failed=0
passed=0

fail() {
  echo "FAILED: $1"
  tail -n 15 "$work/server" "$work/client"
  failed=$((failed + 1))
}

listens() { grep -q "$(printf ':%04X 0*:0* 0A' "$port")" <(sed 's/ 0\{8,32\}:/ 0:/' /proc/net/tcp /proc/net/tcp6 | sed 's/^ *[0-9]*: [0-9A-F]*//'); }

# Until somebody listens at the port, or the server has ended.
await_server() {
  local end=$((SECONDS + limit))
  until listens || ! kill -0 "$1" 2> /dev/null || [ "$SECONDS" -ge "$end" ]; do sleep 0.02; done
}

# pair <tool> <arguments...>
pair() {
  local server_status client_status
  port=$((port + 1))
  timeout -k 5 "$limit" "$ringer" run "${options[@]}" -- "$@" -p "$port" > "$work/server" 2>&1 &
  local server=$!
  await_server "$server"
  timeout -k 5 "$limit" "$ringer" run "${options[@]}" -- "$@" -p "$port" localhost > "$work/client" 2>&1
  client_status=$?
  wait "$server"
  server_status=$?
  if [ "$client_status" != 0 ] || [ "$server_status" != 0 ]; then
    fail "$*: server $server_status, client $client_status"
  else
    passed=$((passed + 1))
    echo "ok: $*: $(grep -vE '^ *$|^-+$|^success' "$work/client" | tail -n 1)"
  fi
}

# alone <tool> <arguments...>
alone() {
  : > "$work/server"
  if timeout -k 5 "$limit" "$ringer" run "${options[@]}" -- "$@" > "$work/client" 2>&1; then
    passed=$((passed + 1))
    echo "ok: $*"
  else
    fail "$*"
  fi
}

require() {
  if ! command -v "$1" > /dev/null; then
    echo "SKIPPED: $2: $1 is not installed"
    exit 77
  fi
}

run_ibverbs() {
  require ibv_rc_pingpong "ibverbs-utils"
  alone ibv_devices
  alone ibv_devinfo -v
  grep -q 'hca_id:.*mlx5_0' "$work/client" || fail "ibv_devinfo shows no mlx5_0"
  local tool
  for tool in ibv_rc_pingpong ibv_uc_pingpong ibv_ud_pingpong ibv_srq_pingpong; do
    pair "$tool" -c  # what arrives is compared, too
    pair "$tool" -e
  done
  pair ibv_rc_pingpong -s 1000003 -n 50
  # Several: control calls of one side while the other comes and goes once made both hang.
  for _ in 1 2 3 4 5; do pair ibv_xsrq_pingpong; done
}

run_perftest() {
  require ib_write_bw "perftest"
  local tool
  for tool in ib_write_bw ib_read_bw ib_send_bw ib_atomic_bw; do
    pair "$tool" -F
    pair "$tool" -F -q 4 -n 500
  done
  for tool in ib_write_lat ib_read_lat ib_send_lat ib_atomic_lat; do pair "$tool" -F; done
  for tool in ib_write_bw ib_read_bw ib_send_bw; do pair "$tool" -F -a -n 100; done
  # The large ones are slow where two pollers leave no core to the NICs.
  for tool in ib_write_lat ib_read_lat ib_send_lat; do pair "$tool" -F -a -n 20; done
  pair ib_write_lat -F -I 64
  pair ib_send_bw -F -q 2 -I 100
  pair ib_send_bw -F -e
  pair ib_send_lat -F -e
  pair ib_read_lat -F -e
  pair ib_write_bw -F -c UC
  pair ib_send_bw -F -c UC
  pair ib_send_lat -F -c UD
  pair ib_send_bw -F --use-srq -q 2
  pair ib_write_bw -F -b
  pair ib_send_bw -F -b
  pair ib_atomic_bw -F -A CMP_AND_SWAP
}

# The same over RoCE v2: GID 3 is the IPv4 address, and datagrams carry a route header.
run_ethernet() {
  require ibv_rc_pingpong "ibverbs-utils"
  require ib_write_bw "perftest"
  options=(--link ethernet)
  alone ibv_devinfo -v
  grep -q '::ffff:198.18.0.1, RoCE v2' "$work/client" || fail "ibv_devinfo shows no RoCE v2 GID"
  local tool gid
  for tool in ibv_rc_pingpong ibv_uc_pingpong ibv_ud_pingpong ibv_srq_pingpong; do
    for gid in 1 3; do pair "$tool" -c -g "$gid"; done
  done
  for tool in ib_write_bw ib_read_bw ib_send_bw ib_atomic_bw ib_write_lat; do pair "$tool" -F; done
  pair ib_send_bw -F -c UD -x 3
  pair ib_send_lat -F -c UD -x 1
  options=(--link ethernet --devices 2 --ports 2)
  pair ib_write_bw -F -d mlx5_1 -i 2
}

"run_$suite"
echo "$suite: $passed passed, $failed failed"
[ "$failed" = 0 ]
