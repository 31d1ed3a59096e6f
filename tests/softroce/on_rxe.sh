#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# on_rxe.sh <test program> [arguments]: a test program on the backend verbs over two rxe devices.
set -uo pipefail
source "$(dirname "$0")/common.sh"
export RINGER_TEST_BACKEND=verbs
exec "$@"
