#!/bin/sh
# Every man page is in order (mandoc's lint), and every command has one.
set -eu

src=${srcdir:-$(dirname -- "$0")/..}
if ! command -v mandoc >/dev/null; then
	echo "skipped: mandoc is not installed"
	exit 77
fi
passed=0
failed=0
for page in "$src"/man/*.[1-9]; do
	if mandoc -T lint -W warning "$page"; then
		passed=$((passed + 1))
		echo "ok: $(basename "$page")"
	else
		failed=$((failed + 1))
		echo "NOT ok: $(basename "$page")"
	fi
done
for command in td-sync.1 td-sync-admin.1 td-sync.fcgi.8 td-sync.conf.5; do
	if [ -e "$src/man/$command" ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "NOT ok: there is no man page $command"
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
