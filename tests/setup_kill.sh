#!/bin/sh
# The demo's set-up, killed (SIGKILL, with all that it runs) at every step in turn,
# early in it and late; run again, the result is that of a run that nobody
# disturbed. A run when all is done changes nothing, and is quick.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

needs nginx sqlite3 curl setsid
# shellcheck source=tests/setup-lib.sh
. "${0%/*}/setup-lib.sh"

# killed FOLDER STEP SECONDS: a run that is killed so long after STEP began.
killed() {
	: >"$tmp/killed"
	setsid "$src/setup.sh" demo --dir "$1" --port "$port" </dev/null >"$tmp/killed" 2>&1 &
	group=$!
	tries=6000
	until grep -q "^==> $2:" "$tmp/killed" || [ "$tries" = 0 ] || ! kill -0 "$group" 2>/dev/null; do
		tries=$((tries - 1))
		sleep 0.005
	done
	sleep "$3"
	kill -KILL "-$group" 2>/dev/null || true
	wait "$group" 2>/dev/null || true
	grep -q "^==> $2:" "$tmp/killed" || { cat "$tmp/killed"; return 1; }
}

rows() { sqlite3 -batch -init /dev/null "$1" "$2"; }
# described FOLDER: all that must be the same, without what is random or the time.
described() (
	cd "$1"
	project=$(ls data/projects)
	echo "processes: $(cat "/proc/$(cat run/nginx.pid)/comm" "/proc/$(cat run/td-sync.pid)/comm" | tr '\n' ' ')"
	# What SQLite, nginx and the workers make and take away as they work is left out.
	find . ! -path './run/nginx-*/*' ! -name '*-wal' ! -name '*-shm' ! -name '*-journal' \
		! -name '*waiters' ! -name state.spare ! -name state.lock ! -name devices.db -printf '%M %P\n' |
		sed "s/$project/PROJECT/; s/k_[0-9a-f]*/KEY/" | LC_ALL=C sort
	for file in answers ABOUT.txt run/nginx.conf run/td-sync.conf data/td-sync.conf; do
		sed "s|$1|FOLDER|g" "$file"
	done
	sed "s|$1|FOLDER|g; s/$project/PROJECT/; s/^\(TD_AUTH_KEY\|TD_DEMO_READ_KEY\)='..*'/\1 is there/" demo.env
	"$TD_SYNC_BUILD/td-sync-admin" --data data --json user list | sed -n 's/.*"email": *"\([^"]*\)".*/\1/p'
	"$TD_SYNC_BUILD/td-sync-admin" --data data --json token list | grep '"state": *"valid"' |
		sed 's/.*"name": *"\([^"]*\)".*/token \1/' | LC_ALL=C sort
	"$TD_SYNC_BUILD/td-sync-admin" --data data --json project list | wc -l
	for replica in laptop office; do
		rows "replicas/$replica/.todos/issues.db" "
			SELECT CASE title GLOB 'Made on*' WHEN 1 THEN '' ELSE id END, title, priority, points FROM issues ORDER BY title;
			SELECT issue_id, text FROM comments ORDER BY text;
			SELECT count(*) FROM action_log WHERE synced_at IS NULL;
			SELECT last_pulled_server_seq FROM sync_state"
	done
	rows "data/projects/$project/events.db" "SELECT count(*), max(seq) FROM event"
)
# The tree as it is: names, modes, times and contents; of what is written to by
# every request, and by SQLite for whoever reads, the names.
tree() (
	cd "$1"
	busy='-name *access.log -o -name *-wal -o -name *-shm -o -name *-journal -o -path ./data/metrics'
	set -f
	# shellcheck disable=SC2086 # words
	find . ! -type d ! \( $busy \) -printf '%M %T@ %s %P\n' | LC_ALL=C sort
	# shellcheck disable=SC2086 # words
	find . -type f ! \( $busy \) ! -name '*.pid' -exec cksum {} + | LC_ALL=C sort
	# shellcheck disable=SC2086 # words
	find . \( -type d -o \( $busy \) \) -printf '%M %P\n' | grep -v -e '-wal$' -e '-shm$' | LC_ALL=C sort
)

echo "# an uninterrupted run, and one more"
is "the first run" setup demo --dir "$tmp/whole" --port "$port"
described "$tmp/whole" >"$tmp/whole.txt"
steps=$(sed -n 's/^==> \([a-z-]*\): .*/\1/p' "$tmp/out")
is "it has steps" test "$(echo "$steps" | wc -l)" -ge 10
tree "$tmp/whole" >"$tmp/before"
began=$(date +%s%N)
is "the second run" setup demo --dir "$tmp/whole"
took=$((($(date +%s%N) - began) / 1000000))
echo "it took $took ms"
is "it takes less than 5 seconds" test "$took" -lt 5000
is "no step of it has anything to do" same "$(grep -c 'already so' "$tmp/out")" "$(echo "$steps" | wc -l)"
tree "$tmp/whole" >"$tmp/after"
is "it changes nothing" diff "$tmp/before" "$tmp/after"
is "it leaves no temporary files" same "$(ls -A "$TMPDIR")" ""
is "stop" setup demo stop --dir "$tmp/whole"

echo "# killed at each step"
late=0.02
for this in $steps; do
	for after in 0 "$late"; do
		folder=$tmp/killed-$this-$after
		is "a run is killed $after s into $this" killed "$folder" "$this" "$after"
		is "the next one ends well" setup demo --dir "$folder" --port "$port"
		described "$folder" >"$tmp/this.txt" 2>&1 || true
		is "with the same result" diff "$tmp/whole.txt" "$tmp/this.txt"
		setup demo stop --dir "$folder" || true
		rm -rf "$folder"
	done
	case $late in 0.02) late=0.07 ;; 0.07) late=0.15 ;; *) late=0.02 ;; esac
done
totals
