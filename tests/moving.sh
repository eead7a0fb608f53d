#!/bin/sh
# Moving over from a Go server, with the real worker: what was recorded there is answered
# here; sources that can't be taken; imports that are killed; export and import. It runs
# the commands of docs/moving.md.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

needs nginx sqlite3 curl jq flock

admin=$TD_SYNC_BUILD/td-sync-admin
go=$tmp/go
data=$tmp/demo/data
garden=p_567675af23f26075
alice=td_live_EXAMPLEalice00000000000000000000
bob=td_live_EXAMPLEbob0000000000000000000000
port=$(free_port)
url=http://127.0.0.1:$port

# unpack DIR: the recorded data folder.
unpack() {
	for f in server.db projects/$garden/events.db projects/p_6690427633f938b4/events.db \
		projects/p_ff4c05a29c878ae7/events.db; do
		mkdir -p "$1/$(dirname "$f")"
		gzip -dc "$src/tests/fixtures/go-data/$f.gz" >"$1/$f"
	done
}
# fresh DIR: an empty data folder.
fresh() { rm -rf "$1" && "$admin" --data "$1" init >/dev/null; }
# exits CODE ARGUMENT...: what it says is in $tmp/said, what it prints in $tmp/out.
exits() {
	code=$1
	shift
	status=0
	"$admin" "$@" >"$tmp/out" 2>"$tmp/said" || status=$?
	[ "$status" = "$code" ] || { echo "exit code $status"; cat "$tmp/said"; false; }
}
said() { grep -Eq -- "$1" "$tmp/said" || { cat "$tmp/said"; false; }; }
printed() { grep -Eq -- "$1" "$tmp/out" || { cat "$tmp/out"; false; }; }
# All files of a folder, and what is in them.
sums() { (cd "$1" && find . -type f -exec cksum {} + | sort); }
# call KEY ARGUMENT...: the body goes to $tmp/body, the status is printed.
call() {
	key=$1
	shift
	curl -sS -o "$tmp/body" -w '%{http_code}' -H "Authorization: Bearer $key" "$@"
}
gets() { same "$(call "$2" "$url$3")" "$1"; }
push() { same "$(call "$2" -d "$3" "$url/v1/projects/$garden/sync/push")" "$1"; }
# The events without what a server adds, keys sorted.
nine() { jq -cS '.events[] | del(.user_id, .server_timestamp)' "$1"; }
nothing_here() {
	same "$("$admin" --data "$1" project list)$("$admin" --data "$1" user list)" '' &&
		same "$(ls "$1/projects")" ''
}

# --- the recorded server, moved over ---

unpack "$go"
sums "$go" >"$tmp/before"
TD_SYNC_SERVER_URL=$url "$src/setup.sh" demo --dir "$tmp/demo" --port "$port" --server-only \
	--limits off </dev/null >"$tmp/out" 2>&1
GODIR=$go DATA=$data OTHER=$tmp/other
export GODIR DATA OTHER
fresh "$OTHER"
sums "$data" | grep -v 'import.lock' >"$tmp/here"
is "a dry run" exits 0 --data "$data" import-go "$go" --dry-run
is "it says what it would take" printed 'would be taken: 3 users, 2 keys, 3 projects, 5 members, 1 invitations, 109 events'
is "and changes nothing" same "$(sums "$data" | grep -v import.lock | grep -v -e -shm)" \
	"$(grep -v -e -shm "$tmp/here")"

# The page's commands, each block as it stands.
awk '/^```sh$/ { on = 1; next } /^```$/ { on = 0 } on' "$src/docs/moving.md" >"$tmp/page.sh"
run_page() { (cd "$tmp" && PATH=$TD_SYNC_BUILD:$PATH && export PATH && sh -eu page.sh); }
is "the commands of docs/moving.md" run_page
is "the page has some" test "$(wc -l <"$tmp/page.sh")" -ge 4
is "the source is as it was" same "$(sums "$go")" "$(cat "$tmp/before")"

is "alice's old key pulls" gets 200 "$alice" "/v1/projects/$garden/sync/pull?limit=10000"
gzip -dc "$src/tests/fixtures/go-data/pull-$garden.json.gz" >"$tmp/recorded"
is "what was recorded" same "$(nine "$tmp/body")" "$(nine "$tmp/recorded")"
is "with the same end" same "$(jq -c '[.last_server_seq, .has_more]' "$tmp/body")" '[109,false]'
is "nobody knows who it was" same "$(jq -c '[.events[].user_id] | unique' "$tmp/body")" '[""]'
is "a cursor within" gets 200 "$alice" "/v1/projects/$garden/sync/pull?after_server_seq=107"
is "goes on behind the gap" same "$(jq -c '[.events[].server_seq]' "$tmp/body")" '[109]'
is "status" gets 200 "$bob" "/v1/projects/$garden/sync/status"
is "counts, with the gap" same "$(jq -c '[.event_count, .last_server_seq, .last_event_time]' \
	"$tmp/body")" '[108,109,"2026-11-23T18:52:59Z"]'
is "who alice is" gets 200 "$alice" /v1/tokens/self
is "her projects" gets 200 "$alice" /v1/projects
is "without the deleted one" same "$(jq -c '[.[].slug]' "$tmp/body")" '["garden-plan"]'
is "which stays deleted" gets 404 "$alice" /v1/projects/p_ff4c05a29c878ae7
is "not bob's" gets 403 "$alice" /v1/projects/p_6690427633f938b4
is "an unknown key" gets 401 td_live_EXAMPLEalice00000000000000000001 /v1/projects
is "the members" gets 200 "$alice" "/v1/projects/$garden/members"
is "with their roles" same "$(jq -c '[.[] | .email[0:5] + " " + .role]' "$tmp/body")" \
	'["alice owner","bob@e writer","carol reader"]'

