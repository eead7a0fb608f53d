#!/bin/sh
# Logging in by the command, as a person does it: a real server that mails into a file,
# the link in it, the page, the click; then what the key and one's own tokens are good
# for, and how they end.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
# shellcheck source=tests/client-lib.sh
. "${0%/*}/client-lib.sh"

needs nginx sqlite3 curl

TD_AUTH_KEY=none # for one_line
auth=$HOME/.config/td/auth.json
port=$(free_port)
url=http://127.0.0.1:$port
mail=$tmp/mail

serve() {
	TD_SYNC_SERVER_URL=$url TD_SYNC_SERVER_MAIL=file TD_SYNC_SERVER_MAIL_FILE=$mail \
		TD_SYNC_SERVER_MAIL_FROM=td-sync@example.com "$src/setup.sh" demo --dir "$tmp/demo" \
		--port "$port" --server-only --limits off </dev/null
}
stop() { "$src/setup.sh" demo stop --dir "$tmp/demo"; }
admin() { "$TD_SYNC_BUILD/td-sync-admin" --data "$tmp/demo/data" "$@"; }
# as KEY CODE ARGUMENT...: with that token in TD_AUTH_KEY, and nothing else.
as() { (TD_AUTH_KEY=$1 && export TD_AUTH_KEY && shift && exits "$@"); }
# The link in the last mail.
link() {
	for _ in $(seq 100); do
		found=$(grep -o 'http[^ ]*/auth/device/approve?token=[0-9a-f.]*' "$mail" 2>/dev/null |
			sed -n "${1}p")
		[ -n "$found" ] && { echo "$found"; return; }
		sleep 0.1
	done
	cat "$mail"
	return 1
}
# begin ADDRESS: log in, behind our back; its process is $login.
begin() {
	(unset TD_AUTH_KEY && exec "$cli" login --server "$url" --email "$1" >"$tmp/out" \
		2>"$tmp/err") &
	login=$!
}
ended() {
	status=0
	wait "$login" || status=$?
	[ "$status" = "$1" ] || { echo "exit code $status"; cat "$tmp/out" "$tmp/err"; false; }
}
post_form() { curl -sS --data-urlencode "token=${1##*token=}" "${1%%\?*}" >"$tmp/page"; }
member() { sqlite3 -batch -init /dev/null :memory: "SELECT json_extract(CAST(readfile('$1') AS TEXT), '$2')"; }
trap 'stop >/dev/null 2>&1; cleanup' EXIT

is "a server runs" serve
is "there is an account" admin user add anna@example.com
is "and a project" admin project add website --owner anna@example.com
mkdir -p "$tmp/work/.todos"
gzip -dc "$src/tests/fixtures/empty-v38.db.gz" >"$tmp/work/.todos/issues.db"

# --- the command, the click ---

begin anna@example.com
is "a link is mailed" link 1
first=$(link 1)
is "the page says who asks" sh -c "curl -sS '$first' | grep -q 'td-sync@'"
sleep 6
is "the command says what to do" said 'approve "td-sync@.*" by its link, within 15 minutes$'
is "in one line" one_line
is "the page alone does not let it in" not test -e "$auth"
is "the click" post_form "$first"
is "lets it in" ended 0
is "as whom, it says" printed '^logged in as anna@example.com, td too; until 20'
is "the key is where td looks for it" same 600 "$(stat -c %a "$auth")"
is "with the server" same "$url" "$(member "$auth" '$.server_url')"
is "and a device" test -n "$(member "$auth" '$.device_id')"
unset TD_SYNC_URL
key=$(member "$auth" '$.api_key')
device=$(member "$auth" '$.device_id')
unset TD_AUTH_KEY
is "that is all it takes" exits 0 whoami
is "it is anna's" printed '^user *anna@example.com (u_'
is "for all projects" printed '^projects *all$'
is "as JSON" exits 0 --json whoami
is "likewise" same anna@example.com "$(member "$tmp/out" '$.email')"
is "a project is linked" exits 0 --dir "$tmp/work" link website
is "and synced" exits 0 --dir "$tmp/work" sync

# --- tokens of one's own ---

is "a token for an agent" exits 0 token create --project website --read-only --days 7 \
	--name 'cloud agent'
is "is alone on stdout" same 1 "$(wc -l <"$tmp/out")"
agent=$(cat "$tmp/out")
id=$(sed -n 's/.* \(ak_[0-9a-f]*\) .*/\1/p' "$tmp/err")
is "what else is to be said is not" said "^td-sync: token $id for p_[0-9a-f]*: sync:read, until 20"
is "it is known by its name" as "$agent" 0 whoami
is "that is told" printed '^token *cloud agent (ak_'
is "it may read" as "$agent" 0 --dir "$tmp/work" pull
is "it makes no others" as "$agent" 5 token create
is "and lists none" as "$agent" 5 token list
sqlite3 "$tmp/work/.todos/issues.db" "INSERT INTO issues(id, title) VALUES('td-000001', 'T');
	INSERT INTO action_log(id, session_id, action_type, entity_type, entity_id, new_data,
		timestamp, undone) VALUES('al-00000001', 's', 'create', 'issue', 'td-000001',
		'{\"id\":\"td-000001\",\"title\":\"T\"}', '2026-11-26T10:00:00Z', 0)"
