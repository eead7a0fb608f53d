#!/bin/sh
# The bench itself works: every row gives a number, and every event that was
# acked is in its log. Speed is not judged here.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
needs nginx

bench() {
	status=0
	"$TD_SYNC_BUILD/td-sync-bench" "$@" >"$tmp/out" 2>"$tmp/err" || status=$?
	cat "$tmp/err"
	return "$status"
}
# The ids of the rows in a file of results.
ids() { sed -n 's/^{"id":"\([^"]*\)".*"value":.*/\1/p' "$1"; }
printed() { grep -q -- "$1" "$tmp/out"; }

mkdir "$tmp/work"
is "a moment of each row" bench --quick --dir "$tmp/work" --json "$tmp/all.json"
is "a table" printed '^row .* value .* target .* met '
is "every row has a value, and is one of these" same "$(ids "$tmp/all.json")" "$(
	for events in 1 100 500 1000; do
		for clients in 1/1 8/1 32/1 1/8 8/8 32/8 eight; do
			echo "push/$events/$clients"
		done
	done
	echo push/1/1/least
	echo push/1/8/least
	printf '%s\n' first/push poll/empty poll/status pull/head pull/head-gzip \
		pull/sealed pull/sealed-gzip pull/sealed-cpu pull/history \
		pull/replay-cpu flat/head flat/poll flat/status flat/push-1 \
		flat/push-100 fair/p99-over-p50 fair/slowest-over-fastest fair/refused \
		fair/other-push-p99 fair/other-poll-p99 fair/other-failures \
		memory/worker memory/pool+nginx memory/under-load memory/growth \
		state/apply state/apply-alone state/long state/push-p50 \
		snapshot/first snapshot/next-over-vacuum snapshot/herd heal/push \
		accounts/projects accounts/project accounts/members accounts/invitations \
		accounts/tokens accounts/token accounts/status accounts/push \
		accounts/verify-warm accounts/verify-cold
)"
is "nothing is left in its folder" same "$(ls -A "$tmp/work")" ""

is "some rows" bench --quick --dir "$tmp/work" --only poll/status,push/1/8/1,push/1/8/8 --json "$tmp/some.json"
is "only those" same "$(ids "$tmp/some.json")" "push/1/8/1
push/1/8/8
poll/status"
is "two results side by side" bench --compare "$tmp/all.json" "$tmp/all.json"
is "each row is there" same "$(grep -c '+0\.0%' "$tmp/out")" "$(ids "$tmp/all.json" | wc -l)"
"$TD_SYNC_BUILD/td-sync-bench" --dir "$tmp/work" --only flat >"$tmp/broken" 2>&1 &
i=0
while [ -z "$(ls -A "$tmp/work"/*/1 2>/dev/null)" ] && [ $i -lt 100 ]; do
	sleep 0.1
	i=$((i + 1))
done
is "it is at work" not same "$(ls -A "$tmp/work")" ""
kill "$!"
wait "$!" || true
is "stopped, it leaves nothing either" same "$(ls -A "$tmp/work")" ""
is "a row that is not there fails" not bench --quick --dir "$tmp/work" --only pushed
is "what is no result can't be compared" not bench --compare "$tmp/all.json" "$tmp/out"
is "an unknown option fails" not bench --fast

totals
