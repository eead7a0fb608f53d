#!/bin/sh
# What `make install DESTDIR=` puts where, and that nothing else is installed.
set -eu

build=${TD_SYNC_BUILD:?the folder that was built, as make check sets it}
# A make of its own, not part of the one that runs the tests.
unset MAKEFLAGS MFLAGS MAKELEVEL GNUMAKEFLAGS DESTDIR || true
tmp=$(mktemp -d "${TMPDIR:-/tmp}/td-sync-install.XXXXXX")
trap 'rm -rf -- "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# A prefix of its own, so that the list below has one form everywhere.
if ! make -C "$build" install DESTDIR="$tmp/a folder" prefix=/p exec_prefix=/p \
	bindir=/p/bin libdir=/p/lib includedir=/p/include datarootdir=/p/share \
	datadir=/p/share mandir=/p/share/man docdir=/p/share/doc/td-sync >"$tmp/log" 2>&1; then
	cat "$tmp/log"
	echo "0 passed, 1 failed"
	exit 1
fi
(cd "$tmp/a folder" && find . ! -type d | LC_ALL=C sort) >"$tmp/got"
cat >"$tmp/want" <<'TEXT'
./p/bin/td-sync
./p/bin/td-sync-admin
./p/bin/td-sync.fcgi
./p/include/tdsync.h
./p/lib/libtdsync.la
./p/lib/libtdsync.so
./p/lib/libtdsync.so.0
./p/lib/libtdsync.so.0.0.0
./p/share/doc/td-sync/CHANGELOG.md
./p/share/doc/td-sync/LICENSE
./p/share/doc/td-sync/README.md
TEXT
passed=0
failed=0
verdict() {
	if [ "$1" = 0 ]; then
		passed=$((passed + 1))
		echo "ok: $2"
	else
		failed=$((failed + 1))
		echo "NOT ok: $2"
	fi
}

status=0
diff -u "$tmp/want" "$tmp/got" || status=1
verdict $status "exactly the files of the list are installed"

status=0
for program in td-sync td-sync-admin td-sync.fcgi; do
	[ -x "$tmp/a folder/p/bin/$program" ] || status=1
done
verdict $status "the commands can be run"

status=0
make -C "$build" uninstall DESTDIR="$tmp/a folder" prefix=/p exec_prefix=/p \
	bindir=/p/bin libdir=/p/lib includedir=/p/include datarootdir=/p/share \
	datadir=/p/share mandir=/p/share/man docdir=/p/share/doc/td-sync >>"$tmp/log" 2>&1 || status=1
[ -z "$(find "$tmp/a folder" ! -type d)" ] || status=1
verdict $status "make uninstall takes all of it away"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
