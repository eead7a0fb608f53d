#!/bin/sh
# Every man page is in order (mandoc's lint).
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

needs mandoc
for page in "$src"/man/*.[1-9]; do
	is "${page##*/} is in order" mandoc -T lint -W warning "$page"
done
totals
