#!/bin/sh
# The demo of setup.sh, for real: nginx, workers and td-sync in folders with
# blanks and other letters in their names, started, used, stopped, started again,
# and all that can be wrong with its arguments. Uses what was built
# (TD_SYNC_BUILD); installs nothing.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

needs nginx sqlite3 curl
top="$tmp/a dèmo's folder"
mkdir -- "$top"

# demo ARGUMENT...: setup.sh demo. What it says goes to $tmp/out through a
# pipe, so that a server which kept it open would be noticed.
demo() {
	{
		timeout 120 "$src/setup.sh" demo "$@" </dev/null 2>&1
		echo "status $?"
	} | cat >"$tmp/out"
	[ "$(tail -n 1 "$tmp/out")" = "status 0" ]
}
# refused PATTERN ARGUMENT...: it fails, and says a sentence with PATTERN and
# what to do.
refused() {
	pattern=$1
	shift
	if demo "$@"; then
		return 1
	fi
	grep -q -- "$pattern" "$tmp/out" && grep -q 'what to do: .' "$tmp/out"
}
said() { grep -q -- "$1" "$tmp/out"; }

# of DEMO VARIABLE: what demo.env says, to a shell of its own.
# shellcheck disable=SC2016 # expanded by the inner shell
of() { env -i sh -euc '. "$1"; eval "printf %s \"\$$2\""' sh "$top/$1/demo.env" "$2"; }
pid_of() { cat -- "$top/$1/run/$2.pid"; }
runs() { [ "$(cat "/proc/$(pid_of "$1" "$2")/comm")" = "$3" ]; }
# Ended, even where nobody has taken its exit status.
gone() { ! grep -q . "/proc/$1/cmdline" 2>/dev/null; }
answers() { curl -fsS -m 5 "$(of "$1" TD_SYNC_URL)/healthz"; }
db() { echo "$top/$1/replicas/$2/.todos/issues.db"; }
rows() { sqlite3 -batch -init /dev/null "$1" "$2"; }
# The log as the server gives it, without the ids of devices.
events() {
	curl -fsS -m 20 -H "Authorization: Bearer $(of "$1" TD_AUTH_KEY)" \
		"$(of "$1" TD_SYNC_URL)/v1/projects/$(of "$1" TD_DEMO_PROJECT)/sync/status"
}

works_in() {
	within=${1%/*}
	within=${within##*/}/${1##*/} # other runs of this test have such a folder too
	find /proc/[0-9]*/cwd -maxdepth 0 \( -lname "*/$within" -o -lname "*/$within/*" \) \
		2>/dev/null | grep .
}

# limited DEMO: whether 60 logins from one address are too many, as shipped.
limited() {
	curl -s -m 20 -o "$tmp/answers" -w '%{http_code}\n' \
		"$(of "$1" TD_SYNC_URL)/auth/verify?[1-60]" >"$tmp/codes"
	grep -qx 429 "$tmp/codes"
}

port=$(free_port)
echo "# a first run"
is "the demo runs" demo --dir "$top/first" --port "$port"
is "it shows that the replicas are identical" said 'identical'
is "demo.env is for its owner only" same "$(stat -c %a "$top/first/demo.env")" 600
is "TD_SYNC_URL has the port" same "$(of first TD_SYNC_URL)" "http://127.0.0.1:$port"
is "TD_SYNC_DATA is the server's data" test -f "$(of first TD_SYNC_DATA)/server.db"
is "TD_SYNC_BIN is the folder of the commands" test -x "$(of first TD_SYNC_BIN)/td-sync"
is "nginx.pid is nginx" runs first nginx nginx
is "td-sync.pid is the pool's master" runs first td-sync td-sync.fcgi
is "the server answers" answers first
is "it says that there are rate limits" said 'nginx runs .*, with the rate limits'
is "there are" limited first
query='SELECT id, title, priority, status FROM issues ORDER BY id; SELECT id, text FROM comments ORDER BY id'
is "both replicas hold the same issues and comments" \
	same "$(rows "$(db first laptop)" "$query")" "$(rows "$(db first office)" "$query")"
is "which are those of both" same "$(rows "$(db first office)" 'SELECT count(*) FROM issues')" 7
is "edits of different fields of one issue both survive" \
	same "$(rows "$(db first laptop)" "SELECT title, priority FROM issues WHERE id = 'td-de0001'")" \
	"Write the release notes (edited on laptop)|P0"
is "of the same field the last one stands" \
	same "$(for r in laptop office; do rows "$(db first $r)" "SELECT points FROM issues WHERE id = 'td-de0001'"; done)" "5
5"
is "and the other one is shown" said '10-1 .* td-de0001 .* points .* 5 .* office .* 3 .* laptop'
is "nothing waits to be sent" same "$(for r in laptop office; do
	rows "$(db first $r)" 'SELECT count(*) FROM action_log WHERE synced_at IS NULL'; done)" "0
0"
is "nothing of it is readable by others" \
	same "$(find "$top/first" -maxdepth 0 -perm /077)" ""

