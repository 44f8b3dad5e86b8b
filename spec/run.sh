#!/bin/sh
# Installs what the tests need, builds (release, dev: ASan + UBSan, thread: TSan) and runs every test through one ctest.
#
#   sh spec/run.sh                everything
#   sh spec/run.sh -R c.wire      what follows is handed to ctest
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/examples/packages.sh"

TEST_PACKAGES="lua5.4 lua-busted lua-check openssl curl nodejs util-linux procps nginx libnginx-mod-http-lua lua-cjson caddy haproxy chromium valgrind redis-server python3-venv"
command -v npm >/dev/null 2>&1 || TEST_PACKAGES="$TEST_PACKAGES npm"      # a nodejs from elsewhere brings its own

# shellcheck disable=SC2086
need $BUILD_PACKAGES $TEST_PACKAGES
(cd "$root/spec/e2e" && cmp -s package-lock.json node_modules/.sluice-lock || { npm ci --silent && cp package-lock.json node_modules/.sluice-lock; }) ||
  { echo "sluice: npm ci failed in spec/e2e; is there a network?" >&2; exit 1; }
(cd "$root/spec/e2e" && cmp -s requirements.txt .venv/.sluice-requirements ||
  { rm -rf .venv && python3 -m venv .venv && .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt && cp requirements.txt .venv/.sluice-requirements; }) ||
  { echo "sluice: pip install failed in spec/e2e; is there a network?" >&2; exit 1; }
build "$root" release build
build "$root" thread build/thread
build "$root" dev build/dev

cd "$root"
worst=0
run() {
  ctest --output-on-failure "$@" || { code=$?; [ "$code" -le "$worst" ] || worst=$code; }
}
run --test-dir build/thread -j 2 -R '^(flow|c.(base|wire|net))' "$@"    # races
run --test-dir build -R '^(flow.(life|pressure|neighbours)|bench|policy.busted)' "$@"            # memory as it is without sanitizers
run --test-dir build/dev -j 2 "$@"                                       # everything, under ASan and UBSan
exit "$worst"
