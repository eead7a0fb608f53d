#!/bin/sh
# The command td-sync, and what the library shows of itself.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
# shellcheck source=tests/client-lib.sh
. "${0%/*}/client-lib.sh"

mkdir -p "$tmp/project/.todos" "$tmp/empty"
gzip -dc "$src/tests/fixtures/empty-v38.db.gz" >"$tmp/project/.todos/issues.db"
TD_SYNC_URL=http://127.0.0.1:1
TD_AUTH_KEY=secret-token
export TD_SYNC_URL TD_AUTH_KEY

is "--version" exits 0 --version
is "tells the version" printed '^td-sync [0-9]'
is "--help" exits 0 --help
for command in login logout whoami link unlink push pull sync status conflicts history verify \
	token; do
	is "help has $command" printed "^  $command "
done

while read -r arguments; do
	# shellcheck disable=SC2086
	is "wrong usage: '$arguments'" exits 2 $arguments
	is "'$arguments' is one line" one_line
	is "'$arguments' points to the help" said 'td-sync --help'
done <<'END'

frobnicate
link
link one two
push now
history
history one two
verify now
conflicts show
conflicts restore
conflicts show 1-1 now
conflicts frobnicate 1-1
conflicts restore -1
--all sync
login now
login --email
--email a@example.com whoami
--server http://x sync
logout now
whoami now
token
token frobnicate
token create now
token list now
token revoke
token revoke one two
token create --days 0
token create --days 3651
token create --days 1.5
token create --all
token list --read-only
token revoke ak_1 --project p
--name x sync
--frobnicate sync
sync --dir
END

for id in 1 1- x-1 1-1/../.. 1-1-1; do
	is "no conflict is called $id" exits 2 --dir "$tmp/project" conflicts restore "$id"
	is "that is one line" one_line
done
is "no project folder" exits 4 --dir "$tmp/empty" sync
is "that is one line" one_line
is "no folder" exits 4 --dir "$tmp/none" status
is "that is one line" one_line
for command in unlink push pull sync status conflicts 'conflicts show 1-1' \
	'conflicts restore 1-1' 'history td-000001' verify; do
	# shellcheck disable=SC2086
	is "$command when not linked" exits 3 --dir "$tmp/project" $command
	is "that is one line" one_line
done
is "link without a server" exits 1 --dir "$tmp/project" link p_0000000000000001
is "that is one line" one_line
for command in whoami 'token create' 'token list' 'token revoke ak_1' \
	'login --email a@example.com'; do
	# shellcheck disable=SC2086
	is "$command without a server" exits 1 $command
	is "that is one line" one_line
done
is "no login without an address" exits 2 login
is "that is one line" one_line
is "that says how" said '--email ADDRESS'
is "a token that is no login's is not logged out" exits 2 logout
is "that is one line" one_line
is "that says whose it is" said TD_AUTH_KEY
is "no token is called so" exits 2 token revoke ../projects
is "nothing was kept" not test -e "$HOME/.config/td/auth.json"
TD_SYNC_URL=ftp://x
is "an address that can't be one" exits 2 --dir "$tmp/project" status
is "that is one line" one_line
TD_SYNC_URL=http://127.0.0.1:1
is "as JSON" exits 1 --json --dir "$tmp/project" link p_0000000000000001
is "there is one object" same 1 "$(wc -l <"$tmp/out")"
is "with an error" printed '^{"error":{"code":"TDSYNC_NETWORK","message":".*"}}$'
is "quietly" exits 3 --quiet --dir "$tmp/project" sync
is "errors are still told" one_line
is "nothing is printed" same "" "$(cat "$tmp/out")"

# The library shows what tdsync.h declares, and nothing else.
if command -v nm >/dev/null; then
	declared=$(tr '\n' ' ' <"$src/include/tdsync.h" | sed 's:/\*[^*]*\*\(\*\|[^/*][^*]*\*\)*/::g' |
		grep -o 'tdsync_[a-z_]*(' | tr -d '(' | sort -u)
	shown=$(nm -D --defined-only "$TD_SYNC_BUILD/.libs/libtdsync.so" |
		awk '{ print $3 }' | sort)
	is "libtdsync exports what tdsync.h declares" same "$declared" "$shown"
else
	echo "skipped: nm is not installed"
fi
printf '#include <tdsync.h>\nint main(void) { return tdsync_rc_name(TDSYNC_OK)[0] != 84; }\n' \
	>"$tmp/use.c"
if command -v "${CC:-cc}" >/dev/null; then
	is "tdsync.h stands alone, in C99" "${CC:-cc}" -std=c99 -pedantic -Wall -Werror \
		-I"$src/include" -c "$tmp/use.c" -o "$tmp/use.o"
else
	echo "skipped: no compiler"
fi
totals