retry() {
	jq -c --argjson seq "$1" '.events[] | select(.server_seq == $seq) | { device_id: "another",
		session_id: "ses-new", events: [{ client_action_id, action_type, entity_type,
		entity_id, payload: .payload, client_timestamp }] }' "$tmp/recorded"
}
is "a retry of event 107" push 200 "$alice" "$(retry 107)"
is "is a duplicate of it" same "$(jq -c .rejected "$tmp/body")" \
	'[{"client_action_id":1,"reason":"duplicate","server_seq":107}]'
is "a retry of event 109, as it was sent" push 200 "$alice" '{"device_id":"device-x",
	"session_id":"ses-x","events":[{"client_action_id":2,"action_type":"update",
	"entity_type":"work_sessions","entity_id":"ws-01","payload":{"schema_version":1,
	"new_data":{"id":"ws-01","name":"n","big":12345678901234567890,"repo_root":"/x"},
	"previous_data":{}},"client_timestamp":"2026-11-01T11:00:00Z"}]}'
is "is a duplicate, too" same "$(jq -c .rejected "$tmp/body")" \
	'[{"client_action_id":2,"reason":"duplicate","server_seq":109}]'
is "another one" push 200 "$bob" '{"device_id":"device-x","session_id":"ses-x","events":[
	{"client_action_id":2,"action_type":"update","entity_type":"work_sessions",
	"entity_id":"ws-01","payload":{"schema_version":1,"new_data":{"id":"ws-01","name":"m"},
	"previous_data":{}},"client_timestamp":"2026-11-01T11:00:00Z"}]}'
is "is event 110" same "$(jq -c '.acks[0].server_seq' "$tmp/body")" 110
is "old history is left alone" same "$(sleep 1; curl -sS -H "Authorization: Bearer $bob" \
	"$url/v1/projects/$garden/sync/status" | jq .last_server_seq)" 110
is "project verify" exits 0 --data "$data" project verify $garden

is "the same import again" exits 0 --data "$data" import-go "$go"
is "says that it is here" printed 'all of it was here already, nothing was changed'
"$admin" --data "$data" token revoke ak_e71981a9270431b4
is "a key that was revoked" gets 401 "$alice" /v1/projects
is "the import again" exits 0 --data "$data" import-go "$go"
is "leaves it revoked" gets 401 "$alice" /v1/projects
is "bob's key works still" gets 200 "$bob" /v1/projects
is "token list" exits 0 --data "$data" token list --user alice@example.com
is "knows it" printed 'ak_e71981a9270431b4 +revoked .*laptop'
is "its use was noted" test "$("$admin" --data "$data" --json token list --user bob@example.com |
	jq -r .last_used_at)" '>' 2026-11-24
is "audit" exits 0 --data "$data" audit --project garden-plan
is "tells of the import" printed 'project.import'
"$src/setup.sh" demo stop --dir "$tmp/demo" >/dev/null

# --- sources that can't be taken: what is changed in a copy ---

here=$tmp/here.d
# refuses WHAT CODE SENTENCE: the source is refused, nothing is here, nothing changed there.
refuses() {
	fresh "$here"
	sums "$go" >"$tmp/before"
	is "$1" exits "$2" --data "$here" import-go "$go"
	is "$1: why" said "$3"
	is "$1: nothing is here" nothing_here "$here"
	is "$1: nothing was made there" same "$(sums "$go")" "$(cat "$tmp/before")"
}
new_source() { rm -rf "$go" && unpack "$go"; }
log=$go/projects/$garden/events.db

# Nor is it a data folder of this server, whatever is asked for.
sums "$go" >"$tmp/before"
for command in "import-go $go" init upgrade "upgrade --back" "user list" doctor; do
	# shellcheck disable=SC2086
	is "$command where a Go server's data is" not exits 0 --data "$go" $command
done
is "nothing is changed by that" same "$(sums "$go")" "$(cat "$tmp/before")"
fresh "$here"
is "a folder that is not there" exits 3 --data "$here" import-go "$tmp/none"
is "says so" said 'there is no server.db in'
new_source
sqlite3 "$go/server.db" "UPDATE schema_info SET value = '7' WHERE key = 'version'"
refuses "a newer one" 5 'newer Go server \(schema 7'
new_source
sqlite3 "$go/server.db" 'DROP TABLE api_keys'
refuses "another program's" 5 'is not the server.db of a Go td-sync server'
new_source && echo 'no database at all, but a text' >"$go/server.db"
refuses "a text" 5 'is no SQLite database'
new_source && fresh "$tmp/ours" &&
	sqlite3 "$tmp/ours/server.db" 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null &&
	cp "$tmp/ours/server.db" "$go"
refuses "one of ours" 5 'one of this td-sync'
new_source && sqlite3 "$go/server.db" "UPDATE projects SET id = 'p_garden' WHERE id = '$garden'" &&
	mv "$go/projects/$garden" "$go/projects/p_garden"
refuses "a project id of another kind" 5 'p_garden can.t be taken: its id is not p_ and 16 hex'
for cut in 60000 4096 50; do
	new_source && truncate -s $cut "$log"
	refuses "a log cut to $cut" 5 'events.db'
