#!/bin/sh
# machine.sh FOLDER PATH...: become a machine with a systemd of its own, made of this
# one: what is written there is gone with it. The PATHs (folders) are seen there, too;
# FOLDER/shared is its /mnt. To be run by root in namespaces of its own:
#
#   unshare -m -p -C -n -i -u --fork machine.sh FOLDER PATH...
#
# and entered by nsenter -m -p -C -n -i -u -r -w.
set -eu
here=$1
shift
root=$here/root
mkdir -p "$here/shared"
mount --make-rprivate /
mkdir -p "$here/upper"
mount -t tmpfs none "$here/upper"
# over PLACE FROM NUMBER: a folder of the host that can be written to, in vain.
over() {
	mkdir -p "$here/upper/$3/up" "$here/upper/$3/work" "$1"
	mount -t overlay overlay -o "lowerdir=$2,upperdir=$here/upper/$3/up,workdir=$here/upper/$3/work" "$1"
}
over "$root" / 0
mount -t tmpfs none "$root/tmp"
n=0
for path; do
	n=$((n + 1))
	over "$root$path" "$path" "$n"
done
mount --bind "$here/shared" "$root/mnt"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 none "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 none "$root/run"
mount -t tmpfs -o mode=755 none "$root/dev"
for node in null zero full random urandom tty; do
	: >"$root/dev/$node"
	mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts devpts "$root/dev/pts" -o newinstance,ptmxmode=0666
mount -t tmpfs none "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for fd in 0.stdin 1.stdout 2.stderr; do
	ln -s "/proc/self/fd/${fd%.*}" "$root/dev/${fd#*.}"
done
# Nothing of this machine's services but nginx's unit, of its sites none.
rm -rf "$root/etc/systemd/system" "$root/etc/nginx/sites-enabled" "$root/etc/nginx/conf.d" \
	"$root/etc/td-sync" "$root/etc/letsencrypt" "$root/var/lib/td-sync"
mkdir -p "$root/etc/systemd/system" "$root/etc/nginx/sites-enabled" "$root/etc/nginx/conf.d"
printf '[Unit]\nDescription=a machine for tests\nWants=basic.target\n' >"$root/etc/systemd/system/test.target"
printf '127.0.0.1 localhost sync.example.com other.example.com\n' >"$root/etc/hosts"
hostname td-sync-test
ip link set lo up 2>/dev/null || ifconfig lo up
# No chroot: in one there are no user namespaces (PrivateUsers=).
cd "$root"
pivot_root . .
umount -l .
exec env -i container=test PATH="$PATH" /lib/systemd/systemd --system --unit=test.target
