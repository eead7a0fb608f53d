#!/bin/sh
# What setup.sh must not do: remove what is not its own, change anything in a dry
# run, lose an answer when the terminal goes away, leave workers behind. And what
# can be wrong with the place that it is to work in.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

needs nginx sqlite3 curl script
# shellcheck source=tests/setup-lib.sh
. "${0%/*}/setup-lib.sh"
chmod 755 "$tmp" # an ordinary user comes here, too

# What a client's request, or SQLite for whoever reads, writes to is left out.
tree() {
	find "$1" ! -name '*access.log' ! -name '*-wal' ! -name '*-shm' ! -path '*/data/metrics' \
		-printf '%M %U:%G %T@ %s %P\n' | LC_ALL=C sort
	find "$1" -type f ! -name '*access.log' ! -name '*-wal' ! -name '*-shm' ! -path '*/data/metrics' \
		-exec cksum {} + | LC_ALL=C sort
}
unchanged() { # unchanged FOLDER ARGUMENT...: that run changes nothing in it
	tree "$1" >"$tmp/before"
	folder=$1
	shift
	setup "$@" || return 1
	tree "$folder" >"$tmp/after"
	diff "$tmp/before" "$tmp/after"
}

echo "# what is not its own"
mkdir "$tmp/home"
echo letter >"$tmp/home/letter"
printf '%s\n' 'format = 1' 'kind = demo' "dir = $tmp/home" "port = $port" >"$tmp/answers"
is "a folder that is no demo is not uninstalled" refused "not a folder of a demo" \
	uninstall --answers "$tmp/answers" --remove-data --yes
is "what is in it stays" same "$(ls -A "$tmp/home") $(cat "$tmp/home/letter")" "letter letter"
printf '%s\n' 'format = 1' 'kind = demo' "dir = $tmp/none" "port = $port" >"$tmp/answers"
is "nor one that is not there" refused "not a folder of a demo" uninstall --answers "$tmp/answers" --yes
is "which is not made" not test -e "$tmp/none"
mkdir "$tmp/trap"
printf '%s\n' "TD_SYNC_URL='http://127.0.0.1:$port'" "TD_DEMO_LIMITS='on'" "touch '$tmp/ran'" >"$tmp/trap/demo.env"
is "a demo.env in another folder" setup demo --dir "$tmp/trap" --dry-run
is "is not run" not test -e "$tmp/ran"
: >"$tmp/trap/ABOUT.txt"
if [ "$(id -u)" = 0 ]; then
	chown 65534 "$tmp/trap/demo.env"
	is "nor somebody else's in a demo's folder" setup demo --dir "$tmp/trap" --dry-run
	chown 0 "$tmp/trap/demo.env"
	chown 65534 "$tmp/trap"
	is "nor one in somebody else's folder" setup demo --dir "$tmp/trap" --dry-run
	chown 0 "$tmp/trap"
	is "they were not run" not test -e "$tmp/ran"
else
	echo "skipped: somebody else's demo.env (only root can give it away)"
