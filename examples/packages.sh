# Installs Debian packages that are missing; sourced by quickstart.sh and spec/run.sh. Says what it does; fails with a sentence.
# usage: need PACKAGE...

missing() {
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || printf '%s ' "$package"
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo "$@"
  else
    echo "sluice: please run as root or install sudo: $* needs it" >&2
    exit 1
  fi
}

need() {
  wanted=$(missing "$@")
  [ -z "$wanted" ] && return 0
  echo "sluice: installing: $wanted" >&2
  as_root apt-get update -qq >&2 || { echo "sluice: apt-get update failed; is there a network?" >&2; exit 1; }
  # shellcheck disable=SC2086
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $wanted >&2 ||
    { echo "sluice: could not install: $wanted" >&2; exit 1; }
}

# What the gateway itself is built from. A distribution with libllhttp needs no node-llhttp.
BUILD_PACKAGES="ca-certificates cmake ninja-build gcc libc6-dev pkg-config libuv1-dev libcurl4-openssl-dev libssl-dev liblua5.4-dev libpcre2-dev"
if apt-cache show libllhttp-dev >/dev/null 2>&1; then
  BUILD_PACKAGES="$BUILD_PACKAGES libllhttp-dev"
else
  BUILD_PACKAGES="$BUILD_PACKAGES node-llhttp"
fi

# Says that it builds when that takes a while: a program that is newer than its sources does not.
# usage: build ROOT PRESET DIR
build() {
  if [ ! -x "$1/$3/sluice" ] || find "$1/src" "$1/lua" "$1/CMakeLists.txt" -type f ! -name '*.md' -newer "$1/$3/sluice" | grep -q .; then
    echo "sluice: building $3/sluice (preset $2, output in $3/build.log) ..." >&2
  fi
  (cd "$1" && { [ -f "$3/build.ninja" ] || cmake --preset "$2" >/dev/null; } && cmake --build --preset "$2" >"$3/build.log" 2>&1) || {
    [ -f "$1/$3/build.log" ] && tail -n 40 "$1/$3/build.log" >&2
    echo "sluice: the build failed (preset $2)" >&2
    exit 1
  }
}
