#!/bin/sh
# Removes what install.sh copied. Settings in /etc, state and users stay.
#
#   PREFIX/lib/@NAME@/uninstall.sh
set -eu

name=@NAME@
root=${DESTDIR:-}
home=$(cd "$(dirname "$0")" && pwd)
list=$home/installed-files
[ -e "$list" ] || {
  echo "uninstall.sh: $list is missing: run the copy that install.sh has put into PREFIX/lib/$name" >&2
  exit 1
}
# The stop of a dataplane needs KillMode= of its unit, which systemd forgets with the file.
if [ "$name" = kuma-dp-agent ] && [ -z "$root" ] && [ -d /run/systemd/system ] && grep -q '/systemd/system/' "$list"; then
  running=$(systemctl list-units --plain --no-legend --state=active 'kuma-dp.service' 'kuma-dp@*.service' | cut -d ' ' -f 1 | tr '\n' ' ')
  if [ -n "$running" ]; then
    echo "uninstall.sh: stop the dataplane first: systemctl stop $running" >&2
    exit 1
  fi
fi
if [ "$name" = kuma-deregistrar ] && [ -z "$root" ] && [ "$(id -u)" = 0 ] && [ -d /run/systemd/system ]; then
  # What it took out of rotation would stay out without it.
  if systemctl -q is-active kuma-deregistrar.service; then
    "$home/../../bin/kuma-deregistrar" undo --all || :
  fi
  systemctl stop kuma-deregistrar.service 2>/dev/null || :
fi
while IFS= read -r file; do
  rm -f "$root$file"
  rmdir -p "$(dirname "$root$file")" 2>/dev/null || :
done <"$list"
rm -f "$list"
rmdir -p "$home" 2>/dev/null || :
if [ -z "$root" ] && [ "$(id -u)" = 0 ] && [ -d /run/systemd/system ]; then
  systemctl --system daemon-reload
fi
echo "Removed $name"
