#!/bin/sh
# td-sync-admin as an operator uses it: what it makes, prints and refuses, and
# each of its exit codes. Run in the build folder.
set -u

build=${TD_SYNC_BUILD:-.}
admin=$(cd -- "$build" && pwd)/td-sync-admin
unset TD_SYNC_SERVER_DATA
tmp=$(mktemp -d "${TMPDIR:-/tmp}/td-sync-admin.XXXXXX")
trap 'rm -rf -- "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
passed=0
failed=0
data=$tmp/data

ok() {
	passed=$((passed + 1))
}

wrong() {
	failed=$((failed + 1))
	echo "NOT ok: $*"
	echo "  stdout: $(head -c 400 "$tmp/out")"
	echo "  stderr: $(head -c 400 "$tmp/err")"
}

# run CODE ARGUMENT...: the command ends with that exit code; what it prints
# goes to $tmp/out and $tmp/err. A failure says why, a success says nothing.
run() {
	want=$1
	shift
	code=0
	"$admin" "$@" >"$tmp/out" 2>"$tmp/err" || code=$?
	if [ "$code" != "$want" ]; then
		wrong "exit code $code, not $want: $*"
	elif [ "$want" = 0 ] && [ -s "$tmp/err" ]; then
		wrong "something on stderr: $*"
	elif [ "$want" != 0 ] && { [ -s "$tmp/out" ] || ! [ -s "$tmp/err" ]; }; then
		wrong "a failure belongs on stderr, and only there: $*"
	else
		ok
	fi
}

# on CODE ARGUMENT...: the same in the data folder.
on() {
	code_wanted=$1
	shift
	run "$code_wanted" --data "$data" "$@"
}

# out, err PATTERN: a line of the last output matches.
out() {
	if grep -Eq -- "$1" "$tmp/out"; then ok; else wrong "no line matches: $1"; fi
}

err() {
	if grep -Eq -- "$1" "$tmp/err"; then ok; else wrong "no line matches: $1"; fi
}

# lines N: the last output has that many.
lines() {
	if [ "$(wc -l <"$tmp/out")" -eq "$1" ]; then ok; else wrong "not $1 lines"; fi
}

# is TEXT TEXT WHAT
is() {
	if [ "$1" = "$2" ]; then ok; else wrong "$3: '$1', not '$2'"; fi
}

folders() {
	ls "$data/projects" | wc -l | tr -d ' '
}

# member NAME: a string member of the JSON object in the last output.
member() {
	sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p' "$tmp/out" | head -n 1
}

at='[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z'
hex='[0-9a-f]{16}'

# --- the command line ---

run 2
err 'which command'
run 2 nonsense
err 'there is no command nonsense'
run 2 user nonsense
run 2 --nonsense
run 2 user list --nonsense
err 'td-sync-admin: unrecognized option'
run 2 user list --owner x
run 0 --version
out '^td-sync-admin [0-9]'
run 0 --help
out 'exit codes: 0'
for words in init 'user add' 'user list' 'user remove' 'project add' 'project list' \
	'project delete' 'project purge' 'project verify' 'invitation create' \
	'invitation list' 'invitation revoke' audit \
	'project rebuild' 'project conflicts' 'project skipped' 'profile check' \
	'profile list' 'member set' \
	'member remove' 'member list' 'token create' 'token list' 'token revoke' \
	'project share' 'project unshare' 'link create' 'link list' 'link revoke' \
	'key create' 'key rotate' 'key list' 'mail test' import-go export import; do
	out "^  $words "
done
run 0 token create --help
out '--days N'
run 2 user list
err 'TD_SYNC_SERVER_DATA'
run 2 --data '' user list
run 2 --data
run 1 --data "$data" user list
err 'init'
is "$(ls "$tmp" | tr '\n' ' ')" 'err out ' 'nothing was made'

# --- init ---

run 1 --data "$tmp/no/such/folder" init
on 0 init
out "is ready, server srv_$hex$hex\$"
for d in "$data" "$data/keys" "$data/projects"; do
	is "$(stat -c %a "$d")" 700 "mode of $d"
