#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# robustness.sh <ringer>: peers that are killed, signals, what is left behind, other users, idle
# programs, fork. Parts whose programs are not installed are named, and skipped.
set -uo pipefail

ringer=$(realpath "$1")
here=$(realpath "$(dirname "$0")")
programs=$here/robustness_programs.py
python=/usr/bin/python3
limit=60
kill_limit=20
port=$((24000 + $$ % 8000))
source "$here/../support/judge.sh"
work=$(mktemp -d)
mkdir "$work/tmp"
export TMPDIR=$work/tmp PYTHONDONTWRITEBYTECODE=1

clean_up() {
  local pid
  for pid in $(jobs -p); do
    pkill -9 -P "$pid"
    kill -9 "$pid"
  done 2> /dev/null
  wait 2> /dev/null
  rm -rf "$work"
}
trap clean_up EXIT

# await <seconds> <command...>: until it succeeds. No success in time: 1.
await() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.05
  done
}

ended() { ! kill -0 "$1" 2> /dev/null; }
# It has a child, and that is the command already.
has_command() { command=$(pgrep -P "$1") && [ "$(cat "/proc/$command/comm")" != ringer ]; }
listens() {
  grep -hqi "^ *[0-9]*: [0-9A-F]*:$(printf '%04X' "$port") [0-9A-F:]* 0A" /proc/net/tcp{,6}
}
ticks() { sed 's/.*) //' "/proc/$1/stat" | cut -d ' ' -f 12,13 | tr ' ' '+'; }
used_cpu() { ended "$1" || [ $(($(ticks "$1") - $2)) -ge 20 ]; }
has_begun() { grep -q '#bytes' "$work/out.server" && grep -q '#bytes' "$work/out.client"; }
names() { "$python" "$programs" names; }

# What must not grow.
left_behind() {
  {
    ls -A /dev/shm "$TMPDIR"
    names
  } | sort -u
}
news() { comm -13 <(echo "$before") <(left_behind); }
no_news() { [ -z "$(news)" ]; }

# judge_news <when>: nothing is there that was not before. Others come and go in /dev/shm.
judge_news() {
  await "$kill_limit" no_news
  judge "nothing is left after $1" $? "$(news)"
}

# begin <output> <command...>: below ringer, in the background; its process is $runner, the
# command's own $command.
begin() {
  local out=$work/out.$1
  shift
  "$ringer" run -- "$@" > "$out" 2>&1 &
  runner=$!
  await "$limit" has_command "$runner"
}

# traffic <tool> <options...>: both sides, at work.
traffic() {
  port=$((port + 1))
  begin server stdbuf -oL "$@" -p "$port"
  server_runner=$runner
  server=$command
  await "$limit" listens
  begin client stdbuf -oL "$@" -p "$port" localhost
  client_runner=$runner
  client=$command
  await "$limit" has_begun
  await "$limit" used_cpu "$client" "$(($(ticks "$client")))"
}

# killed_peer server|client <tool> <options...>: the other side ends, with an error.
killed_peer() {
  local victim=$1 survivor_runner survivor out began status
  shift
  traffic "$@"
  if [ "$victim" = server ]; then
    kill -9 "$server"
    survivor_runner=$client_runner survivor=$client out=$work/out.client
  else
    kill -9 "$client"
    survivor_runner=$server_runner survivor=$server out=$work/out.server
  fi
  began=$SECONDS
  await "$kill_limit" ended "$survivor"
  if ! ended "$survivor"; then
    judge "$victim killed: $*" 1 "the other side goes on after $kill_limit s"
    kill -9 "$survivor"
  else
    wait "$survivor_runner"
    status=$?
    # 12: IBV_WC_RETRY_EXC_ERR. 5: IBV_WC_WR_FLUSH_ERR, of a receive that it has looked at sooner.
    [ "$status" != 0 ] && grep -qE 'Failed status (12|5):' "$out"
    judge "$victim killed: $*: the other side ended with $status after $((SECONDS - began)) s" $? "$out"
  fi
  wait "$server_runner" "$client_runner" 2> /dev/null
}

test_killed_peers() {
  if ! command -v ib_write_bw > /dev/null; then
    echo "SKIPPED: killed peers: perftest is not installed"
    return
  fi
  killed_peer server ib_write_bw -F -D 20
  killed_peer server ib_read_bw -F -D 20
  killed_peer server ib_send_bw -F -D 20
  killed_peer server ib_atomic_bw -F -D 20
  killed_peer client ib_write_bw -F -b -D 20
  killed_peer client ib_read_bw -F -b -D 20
  killed_peer client ib_send_bw -F -b -D 20
}

test_nothing_left() {
  local status
  "$ringer" run -- true
  judge_news "an exit"
  begin asleep sleep 1000
  [ "$(ls "$TMPDIR" | grep -c '^ringer-run-')" = 1 ]
  judge "one directory while it runs" $?
  kill -TERM "$runner"
  await "$kill_limit" ended "$command" || kill -9 "$command"
  wait "$runner"
  status=$?
  [ "$status" = 143 ]
  judge "SIGTERM goes on to the command" $? "exit code $status"
  judge_news SIGTERM
}

