#!/bin/sh
# What the client shows of conflicts and of an entity's history, how it has back
# what was lost, how it checks itself, and how it begins: replicas with real edits,
# and a real server.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
# shellcheck source=tests/client-lib.sh
. "${0%/*}/client-lib.sh"

needs nginx sqlite3 curl

# The server of the demo, alone.
serve() {
	"$src/setup.sh" demo --dir "$tmp/demo" --port "$(free_port)" --server-only --limits off \
		</dev/null
}
# replica NAME: a td project of that name, linked.
replica() {
	mkdir -p "$tmp/$1/.todos"
	gzip -dc "$src/tests/fixtures/empty-v38.db.gz" >"$tmp/$1/.todos/issues.db"
	"$cli" --dir "$tmp/$1" link "$TD_DEMO_PROJECT"
}
rows() { sqlite3 -batch -init /dev/null "$tmp/$1/.todos/issues.db" "$2"; }
# create NAME ID TITLE, title NAME ID TITLE: what td writes. (The text is JSON, too.)
create() {
	rows "$1" "INSERT INTO issues (id, title, created_at, updated_at) VALUES ('$2', '$3',
		'2026-11-26T10:00:00Z', '2026-11-26T10:00:00Z');
	INSERT INTO action_log (id, session_id, action_type, entity_type, entity_id, new_data,
		timestamp, undone) VALUES ('al-' || hex(randomblob(4)), 'ses_1', 'create', 'issue',
		'$2', '{\"id\":\"$2\",\"title\":\"$3\",\"created_at\":\"2026-11-26T10:00:00Z\",
		\"updated_at\":\"2026-11-26T10:00:00Z\"}', '2026-11-26T10:00:00Z', 0)"
}
title() {
	rows "$1" "INSERT INTO action_log (id, session_id, action_type, entity_type, entity_id,
		previous_data, new_data, timestamp, undone) SELECT 'al-' || hex(randomblob(4)), 'ses_1',
		'update', 'issue', id, json_object('id', id, 'title', title),
		'{\"id\":\"$2\",\"title\":\"$3\"}', '2026-11-26T11:00:00Z', 0 FROM issues
		WHERE id = '$2';
	UPDATE issues SET title = json_extract('\"$3\"', '\$') WHERE id = '$2'"
}
on() { name=$1; shift; exits 0 --dir "$tmp/$name" "$@"; }
# No line is longer than a terminal has columns (a UTF-8 character is one).
narrow() { [ "$(LC_ALL=C tr -d '\200-\277' <"$tmp/out" | awk 'length > 80' | wc -l)" = 0 ]; }
# Nothing that a terminal would obey.
harmless() { ! LC_ALL=C tr -d '\n' <"$tmp/out" | LC_ALL=C grep -q '[[:cntrl:]]'; }
# What is printed is lost: the exit code says so.
full_disk() {
	name=$1
	shift
	status=0
	"$cli" --dir "$tmp/$name" "$@" >/dev/full 2>"$tmp/err" || status=$?
	[ "$status" = 4 ] && said "can't be written" || { echo "exit code $status"; false; }
}
# One JSON value, as another program reads it.
json() { rows laptop "SELECT json_valid(CAST(readfile('$tmp/out') AS TEXT))" | grep -qx 1; }
trap '"$src/setup.sh" demo stop --dir "$tmp/demo" >/dev/null 2>&1; cleanup' EXIT

is "a server runs" serve
set -a
# shellcheck source=/dev/null # made by the demo
. "$tmp/demo/demo.env"
set +a
is "a replica" replica laptop
is "another" replica office
create laptop td-000001 One
create laptop td-000002 Two
is "it syncs" on laptop sync
is "the other, too" on office sync
is "nothing was lost" on office conflicts
is "that is told" printed '^no conflicts$'
is "as JSON, too" on office --json conflicts
is "there is an empty list" printed '^{"conflicts":\[\]}$'

long='By the office, in \u001b[31mred\u001b[0m, \u0085 with\ttabs\nand lines, and so on and on and on until it does not fit any more into a line \u00e4\u00f6\u00fc'
title laptop td-000001 'By the laptop'
title office td-000001 "$long"
title laptop td-000002 Zwei
is "one writes" on laptop sync
is "the other writes over it" on office sync
is "that is told" printed '1 new conflict'
is "the first hears of it" on laptop sync
is "td lists it, too" same 1 "$(rows laptop 'SELECT count(*) FROM sync_conflicts')"
is "conflicts" on laptop conflicts
is "lists it" printed '^[0-9]*-1  *field  *issues/td-000001  *title: By the laptop$'
id=$(cut -d' ' -f1 <"$tmp/out")
is "within a terminal" narrow
is "show" on laptop conflicts show "$id"
is "has both versions" printed 'By the office, in ?\[31mred'
is "side by side" printed 'By the laptop$'
is "within a terminal" narrow
is "and does it no harm" harmless
is "conflicts as JSON" on laptop --json conflicts
is "is JSON" json
is "has what was lost" printed '"lost":"By the laptop"'
is "and by whom" printed '"lost":{"server_seq":[0-9]*,"user_id":"u_'
is "show as JSON" on laptop --json conflicts show "$id"
is "is JSON" json
is "one that is not known" exits 6 --dir "$tmp/laptop" conflicts show 9999-1
is "is one line" one_line
is "one that the server does not know" exits 6 --dir "$tmp/laptop" conflicts restore 9999-1
is "is one line" one_line

