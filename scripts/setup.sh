#!/bin/sh
# Checks that the programs which the tests need are installed. As root it installs missing ones from
# Debian's packages. The tests need a C compiler (for -race), curl (for the commands of the README),
# node (for a receiver in the README), systemd-analyze (to check the unit), PostgreSQL's programs,
# prometheus with promtool (for the alert rules and the dashboard), and chromium (for the portal's pages). Tests start servers of their own; those
# of the packages are neither needed nor started.
set -eu
missing=""
command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
command -v curl >/dev/null 2>&1 || missing="$missing curl"
command -v node >/dev/null 2>&1 || missing="$missing nodejs"
[ "$(uname)" != Linux ] || command -v systemd-analyze >/dev/null 2>&1 || missing="$missing systemd"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1 || missing="$missing postgresql"
command -v promtool >/dev/null 2>&1 && command -v prometheus >/dev/null 2>&1 || missing="$missing prometheus"
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
  policy=/usr/sbin/policy-rc.d # packages ask it whether they may start their service
  if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod +x "$policy"
  fi
  apt-get update -q
  # shellcheck disable=SC2086 # a list of packages
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
else
  echo "The tests need:$missing" >&2
  echo "Install them, on Debian with: sudo apt-get install$missing" >&2
  exit 1
fi