done
new_source && truncate -s 100000 "$go/server.db"
refuses "a server.db that was cut" 5 'server.db'
new_source && rm "$log"
refuses "a log that is missing" 5 'is missing, though server.db says.*: put it back, or'
new_source
sqlite3 "$go/server.db" "INSERT INTO users (id, email) VALUES ('u_0000000000000001', 'Bob@Example.com')"
refuses "an address that two have" 5 'users u_0000000000000001 and u_52ec4568c461cbbe have one address'
new_source
sqlite3 "$go/server.db" "UPDATE projects SET name = '' WHERE id = '$garden'"
refuses "a project without a name" 5 "$garden can.t be taken: it has no name: change it there"
new_source
sqlite3 "$log" "UPDATE events SET payload = '{\"new_data\":' WHERE server_seq IN (5, 7)"
fresh "$here"
is "events that can't be taken" exits 5 --data "$here" import-go "$go" --dry-run
is "the first is named" printed '^event 5 of p_567675af23f26075: '
is "the next one, too" printed '^event 7 of p_567675af23f26075: '
is "and what to do" said 'take them out of a copy'
is "nothing is here" nothing_here "$here"
new_source
sqlite3 "$log" 'UPDATE events SET server_seq = 9006099743113216 WHERE server_seq = 109'
fresh "$here"
is "a number that leaves no room" exits 5 --data "$here" import-go "$go" --dry-run
is "is named" printed '^event 9006099743113216 of p_567675af23f26075: its server_seq is above'
sqlite3 "$log" 'UPDATE events SET server_seq = server_seq - 1 WHERE server_seq > 109'
is "one below" exits 0 --data "$here" import-go "$go" --dry-run
new_source
sqlite3 "$log" 'DELETE FROM events WHERE server_seq IN (5, 7)'
fresh "$here"
is "without them" exits 0 --data "$here" import-go "$go"
sqlite3 "$log" 'DELETE FROM events WHERE server_seq > 106'
fresh "$here"
is "without the last ones" exits 0 --data "$here" import-go "$go"
is "no number of theirs" exits 0 --data "$here" export $garden "$tmp/cut"
is "is given again" same "$(head -1 "$tmp/cut" | jq -c '[.last_server_seq, .event_count]')" '[109,104]'
is "the same import again" exits 0 --data "$here" import-go "$go"
new_source
mkdir "$go/projects/p_0123456789abcdef" && cp "$log" "$go/projects/p_0123456789abcdef"
fresh "$here"
is "a log of no project" exits 0 --data "$here" import-go "$go" --dry-run
is "is named" printed '^folder p_0123456789abcdef: it is left out: server.db knows no such project'
is "and nothing else" not printed '^folder p_[^0]'
new_source && printf x >"$log-journal"
refuses "a hot journal" 1 'in use \(it has a -journal'
new_source && sqlite3 "$log" 'PRAGMA journal_mode=WAL' >/dev/null && touch "$log-wal"
refuses "a WAL" 1 'in use \(it has a -wal or -shm'
mv "$log" "$tmp/elsewhere.db" && mv "$log-wal" "$tmp/elsewhere.db-wal" &&
	ln -s "$tmp/elsewhere.db" "$log"
refuses "a WAL beside what a link leads to" 1 'in use \(it has a -wal or -shm'
rm "$log" && mv "$tmp/elsewhere.db" "$log"
fresh "$here"
is "one that kept a WAL and was stopped" exits 0 --data "$here" import-go "$go"
is "no file is made there" same "$(ls "$go/projects/$garden")" events.db

# locked KIND: a transaction of that kind is open while the command runs.
locked() {
	new_source
	mkfifo "$tmp/fifo"
	sqlite3 "$2" <"$tmp/fifo" >"$tmp/sqlite" &
	holder=$!
	exec 9>"$tmp/fifo"
	printf 'BEGIN %s;\nSELECT 1;\n' "$1" >&9
	while ! [ -s "$tmp/sqlite" ]; do sleep 0.05; done
	fresh "$here"
	is "$3" exits 1 --data "$here" import-go "$go"
	is "$3: why" said "in use.*stop the Go server"
	is "$3: nothing is here" nothing_here "$here"
	exec 9>&-
	wait $holder
	rm "$tmp/fifo" "$tmp/sqlite"
}
locked IMMEDIATE "$log" "a log that is written to"
locked EXCLUSIVE "$log" "a log that is locked"
locked IMMEDIATE "$go/server.db" "a server.db that is written to"

# --- what is here already ---

new_source
fresh "$here"
"$admin" --data "$here" user add ALICE@example.com >/dev/null
is "an address that is here" exits 4 --data "$here" import-go "$go"
is "says what to do" said 'there is a user ALICE@example.com here already.*remove that one'
is "nothing else came" same "$("$admin" --data "$here" project list)" ''
fresh "$here"
"$admin" --data "$here" import-go "$go" >/dev/null
sqlite3 "$log" "UPDATE events SET entity_id = 'td-other' WHERE server_seq = 50"
is "a project with another event" exits 4 --data "$here" import-go "$go"
is "says which" said "another project $garden here already .event 50"
new_source
sqlite3 "$log" 'DELETE FROM events WHERE server_seq = 50'
is "a project with fewer events there" exits 4 --data "$here" import-go "$go"
is "says how many" said 'has 107 events there and 108 here'
new_source
sqlite3 "$log" "INSERT INTO events SELECT 120, device_id, 'ses-y', 3, action_type, entity_type,
	'td-x', payload, client_timestamp, server_timestamp FROM events WHERE server_seq = 1"