done
for f in "$data"/server.db "$data"/server.lock "$data"/keys/*; do
	is "$(stat -c %a "$f")" 600 "mode of $f"
done
is "$(ls "$data/keys" | wc -l | tr -d ' ')" 1 'keys'
before=$(cat "$data"/server.db* "$data"/keys/* | cksum)
on 4 init
err 'is a data folder already'
is "$(cat "$data"/server.db* "$data"/keys/* | cksum)" "$before" 'what init found'
TD_SYNC_SERVER_DATA=$data
export TD_SYNC_SERVER_DATA
run 0 user list
run 1 --data "$tmp/other" user list
unset TD_SYNC_SERVER_DATA

# one that was cut short is finished, with the key it has
mkdir "$tmp/short" "$tmp/short/keys"
cp "$data"/keys/* "$tmp/short/keys/"
: >"$tmp/short/server.db"
run 0 --data "$tmp/short" --json init
out "^\{\"data\":\"$tmp/short\",\"server_id\":\"srv_$hex$hex\"\}\$"
is "$(ls "$tmp/short/keys")" "$(ls "$data/keys")" 'the key'

# what is not ours is left alone
mkdir "$tmp/alien"
echo 'this is no database, however long one looks at it' >"$tmp/alien/server.db"
run 1 --data "$tmp/alien" init
is "$(ls "$tmp/alien")" server.db 'nothing was added'

# --- users ---

on 0 user add alice@example.com
out "^u_$hex\$"
lines 1
alice=$(cat "$tmp/out")
on 0 --json user add bob@example.com
out "^\{\"id\":\"u_$hex\",\"email\":\"bob@example.com\",\"created_at\":\"$at\"\}\$"
bob=$(member id)
on 4 user add Alice@Example.com
on 5 user add ''
on 5 user add "$(printf 'a\377b')"
err 'UTF-8'
on 5 user add "$(printf '%0321d' 0)"
on 0 user add "$(printf '%0320d' 0)"
on 2 user add
on 2 user add a b
on 0 user list
lines 3
out "^$alice  $at  alice@example.com\$"
on 0 user list --json
lines 3
out "^\{\"id\":\"$alice\",\"email\":\"alice@example.com\",\"created_at\":\"$at\"\}\$"

# --- projects ---

on 2 project add 'Green House'
err '--owner'
on 3 project add 'Green House' --owner nobody@example.com
err 'there is no user nobody@example.com'
on 5 project add '' --owner alice@example.com
err 'name is required'
on 5 project add "$(printf '%0256d' 0)" --owner alice@example.com
on 5 project add x --owner alice@example.com --description "$(printf '%04001d' 0)"
on 0 project list
lines 0
is "$(folders)" 0 'no log was made for nothing'
on 0 project add 'Green House' --owner alice@example.com
out "^p_$hex\$"
green=$(cat "$tmp/out")
is "$(ls "$data/projects")" "$green" 'the folder of the log'
is "$([ -f "$data/projects/$green/events.db" ] && echo yes)" yes 'the log'
is "$(stat -c %a "$data/projects/$green/events.db")" 600 'mode of the log'
on 0 --json project add --owner alice@example.com --description 'Sensors & <valves>' 'Green House'
out "^\{\"id\":\"p_$hex\",\"name\":\"Green House\",\"description\":\"Sensors [\\]u0026 [\\]u003cvalves[\\]u003e\",\"slug\":\"green-house-2\",\"created_at\":\"$at\",\"updated_at\":\"$at\"\}\$"
two=$(member id)
on 0 project add --owner alice@example.com -- "--odd$(printf '\033')[31m"
on 0 project list
lines 3
out "^$green  $at  green-house  +Green House\$"
out ' --odd\?\[31m$'
on 0 --json project list
out '"name":"--odd\\u001b\[31m"'

# --- profiles ---

src=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
profiles=$tmp/profiles
mkdir "$profiles"
cp "$src/conf/profiles/shelf.json" "$profiles/"
sed 's/"version": 1/"version": "one"/; s/"shelf"/"bad"/' "$profiles/shelf.json" >"$profiles/bad.json"
echo 'never read' >"$profiles/td.json"

# check needs no data folder
run 0 profile check "$profiles/shelf.json"
out "^shelf +1 +upsert +$profiles/shelf.json\$"
run 0 --json profile check "$src/conf/profiles/td.json"
out '^\{"name":"td","version":1,"create":"replace","entities":15,"file":".*/td.json"\}$'
run 5 profile check "$profiles/bad.json"
err "^td-sync-admin: $profiles/bad.json: \"version\" must be a whole number"
run 3 profile check "$profiles/missing.json"
err "no such file: $profiles/missing.json"
run 2 profile check

