#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Which room may know which, and other rules that a compiler does not check. [tree]
set -euo pipefail
exec python3 "$(dirname "$0")/check_includes.py" "${1:-$(dirname "$0")/..}"
