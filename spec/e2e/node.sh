#!/bin/sh
# The node that the end-to-end plays run on: npm's, since Debian 12's own is too old for some of them.
here=$(cd "$(dirname "$0")" && pwd)
for node in "$here"/node_modules/node-linux-*/bin/node; do
  [ -x "$node" ] && exec "$node" "$@"
done
echo "spec/e2e: its packages are not installed; sh spec/run.sh does that, or (cd spec/e2e && npm ci)" >&2
exit 1