is "a project that went on there" exits 4 --data "$here" import-go "$go"
is "says what to do" said 'here already .*: take the folder over into an empty data folder'
# The same where the import before was killed, and nobody saw the log.
sqlite3 "$here/server.db" 'DELETE FROM member; DELETE FROM invitation; DELETE FROM project'
is "or whose log a run that was killed left here" exits 4 --data "$here" import-go "$go"
is "says what to do" said "projects/$garden holds another log, of no project .*: move it away"
rm -r "$here/projects/$garden"
is "moved away" exits 0 --data "$here" import-go "$go"

# --- odd events: an unknown type, one that is there twice, keys that end ---

new_source
sqlite3 "$log" "INSERT INTO events SELECT server_seq + 200, 'made-up', session_id,
		client_action_id, action_type, entity_type, entity_id, payload, client_timestamp,
		server_timestamp FROM events WHERE server_seq IN (1, 2);
	INSERT INTO events SELECT 300, device_id, 'ses-z', 9, action_type, 'gadgets', 'g-1', payload,
		client_timestamp, server_timestamp FROM events WHERE server_seq = 1"
sqlite3 "$go/server.db" "UPDATE api_keys SET expires_at = '2026-01-01 00:00:00+00:00'
		WHERE name = 'laptop';
	UPDATE api_keys SET scopes = 'admin:read:server' WHERE name = 'agent';
	INSERT INTO memberships (project_id, user_id, role) VALUES ('$garden', 'u_gone', 'writer')"
fresh "$here"
is "odd events" exits 0 --data "$here" import-go "$go"
is "one is parked" printed '111 events, the last is 300, 1 of them parked'
is "a key without a scope is left out" printed '^key ak_1ce2479aa45053fa: it is left out'
is "a member who is no user, too" printed '^member u_gone: it is left out'
is "they are what they should be" exits 0 --data "$here" project verify $garden
is "all are there" exits 0 --data "$here" export garden-plan "$tmp/odd"
is "in their places" same "$(jq -c 'select(.server_seq >= 109) | [.server_seq, .parked]' \
	"$tmp/odd")" "$(printf '[109,null]\n[201,null]\n[202,null]\n[300,true]')"
is "token list" exits 0 --data "$here" token list
is "the other key is expired" printed 'ak_e71981a9270431b4 +expired +2026-01-01'

# known DIGEST SEQ: what the server answers to our client whose last event that is.
key=$("$admin" --data "$here" token create --user alice@example.com)
known() {
	REQUEST_METHOD=GET PATH_INFO="/v1/projects/$garden/sync/pull" QUERY_STRING= \
		HTTP_AUTHORIZATION="Bearer $key" HTTP_X_LOG_LAST="$2:$(sqlite3 \
		"$here/projects/$garden/events.db" "SELECT lower(hex(digest)) FROM event
		WHERE seq = $1")" TD_SYNC_SERVER_DATA="$here" "$TD_SYNC_BUILD/td-sync.fcgi" </dev/null |
		head -1 | tr -d '\r'
}
is "one that is there twice is known in its place" same "$(known 1 201)" 'Status: 200 OK'
is "and not by another event" same "$(known 2 201)" 'Status: 409 Conflict'

# --- killed, again and again ---

new_source
sqlite3 "$log" "PRAGMA synchronous=OFF; WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL
	SELECT i + 1 FROM n WHERE i < 100999) INSERT INTO events SELECT i, device_id, session_id, i,
	action_type, entity_type, 'td-' || i, payload, client_timestamp, server_timestamp FROM n,
	events WHERE server_seq = 1"
fresh "$tmp/whole"
start=$(date +%s%N)
is "100,108 events" exits 0 --data "$tmp/whole" import-go "$go"
ms=$((($(date +%s%N) - start) / 1000000))
echo "   took $ms ms"
"$admin" --data "$tmp/whole" export garden-plan "$tmp/whole.jsonl"
# Nothing is seen before all of it is there.
all_or_nothing() {
	case $("$admin" --data "$here" project list | wc -l)/$("$admin" --data "$here" user list |
		wc -l)/$("$admin" --data "$here" token list | wc -l) in
	0/0/0 | 3/3/2) ;;
	*) false ;;
	esac
}
fresh "$here"
killed=0 at=1
while [ $at -le 40 ]; do
	if ! timeout -s KILL "$(awk "BEGIN { print $ms * $at / 40 / 1000 }")" "$admin" --data \
		"$here" import-go "$go" >/dev/null 2>&1; then
		killed=$((killed + 1))
	fi
	all_or_nothing || break
	at=$((at + 3))
done
is "killed $killed times, all of it is here or nothing" test $at -gt 40
is "it was killed" test $killed -gt 5
is "then it goes on" exits 0 --data "$here" import-go "$go"
is "to the same end" exits 0 --data "$here" export garden-plan "$tmp/killed.jsonl"
is "event for event" same "$(tail -n +2 "$tmp/killed.jsonl" | cksum)" \
	"$(tail -n +2 "$tmp/whole.jsonl" | cksum)"
is "and nothing else" same "$(ls "$here/projects")" "$(ls "$tmp/whole/projects")"
exec 9>>"$here/import.lock" && flock 9
is "a second import at once" exits 1 --data "$here" import-go "$go"
is "says so" said 'another import is at work'
exec 9>&-

# --- a full disk: in a mount of its own, of 8 MB, later of 300 ---

