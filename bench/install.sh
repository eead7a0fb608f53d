#!/bin/sh
# install.sh [PACKAGE-SOURCE]: how long it takes from a bare Debian 12, without a
# compiler or any other package, to a first synced event: for the demo and for the kind
# nginx. As root, with debootstrap; packages come from where this machine has them from.
#
# A minimal system is made in a folder that is removed at the end, and entered in
# namespaces of its own; the second time with a systemd (tests/machine.sh).
set -eu
src=$(cd -- "$(dirname -- "$0")/.." && pwd)
[ "$(id -u)" = 0 ] || {
	echo "install.sh: this has to be run by root: it makes a system of its own" >&2
	exit 2
}
tmp=$(mktemp -d /var/tmp/td-sync-install.XXXXXX)
root=$tmp/root init=
clean_up() {
	[ -z "$init" ] || kill -KILL "$init" 2>/dev/null || true
	rm -rf --one-file-system -- "$tmp"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

# from=$1, or the first source of packages that apt has here.
from=${1-$(apt-get indextargets --format '$(SITE)' "Created-By: Packages" | head -n 1)}

# --- a bare Debian ---

debootstrap --variant=minbase bookworm "$root" "$from" >"$tmp/log" 2>&1 || {
	tail -n 5 "$tmp/log" >&2
	exit 1
}
rm -rf "$root/etc/apt"
cp -a /etc/apt /etc/hosts "$root/etc/"
cp -L /etc/resolv.conf "$root/etc/"
mkdir -p "$root/etc/ssl" "$root/usr/share/keyrings" "$root/srv/td-sync"
cp -a /etc/ssl/certs "$root/etc/ssl/"
cp -a /usr/share/keyrings/. "$root/usr/share/keyrings/"
git -C "$src" archive HEAD | tar -x -C "$root/srv/td-sync"

# within ROOT COMMAND...: there, as a container is.
within() {
	unshare -m -p -C -i -u --fork --kill-child sh -c 'root=$1; shift
		mount --make-rprivate / && mount --bind "$root" "$root" && mount --rbind /dev "$root/dev" &&
		mount -t proc proc "$root/proc" && mkdir -p "$root/host" && cd "$root" &&
		pivot_root . host && cd /srv/td-sync && exec "$@"' sh "$@"
}
seconds() { awk "BEGIN { printf \"%.1f\n\", $(date +%s.%N) - $1 }"; }

cp -a "$root" "$tmp/machine"
within "$tmp/machine" env DEBIAN_FRONTEND=noninteractive sh -c 'apt-get update &&
	apt-get install -y --no-install-recommends systemd iproute2' >"$tmp/log" 2>&1 || {
	tail -n 5 "$tmp/log" >&2
	exit 1
}

# --- the demo, whose clients sync ---

began=$(date +%s.%N)
within "$root" ./setup.sh demo </dev/null >"$tmp/log" 2>&1 || {
	tail -n 20 "$tmp/log" >&2
	exit 1
}
grep -q 'the replicas are identical' "$tmp/log"
echo "demo, from a bare Debian to synced replicas: $(seconds "$began") s"

# --- nginx: a service of systemd, then our client ---

cat >"$tmp/machine/srv/answers" <<'TEXT'
format = 1
kind = nginx
host = localhost:8080
tls = none
mail = off
owner = anna@example.com
TEXT
cat >"$tmp/machine/srv/first" <<'TEXT'
set -eu
./setup.sh --answers /srv/answers --yes >/srv/said
TD_AUTH_KEY=$(sed -n 's/^    token *//p' /srv/said)
export TD_AUTH_KEY TD_SYNC_URL=http://localhost:8080
runuser -u td-sync -- td-sync-admin --data /var/lib/td-sync project add website --owner anna@example.com
mkdir -p /srv/work/.todos
gzip -dc tests/fixtures/empty-v38.db.gz >/srv/work/.todos/issues.db
sqlite3 /srv/work/.todos/issues.db "INSERT INTO issues(id, title) VALUES('td-000001', 'T');
	INSERT INTO action_log(id, session_id, action_type, entity_type, entity_id, new_data,
		timestamp, undone) VALUES('al-00000001', 's', 'create', 'issue', 'td-000001',
		'{\"id\":\"td-000001\",\"title\":\"T\"}', '2026-11-26T10:00:00Z', 0)"
td-sync --dir /srv/work link website
td-sync --dir /srv/work sync
TEXT
mkdir "$tmp/machine/srv/m"
within "$tmp/machine" sh tests/machine.sh /srv/m >"$tmp/log" 2>&1 &
outer=$!
children() { tr -d ' ' <"/proc/$1/task/$1/children"; }
inside() { nsenter -t "$init" -m -p -C -i -u -r -w env -i "PATH=$PATH" HOME=/root "$@"; }
for _ in $(seq 100); do
	init=$(children "$(children "$outer")") 2>/dev/null || init=
	[ -z "$init" ] || ! inside systemctl is-active basic.target >/dev/null 2>&1 || break
	sleep 0.1
done
began=$(date +%s.%N)
inside sh -c 'cd /srv/td-sync && exec sh /srv/first' </dev/null >"$tmp/log" 2>&1 || {
	tail -n 20 "$tmp/log" >&2
	exit 1
}
echo "nginx, from a bare Debian to a first event of a client: $(seconds "$began") s"