echo "# again"
before=$(events first)
project=$(of first TD_DEMO_PROJECT)
nginx_pid=$(pid_of first nginx)
pool_pid=$(pid_of first td-sync)
is "a second run succeeds" demo --dir "$top/first"
is "it keeps the project" same "$(of first TD_DEMO_PROJECT)" "$project"
is "it keeps the log" same "$(events first)" "$before"
is "it leaves nginx as it is" same "$(pid_of first nginx)" "$nginx_pid"
is "it leaves the pool as it is" same "$(pid_of first td-sync)" "$pool_pid"

kill -KILL "$pool_pid"
kill -TERM "$nginx_pid"
tries=100
until gone "$nginx_pid" || [ "$tries" = 0 ]; do
	tries=$((tries - 1))
	sleep 0.1
done
is "a run after both were killed succeeds" demo --dir "$top/first" --server-only
is "nginx runs again" runs first nginx nginx
is "the pool runs again" runs first td-sync td-sync.fcgi
is "the log is what it was" same "$(events first)" "$before"

echo "# a port in use"
is "a used port is a sentence" refused "port $port is in use" --dir "$top/second" --port "$port"
is "nothing of it runs" not works_in "$top/second"
mkdir "$tmp/bin"
printf '#!/bin/sh\necho "no nginx today" >&2\nexit 1\n' >"$tmp/bin/nginx"
chmod +x "$tmp/bin/nginx"
with_that_nginx() (
	PATH=$tmp/bin:$PATH
	refused "no nginx today" --dir "$top/second" --port "$((port + 5))"
)
is "an nginx that does not start is a sentence" with_that_nginx
is "and no workers are left" not works_in "$top/second"

echo "# the server only"
port=$(free_port)
is "--server-only runs" demo --dir "$top/second" --port "$port" --server-only --limits off
is "it says that there are no rate limits" said 'nginx runs .*, without rate limits'
is "there are none" not limited second
is "it makes no replicas" same "$(ls -A "$top/second/replicas")" ""
is "it answers" answers second
is "its token opens its project" events second
is "the server can move to another port" demo --dir "$top/second" --server-only --port "$((port + 1))"
is "it answers there" answers second
is "rate limits stay off" not limited second
is "they can be switched on" demo --dir "$top/second" --server-only --limits on
is "then there are" limited second
is "the other demo is left alone" answers first

echo "# stop"
pool_pid=$(pid_of second td-sync)
is "stop succeeds" demo stop --dir "$top/second"
is "the pool is gone" gone "$pool_pid"
is "nginx does not answer" not answers second
is "no pid file is left" same "$(find "$top/second/run" -name '*.pid')" ""
is "no process works in the folder" not works_in "$top/second"
is "stopping what is stopped succeeds" demo stop --dir "$top/second"
is "a folder that never was a demo can be stopped" demo stop --dir "$top/never"
is "which does not make it" not test -e "$top/never"

echo "# databases of somebody"
for device in A B C; do
	cp "$TD_SYNC_BUILD/tests/fixtures/replay/team/after/$device.db" "$top/$device's.db"
