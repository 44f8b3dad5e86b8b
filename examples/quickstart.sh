#!/bin/sh
# From a bare Debian 12 to a streaming answer: installs what is missing, builds, runs examples/ask/gateway.lua.
# Without LLM_BASE_URL it answers from its own guide: no key, no internet.
#
#   sh examples/quickstart.sh                      run the gateway; Ctrl-C ends it
#   sh examples/quickstart.sh --once "question"    stream one answer to the terminal and end
#
# SLUICE_LISTEN (default 127.0.0.1:4001), LLM_BASE_URL, LLM_API_KEY and LLM_MODEL are handed on.
set -eu
case "$#,${1:-}" in
0, | 2,--once) ;;
*,--once) echo 'sluice: --once wants one question: sh examples/quickstart.sh --once "What is Sluice?"' >&2; exit 2 ;;
*) echo "sluice: unknown argument \"$1\": write sh examples/quickstart.sh, or behind it --once \"question\"" >&2; exit 2 ;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/examples/packages.sh"

# shellcheck disable=SC2086
need $BUILD_PACKAGES curl lua5.4
build "$root" release build

if [ "${1:-}" != --once ]; then
  SLUICE_LISTEN=${SLUICE_LISTEN:-127.0.0.1:4001}
  export SLUICE_LISTEN
  echo "The page:  http://$SLUICE_LISTEN/"
  echo "A stream:  curl -N 'http://$SLUICE_LISTEN/api/stream?q=What+is+Sluice%3F'"
  exec "$root/build/sluice" run "$root/examples/ask/gateway.lua"
fi

question=$2
work=$(mktemp -d)
trap 'kill "$gateway" 2>/dev/null || :; rm -rf "$work"' EXIT INT TERM
SLUICE_LISTEN=127.0.0.1:0 "$root/build/sluice" run "$root/examples/ask/gateway.lua" 2>"$work/log" &
gateway=$!

url=
while [ -z "$url" ]; do
  url=$(sed -n 's/.* listening url=\([^ ]*\).*/\1/p' "$work/log" | tr -d '"')
  kill -0 "$gateway" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
  [ -n "$url" ] || sleep 0.05
done

curl -sS -N -G --data-urlencode "q=$question" "$url/api/stream" | lua5.4 "$root/examples/print_tokens.lua"