# The command of a run that is killed ends with it, and its directory goes when the next one begins.
test_killed_run() {
  local status
  begin asleep sleep 1000
  kill -KILL "$runner"
  wait "$runner" 2> /dev/null
  await "$kill_limit" ended "$command"
  status=$?
  judge "the command ends with a killed run" "$status"
  [ "$status" = 0 ] || kill -9 "$command"
  [ "$(ls "$TMPDIR" | grep -c '^ringer-run-')" = 1 ]
  judge "a killed run leaves its directory" $?
  "$ringer" run -- true
  judge_news "the next run"
  # What will not end keeps its devices.
  begin stubborn sh -c 'trap "" TERM; while :; do sleep 0.1; done'
  kill -KILL "$runner"
  wait "$runner" 2> /dev/null
  "$ringer" run -- true
  [ "$(ls "$TMPDIR" | grep -c '^ringer-run-')" = 1 ]
  judge "a command that outlives its run keeps the directory" $?
  kill -KILL "$command"
  await "$kill_limit" ended "$command"
  await "$kill_limit" eval '"$ringer" run -- true; ! ls "$TMPDIR" | grep -q "^ringer-run-"'
  judge_news "its end"
}

have_pyverbs() {
  "$python" -c 'import pyverbs' 2> /dev/null && return
  echo "SKIPPED: $1: python3-pyverbs is not installed"
  return 1
}

test_programs() {
  local how status
  have_pyverbs "idle, fork, exit" || return
  timeout -k 5 "$limit" "$ringer" run -- "$python" "$programs" idle 20 > "$work/out.idle" 2>&1
  status=$?  # before the next substitution replaces it
  judge "$(tail -n 1 "$work/out.idle")" "$status" "at most 20% wanted"
  timeout -k 5 "$limit" "$ringer" run -- "$python" "$programs" fork > "$work/out.fork" 2>&1
  judge "a program that forks" $? "$work/out.fork"
  timeout -k 5 "$limit" "$ringer" run -- "$python" "$programs" flood > "$work/out.flood" 2>&1
  judge "datagrams to a process that is stopped" $? "$work/out.flood"
  timeout -k 5 "$limit" "$ringer" run -- "$python" "$programs" farewell > "$work/out.farewell" 2>&1
  judge "the last acknowledgement of a peer that is done" $? "$work/out.farewell"
  for how in exit return; do
    timeout -k 5 "$limit" "$ringer" run -- "$python" "$programs" leave "$how" > "$work/out.leave" 2>&1
    judge "a program that ends ($how) while traffic is under way" $? "$work/out.leave"
  done
  judge_news them
}

as_nobody() {
  setpriv --reuid=nobody --regid=nogroup --clear-groups env -C / HOME=/ TMPDIR=/tmp "$@"
}

test_other_users() {
  if [ "$(id -u)" != 0 ] || ! command -v setpriv > /dev/null || ! id nobody > /dev/null 2>&1; then
    echo "SKIPPED: other users: this takes root, setpriv and a user nobody"
    return
  fi
  have_pyverbs "other users" || return
  # A copy that others can read, wherever the build is.
  local copy=$work/copy name status
  chmod 755 "$work"
  mkdir -p "$copy/tools" "$copy/sim/verbs"
  cp "$ringer" "$copy/tools/"
  cp "$(dirname "$ringer")/../sim/verbs/libringer_verbs_device.so" "$copy/sim/verbs/"
  cp "$here"/*.py "$copy/"
  chmod -R a+rX "$copy"
  as_nobody timeout -k 5 "$limit" "$copy/tools/ringer" run -- \
    "$python" "$copy/pyverbs_programs.py" > "$work/out.nobody" 2>&1
  status=$?
  judge "as an ordinary user: $(tail -n 1 "$work/out.nobody")" "$status" "$work/out.nobody"

  mkfifo "$work/input"
  "$ringer" run -- "$python" "$programs" hold < "$work/input" > "$work/out.hold" 2>&1 &
  local holder=$!
  exec 9> "$work/input"
  await "$limit" grep -q open "$work/out.hold"
  name=$(names | grep "^@ringer-0-" | tail -n 1)
  [ -n "$name" ]
  judge "the links have a name: $name" $?
  as_nobody timeout -k 5 "$limit" "$python" "$copy/robustness_programs.py" intrude "$name" \
    > "$work/out.intrude" 2>&1
  judge "another user's connection is dropped" $? "$work/out.intrude"
  exec 9>&-
  wait "$holder"
  judge "what it was tried on has ended well" $?
}

before=$(left_behind)
test_nothing_left
test_killed_run
test_programs
test_other_users
test_killed_peers
judge_news "all of them"
echo "robustness: $passed passed, $failed failed"
[ "$failed" = 0 ]