# where the server has them: its configuration, the environment, an option
log_is() {
	if command -v sqlite3 >/dev/null; then
		is "$(sqlite3 "$data/projects/$1/events.db" \
			"SELECT value FROM meta WHERE key = 'profile'")" "$2" 'the profile of the log'
	fi
}
before=$(folders)
on 3 project add Books --owner alice@example.com --profile shelf
err "there is no profile \"shelf\": known are .*td.* and none \(others are files in /.*/td-sync/profiles\)"
on 3 project add Books --owner alice@example.com --profile shelves --profiles "$profiles"
err 'there is no profile "shelves": known are td, bad, shelf and none'
on 3 project add Books --owner alice@example.com --profile ../profiles/shelf --profiles "$profiles"
on 1 project add Books --owner alice@example.com --profile bad --profiles "$profiles"
err "$profiles/bad.json: \"version\" must be a whole number"
is "$(folders)" "$before" 'no log was made for nothing'
on 0 project add Books --owner alice@example.com --profile shelf --profiles "$profiles"
log_is "$(cat "$tmp/out")" shelf
on 0 project add Anything --owner alice@example.com --profile none
log_is "$(cat "$tmp/out")" none
on 0 project add Tasks --owner alice@example.com
log_is "$(cat "$tmp/out")" td
echo 'profiles = ../profiles' >"$data/td-sync.conf"
on 0 project add Books --owner alice@example.com --profile shelf
log_is "$(cat "$tmp/out")" shelf
on 0 profile list
lines 3
out '^td +1 +replace +compiled in$'
out "^bad +- +wrong +.*/bad.json: \"version\" must be"
out '^shelf +1 +upsert +.*/shelf.json$'
on 0 --json profile list
out '^\{"name":"td","version":1,"create":"replace","entities":15\}$'
out '^\{"name":"bad","error":".*/bad.json: .*"\}$'
TD_SYNC_SERVER_PROFILES=$tmp/nowhere
export TD_SYNC_SERVER_PROFILES
on 0 profile list
lines 1
on 0 profile list --profiles "$profiles"
lines 3
unset TD_SYNC_SERVER_PROFILES
echo 'profile = x' >"$data/td-sync.conf"
on 5 profile list
err 'td-sync.conf:1: unknown key "profile"'
rm "$data/td-sync.conf"

# --- members ---

on 0 member set "$green" bob@example.com reader
lines 0
on 0 member set green-house bob@example.com writer --json
out "^\{\"project_id\":\"$green\",\"user_id\":\"$bob\",\"email\":\"bob@example.com\",\"role\":\"writer\",\"invited_by\":\"\",\"created_at\":\"$at\"\}\$"
on 0 member list green-house
lines 2
out "^$bob  $at  writer  bob@example.com\$"
on 5 member set green-house bob@example.com boss
err 'reader, writer or owner'
on 3 member set nowhere bob@example.com writer
on 3 member set green-house nobody@example.com writer
on 3 member list p_0000000000000000
on 4 member set green-house alice@example.com writer
err 'at least one owner'
on 4 member remove green-house alice@example.com
on 2 member set green-house bob@example.com
on 0 member remove "$green" bob@example.com
on 3 member remove "$green" bob@example.com
err 'bob@example.com is not a member'
on 3 member remove "$green" nobody@example.com
err 'there is no user'
on 0 member set "$green" bob@example.com owner
on 0 --json member remove "$green" alice@example.com
out "\"user_id\":\"$alice\",\"status\":\"removed\""
on 0 member list green-house --json
lines 1

# --- invitations ---