fi
: >"$tmp/trap/demo.env"
is "an empty one says nothing of port and limits" setup demo --dir "$tmp/trap" --dry-run
proxied() { (unset no_proxy; export http_proxy=http://127.0.0.1:9; "$@"); }
is "a demo, where the environment names a proxy" proxied setup demo --dir "$tmp/demo" --port "$port"
is "is not uninstalled where another kind is meant" refused "is for the kind demo\|argument: hosting" \
	uninstall hosting --answers "$tmp/demo/answers" --yes
is "it runs" works_in "$tmp/demo"

echo "# a dry run"
mkdir "$tmp/dry"
is "of a new demo makes nothing" unchanged "$tmp/dry" demo --dir "$tmp/dry/demo" --port "$port" --dry-run
for run in status upgrade "uninstall --remove-data"; do
	# shellcheck disable=SC2086 # words
	is "$run --dry-run changes nothing" unchanged "$tmp/demo" $run --dir "$tmp/demo" --dry-run
done
is "nor does a run when all is done" unchanged "$tmp/demo" demo --dir "$tmp/demo"
is "it runs all the time" works_in "$tmp/demo"
echo mine >"$tmp/demo/notes"
is "removed with the data" setup uninstall --dir "$tmp/demo" --remove-data --yes
is "a file of somebody's in it stays" same "$(ls -A "$tmp/demo")" notes
is "nothing runs" not works_in "$tmp/demo"

echo "# a terminal that goes away"
kept() { [ "$(sed -n 's/^port = //p' "$tmp/hung/answers" 2>/dev/null)" = "$port" ]; }
{
	printf 'demo\n%s\n%s\n' "$tmp/hung" "$port"
	sleep 30
} | (cd "$tmp" && exec script -qec "'$src/setup.sh'" "$tmp/typescript" >"$tmp/out" 2>&1) &
pipe=$!
tries=100
until kept || [ "$tries" = 0 ]; do
	tries=$((tries - 1))
	sleep 0.1
done
is "an answer is kept before the next question is answered" kept
is "the terminal is there" same "$(cat "/proc/$pipe/comm")" script
kill -KILL "$pipe"
sleep 0.5
is "it is there when the terminal is gone" kept
is "for the owner only" same "$(stat -c %a "$tmp/hung/answers")" 600
is "nobody holds the folder" flock -n "$tmp/hung/setup.lock" true
is "and nothing was begun" same "$(ls -A "$tmp/hung/data" "$tmp/hung/run" | grep -v :)" ""
is "the next run takes them" setup demo --dir "$tmp/hung" --server-only
is "there" grep -q "listen 127.0.0.1:$port;" "$tmp/hung/run/td-sync.conf"
is "removed" setup uninstall --dir "$tmp/hung" --remove-data --yes

echo "# interrupted"
interrupted() { # interrupted SIGNAL STEP: in the middle of it; whatever we were told to ignore
	! env --default-signal=INT,HUP,TERM sh -c '. "$1/setup/lib.sh"; begin_run; running=$3; kill -"$2" $$; sleep 1' sh "$src" "$@" >"$tmp/out" 2>&1 &&
		grep -qx "setup.sh: interrupted; run again${2:+, it goes on at $2}" "$tmp/out" &&
		! grep -q 'report it' "$tmp/out"
}
is "by Ctrl-C in a step, it says where it goes on" interrupted INT build
is "by a terminal that goes away" interrupted HUP build
is "between two steps" interrupted TERM ""

echo "# killed alone, what it has started going on"
masters() { # masters FOLDER: how many pools and nginx masters work there
	for cwd in $(find /proc/[0-9]*/cwd -maxdepth 0 -lname "$1/run" 2>/dev/null); do
		process=${cwd%/cwd}
		parent=$(awk '/^PPid/ { print $2 }' "$process/status" 2>/dev/null) || continue
		[ "$(readlink "/proc/$parent/cwd")" = "$1/run" ] || cat "$process/comm"
	done | sort | tr '\n' ' '
}
for this in data workers nginx reachable tokens; do
	for after in 0 0.01 0.04; do
		folder=$tmp/alone-$this-$after
		: >"$tmp/alone"
		"$src/setup.sh" demo --dir "$folder" --port "$port" --server-only </dev/null >"$tmp/alone" 2>&1 &
		process=$!
		until grep -q "^==> $this:" "$tmp/alone" || ! kill -0 "$process" 2>/dev/null; do :; done
		sleep "$after"
		kill -KILL "$process" 2>/dev/null || true
		wait "$process" 2>/dev/null || true
		is "killed $after s into $this, the next run ends well" setup demo --dir "$folder" --port "$port" --server-only
		is "with one pool and one nginx" same "$(masters "$folder")" "nginx td-sync.fcgi "
		is "removed" setup uninstall --dir "$folder" --remove-data --yes
		is "nothing is left" not works_in "$folder"
	done
done

echo "# killed while it made a project"
is "a demo up to its data" setup demo --dir "$tmp/half" --port "$port" --step data
"$TD_SYNC_BUILD/td-sync-admin" --data "$tmp/other" init >/dev/null
"$TD_SYNC_BUILD/td-sync-admin" --data "$tmp/other" user add a@example.com >/dev/null
"$TD_SYNC_BUILD/td-sync-admin" --data "$tmp/other" project add a --owner a@example.com >/dev/null
mkdir -p "$tmp/half/data/projects/p_0123456789abcdef"
cp -r "$tmp/other/projects/"p_* "$tmp/half/data/projects/"
is "with two folders of projects that it doesn't know" same "$(find "$tmp/half/data/projects" -mindepth 1 -maxdepth 1 | wc -l)" 2
is "goes on to its end" setup demo --dir "$tmp/half" --port "$port" --server-only
is "and has one project" same "$(find "$tmp/half/data/projects" -mindepth 1 -maxdepth 1 | wc -l)" 1
is "removed" setup uninstall --dir "$tmp/half" --remove-data --yes

echo "# the place"
mkdir -m 755 "$tmp/closed"
ordinary() { "$@"; }
if [ "$(id -u)" = 0 ]; then
	ordinary() { (cd / && setpriv --reuid=65534 --regid=65534 --clear-groups "$@"); }
else
	chmod 555 "$tmp/closed"
fi
not_allowed() {
	! ordinary timeout 60 "$src/setup.sh" demo --dir "$tmp/closed/demo" --port "$port" </dev/null >"$tmp/out" 2>&1 &&
		grep -q "can't make $tmp/closed/demo" "$tmp/out" && grep -q 'what to do: .' "$tmp/out"
}
no_root() {
	! ordinary timeout 60 script -qec "$src/setup.sh nginx" /dev/null </dev/null >"$tmp/out" 2>&1 &&
		grep -q 'has to be run by root' "$tmp/out" && ! grep -q 'Under which host name' "$tmp/out"
}
unread() {
	! ordinary timeout 60 "$src/setup.sh" status --answers "$tmp/answers" </dev/null >"$tmp/out" 2>&1 &&
		grep -q "$tmp/answers can't be read" "$tmp/out" && grep -q 'what to do: run this as ' "$tmp/out"
}
if ordinary test -x "$src/setup.sh" -a -x "$TD_SYNC_BUILD/td-sync.fcgi" 2>/dev/null; then
	is "a folder where one may not write is a sentence" not_allowed
	is "nothing is made there" same "$(ls -A "$tmp/closed")" ""
	is "who is not root is told so before anything is asked" no_root
	chmod 000 "$tmp/answers"
	is "answers that one may not read are told" unread
else
	echo "skipped: an ordinary user (one can't read $src)"
fi
mkdir "$tmp/disk"
for size in 200k 600k 1200k 2000k; do
	if ! mount -t tmpfs -o "size=$size,mode=755" tmpfs "$tmp/disk" 2>/dev/null; then
		echo "skipped: a full disk (only root can mount a small one)"
		break
	fi
	trap 'umount -l "$tmp/disk" 2>/dev/null || true; cleanup' EXIT
	is "a disk of $size is full in the middle" refused "no space is left" demo --dir "$tmp/disk/demo" --port "$port"
	setup demo stop --dir "$tmp/disk/demo" || true
	is "nothing is left running on it" not works_in "$tmp/disk"
	umount "$tmp/disk"
done
is "no temporary files are left" same "$(ls -A "$TMPDIR" | grep -v '^td-sync-setup' || true)" ""
totals
