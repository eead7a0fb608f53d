#!/bin/sh
# Every man page is in order (mandoc's lint), and each command and file has one.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

needs mandoc
for page in "$src"/man/*.[1-9]; do
	is "${page##*/} is in order" mandoc -T lint -W warning "$page"
done
for page in td-sync.1 td-sync-admin.1 td-sync.fcgi.8 td-sync.conf.5 td-sync-profile.5; do
	is "there is $page" test -s "$src/man/$page"
done
totals
