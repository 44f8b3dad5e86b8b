#!/bin/sh
# Installs what the benchmark needs, builds it and runs it: Sluice, nginx and nginx + Lua before the same upstream.
#
#   sh spec/bench/run.sh             all workloads, three interleaved rounds (about four minutes)
#   sh spec/bench/run.sh --quick     one short round: does everything work?
#   sh spec/bench/run.sh --only full     one workload: full, short or slow
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/examples/packages.sh"

# shellcheck disable=SC2086
need $BUILD_PACKAGES nodejs nginx libnginx-mod-http-lua lua-cjson util-linux
build "$root" release build
exec node "$root/spec/bench/bench.mjs" "$root/build/sluice" "$root/build/spec" "$@"