# After a restore of the server, numbers go on from the time in microseconds.
books() { sqlite3 -batch -init /dev/null "$tmp/laptop/.todos/td-sync.db" "$1"; }
books "UPDATE conflict SET id = '1764175000000000-12'"
is "one of a log that was restored" on laptop conflicts
is "has its whole name in the list" printed \
	'^1764175000000000-12 field  *issues/td-000001  *title: By the la'
is "within a terminal" narrow
is "and can be shown by it" on laptop conflicts show 1764175000000000-12
wide=日日日日日日日日日日日日日日日日日日日日
books "UPDATE conflict SET id = '$id', fields = replace(fields, 'By the laptop', '$wide$wide')"
is "characters of two columns" on laptop conflicts
is "are counted as such" printed \
	"^$id  *field  *issues/td-000001  *title: 日日日日日日日日日日日日…\$"
is "side by side, too" on laptop conflicts show "$id"
is "they break where they must" printed "^  with?tabs  *${wide%日}\$"
books "UPDATE conflict SET fields = replace(fields, '$wide$wide', 'By the laptop')"
is "an answer that finds no room" full_disk laptop --json conflicts
books "UPDATE conflict SET id = hex(zeroblob(4000))"
is "a long one, too" full_disk laptop --json conflicts
books "UPDATE conflict SET id = '$id'"

is "history" on laptop history td-000001
is "names it" printed '^issues/td-000001$'
is "has what was made" printed '^    title: One$'
is "and what was changed" printed '^    title: One -> By the laptop$'
is "and the conflict" printed "^    conflict $id\$"
is "within a terminal" narrow
is "and does it no harm" harmless
is "by its type" on laptop history issues/td-000001
is "as JSON" on laptop --json history td-000001
is "is JSON" json
is "has the whole text" printed 'until it does not fit any more into a line'
is "of what is not there" exits 6 --dir "$tmp/laptop" history td-ffffff
is "is one line" one_line
is "of whatever" exits 6 --dir "$tmp/laptop" history whatever
is "says what to do" said 'TYPE/ID'
is "is one line" one_line

is "restore" on laptop conflicts restore "$id"
is "puts it back here" same "By the laptop" \
	"$(rows laptop "SELECT title FROM issues WHERE id = 'td-000001'")"
is "it is done" on laptop conflicts
is "and not listed any more" printed '1 more, where what was lost stands again'
is "but with --all" on laptop --all conflicts
is "it is" printed "^$id "
is "again" exits 7 --dir "$tmp/laptop" conflicts restore "$id"
is "it says why" said 'stand there already'
is "is one line" one_line
is "it comes to the other" on office sync
is "as an edit like others" same "By the laptop" \
	"$(rows office "SELECT title FROM issues WHERE id = 'td-000001'")"
is "who sees that it was put back" on office conflicts
is "and needs not do it" printed '1 more, where what was lost stands again'
is "history" on office history td-000001
is "tells, too" printed "it put back what conflict $id had taken"

is "verify" on office verify
is "finds them the same" printed '^the same as the server at event [0-9]*: 12 tables, 4 rows$'
sqlite3 -batch -init /dev/null "$tmp/office/.todos/td-sync.db" \
	"UPDATE issues SET title = 'Drei' WHERE id = 'td-000002'"
is "a state that is wrong" exits 10 --dir "$tmp/office" verify
is "is one line" one_line
is "says what to do" said 'move .todos/td-sync.db away'
is "names the row" printed '^issues/td-000002 title: Drei here, Zwei at the server$'
is "within a terminal" narrow
is "as JSON" exits 10 --dir "$tmp/office" --json verify
is "is JSON" json
is "with the differences" printed '"differences":[1-9]'
rows laptop "UPDATE issues SET title = 'By nobody' WHERE id = 'td-000002'"
is "a row that was changed by hand" exits 10 --dir "$tmp/laptop" verify
is "is named" printed "^issues/td-000002 title: By nobody in td's table, Zwei by the log\$"
rm "$tmp/office/.todos/td-sync.db" "$tmp/laptop/.todos/td-sync.db"
is "made anew" on office sync
is "it is right" on office verify
is "the other, too" on laptop sync
is "has the log's row" on laptop verify
is "and keeps what it was" same 1 \
	"$(rows laptop "SELECT count(*) FROM sync_conflicts WHERE local_data LIKE '%By nobody%'")"

TD_SYNC_SNAPSHOT_THRESHOLD=1
export TD_SYNC_SNAPSHOT_THRESHOLD
is "a new replica" replica fresh
is "syncs" on fresh sync
is "it began with a snapshot" printed 'began with a snapshot at event [1-9]'
is "and is right" on fresh verify
is "what was there before is kept" test -s "$tmp/fresh/.todos/issues.db.pre-snapshot-backup"
TD_SYNC_SNAPSHOT_THRESHOLD=many
is "a threshold that is no number" exits 2 --dir "$tmp/fresh" sync
is "is one line" one_line
unset TD_SYNC_SNAPSHOT_THRESHOLD
totals