on 0 invitation list "$green"
lines 0
on 0 invitation create "$green" Carol@Example.com reader
out "^inv_$hex\$"
invitation=$(cat "$tmp/out")
on 0 --json invitation create "$green" dave@example.com owner
out "^\{\"id\":\"inv_$hex\",\"project_id\":\"$green\",\"email\":\"dave@example.com\",\"role\":\"owner\",\"invited_by\":\"\",\"status\":\"pending\",\"created_at\":\"$at\",\"expires_at\":\"$at\"\}\$"
on 0 invitation list "$green"
lines 2
out "^$invitation  pending   $at  reader  carol@example.com\$"
on 3 invitation revoke "$two" "$invitation"
err "$two has no invitation $invitation"
on 0 --json invitation revoke "$green" "$invitation"
out "^\{\"id\":\"$invitation\",\"status\":\"revoked\"\}\$"
on 3 invitation revoke "$green" "$invitation"
on 0 invitation list "$green" --json
lines 1
if command -v sqlite3 >/dev/null; then
	sqlite3 "$data/server.db" 'UPDATE invitation SET expires_at = 1'
	on 0 invitation list "$green"
	out '^inv_[0-9a-f]+  expired '
fi
on 5 invitation create "$green" carol@example.com boss
err 'reader, writer or owner'
on 5 invitation create "$green" '' reader
on 3 invitation create nowhere carol@example.com reader
on 2 invitation create "$green" carol@example.com

# --- tokens ---

