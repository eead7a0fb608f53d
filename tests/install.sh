#!/bin/sh
# What `make install DESTDIR=` puts where, and that nothing else is installed.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

root=$tmp/root
# A prefix of its own, so that the list has one form everywhere.
make_there() {
	make -C "$TD_SYNC_BUILD" "$1" DESTDIR="$root" prefix=/p exec_prefix=/p \
		bindir=/p/bin libdir=/p/lib libexecdir=/p/libexec includedir=/p/include datarootdir=/p/share \
		datadir=/p/share mandir=/p/share/man docdir=/p/share/doc/td-sync
}
files() { (cd "$root" && find . ! -type d | LC_ALL=C sort); }

pages=$(cd "$src/man" && for page in *.[1-9]; do
	echo "./p/share/man/man${page##*.}/$page"; done | LC_ALL=C sort)

is "make install succeeds" make_there install
is "exactly these files are installed" same "$(files)" "./p/bin/td-sync
./p/bin/td-sync-admin
./p/bin/td-sync.fcgi
./p/include/tdsync.h
./p/lib/libtdsync.la
./p/lib/libtdsync.so
./p/lib/libtdsync.so.0
./p/lib/libtdsync.so.0.0.0
./p/libexec/td-sync/td-sync-smtp
./p/share/doc/td-sync/CHANGELOG.md
./p/share/doc/td-sync/LICENSE
./p/share/doc/td-sync/README.md
./p/share/doc/td-sync/architecture.md
./p/share/doc/td-sync/architecture.svg
./p/share/doc/td-sync/backup.md
./p/share/doc/td-sync/install-hosting.md
./p/share/doc/td-sync/install-nginx.md
./p/share/doc/td-sync/install.md
./p/share/doc/td-sync/limits.md
./p/share/doc/td-sync/moving.md
./p/share/doc/td-sync/operate.md
./p/share/doc/td-sync/performance.md
./p/share/doc/td-sync/protocol.md
./p/share/doc/td-sync/security.md
$pages
./p/share/td-sync/nginx/ffdhe2048.pem
./p/share/td-sync/nginx/fill
./p/share/td-sync/nginx/nginx.conf.in
./p/share/td-sync/nginx/td-sync.conf.in
./p/share/td-sync/profiles/shelf.json
./p/share/td-sync/profiles/td.json
./p/share/td-sync/systemd/logrotate
./p/share/td-sync/systemd/mail-sendmail.conf
./p/share/td-sync/systemd/mail-smtp.conf
./p/share/td-sync/systemd/td-sync-backup.service.in
./p/share/td-sync/systemd/td-sync-backup.timer
./p/share/td-sync/systemd/td-sync.service.in
./p/share/td-sync/systemd/td-sync.socket
./p/share/td-sync/td-sync.conf"
for program in td-sync td-sync-admin td-sync.fcgi; do
	is "$program runs from there" "$root/p/bin/$program" --version
done
is "make uninstall succeeds" make_there uninstall
is "and takes all of it away" same "$(files)" ""
totals