is "it may not write" as "$agent" 5 --dir "$tmp/work" push
is "one that may" exits 0 --quiet token create --json
is "is one object" same 'sync:read sync:write' "$(member "$tmp/out" '$.scope')"
is "with its secret" test -n "$(member "$tmp/out" '$.token')"
is "no project of others" exits 6 token create --project nowhere
is "the list" exits 0 token list
is "has the agent's" printed "^$id  20.*Z  sync:read  *p_[0-9a-f]*  cloud agent$"
is "and no secret" not grep -q "$agent" "$tmp/out"
is "as JSON" exits 0 --json token list
is "has all three" same 3 "$(sqlite3 :memory: "SELECT json_array_length(CAST(readfile('$tmp/out') AS TEXT), '\$.tokens')")"
if [ -w /dev/full ]; then
	status=0
	"$cli" token create >/dev/full 2>"$tmp/err" || status=$?
	is "one that nobody got to see" same 4 "$status"
	is "is revoked again" said 'the token is revoked again$'
	exits 0 token list
	is "and no longer there" same 3 "$(wc -l <"$tmp/out")"
fi
is "one is revoked" exits 0 token revoke "$id"
is "from then on it is nothing" as "$agent" 5 whoami
is "there is none of that id" exits 6 token revoke ak_0000000000000000
is "one ends itself" sh -c "TD_AUTH_KEY=\$('$cli' --quiet token create) '$cli' token revoke self"

# --- invitations ---

is "somebody else" admin user add bob@example.com
is "has a project" admin project add garden --owner bob@example.com
is "no invitation waits" exits 0 invitation list
is "that is no line" test ! -s "$tmp/out"
is "he invites her" admin invitation create garden anna@example.com writer
is "that is listed" exits 0 invitation list
invitation=$(sed -n 's/^\(inv_[0-9a-f]*\) .*/\1/p' "$tmp/out")
is "with its role" printed "^$invitation  writer of project p_[0-9a-f]*, until 20"
is "as JSON" exits 0 --json invitation list
is "likewise" same writer "$(member "$tmp/out" '$.invitations[0].role')"
is "she accepts" exits 0 invitation accept "$invitation"
is "and is a member" sh -c "curl -sS -H 'Authorization: Bearer $key' '$url/v1/projects' | grep -q garden"
is "once" exits 7 invitation accept "$invitation"
is "another one" admin invitation create garden anna@example.com writer
exits 0 invitation list
invitation=$(sed -n 's/^\(inv_[0-9a-f]*\) .*/\1/p' "$tmp/out")
is "she declines" exits 0 invitation decline "$invitation"
is "there is none of that id" exits 6 invitation decline inv_0000000000000000
is "nor of that form" exits 2 invitation accept ../../healthz

# --- out ---

is "who uses another token is not logged out" as "$agent" 2 logout
is "that is said" said TD_AUTH_KEY
is "a logout" exits 0 logout
is "takes the key away here" same '' "$(member "$auth" '$.api_key')"
is "and there" as "$key" 5 whoami
is "once" exits 5 logout
is "without it nothing goes" exits 5 whoami
is "that says how to go on" said 'td-sync login'

# --- again, by the address that is known ---

begin nobody@example.com
sleep 2
kill "$login"
is "it may be ended while it waits" ended 143
is "nobody has mail that has no account" same 1 "$(grep -c '^To:' "$mail")"
is "nothing was changed" same '' "$(member "$auth" '$.api_key')"
# one mail a minute to an address: the minute is over
sqlite3 -cmd ".timeout 5000" "$tmp/demo/data/server.db" 'UPDATE login SET created_at = created_at - 60'
(exec "$cli" login >"$tmp/out" 2>"$tmp/err") &
login=$!
is "the next login needs no address" link 2
if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
	# shellcheck source=tests/browser-lib.sh
	. "${0%/*}/browser-lib.sh"
	here url "{\"url\":\"$(link 2)\"}" >/dev/null
	is "in a browser the page asks" becomes "document.title" 'Approve this login? - td-sync'
	is "and says who" becomes "document.querySelectorAll('dd')[0].textContent" anna@example.com
	is "its styles are its own, and let in" \
		becomes "getComputedStyle(document.querySelector('main')).borderRadius" 8px
	click button
	is "the click" becomes "document.title" 'Device approved - td-sync'
	is "without a complaint" not grep -q '"level":"SEVERE"' <<TEXT
$(complaints)
TEXT
else
	echo "skipped: the page in a browser: no chromium or chromedriver"
	is "the click" post_form "$(link 2)"
fi
is "lets it in" ended 0
is "as the same device" same "$device" "$(member "$auth" '$.device_id')"
admin audit >"$tmp/out"
is "the log knows who came" printed ' 127.0.0.1  *login  anna@example.com  (td-sync@'
is "and what was made" printed " anna@example.com  *127.0.0.1  *token.create  *$id  *(sync:read of u_.*)$"
is "and ended" printed " anna@example.com  *127.0.0.1  *token.revoke  *$id"
is "without a secret" not grep -qF -e "$key" -e "$agent" "$tmp/out"
is "the server stops" stop
is "a logout that can't be told" exits 1 logout
is "says so" said 'logged out here, but the server was not told'
is "in one line" test "$(wc -l <"$tmp/err")" = 1
is "and is one" same '' "$(member "$auth" '$.api_key')"
totals