cat >"$tmp/full.sh" <<'END'
small=$1 admin=$2 go=$3
mkdir -p "$small" && mount -t tmpfs -o size=8m none "$small" || exit 77
"$admin" --data "$small/data" init >/dev/null
"$admin" --data "$small/data" import-go "$go" >"$small.out" 2>"$small.said"
echo "exit code $?"
cat "$small.said" >&2
"$admin" --data "$small/data" project list
"$admin" --data "$small/data" user list
mount -o remount,size=300m none "$small"
"$admin" --data "$small/data" import-go "$go" >"$small.out"
echo "exit code $?"
"$admin" --data "$small/data" export garden-plan >"$small.jsonl"
END
status=0
unshare -m sh "$tmp/full.sh" "$tmp/small" "$admin" "$go" >"$tmp/out" 2>"$tmp/said" || status=$?
if [ $status = 77 ] || [ "$(id -u)" != 0 ]; then
	echo "skipped: a full disk needs root"
else
	is "a full disk, and one with room again: nothing was seen between" same \
		"$(cat "$tmp/out")" "$(printf 'exit code 1\nexit code 0')"
	is "it is said" said 'full'
	is "then all is there" same "$(tail -n +2 "$tmp/small.jsonl" | cksum)" \
		"$(tail -n +2 "$tmp/whole.jsonl" | cksum)"
fi

# --- export and import ---

# told FILE FILTER: what jq makes of its first line.
told() { head -1 "$1" | jq -c "$2"; }
head_of() { told "$1" .last_server_seq; }
# went_on FILE SEQ: behind that one an import passed over the numbers up to the time.
went_on() {
	same "$(told "$1" '.gaps[-1]')" "{\"after_seq\":$2,\"until_seq\":$(head_of "$1")}" &&
		test "$(head_of "$1")" -gt "$(date -d '-1 hour' +%s000000)"
}
# same_project FILE FILE: but for the log's id, and what import's options change.
same_project() {
	same "$(tail -n +2 "$1" | cksum)" "$(tail -n +2 "$2" | cksum)" &&
		same "$(told "$1" 'del(.log_id, .project_id, .name, .slug)')" \
			"$(told "$2" 'del(.log_id, .project_id, .name, .slug)')"
}
# cgi WHAT QUERY [BODY]: the answer of the server in $here, with the token $key.
cgi() {
	method=GET
	[ $# -lt 3 ] || method=POST
	printf %s "${3-}" | REQUEST_METHOD=$method PATH_INFO="/v1/projects/$garden/sync/$1" \
		QUERY_STRING=$2 CONTENT_LENGTH=$(printf %s "${3-}" | wc -c) \
		HTTP_AUTHORIZATION="Bearer $key" TD_SYNC_SERVER_DATA="$here" \
		"$TD_SYNC_BUILD/td-sync.fcgi" 2>/dev/null | sed '1,/^.$/d'
}

fresh "$here"
is "import" exits 0 --data "$here" import "$tmp/whole.jsonl"
is "keeps the id" printed "^$garden\$"
is "export" exits 0 --data "$here" export $garden "$tmp/kept"
is "event for event" same "$(tail -n +2 "$tmp/kept" | cksum)" \
	"$(tail -n +2 "$tmp/whole.jsonl" | cksum)"
is "the header, too" same "$(told "$tmp/kept" 'del(.log_id, .last_server_seq, .gaps[-1])')" \
	"$(told "$tmp/whole.jsonl" 'del(.log_id, .last_server_seq)')"
is "but for the log's id" not same "$(told "$tmp/kept" .log_id)" \
	"$(told "$tmp/whole.jsonl" .log_id)"
is "and the numbers that it may have given since" went_on "$tmp/kept" "$(head_of "$tmp/whole.jsonl")"
# A device that pulled three more events where the export was made.
key=$("$admin" --data "$here" token create --user alice@example.com)
cursor=$(($(head_of "$tmp/whole.jsonl") + 3))
is "one who has later events has nothing to pull" same "$(cgi pull "after_server_seq=$cursor" |
	jq -c .events)" '[]'
seq=$(cgi push '' '{"device_id":"d","session_id":"s","events":[{"client_action_id":1,
	"action_type":"create","entity_type":"notes","entity_id":"nt-1","payload":{"new_data":
	{"id":"nt-1","title":"t"}},"client_timestamp":"2026-11-27T01:00:00Z"}]}' |
	jq '.acks[0].server_seq')
is "and gets what others push here" same "$(cgi pull "after_server_seq=$cursor" |
	jq -c '[.events[].server_seq]')" "[$seq]"

fresh "$here"
"$admin" --data "$here" import "$tmp/whole.jsonl" >/dev/null
# Killed between the log and its project: what is left is taken.
sqlite3 "$here/server.db" 'DELETE FROM member; DELETE FROM project'
is "an import that was killed goes on" exits 0 --data "$here" import "$tmp/whole.jsonl"
is "export" exits 0 --data "$here" export $garden "$tmp/kept2"
is "to the same end" same "$(tail -n +2 "$tmp/kept2" | cksum)" "$(tail -n +2 "$tmp/kept" | cksum)"
is "but for more such numbers" went_on "$tmp/kept2" "$(told "$tmp/kept2" '.gaps[-2].until_seq')"
is "as another project" exits 0 --data "$here" import "$tmp/kept2" --name copy
is "there are none to pass over" exits 0 --data "$here" export copy "$tmp/kept3"
is "what comes out is what went in" same_project "$tmp/kept3" "$tmp/kept2"
sqlite3 "$here/server.db" 'DELETE FROM member; DELETE FROM project'
sqlite3 "$here/projects/$garden/events.db" "UPDATE event SET server_us = 1 WHERE seq = 7"
is "not another log" exits 4 --data "$here" import "$tmp/whole.jsonl"
is "says so" said 'holds another log, of no project'
rm -r "$here/projects/$garden"
is "moved away" exits 0 --data "$here" import "$tmp/whole.jsonl"
is "the same import twice" exits 4 --data "$here" import "$tmp/whole.jsonl"
is "says what to do" said 'here already, nothing was changed: give --name'
is "as another project" exits 0 --data "$here" import "$tmp/odd" --name 'Ödd garden' \
	--owner bob@example.com
