#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# engine_calls.sh <libringer_verbs_device.so> <libringer_sim.a>: the engine runs inside its gate below a preloaded
# front-end that has taken over some of the C library's functions and guards them with locks of its
# own. To call one of them from there is a deadlock in waiting.
set -uo pipefail
preloaded=$1
engine=$2
# socket() takes no lock there; the unlock of a spin lock is what calls the engine.
allowed='^(socket|pthread_spin_unlock)$'
taken=$(nm -D --defined-only "$preloaded" | awk '$2 == "T" { print $3 }' | grep -vE "$allowed" |
  sort -u)
called=$(nm -u "$engine" 2> /dev/null | awk '$1 == "U" { print $2 }' | sort -u)
if [ -z "$taken" ] || [ -z "$called" ]; then
  echo "FAILED: no exports in $preloaded, or no symbols in $engine"
  exit 1
fi
found=$(comm -12 <(echo "$taken") <(echo "$called"))
if [ -n "$found" ]; then
  echo "FAILED: the engine calls what the front-end has taken over:" $found
  exit 1
fi
echo "ok: $(wc -l <<< "$taken") functions taken over, none called by the engine"