done
chmod a-w "$top"/?\'s.db
mkdir -- "$top/real"
before=$(cksum -- "$top"/*.db && cd "$top" && echo *)
port=$(free_port)
is "--db takes real databases" demo --dir "$top/real" --port "$port" \
	--db "$top/A's.db" --db "$top/B's.db" --db "$top/C's.db"
is "it shows that they are identical now" said identical
is "the databases themselves are not touched" same "$(cksum -- "$top"/*.db && cd "$top" && echo *)" "$before"
# A dependency of C's closes a circle of three: no replica keeps it.
is "all that A had is in C's copy" same "$(rows "$(db real db3)" "
	ATTACH '$(printf %s "$top" | sed "s/'/''/g")/A''s.db' AS a;
	SELECT count(*) FROM a.comments WHERE id NOT IN (SELECT id FROM main.comments)")" 0
is "again with the same databases: kept" demo --dir "$top/real" \
	--db "$top/A's.db" --db "$top/B's.db" --db "$top/C's.db"
is "again with another one: refused" refused "copy of another file" \
	--dir "$top/real" --db "$top/B's.db"
is "stop" demo stop --dir "$top/real"

echo "# killed on the way"
for seconds in 0.05 0.1 0.2 0.4 0.8 1.6; do
	TMPDIR=$tmp timeout -s KILL "$seconds" "$src/setup.sh" demo --dir "$top/killed" --port "$port" \
		</dev/null >/dev/null 2>&1 || true
done
is "a demo that was killed six times goes on to its end" demo --dir "$top/killed" --port "$port"
is "with everything in it once" same "$(rows "$(db killed office)" 'SELECT count(*) FROM issues')" 7
is "and all of it identical" said identical
is "stop" demo stop --dir "$top/killed"

echo "# two at once"
port=$(free_port)
# first_says TEXT: what the first of two said holds it; else it is shown.
first_says() {
	grep -q "$1" "$tmp/one" || { tail -n 12 "$tmp/one"; return 1; }
}
"$src/setup.sh" demo --dir "$top/twice" --port "$port" </dev/null >"$tmp/one" 2>&1 &
one=$!
demo --dir "$top/twice" --port "$port" || is "the second says why not" said "another setup.sh works"
wait "$one" || is "the first says why not" first_says "another setup.sh works"
is "one of them at least did it" same "$(rows "$(db twice laptop)" 'SELECT count(*) FROM issues')" 7
is "stop" demo stop --dir "$top/twice"

echo "# what can be wrong with the arguments"
printf 'This is no database.' >"$top/no.db"
sqlite3 -batch -init /dev/null "$top/other.db" 'CREATE TABLE t (a)'
mkdir "$top/full"
: >"$top/full/file"
is "a --db that is no database" refused "not a td database" --dir "$top/third" --port "$port" --db "$top/no.db"
is "a --db of something else" refused "not a td database" --dir "$top/third" --db "$top/other.db"
is "a --db that is not there" refused "no such file" --db "$top/none.db"
is "a --db without a name" refused "needs a value" --db
is "a port that is no number" refused "from 1 to 65535" --port 80a
is "port 0" refused "from 1 to 65535" --port 0
is "port 65536" refused "from 1 to 65535" --port 65536
is "an unknown argument" refused "unknown argument: --fast" --fast
is "--limits of another kind" refused "on or off" --limits many
is "a folder with other things in it" refused "other files" --dir "$top/full"
is "which are still there" same "$(ls "$top/full")" file
is "an unknown command" not "$src/setup.sh" deploy
is "no command at all" not "$src/setup.sh"
demo stop --dir "$top/third" || true

echo "# templates"
printf '%s\n' '#@A@' '@B@@A@;x' '	limit_req zone=a;' 'limit_conn b 1;' '	limit_req_zone $c;' >"$tmp/a.in"
fill() { "$src/nginx/fill" "$tmp/a.in" "$@"; }
is "places take any text" same "$(fill 'A=&\n/=@B@' B=)" '#&\n/=@B@
&\n/=@B@;x
	limit_req zone=a;
limit_conn b 1;
	limit_req_zone $c;'
is "LIMITS=off leaves limits out" same "$(fill A=1 B=2 LIMITS=off)" '#1
21;x
	limit_req_zone $c;'
is "a place for which there is nothing is an error" not fill A=1
is "a template that is not there, too" not "$src/nginx/fill" "$tmp/none.in"

is "the first demo ran all the time" answers first
is "and can be stopped" demo stop --dir "$top/first"
is "no process is left" not works_in "$top"

echo "# a build that was made before check was installed"
mkdir "$tmp/copy"
(cd "$src" && tar -cf - --exclude=./.git --exclude=./build --exclude='./build-[!a]*' --exclude=./demo \
	--exclude=./config.status .) | (cd "$tmp/copy" && tar -xf - && chmod -R u+w .)
cat >"$tmp/pkg-config" <<TEXT
#!/bin/sh
case " \$* " in
*" check "*) [ -e '$tmp/installed' ] || exit 1 ;;
esac
exec pkg-config "\$@"
TEXT
chmod +x "$tmp/pkg-config"
mkdir "$tmp/copy/build"
configured() { grep -q '^S\["HAVE_CHECK_TRUE"\]=""' "$tmp/copy/build/config.status"; }
units_run() { make -C "$tmp/copy/build" check-local >"$tmp/out" 2>&1; }
check_there() { (cd "$tmp/copy" && MAKEFLAGS=n ./setup.sh check) >"$tmp/out" 2>&1; }
(cd "$tmp/copy/build" && ../configure -q PKG_CONFIG="$tmp/pkg-config") >"$tmp/out" 2>&1
is "it has no unit tests" not configured
is "make check fails" not units_run
is "with what to do" said 'configure found no check'
: >"$tmp/installed"
check_there || true
is "setup.sh check configures it again" said 'configuring again, now with the unit tests'
is "so it has them" configured
check_there || true
is "and once is enough" not said 'configuring again'

echo "# built by itself"
rm -rf "$tmp/copy/build"
build_it() {
	(unset TD_SYNC_BUILD && cd "$tmp/copy" && CFLAGS=-O0 ./setup.sh demo --step build) >"$tmp/out" 2>&1 </dev/null
}
is "the commands are made" build_it
is "all of them" test -x "$tmp/copy/build/td-sync.fcgi"
is "once more" build_it
is "there is nothing to make" said 'already so'
touch "$tmp/copy/src/base/buf.c"
is "after an edit" build_it
is "there is" said compiling

# All kinds are read at once: a function of one would take the place of another's.
is "no two files of setup/ have a function of one name" same \
	"$(sed -n 's/^\([a-z_]*\)() .*/\1/p' "$src"/setup/*.sh | LC_ALL=C sort | uniq -d)" ""
totals