is "with an id of its own" not printed "^$garden\$"
is "and its owner alone" same "$("$admin" --data "$here" member list dd-garden | grep -c .)" 1
is "which has all" exits 0 --data "$here" export dd-garden "$tmp/odd2"
is "event for event" same "$(tail -n +2 "$tmp/odd2" | cksum)" "$(tail -n +2 "$tmp/odd" | cksum)"
is "and is right" exits 0 --data "$here" project verify dd-garden
is "a project that is not there" exits 3 --data "$here" export nowhere
is "a folder that is not there" exits 1 --data "$here" export dd-garden "$tmp/no/such"
is "an owner whom nobody knows" exits 3 --data "$here" import "$tmp/odd" --name x --owner x@y

# A payload with ends of lines; one that the server wrote; a head behind the last event.
jq -c 'if .format then .last_server_seq = 5000 | .event_count = 2 | .gaps = [] else empty end' "$tmp/odd" \
	>"$tmp/lines"
cat >>"$tmp/lines" <<'END'
{"server_seq":3,"device_id":"d","session_id":"s","client_action_id":1,"action_type":"create","entity_type":"notes","entity_id":"n1","payload":null,"payload_text":"{\n \"new_data\": {\"id\":\"n1\",\"title\":\"a\\u003cb\"}\r\n}","client_timestamp":"2026-11-01T11:00:00Z","user_id":"u_0000000000000001","server_timestamp":"2026-11-01T11:00:00.000001Z"}
{"server_seq":9,"device_id":"td-sync","session_id":"server","client_action_id":0,"action_type":"create","entity_type":"notes","entity_id":"n2","payload":{"new_data":{"id":"n2","title":"b"}},"client_timestamp":"2026-11-01T11:00:00Z","user_id":"","server_timestamp":"2026-11-01T11:00:01Z","by_server":true}
END
is "odd lines" exits 0 --data "$here" import "$tmp/lines" --name lines
is "come out" exits 0 --data "$here" export lines "$tmp/lines2"
is "as they went in" same "$(tail -n +2 "$tmp/lines2")" "$(tail -n +2 "$tmp/lines")"
is "the head, too" same "$(head -1 "$tmp/lines2" | jq -c '[.last_server_seq, .event_count]')" \
	'[5000,2]'

# Numbers that its server passed over; files of the first version tell of none.
gaps='[{"after_seq":3,"until_seq":8},{"after_seq":9,"until_seq":4000},{"after_seq":4000,"until_seq":5000}]'
sed "1s/\"gaps\":\[[^]]*\]/\"gaps\":$gaps/" "$tmp/lines" >"$tmp/gaps"
is "gaps" exits 0 --data "$here" import "$tmp/gaps" --name gaps
is "come out" exits 0 --data "$here" export gaps "$tmp/gaps2"
is "as they went in" same "$(told "$tmp/gaps2" .gaps)" "$gaps"
is "with all" same_project "$tmp/gaps2" "$tmp/gaps"
sed '1s/"gaps":\[[^]]*\],//' "$tmp/lines" >"$tmp/older"
is "a file that tells of none" exits 0 --data "$here" import "$tmp/older" --name older
is "comes out" exits 0 --data "$here" export older "$tmp/older2"
is "without" same "$(told "$tmp/older2" .gaps)" '[]'

# A user's id that came from a Go server may be of another kind.
sed '1s/"user_id":"u_[0-9a-f]*"/"user_id":"u_0"/; 1s/"email":"/&else./' "$tmp/lines" >"$tmp/user"
is "an odd user's id" exits 0 --data "$here" import "$tmp/user" --name user
is "is taken" same "$("$admin" --data "$here" user list | grep -c '^u_0 .*else\.')" 1

# What can't be replaced by a file is written to.
mkfifo "$tmp/pipe"
timeout 20 cat "$tmp/pipe" >"$tmp/piped" &
reader=$!
is "export to a FIFO" exits 0 --data "$here" export lines "$tmp/pipe"
[ -p "$tmp/pipe" ] || kill $reader
wait $reader || true
is "goes through" same "$(cat "$tmp/piped")" "$(cat "$tmp/lines2")"
ln -s /dev/fd/1 "$tmp/link"
is "and to a link to stdout" exits 0 --data "$here" export lines "$tmp/link"
is "likewise" same "$(cat "$tmp/out")" "$(cat "$tmp/lines2")"
is "both are what they were" test -p "$tmp/pipe" -a -L "$tmp/link"
is "to a folder" exits 1 --data "$here" export lines "$tmp"
is "it doesn't" said "can't open $tmp: Is a directory"

sed '2s/"notes"/"gadgets"/' "$tmp/lines" >"$tmp/unknown"
is "a type that nobody knows" exits 0 --data "$here" import "$tmp/unknown" --name unknown
is "comes out" exits 0 --data "$here" export unknown "$tmp/unknown2"
is "parked" same "$(jq -c 'select(.server_seq) | .parked' "$tmp/unknown2")" "$(printf 'true\nnull')"

