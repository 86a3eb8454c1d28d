#!/usr/bin/env bash
# Measures the built program as a process, with wrk and beside nginx where they are installed:
#   make build && bash bench/system.sh [-only idle,lookup,latency,visible,import,memory] [-rounds 3]
# Some 7 minutes. What it starts it stops, and what it writes it removes, on Ctrl-C as well, which prints
# what was measured until then.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ -x bin/tenantry ]] || { echo "bin/tenantry is not there: make build" >&2; exit 1; }
mkdir -p .cache/bin
go build -o .cache/bin/bench-system ./bench/system
# In place of this shell, so that a signal reaches it. go run would keep it to itself.
exec .cache/bin/bench-system "$@"
