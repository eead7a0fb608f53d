#!/bin/sh
# What the client shows of conflicts and of an entity's history, and how it has
# back what was lost: two replicas of the demo, a real server, real edits.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

needs nginx sqlite3 curl
demo=$tmp/demo
timeout 120 "$src/setup.sh" demo --dir "$demo" --port "$(free_port)" </dev/null >"$tmp/made" 2>&1 ||
	{ cat "$tmp/made"; exit 1; }
trap '"$src/setup.sh" demo stop --dir "$demo" >/dev/null 2>&1; cleanup' EXIT
set -a
# shellcheck source=/dev/null
. "$demo/demo.env"
set +a

# cli REPLICA ARGUMENT...: stdout and stderr are in $tmp/out and $tmp/err.
cli() {
	replica=$1
	shift
	"$TD_SYNC_BIN/td-sync" --dir "$demo/replicas/$replica" "$@" >"$tmp/out" 2>"$tmp/err"
}
exits() {
	code=$1
	shift
	status=0
	cli "$@" || status=$?
	same "$code" "$status"
}
printed() { grep -q -- "$1" "$tmp/out" || { cat "$tmp/out"; false; }; }
said() { grep -q -- "$1" "$tmp/err" || { cat "$tmp/err"; false; }; }
narrow() { ! awk '{ if (length($0) > 80) exit 1 }' "$tmp/out" && return 1 || true; }
rows() { sqlite3 -batch -init /dev/null "$demo/replicas/$1/.todos/issues.db" "$2"; }

# title REPLICA TEXT: td's `update --title`, as it leaves row and action log.
title() {
	rows "$1" "BEGIN;
		INSERT INTO action_log(id, session_id, action_type, entity_type, entity_id,
			previous_data, new_data, timestamp, undone)
		SELECT 'al-' || hex(randomblob(4)), 'ses_test', 'update', 'issue', id,
			json_object('id', id, 'title', title, 'updated_at', updated_at),
			json_object('id', id, 'title', '$2', 'updated_at', updated_at),
			strftime('%Y-%m-%dT%H:%M:%SZ', 'now'), 0 FROM issues WHERE id = 'td-de0001';
		UPDATE issues SET title = '$2' WHERE id = 'td-de0001'; COMMIT;"
}

is "at first there are none" exits 0 laptop conflicts
is "and it says so" printed '^no conflicts$'
is "none, as JSON" exits 0 laptop --json conflicts
is "that is an empty list" printed '^{"conflicts":\[\]}$'

title laptop "Written on the laptop"
title office "Written in the office"
is "the laptop comes first" exits 0 laptop sync
is "the office writes over it" exits 0 office sync
is "the laptop hears of it" exits 0 laptop sync
is "and is told" printed '1 new conflict;'

for replica in laptop office; do
	is "$replica lists it" exits 0 $replica conflicts
	is "what was lost is in its line" printed '^[0-9]*-1 .* field .* td-de0001 .* title: Written on the laptop$'
	is "which fits a terminal" narrow
	cp "$tmp/out" "$tmp/$replica"
done
is "both list the same" cmp "$tmp/laptop" "$tmp/office"
id=$(sed 's/ .*//' "$tmp/laptop")
is "td is told, too" same "1|Written on the laptop" \
	"$(rows laptop "SELECT count(*), json_extract(local_data, '\$.title') FROM sync_conflicts")"

is "one of them, whole" exits 0 laptop conflicts show "$id"
is "what was lost" printed '^  lost  Written on the laptop$'
is "what was kept" printed '^  kept  Written in the office$'
is "by whom" printed '^lost: event [0-9]*, by u_[0-9a-f]* on '
is "as JSON" exits 0 laptop --json conflicts show "$id"
is "with both values" printed '"field":"title","kept":"Written in the office","lost":"Written on the laptop"'

is "its history" exits 0 laptop history td-de0001
is "has each version" same 5 "$(grep -c '^[0-9]' "$tmp/out")"
is "and what changed" printed 'title: .* -> Written in the office$'
is "which fits a terminal" narrow
is "with its type before it" exits 0 office history issues/td-de0001
is "as JSON" exits 0 laptop --json history td-de0001
is "with what was there" printed '"field":"title","from":".*","to":"Written in the office"'
is "of what is not there" exits 6 laptop history td-none
is "that names it" said 'nothing here has the id "td-none"'
is "of what the log does not have" exits 6 laptop history issues/td-none

is "restored" exits 0 office conflicts restore "$id"
is "the row has the lost value" same "Written on the laptop" \
	"$(rows office "SELECT title FROM issues WHERE id = 'td-de0001'")"
is "and on the laptop" exits 0 laptop sync
is "too" same "Written on the laptop" "$(rows laptop "SELECT title FROM issues WHERE id = 'td-de0001'")"
is "it is no longer listed" exits 0 laptop conflicts
is "but counted" printed '^(1 restored: --all shows them)$'
is "and shown with --all" exits 0 laptop --all conflicts
is "as restored" printed "^$id .*(restored)\$"
is "once more there is nothing to do" exits 7 laptop conflicts restore "$id"
is "which is said" said 'conflict'

is "a copy is as the server says" exits 0 laptop verify
is "and says so" printed '^the same as at the server, at event [0-9]*: [0-9]* rows in 12 tables$'
is "as JSON" exits 0 office --json verify
is "with nothing in it" printed '^{"differences":\[\],"server_seq":[0-9]*,"tables":12,"rows":[0-9]*}$'
rows laptop "UPDATE issues SET title = 'Changed behind everybody' WHERE id = 'td-de0001'"
is "a row that was changed by hand is found" exits 10 laptop verify
is "and named, with both values" printed "^issues/td-de0001 title: in td's table Changed behind everybody, by the log Written on the laptop\$"
is "as JSON" exits 10 laptop --json verify
is "with what is found" printed '"finding":"rows_differ","table":"issues","id":"td-de0001","column":"title"'

is "an unknown one" exits 2 laptop conflicts show 99-9
is "is named" said 'no conflict here has the id 99-9'
is "restored it can't be" exits 6 laptop conflicts restore 99-9
is "what is no id" exits 2 laptop conflicts restore '../x'
is "an unknown word" exits 2 laptop conflicts frobnicate 1-1
is "no id" exits 2 laptop conflicts show
is "no entity" exits 2 laptop history
totals