# claims TOKEN: its payload.
claims() {
	p=$(printf %s "$1" | cut -d. -f2 | tr _- /+)
	while [ $((${#p} % 4)) -ne 0 ]; do p=$p=; done
	printf %s "$p" | base64 -d
}

# number NAME: a number among the claims.
number() {
	printf %s "$payload" | sed -n 's/.*"'"$1"'":\([0-9]*\).*/\1/p'
}

on 2 token create
err '--user'
on 3 token create --user nobody@example.com
on 3 token create --user alice@example.com --project nowhere
on 5 token create --user alice@example.com --scope sync:all
on 5 token create --user alice@example.com --days 0
on 5 token create --user alice@example.com --days 3651
on 5 token create --user alice@example.com --days 1.5
on 5 token create --user alice@example.com --name "$(printf '%0321d' 0)"
on 0 token list
lines 0
on 0 token create --user alice@example.com
lines 1
out '^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$'
token=$(cat "$tmp/out")
payload=$(claims "$token")
is $(($(number exp) - $(number iat))) $((365 * 86400)) 'a year'
is "$(printf %s "$payload" | grep -c '"scope":"sync:read sync:write project:admin"')" 1 'scopes'
is "$(printf %s "$payload" | grep -c '"prj":"\*"')" 1 'all projects'
is "$(printf %s "$payload" | grep -c '"aud":"td-sync"')" 1 'audience'
is "$(printf %s "$payload" | grep -c "\"sub\":\"$alice\"")" 1 'the user'
on 0 token create --json --user bob@example.com --project green-house --project "$green" \
	--project "$two" --scope sync:read --scope sync:write --days 1 --name 'a laptop'
out "^\{\"id\":\"ak_$hex\",\"token\":\"[^\"]+\",\"user_id\":\"$bob\",\"email\":\"bob@example.com\",\"name\":\"a laptop\",\"scope\":\"sync:read sync:write\",\"projects\":\[\"$green\",\"$two\"\],\"created_at\":\"$at\",\"expires_at\":\"$at\"\}\$"
id=$(member id)
payload=$(claims "$(member token)")
is $(($(number exp) - $(number iat))) 86400 'a day'
is "$(printf %s "$payload" | grep -c "\"jti\":\"$id\"")" 1 'the id'
on 0 token list
lines 2
out "^$id  valid    $at  bob@example.com +sync:read sync:write +$green $two  a laptop\$"
on 0 token list --json
lines 2
is "$(grep -c "$token" "$tmp/out")" 0 'no secret is listed'
on 0 token list --user Alice@example.com
lines 1
is "$(grep -c "^$id" "$tmp/out")" 0 'another one'\''s token'
on 3 token list --user nobody@example.com
on 5 token create --user bob@example.com --read-only --scope sync:write
err 'give one of them'
on 0 token revoke "$id"
on 4 token revoke "$id"
on 3 token revoke ak_0000000000000000
on 2 token revoke
on 0 token list
out "^$id  revoked "
if [ -w /dev/full ]; then
	code=0
	"$admin" --data "$data" token create --user bob@example.com >/dev/full 2>"$tmp/err" || code=$?
	is "$code" 1 'a token that can not be shown'
	on 0 token list
	is "$(grep -c ' revoked ' "$tmp/out")" 2 'it is revoked'
fi

on 0 token create --json --user bob@example.com --read-only
out '"scope":"sync:read","projects":"\*"'

# --- sharing ---

on 3 project share nowhere
on 2 project share
on 0 project share green-house
lines 0
on 0 project list
out "^$green  $at  green-house  +Green House  \(public\)\$"
on 0 --json project list
out "\"id\":\"$green\".*,\"visibility\":\"public\"\}\$"
is "$(grep -c visibility "$tmp/out")" 1 'only one is public'
on 0 --json project unshare "$green"
out "^\{\"id\":\"$green\""
is "$(grep -c visibility "$tmp/out")" 0 'it is private again'
on 0 project unshare "$green"

on 2 link create
on 3 link create nowhere
on 5 link create green-house --days 0
on 5 link create green-house --days 366
on 2 link create green-house --scope sync:write
on 0 link list green-house
lines 0
on 0 link create green-house --name 'for Bob'
out '^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$'
link=$(cat "$tmp/out")
payload=$(claims "$link")
is $(($(number exp) - $(number iat))) $((30 * 86400)) 'thirty days'
is "$(printf %s "$payload" | grep -c '"scope":"sync:read"')" 1 'it reads'
is "$(printf %s "$payload" | grep -c "\"prj\":\[\"$green\"\]")" 1 'that project'
on 0 link list green-house
out "^ak_$hex  valid    $at  +for Bob\$"
on 0 link create --json "$green" --days 365
out "^\{\"id\":\"ak_$hex\",\"token\":\"[^\"]+\",\"name\":\"\",\"scope\":\"sync:read\",\"projects\":\[\"$green\"\],\"created_at\":\"$at\",\"expires_at\":\"$at\"\}\$"
shared=$(member id)
on 0 link list green-house --json
lines 2
is "$(grep -c "$link" "$tmp/out")" 0 'no secret is listed'
on 0 link list "$two"
lines 0
on 0 token create --json --user alice@example.com
on 3 link revoke "$(member id)"
err 'there is no share link'
on 3 link revoke ak_0000000000000000
on 0 link revoke "$shared"
on 4 link revoke "$shared"
on 0 link list green-house
out "^$shared  revoked "

# --- keys ---

on 0 key list
lines 1
out "^k_$hex  HS256  signs     $at\$"
first=$(cut -d' ' -f1 "$tmp/out")
on 0 key create
out "^k_$hex\$"
second=$(cat "$tmp/out")
on 0 key list
out "^$first  HS256  verifies  $at\$"
out "^$second  HS256  signs     $at\$"
on 0 --json key rotate
third=$(member kid)
on 0 --json key list
out "^\{\"kid\":\"$first\",\"alg\":\"HS256\",\"state\":\"verifies\",\"created_at\":\"$at\",\"retired_at\":\"$at\"\}\$"
out "^\{\"kid\":\"$third\",\"alg\":\"HS256\",\"state\":\"signs\",\"created_at\":\"$at\"\}\$"
# until the last token ends: that is the one of a year, by default
is "$(sed -n 's/.*"retired_at":"\([0-9]*\).*/\1/p' "$tmp/out" | head -n 1)" \
	"$(date -u -d '+365 days' +%Y)" 'the overlap'
on 5 key rotate --overlap -1
on 5 key rotate --overlap 3651
on 0 key rotate --overlap 0
on 0 key list
is "$(grep -c ' retired ' "$tmp/out")" 3 'the old keys ended at once'
: >"$data/keys/k_broken.json"
chmod 600 "$data/keys/k_broken.json"
on 1 key list
err 'k_broken.json'
on 1 token create --user bob@example.com
on 0 user list
rm "$data/keys/k_broken.json"

# --- mail (whoever takes it over, mail_test has) ---

conf=$data/td-sync.conf
to=anna@example.com
on 2 mail test
on 2 mail test "$to" other@example.com
echo 'mail = off' >"$conf"
on 1 mail test "$to"
err 'mail is off$'
printf '%s\n' 'mail = file' 'mail_from = td-sync@example.com' 'mail_file = mails' >"$conf"
on 0 mail test "$to"
out "^a mail to $to was taken over by the file $data/mails; it comes from td-sync@example.com\$"
is "$(grep -c "^To: <$to>\$" "$data/mails")" 1 'the mail'
on 0 --json mail test "$to"
out "^\{\"to\":\"$to\",\"from\":\"td-sync@example.com\",\"by\":\"the file $data/mails\"\}\$"
is "$(grep -c "^To: <$to>\$" "$data/mails")" 2 'the mails'
for wrong in '' anna "$to,$to" "-C@example.com" 'ann\303\244@example.com' 'a@example.com\nBcc: b@example.com'; do
	on 5 mail test -- "$(printf %b "$wrong")"
	err 'not an address'
done
is "$(grep -c '^To: ' "$data/mails")" 2 'nothing was sent'
mv "$conf" "$tmp/other.conf"
sed "s,= mails,= $tmp/mails," "$tmp/other.conf" >"$tmp/third.conf"
on 0 mail test "$to" --config "$tmp/third.conf"
is "$(grep -c "^To: <$to>\$" "$tmp/mails")" 1 'the mail of another configuration'
on 5 mail test "$to" --config "$tmp/none.conf"
printf '%s\n' 'mail = command' 'mail_from = td-sync@example.com' >"$conf"
on 5 mail test "$to"
err 'td-sync.conf: mail = command needs the key mail_command'
echo 'mail_command = echo "no mail today" >&2; exit 75' >>"$conf"
on 1 mail test "$to"
err '^td-sync-admin: mail_command failed \(exit status 75\): no mail today$'
echo 'mail_command = cat >/dev/null' >>"$conf"
on 0 mail test "$to"
out 'taken over by the command: cat >/dev/null; it comes'
rm "$conf"

# --- removing ---

on 2 user remove bob@example.com
err 'give --yes'
on 3 user remove nobody@example.com --yes
on 4 user remove bob@example.com --yes
err 'would have no owner'
on 0 user add zoe@example.com
zoe=$(cat "$tmp/out")
on 0 member set "$green" zoe@example.com reader
on 0 token create --user zoe@example.com
on 0 --json user remove zoe@example.com --yes
out "^\{\"id\":\"$zoe\",\"status\":\"removed\"\}\$"
on 3 user remove zoe@example.com --yes
on 0 token list --json
is "$(grep -c "$zoe" "$tmp/out")" 0 'tokens of a user who is gone'
on 0 member list "$green"
is "$(grep -c "$zoe" "$tmp/out")" 0 'memberships of a user who is gone'

on 0 project add Doomed --owner bob@example.com
doomed=$(cat "$tmp/out")
mkdir -p "$data/pages/$doomed/0123" "$data/snapshots/$doomed"
: >"$data/pages/$doomed/0123/0.json.gz"
: >"$data/snapshots/$doomed/7.db"
on 4 project purge doomed --yes
err 'is not deleted'
on 2 project delete doomed
err 'give --yes'
on 0 project list
is "$(grep -c '(deleted)' "$tmp/out")" 0 'projects that were deleted'
on 0 project delete doomed --yes
on 3 project delete doomed --yes
err 'is deleted'
on 2 project purge doomed
err 'give --yes'
is "$([ -f "$data/projects/$doomed/events.db" ] && echo yes)" yes 'the log of a deleted project'
if command -v flock >/dev/null; then
	for lock in lock state.lock; do
		code=0
		: >>"$data/projects/$doomed/$lock"
		flock "$data/projects/$doomed/$lock" "$admin" --data "$data" project purge doomed \
			--yes >"$tmp/out" 2>"$tmp/err" || code=$?
		is "$code" 1 "a worker has the $lock"
		err 'somebody works at the project: try again'
		is "$([ -f "$data/projects/$doomed/events.db" ] && echo yes)" yes 'its log'
	done
fi
# one that died behind the first step
mv "$data/projects/$doomed" "$data/projects/$doomed.purge"
on 0 --json project purge doomed --yes
out "^\{\"id\":\"$doomed\",\"status\":\"purged\"\}\$"
is "$(find "$data" -name "$doomed*")" '' 'what is left of it'
on 0 project purge "$doomed" --yes
on 0 project list
out "^$doomed .*\\(purged\\)\$"
on 0 --json project list
out "^\{\"id\":\"$doomed\".*\"deleted_at\":\"$at\",\"purged_at\":\"$at\"\}\$"
on 3 project purge nowhere --yes
on 0 project add Doomed --owner bob@example.com --json
out '"slug":"doomed-2"'

# --- the audit log ---

on 0 audit
out "^$at  the operator +user.add  alice@example.com  \\(alice@example.com\\)\$"
out "^$at  the operator +project.create  in green-house  \\(green-house\\)\$"
out "^$at  the operator +member.change  bob@example.com  in green-house  \\(reader to writer\\)\$"
out "^$at  the operator +token.create  $id  \\(sync:read sync:write of u_[0-9a-f]+\\)\$"
out "^$at  the operator +key.create  $second\$"
out "^$at  the operator +key.rotate  $third  \\(the others until $at\\)\$"
out "^$at  the operator +invitation.create  $invitation  in green-house  \\(reader for [^ ]+\\)\$"
out "^$at  the operator +user.remove  $zoe  \\(.*@.*\\)\$"
out "^$at  the operator +project.purge  in doomed\$"
is "$(grep -c '\.purge ' "$tmp/out")" 1 'it was purged once'
is "$(grep -c "$token" "$tmp/out")" 0 'no secret is in it'
all=$(wc -l <"$tmp/out")
on 0 audit --project doomed --json
lines 4
out "^\{\"at\":\"$at\",\"user_id\":\"\",\"token_id\":\"\",\"address\":\"\",\"action\":\"project.purge\",\"project_id\":\"$doomed\",\"subject\":\"$doomed\",\"detail\":\"\"\}\$"
on 0 audit --user alice@example.com --since 1
out 'user.add  alice@example.com'
is "$(grep -v 'alice@example.com' "$tmp/out" | grep -vc 'token\.[a-z]*  ak_')" 0 'deeds of others'
on 0 audit --user "$zoe"
out "user.remove  $zoe"
on 0 audit --since 2020-01-01
lines "$all"
on 0 audit --since "$(date -u -d '+1 day' +%Y-%m-%d)"
lines 0
on 5 audit --since tomorrow
err 'a number of days, or a date'
on 5 audit --since -1
on 5 audit --project doomed --project green-house
on 3 audit --project nowhere
on 3 audit --user nobody@example.com
on 2 audit now
if command -v sqlite3 >/dev/null; then
	sqlite3 "$data/server.db" "UPDATE audit SET at = unixepoch() - 2 * 86400 - 60
		WHERE n = 1; UPDATE audit SET at = unixepoch() - 2 * 86400 + 60, user = '$bob',
		token = 'ak_1', address = '192.0.2.7', detail = 'a' || char(27) || '[31m' WHERE n = 2"
	on 0 audit --since 2
	lines $((all - 1))
	out '  bob@example.com +192\.0\.2\.7 +user\.add  bob@example.com  \(a\?\[31m\)$'
	on 0 audit --since 3
	lines "$all"
fi

# --- what else may be in the way ---

if command -v flock >/dev/null; then
	code=0
	flock "$data/server.lock" "$admin" --data "$data" user add busy@example.com \
		>"$tmp/out" 2>"$tmp/err" || code=$?
	is "$code" 1 'somebody holds the lock'
	err 'try again'
	on 0 user add busy@example.com
fi
if command -v sqlite3 >/dev/null; then
	sqlite3 "$data/server.db" "UPDATE project SET deleted_at = 1 WHERE id = '$two'"
	on 3 member list "$two"
	err 'is deleted'
	on 3 token create --user bob@example.com --project green-house-2
	on 0 project list
	out "^$two .*\\(deleted\\)\$"
	on 0 project list --json
	out '"deleted_at":"1970-01-01T00:00:01Z"'
	sqlite3 "$data/server.db" "UPDATE meta SET value = 99 WHERE key = 'format'"
	on 1 user list
	err 'newer td-sync'
	on 1 init
fi

# --- root in a folder of the server's user ---

if [ "$(id -u)" = 0 ] && id nobody >/dev/null 2>&1; then
	chmod 711 "$tmp"
	mkdir -m 700 "$tmp/theirs"
	chown nobody "$tmp/theirs"
	run 0 --data "$tmp/theirs" init
	run 0 --data "$tmp/theirs" user add a@example.com
	run 0 --data "$tmp/theirs" project add x --owner a@example.com
	run 0 --data "$tmp/theirs" token create --user a@example.com
	run 0 --data "$tmp/theirs" key rotate
	is "$(find "$tmp/theirs" ! -user nobody | wc -l | tr -d ' ')" 0 'files of another user'
else
	echo "skipped: what root makes belongs to the folder's owner (not root)"
fi

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