# bad WHAT SENTENCE: the file on stdin is refused with exit code 5.
bad() {
	cat >"$tmp/bad"
	ls "$here/projects" >"$tmp/before"
	is "$1" exits 5 --data "$here" import "$tmp/bad" --name bad
	is "$1: why" said "$2"
	is "$1: nothing remains" same "$(ls "$here/projects")" "$(cat "$tmp/before")"
}
gaps() { sed "1s/\"gaps\":\[[^]]*\]/\"gaps\":$1/" "$tmp/lines"; }
bad "an empty file" 'line 1: the file is empty' </dev/null
echo hello | bad "a text" 'line 1: it is not JSON'
echo '{"a":1}' | bad "other JSON" 'line 1: the file was not written by'
sed '1s/"version":1/"version":2/' "$tmp/lines" | bad "a newer version" 'version 2, this td-sync knows 1'
sed '1s/"event_count":2/"event_count":"2"/' "$tmp/lines" | bad "an odd header" 'line 1: the header'
sed '1s/"last_server_seq":5000/"last_server_seq":9006099743113216/' "$tmp/lines" |
	bad "a head that leaves no room" 'line 1: its last_server_seq is above 9006099743113215'
sed '1s/"last_server_seq":5000/"last_server_seq":9006099743113215/' "$tmp/lines" >"$tmp/high"
is "one below" exits 0 --data "$here" import "$tmp/high" --name high
sed '1s/"user_id":"u_[0-9a-f]*"/"user_id":"..\/u"/' "$tmp/lines" |
	bad "a user's id that is none" 'line 1: a member is not what it should be'
gaps 7 | bad "gaps that are none" 'line 1: the gaps are no list'
gaps '[{"after_seq":3}]' | bad "half a gap" 'line 1: a gap is not what it should be'
gaps '[{"after_seq":3,"until_seq":3}]' | bad "an empty gap" 'line 1: a gap is not'
gaps '[{"after_seq":9,"until_seq":5001}]' | bad "a gap beyond the head" 'line 1: a gap is not'
gaps '[{"after_seq":9,"until_seq":12},{"after_seq":11,"until_seq":13}]' |
	bad "gaps over each other" 'line 1: a gap is not'
gaps '[{"after_seq":3,"until_seq":9}]' | bad "an event in a gap" 'line 3: its server_seq 9 lies in a gap'
gaps '[{"after_seq":2,"until_seq":4}]' | bad "another one" 'line 2: its server_seq 3 lies in a gap'
head -2 "$tmp/lines" | bad "a file cut short" '1 of the 2 events'
head -c -30 "$tmp/lines" | bad "a line cut short" 'line 3: it is not JSON'
sed '3s/"server_seq":9/"server_seq":3/' "$tmp/lines" | bad "the same seq" 'line 3: its server_seq 3'
sed '2s/"server_seq":3/"server_seq":10/' "$tmp/lines" | bad "a wrong order" 'line 3: its server_seq 9'
sed '3s/"server_seq":9/"server_seq":5001/' "$tmp/lines" | bad "one beyond the head" 'line 3: its server_seq 5001'
sed '3s/"action_type":"create"/"action_type":"eat"/' "$tmp/lines" | bad "an action" "line 3: an event's action_type"
sed '3s/:00Z"/:00"/' "$tmp/lines" | bad "a time" "line 3: an event's client_timestamp"
sed '2s/new_data/new\\"data/' "$tmp/lines" | bad "a payload" 'line 2: its payload is not JSON'
{ head -2 "$tmp/lines"; head -c 140000000 /dev/zero | tr '\0' x; } | bad "a huge line" 'line 3: it is longer than'
is "a file that is not there" exits 3 --data "$here" import "$tmp/nothing"

# What server.db refuses is refused first: nothing stands in the way of the next one.
fresh "$here"
sed '1s/"name":"[^"]*"/"name":""/' "$tmp/gaps" >"$tmp/bad"
is "a name that no project may have" exits 5 --data "$here" import "$tmp/bad"
is "leaves nothing" same "$(ls "$here/projects")" ''
is "the next file" exits 0 --data "$here" import "$tmp/odd"
is "is taken" exits 0 --data "$here" export $garden "$tmp/odd2"
is "event for event" same "$(tail -n +2 "$tmp/odd2" | cksum)" "$(tail -n +2 "$tmp/odd" | cksum)"

# Killed at each write, then run again.
mishap=$TD_SYNC_BUILD/tests/.libs/mishap.so
killed_at_each() {
	n=0 status=1
	while [ $status != 0 ] && [ $n -lt 500 ]; do
		n=$((n + 1))
		fresh "$here"
		# The plan (tests/mishap.h): at the nth call, kill.
		printf "\\$(printf %03o $((n % 256)))\\$(printf %03o $((n / 256)))\\0\\0\\377\\377\\377\\377" >"$tmp/plan"
		truncate -s 4096 "$tmp/plan"
		status=0
		TD_SYNC_MISHAP=$tmp/plan LD_PRELOAD=$mishap ASAN_OPTIONS=verify_asan_link_order=0 \
			"$admin" --data "$here" import "$tmp/gaps" >/dev/null 2>&1 || status=$?
		[ $status = 0 ] || [ $status = 137 ] || return 1
		case $("$admin" --data "$here" project list | wc -l) in
		0) "$admin" --data "$here" import "$tmp/gaps" >/dev/null || return 1 ;;
		1) ;;
		*) return 1 ;;
		esac
		"$admin" --data "$here" export $garden "$tmp/again" || return 1
		same "$(tail -n +2 "$tmp/again")" "$(tail -n +2 "$tmp/gaps")" &&
			same "$(told "$tmp/again" '.gaps[0:3]')" "$gaps" &&
			went_on "$tmp/again" "$(told "$tmp/again" '.gaps[-2].until_seq')" &&
			same "$(ls "$here/projects")" $garden || return 1
	done
	[ $n -gt 30 ] && [ $n -lt 500 ]
}
if [ -e "$mishap" ]; then
	is "an import that was killed at any write goes on" killed_at_each
	echo "   killed at $((n - 1)) writes"
