#!/bin/bash
# Boots a real systemd over a throw-away overlay of this machine's root: booted-systemd.ts runs it as root, and what it
# starts ends with it. Nothing is written outside of SCRATCH and of a control group of its own.
#
#   boot.sh SCRATCH LAYER PROJECT NETWORK
#     SCRATCH   an empty folder; what is written inside goes to a tmpfs that is mounted there
#     LAYER     a folder whose files lie over this machine's, as an installed package would
#     PROJECT   this checkout, seen inside as /opt/project, read-only
#     NETWORK   shared: this network namespace; own: one with nothing but a loopback interface
set -euo pipefail

if [ "${1:-}" != inside ]; then
  # Two systemds in one control group would clean up after each other.
  hierarchy=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
  group=$hierarchy/$(basename "$1")
  mkdir "$group"
  echo $$ >"$group/cgroup.procs"
  namespaces=(--pid --mount --cgroup --uts --ipc)
  [ "$4" = own ] && namespaces+=(--net)
  exec unshare --fork --kill-child "${namespaces[@]}" "$0" inside "$@"
fi

shift
scratch=$1 layer=$2 project=$3 network=$4
mount --make-rprivate /
mount -t tmpfs tmpfs "$scratch"
root=$scratch/root
mkdir -p "$scratch"/{upper,work,root}
cp -a "$layer/." "$scratch/upper"
chmod 755 "$scratch/upper"
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for folder in dev tmp run var/tmp var/log; do
  mount -t tmpfs -o mode=755 tmpfs "$root/$folder"
done
chmod 1777 "$root/tmp" "$root/var/tmp"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mkdir -p "$root/opt/project"
mount --bind "$project" "$root/opt/project"
mount -o remount,bind,ro "$root/opt/project"
[ "$network" = own ] && ip link set lo up

# What this machine starts by itself stays out, as does what would change its kernel or look for hardware.
units=$root/etc/systemd/system
rm -rf "$units"/*.wants "$units"/*.requires
mkdir -p "$units"
ln -sf /lib/systemd/system/multi-user.target "$units/default.target"
for unit in getty.target systemd-tmpfiles-clean.timer {console-getty,systemd-{binfmt,logind,timesyncd,networkd,resolved,udevd,udev-trigger,modules-load,sysctl,random-seed,remount-fs}}.service \
  dbus.{service,socket} {dev-hugepages,dev-mqueue,sys-kernel-debug,sys-kernel-tracing,sys-fs-fuse-connections}.mount proc-sys-fs-binfmt_misc.{auto,}mount; do
  ln -sf /dev/null "$units/$unit"
done
echo >"$root/etc/fstab"
mkdir -p "$root/.old"
cd "$root"
pivot_root . .old
umount -l /.old
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --log-target=journal --show-status=no
