#!/bin/sh
# What the harness runs when it is asked for a part of everything, and what it
# says where a script is wrong. That its checks can fail is its own self-test.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

harness() {
	status=0
	TMPDIR=$tmp "$TD_SYNC_BUILD/td-sync-harness" "$@" >"$tmp/out" 2>&1 || status=$?
	return "$status"
}
# The names that --list printed, of which a line holds WORD.
names() { awk -v word="${1-}" 'index($0, word) { print $1 }' "$tmp/out"; }
printed() { grep -q -- "$1" "$tmp/out"; }

is "all scenarios" harness --list
is "one of them needs a pool to kill" same "$(names 'their master')" pool-killed
all=$(names | wc -l)
for transport in direct cgi fastcgi; do
	expected=$(names " $transport "; printf 'devices\nrandom\n')
	is "those over $transport" harness --list --transport $transport
	is "are those that are for it" same "$(names)" "$expected"
	is "and not all" [ "$(names | wc -l)" -lt "$all" ]
	harness --list
done

echo 'new 38; server kill-workers' >"$tmp/script"
is "what can't happen to a server there is an error" not harness --script "$tmp/script"
is "that says what, and where" \
	printed 'script: over direct this does not happen to a server: server kill-workers$'
echo 'new 38; A dance i1 twice' >"$tmp/script"
is "a step that is none is an error" not harness --script "$tmp/script"
is "that says which" printed 'no such step: A dance i1 twice$'

totals