else
	echo "skipped: tests/mishap.la is not built"
fi

# --- backups, and odd restores of them ---

kept=$tmp/backups
# begin_again: a server with the projects plot and shed of anna; their ids: $plot, $shed.
begin_again() {
	rm -rf "$kept"
	fresh "$here"
	"$admin" --data "$here" user add anna@example.com >/dev/null
	plot=$("$admin" --data "$here" project add plot --owner anna@example.com)
	shed=$("$admin" --data "$here" project add shed --owner anna@example.com)
}
keep() { "$admin" --data "$here" backup "$kept" --with-keys >/dev/null && set -- "$kept"/td-sync-* && backup=$1; }
sql() { sqlite3 "$here/server.db" "$1"; }

begin_again
sql "UPDATE project SET id = 'p_plot' WHERE id = '$plot'"
mv "$here/projects/$plot" "$here/projects/p_plot"
is "a backup that no restore would take" exits 1 --data "$here" backup "$kept"
is "says so" said 'tells of a file that no backup holds'
is "and is none" same "$(ls "$kept")" ''

begin_again && keep
newer=p_0123456789abcdef
sql "UPDATE project SET id = '$newer' WHERE id = '$shed'"
mv "$here/projects/$shed" "$here/projects/$newer"
is "a slug that the backup has for another project" exits 0 --data "$here" restore "$backup" --yes
is "stays with that one" same "$(sql "SELECT slug FROM project WHERE id = '$shed'")" shed
is "the newer one gets its id as slug" same "$(sql "SELECT slug FROM project WHERE id = '$newer'")" $newer
is "and keeps its members" same "$("$admin" --data "$here" member list $newer | grep -c anna)" 1

begin_again
sqlite3 "$here/projects/$plot/events.db" 'UPDATE head SET seq = 9006099743113216'
is "a log whose numbers leave no room" exits 1 --data "$here" backup "$kept"
is "is named" said "project $plot is damaged: its last event has the number 9006099743113216"

begin_again && keep
"$admin" --data "$here" key rotate >/dev/null
"$admin" --data "$here" key list >"$tmp/keys"
rm "$here"/server.db*
is "a restore where server.db alone was lost" exits 0 --data "$here" restore "$backup" --yes
is "leaves each key as it is" same "$("$admin" --data "$here" key list)" "$(cat "$tmp/keys")"

begin_again && keep
is "a restore" exits 0 --data "$here" restore "$backup" --yes
is "leaves a gap" exits 0 --data "$here" export plot "$tmp/plot"
is "that export tells of" went_on "$tmp/plot" 0
is "and import" exits 0 --data "$here" import "$tmp/plot" --name 'plot two'
is "keeps" exits 0 --data "$here" export plot-two "$tmp/plot2"
is "with all" same_project "$tmp/plot" "$tmp/plot2"

# relist SED: the backup's list, edited, under a right hash.
relist() {
	head -n -1 "$backup/backup.json" | sed -e '$s/,$//' -e "$1" >"$tmp/list"
	printf '%s,\n"sha256":"%s"}\n' "$(cat "$tmp/list")" \
		"$(head -c -1 "$tmp/list" | sha256sum | cut -c 1-64)" >"$backup/backup.json"
}
begin_again && keep
cp "$backup/backup.json" "$tmp/backup.json"
relist '/"path":"server.db"/d'
is "a list without server.db" exits 1 --data "$here" restore "$backup" --yes
is "is named" said 'tells of no server.db'
for twice in server.db "projects/$plot/events.db"; do
	cp "$tmp/backup.json" "$backup"
	relist "\\,\"path\":\"$twice\",p"
	is "a list with $twice twice" exits 1 --data "$here" restore "$backup" --yes
	is "is named" said "tells of $twice twice"
done
cp "$tmp/backup.json" "$backup"
relist ''
is "the list as it was" exits 0 --data "$here" restore "$backup" --yes
cp "$tmp/backup.json" "$backup"
relist 's/"at":"[^"]*"/"at":"2101-01-01T00:00:00Z"/'
is "where the clock stands before the time of the backup" exits 0 --data "$here" restore "$backup" --yes
is "numbers go on" exits 0 --data "$here" export plot "$tmp/plot"
is "behind that time" same "$(head_of "$tmp/plot")" "$(date -d 2101-01-01Z +%s000000)"

begin_again && keep
sql "DELETE FROM member; DELETE FROM project WHERE id = '$plot'"
sqlite3 "$here/projects/$plot/events.db" 'SELECT hex(log_id) FROM head' >"$tmp/before"
is "a project that server.db doesn't know" exits 3 --data "$here" restore "$backup" \
	--project "$plot" --yes
is "says what to do" said "knows no project $plot: restore all of the backup"
is "and the log is what it was" same "$(sqlite3 "$here/projects/$plot/events.db" \
	'SELECT hex(log_id) FROM head')" "$(cat "$tmp/before")"

totals
