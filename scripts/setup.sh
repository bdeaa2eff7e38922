#!/bin/sh
# Checks that what the tests need is there, and installs it from Debian's
# packages when run as root: a C compiler (for -race), curl (which the README's
# commands use), systemd-analyze (which reads the unit), and PostgreSQL's
# programs (of which tests start servers of their own; the package's own server
# is neither needed nor started).
set -eu
missing=""
command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
command -v curl >/dev/null 2>&1 || missing="$missing curl"
[ "$(uname)" != Linux ] || command -v systemd-analyze >/dev/null 2>&1 || missing="$missing systemd"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1 || missing="$missing postgresql"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
  apt-get update -q
  # shellcheck disable=SC2086 # a list of packages
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
else
  echo "The tests need:$missing" >&2
  echo "Install them, on Debian with: sudo apt-get install$missing" >&2
  exit 1
fi
