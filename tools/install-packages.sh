#!/bin/sh
# Install what tools/debian-packages.txt names and this machine lacks. Called by the Makefile.
# Does nothing where everything is there, and only says what it would need where there is no apt.
set -eu
cd "$(dirname "$0")"
packages=$(sed 's/#.*//' debian-packages.txt)
missing=
for package in $packages; do
  dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
  echo "not a Debian machine; a cluster needs Docker, or the like of:$missing" >&2
  exit 0
fi
run=
[ "$(id -u)" = 0 ] || run=sudo
echo "installing Debian packages:$missing" >&2
$run apt-get update -qq
# shellcheck disable=SC2086 # one word a package
DEBIAN_FRONTEND=noninteractive $run apt-get install -y -qq --no-install-recommends $missing >/dev/null
