#!/bin/sh
# Copies @NAME@ below a prefix. As root with /usr or /usr/local, the systemd units and their users as well. Starts nothing.
#
#   ./install.sh [--prefix DIR]     /usr/local if left out; without root for example "$HOME/.local"
#
# DESTDIR is put in front of every path that is written, for image builds.
set -eu

name=@NAME@
prefix=/usr/local
while [ $# -gt 0 ]; do
  case $1 in
  --prefix) prefix=${2:?--prefix needs a folder} && shift ;;
  --prefix=*) prefix=${1#*=} ;;
  *) echo "install.sh: unexpected argument \"$1\": only --prefix DIR" >&2 && exit 78 ;;
  esac
  shift
done
case $prefix in
/*) ;;
*) echo "install.sh: --prefix must be an absolute path, not \"$prefix\"" >&2 && exit 78 ;;
esac
from=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}

# Its own words say what is wrong: another processor, a C library that is too old or of another kind.
"$from/bin/$name" version >/dev/null || {
  echo "install.sh: $name does not run on this host: nothing was installed" >&2
  exit 1
}

to=$root$prefix
list=$to/lib/$name/installed-files
mkdir -p "$to/lib/$name"
new=$(mktemp)
put() {
  mkdir -p "$(dirname "$2")"
  rm -f "$2"
  cp -p "$1" "$2"
  printf '%s\n' "${2#"$root"}" >>"$new"
}

(cd "$from" && find bin lib share -type f) >"$new.parts"
while IFS= read -r part; do
  case $part in
  lib/systemd/* | lib/sysusers.d/* | lib/tmpfiles.d/*) ;;
  *) put "$from/$part" "$to/$part" ;;
  esac
done <"$new.parts"
put "$from/uninstall.sh" "$to/lib/$name/uninstall.sh"

# One Node for both programs where both are installed: one file, on disk and in memory.
for other in kuma-dp-agent kuma-deregistrar; do
  if [ "$other" != "$name" ] && cmp -s "$to/lib/$other/node" "$to/lib/$name/node"; then
    ln -f "$to/lib/$other/node" "$to/lib/$name/node" 2>/dev/null || :
  fi
done

units=no
if [ "$(id -u)" = 0 ]; then
  case $prefix in
  /usr | /usr/local) units=yes ;;
  esac
fi
if [ $units = yes ]; then
  while IFS= read -r part; do
    case $part in
    lib/systemd/* | lib/sysusers.d/* | lib/tmpfiles.d/*)
      put "$from/$part" "$to/$part"
      sed -i "s|/usr/bin/$name|$prefix/bin/$name|g" "$to/$part"
      ;;
    esac
  done <"$new.parts"
  # Yours: what is there stays.
  for settings in "$from"/etc/default/*; do
    target=$root/etc/default/$(basename "$settings")
    mkdir -p "$root/etc/default"
    [ -e "$target" ] || cp -p "$settings" "$target"
  done
  if [ -z "$root" ] && [ -d /run/systemd/system ]; then
    systemd-sysusers "$prefix/lib/sysusers.d/$name.conf"
    tmpfiles=$prefix/lib/tmpfiles.d/$name.conf
    [ ! -e "$tmpfiles" ] || systemd-tmpfiles --create "$tmpfiles"
    systemctl --system daemon-reload
  fi
fi

# What an earlier version had, and this one has not.
if [ -e "$list" ]; then
  while IFS= read -r file; do
    grep -qxF "$file" "$new" || rm -f "$root$file"
  done <"$list"
fi
mv "$new" "$list"
chmod 644 "$list"
rm -f "$new.parts"
echo "Installed $("$to/bin/$name" version) in $prefix; remove it with $prefix/lib/$name/uninstall.sh"
