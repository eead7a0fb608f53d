#!/bin/sh
# setup.sh: try td-sync, and test it.
#
#   ./setup.sh demo    a server with two replicas in one folder, running
#   ./setup.sh check   build, and run the tests
#
# POSIX sh. Every step says what it does; one that fails says what failed, why,
# and what to do. Running it again goes on where it stopped.
set -eu
umask 022

# On Debian the programs of administrators are not on everybody's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
src=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)

# --- packages: what is needed, listed once (README says what each is for) ---

packages_build='gcc libc6-dev make autoconf automake libtool pkgconf
	libfcgi-dev libsqlite3-dev libjson-c-dev libjwt-dev libssl-dev
	libcurl4-openssl-dev zlib1g-dev'
packages_run='nginx sqlite3 curl'
packages_check='check valgrind mandoc xz-utils chromium chromium-driver openssl'
packages_mail='exim4-daemon-light'

usage() {
	cat <<'TEXT'
usage: ./setup.sh demo [--dir DIR] [--port N] [--db FILE]... [--server-only]
                       [--limits on|off]
       ./setup.sh demo stop [--dir DIR]
       ./setup.sh check

demo    installs what is missing, builds, and starts a td-sync server on
        127.0.0.1 with everything in one folder; makes two replicas, edits
        them, syncs them, and shows what happened. The server stays. Run again
        it starts what is stopped and keeps the data.
  --dir DIR       the folder (./demo)
  --port N        the port (8080)
  --db FILE       use a copy of this td database (.todos/issues.db) as a
                  replica; may be given several times
  --server-only   no replicas, no edits
  --limits on|off nginx's rate limits (on): off for tests that hammer
  stop            stop the server; the folder stays
check   installs what the tests need, builds, and runs them
TEXT
}

# --- saying what happens ---

step() {
	printf '\n==> %s\n' "$*"
}

note() {
	printf '    %s\n' "$*"
}

# fail WHAT WHY TODO [LOG]: the end, in sentences, with the log's last lines.
fail() {
	{
		printf '\nsetup.sh: %s\n' "$1"
		printf '  why:        %s\n' "$2"
		if [ -n "${4-}" ] && [ -s "$4" ]; then
			printf '  the end of %s:\n' "$4"
			tail -n 20 -- "$4" | sed 's/^/    | /'
		fi
		printf '  what to do: %s\n' "$3"
	} >&2
	exit 1
}

# logged LOG COMMAND...: run it quietly; its output goes to the end of LOG.
logged() {
	logged_to=$1
	shift
	"$@" >>"$logged_to" 2>&1 </dev/null
}

# --- installing ---

# The packages of "$@" that are not installed, with blanks between.
missing() {
	for package; do
		state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=
		[ "$state" = installed ] || printf '%s ' "$package"
	done
}

# as_root COMMAND...: as root, by sudo where we are not.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif [ -t 0 ]; then
		sudo "$@"
	else
		sudo -n "$@" </dev/null
	fi
}

# Run as root: install packages, without starting the services of nginx, which
# Debian would put on port 80 of every address, and of exim4 (only their programs
# are wanted).
# shellcheck disable=SC2016 # expanded by the inner shell
install_script='
	export DEBIAN_FRONTEND=noninteractive
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		trap "rm -f $policy" EXIT
		trap "exit 1" HUP INT TERM
		printf "#!/bin/sh\nexit 101\n" >$policy
		chmod 755 $policy
	fi
	apt-get -o DPkg::Lock::Timeout=300 -q update &&
	apt-get -o DPkg::Lock::Timeout=300 -q install -y --no-install-recommends "$@" ||
		exit
	case " $* " in *" nginx "*)
		update-rc.d nginx disable ;;
	esac
	case " $* " in *" exim4-daemon-light "*)
		update-rc.d exim4 disable ;;
	esac'

# The package that is this machine's mail server, if any but ours: there can be one
# only, and ours would take its place.
other_mail_server() {
	dpkg-query -W -f '${db:Status-Status} ${Package} ${Provides}\n' 2>/dev/null | awk -v ours="$packages_mail" '
		$1 == "installed" && $2 != ours && / mail-transport-agent(,|$)/ { print $2; exit }'
}

# install_packages PACKAGE...: those of them that are missing.
install_packages() {
	step "Looking for the packages that are needed"
	if ! command -v dpkg-query >/dev/null; then
		note "this is not Debian: can't tell what is installed; going on"
		return
	fi
	need=$(missing "$@")
	if [ -z "$need" ]; then
		note "all $# are installed"
		return
	fi
	by_hand="as root: apt-get update && apt-get install -y ${need% }"
	if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
		fail "packages are missing: ${need% }" \
			"they can only be installed by root, and there is no sudo" \
			"$by_hand; then run this again"
	fi
	step "Installing ${need% }"
	log=$(mktemp "${TMPDIR:-/tmp}/td-sync-install.XXXXXX")
	# shellcheck disable=SC2086 # a list of words
	if ! as_root sh -c "$install_script" sh $need >"$log" 2>&1; then
		fail "packages could not be installed: ${need% }" \
			"apt-get (or sudo) ended with an error" "$by_hand" "$log"
	fi
	rm -f -- "$log"
	need=$(missing "$@")
	[ -z "$need" ] || fail "packages are still missing: ${need% }" \
		"apt-get ended without an error, and without installing them" "$by_hand"
	note "done"
}

# --- building ---

cpus() {
	getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1
}

with_tests=no # the demo is built without them where check is not installed

# build_tree SPARE: configure and make. Sets `build` to the folder that holds
# the commands: build/ below the sources; the sources themselves where somebody
# configured them there; where they can't be written to, a copy of
# them in SPARE is built. (configure is called by a relative path: it takes no
# other with blanks.)
build_tree() {
	tree=$src
	if [ ! -w "$src" ]; then
		tree=$1/src
		note "$src can't be written to: building a copy in $tree"
		# shellcheck disable=SC2015 # fail doesn't come back
		mkdir -p -- "$tree" && (cd "$src" && tar -cf "$tree.tar" --exclude=./.git \
			--exclude=./build --exclude=./build-sanitize --exclude=./demo .) &&
			(cd "$tree" && tar -xf "$tree.tar" && chmod -R u+w .) ||
			fail "the sources could not be copied" "tar said so above" \
				"make room in $1, or run this as the owner of $src"
		rm -f -- "$tree.tar"
	fi
	build=$tree/build
	[ ! -e "$tree/config.status" ] || build=$tree
	log=$build/setup.log
	# shellcheck disable=SC2015 # fail doesn't come back
	mkdir -p -- "$build" && : >"$log" || fail "can't build in $build" \
		"it, or the log in it, can't be written" \
		"run this as the owner of $build, or remove that folder"
	if [ ! -e "$tree/Makefile.in" ]; then # the last thing autoreconf makes
		note "making configure (autoreconf)"
		(cd "$tree" && logged "$log" autoreconf -i) || fail "autoreconf failed" \
			"it ended with an error" "read the lines above" "$log"
	fi
	if [ ! -e "$build/Makefile" ]; then
		note "configuring"
		(cd "$build" && logged "$log" ../configure) || fail "configure failed" \
			"it ended with an error" \
			"install what it names; $build/config.log says more" "$log"
	fi
	if [ "$with_tests" = yes ] && grep -q '^S\["HAVE_CHECK_FALSE"\]=""' "$build/config.status"; then
		note "configuring again, now with the unit tests"
		(cd "$build" && logged "$log" ./config.status --recheck &&
			logged "$log" ./config.status) || fail "configure failed" \
			"it ended with an error" \
			"install what it names; $build/config.log says more" "$log"
	fi
	note "compiling (make -j$(cpus))"
	logged "$log" make -C "$build" -j"$(cpus)" || fail "the build failed" \
		"make ended with an error" \
		"read the lines above; 'rm -r $build' starts from nothing" "$log"
	note "built in $build"
}

# --- check ---

check_run() {
	[ $# = 0 ] || fail "check: unknown argument: $1" "it takes none" "./setup.sh check"
	mail_server=$(other_mail_server) || mail_server=
	if [ -n "$mail_server" ]; then
		note "$mail_server stays this machine's mail server: tests that need exim4 are skipped"
		packages_mail=
	fi
	# shellcheck disable=SC2086 # lists of words
	install_packages $packages_build $packages_run $packages_check $packages_mail
	step "Building"
	with_tests=yes
	build_tree "${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/td-sync"
	step "Running the tests (make check)"
	find "$build" -name '*.trs' -type f -exec rm -f -- {} +
	status=0
	make -C "$build" -j"$(cpus)" check VERBOSE=1 </dev/null || status=$?
	step "Totals"
	sh "$src/tests/totals.sh" "$build" || status=1
	return "$status"
}

# --- the demo: its folder ---

nl='
'
demo_user=demo@example.com
dir=         # the folder, an absolute path
port=        # where nginx listens
old_port=    # where it did
bin=         # the folder of the commands
databases=   # what --db named, a file a line
replicas=    # their names
# What demo.env holds beside the variables that td and td-sync know.
# shellcheck disable=SC2034 # read by eval
TD_DEMO_PROJECT='' TD_DEMO_READ_KEY='' TD_DEMO_LIMITS=''

# What an interrupted run or another program left in `dir` is never built upon:
# the folder is ours when it has this file.
demo_mark=ABOUT.txt

# Make or enter the folder of the demo; `dir` becomes its absolute path.
demo_folder() {
	# In this order: another run may be making the folder right now.
	if [ -d "$dir" ] && [ -n "$(ls -A -- "$dir")" ] && [ ! -e "$dir/$demo_mark" ]; then
		fail "$dir is not a folder of a demo" "it holds other files" \
			"choose another --dir"
	fi
	(umask 077 && mkdir -p -- "$dir") || fail "can't make $dir" "mkdir said so above" \
		"choose another --dir"
	dir=$(CDPATH='' cd -- "$dir" && pwd -P)
	[ -w "$dir" ] || fail "can't write to $dir" "it belongs to somebody else" \
		"choose another --dir"
	# The mark comes first: without it, a folder with anything in it isn't ours.
	cat >"$dir/$demo_mark" <<-TEXT
	A demo of td-sync: server, data, log files and two replicas. Made by
	$src/setup.sh

	  demo.env     address, folders and token, for a shell: . demo.env
	  data/        what the server keeps
	  replicas/    a td project each
	  run/         log files, process ids, nginx's configuration

	Stop it with: setup.sh demo stop --dir (this folder). Then the folder can
	be removed; nothing lies elsewhere.
	TEXT
	(umask 077 && mkdir -p -- "$dir/data" "$dir/run" "$dir/tmp" "$dir/replicas")
}

# --- the demo: processes ---

# alive NAME: whether run/NAME.pid is a process of this demo. A pid may be
# another's by now (after a restart of the machine): ours works in run/.
alive() {
	pid=
	[ -s "$dir/run/$1.pid" ] || return 1
	read -r pid <"$dir/run/$1.pid" || return 1
	case $pid in '' | *[!0-9]*) return 1 ;; esac
	[ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$dir/run" ]
}

# Whether anybody listens on 127.0.0.1:$port (or on all addresses).
port_used() {
	hex=$(printf '%04X' "$port")
	cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port=":$hex" '
		$4 == "0A" && substr($2, length($2) - 4) == port &&
		$2 ~ /^(0100007F|00000000|0000000000000000FFFF00000100007F|0+):/ { used = 1 }
		END { exit !used }'
}

# wait_for SECONDS COMMAND...: until it succeeds; false when time is up.
wait_for() {
	tries=$(($1 * 10))
	shift
	while ! "$@"; do
		[ "$tries" -gt 0 ] || return 1
		tries=$((tries - 1))
		sleep 0.1
	done
}
gone() { ! alive "$1"; }
# begun PID: whether the pool that was started as this process is there, or it ended.
begun() {
	alive td-sync && return
	case $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) in
	'' | [ZX]*) ;;
	*) return 1 ;;
	esac
}
healthy() { curl -fsS -m 5 -o "$dir/tmp/healthz" "$TD_SYNC_URL/healthz" 2>"$dir/tmp/healthz.err"; }

stop_process() {
	if ! alive "$1"; then
		note "$1 is not running"
	else
		stopped=$pid
		kill -TERM "$stopped"
		wait_for 15 gone "$1" || fail "$1 (pid $stopped) does not end" \
			"it was told to, 15 seconds ago" "kill -KILL $stopped; then run this again"
		note "$1 is stopped (pid $stopped)"
	fi
	rm -f -- "$dir/run/$1.pid"
}

# --- the demo: the server ---

# A file of nginx/ with its places filled in. Paths are relative to run/, where
# nginx and the pool work: so the folder's name may hold anything, and a
# socket's name never is too long.
nginx_file() {
	"$src/nginx/fill" "$src/nginx/$1.in" "LISTEN=127.0.0.1:$port" SOCKET=td-sync.sock \
		PREFIX_DIR=. DATA_DIR=../data "USER=$(id -un)" "LIMITS=$limits" >"$dir/tmp/$1"
	! cmp -s -- "$dir/tmp/$1" "$dir/run/$1" || return 0
	mv -f -- "$dir/tmp/$1" "$dir/run/$1"
	changed=yes
}

# nginx ARGUMENT...: ours, of this demo.
nginx_do() {
	(cd "$dir/run" && exec nginx -p "$dir/run/" -c nginx.conf \
		-e nginx-error.log "$@" </dev/null >"$dir/tmp/nginx.out" 2>&1 9>&-)
}

demo_pool() {
	if alive td-sync; then
		case $(readlink "/proc/$pid/exe") in
		*' (deleted)')
			note "the workers were built anew since they were started"
			stop_process td-sync
			;;
		*)
			note "the workers run (pid $pid)"
			return
			;;
		esac
	fi
	rm -f -- "$dir/run/td-sync.pid"
	if [ ! -e "$dir/data/td-sync.conf" ]; then
		sed -e 's|^#\(error_log =\).*|\1 ../run/td-sync-error.log|' \
			-e 's|^#\(access_log =\).*|\1 ../run/td-sync-access.log|' \
			"$src/conf/td-sync.conf" >"$dir/tmp/td-sync.conf"
		mv -- "$dir/tmp/td-sync.conf" "$dir/data/td-sync.conf"
	fi
	: >"$dir/run/td-sync.out"
	(
		cd "$dir/run"
		exec setsid "$bin/td-sync.fcgi" --data "$dir/data" --listen td-sync.sock \
			--workers 2 --max-workers 16 --pid-file td-sync.pid \
			</dev/null >>td-sync.out 2>&1 9>&-
	) &
	pool=$!
	started="$started td-sync"
	wait_for 10 begun "$pool" || true
	alive td-sync || fail "the workers did not start" \
		"td-sync.fcgi ended, or wrote no pid file within 10 seconds" \
		"read $dir/run/td-sync-error.log" "$dir/run/td-sync.out"
	note "the workers run (pid $pid)"
}

demo_nginx() {
	changed=no
	limits_are="with the rate limits of nginx/td-sync.conf.in"
	[ "$limits" = on ] || limits_are="without rate limits"
	nginx_file nginx.conf
	nginx_file td-sync.conf
	if alive nginx && [ "$changed" = no ]; then
		note "nginx runs (pid $pid), $limits_are"
		return
	fi
	nginx_do -t || fail "nginx refuses its configuration" "it says why" \
		"it is $dir/run/nginx.conf and td-sync.conf" "$dir/tmp/nginx.out"
	! alive nginx || stop_process nginx
	rm -f -- "$dir/run/nginx.pid"
	nginx_do || fail "nginx did not start" "it says why" \
		"where the port is in use, give another --port; $dir/run/nginx-error.log says more" \
		"$dir/tmp/nginx.out"
	started="$started nginx"
	wait_for 10 alive nginx || fail "nginx did not start" \
		"it wrote no pid file within 10 seconds" "read the lines above" \
		"$dir/run/nginx-error.log"
	note "nginx runs (pid $pid), $limits_are"
}

# What a run has started that ended before the server answered is stopped.
started=
demo_undo() {
	for each in $started; do
		! alive "$each" || kill -TERM "$pid"
		wait_for 5 gone "$each" || true
	done
}

demo_server() {
	step "Starting the server"
	trap demo_undo EXIT
	trap 'exit 1' HUP INT TERM
	if ! alive nginx || [ "$port" != "$old_port" ]; then
		! port_used || fail "port $port is in use" \
			"another program listens on 127.0.0.1:$port" \
			"./setup.sh demo --dir $(quoted "$dir") --port with another number, or end that program"
	fi
	code=0 # 4: it is there already; one that an ended run has begun is made anew
	"$bin/td-sync-admin" --data "$dir/data" init >"$dir/tmp/admin.err" 2>&1 || code=$?
	case $code in
	0 | 4) ;;
	*) fail "the data folder can't be made" "td-sync-admin init said so" \
		"look at $dir/data; a new --dir starts from nothing" "$dir/tmp/admin.err" ;;
	esac
	demo_pool
	demo_nginx
	wait_for 10 healthy || fail "the server does not answer" \
		"GET $TD_SYNC_URL/healthz: $(cat -- "$dir/tmp/healthz.err")" \
		"read the files in $dir/run" "$dir/run/td-sync-error.log"
	started=
	note "$TD_SYNC_URL/healthz: $(cat -- "$dir/tmp/healthz")"
}

# quoted TEXT: as one word of sh.
quoted() {
	printf "'"
	printf '%s' "$1" | sed "s/'/'\\\\''/g"
	printf "'"
}

admin() {
	"$bin/td-sync-admin" --data "$dir/data" "$@" 2>"$dir/tmp/admin.err" ||
		fail "td-sync-admin $1 failed" "it said: $(cat -- "$dir/tmp/admin.err")" \
			"read $dir/run; a new --dir starts from nothing"
}

# member NAME: that string member of the first of the JSON objects on stdin, a line each.
member() {
	sed -n 's/.*"'"$1"'": *"\([^"]*\)".*/\1/p' | head -n 1
}

# An account, a project and tokens, where demo.env names none yet.
demo_accounts() {
	step "Account, project and tokens"
	if [ -n "${TD_DEMO_PROJECT-}" ]; then
		note "kept: account $demo_user, project $TD_DEMO_PROJECT"
		return
	fi
	# What an interrupted run made already is taken as it is.
	users=$(admin --json user list)
	case $users in *"\"$demo_user\""*) ;; *) admin user add "$demo_user" >/dev/null ;; esac
	projects=$(admin --json project list)
	TD_DEMO_PROJECT=$(printf '%s\n' "$projects" | grep -v '"deleted_at"' | member id)
	[ -n "$TD_DEMO_PROJECT" ] ||
		TD_DEMO_PROJECT=$(admin project add demo --owner "$demo_user")
	TD_AUTH_KEY=$(admin token create --user "$demo_user" --name demo)
	# shellcheck disable=SC2034 # read by eval
	TD_DEMO_READ_KEY=$(admin token create --user "$demo_user" --name viewer \
		--project "$TD_DEMO_PROJECT" --scope sync:read)
	note "account $demo_user, project $TD_DEMO_PROJECT"
	note "a token for the account's projects, and one that only reads this one"
}

# demo.env, written whole or not at all; only its owner may read it.
demo_env() {
	{
		printf '# td-sync demo. In a shell: set -a; . %s; set +a\n' "$(quoted "$dir/demo.env")"
		for name in TD_SYNC_URL TD_SYNC_DATA TD_SYNC_BIN TD_AUTH_KEY \
			TD_DEMO_PROJECT TD_DEMO_READ_KEY TD_DEMO_LIMITS; do
			eval "value=\${$name-}"
			printf '%s=%s\n' "$name" "$(quoted "$value")"
		done
	} >"$dir/tmp/demo.env"
	mv -f -- "$dir/tmp/demo.env" "$dir/demo.env"
}

# --- the demo: replicas ---

# The time, as td writes it.
now="strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"

# sql FILE STATEMENTS: as td itself would, under td's lock; ~/.sqliterc is left out.
sql() {
	flock -w 5 "$(dirname -- "$1")/db.lock" \
		sqlite3 -batch -init /dev/null -cmd '.timeout 5000' "$1" "$2" 9>&-
}

# row_json FILE TABLE: the SQL expression for a whole row as a JSON object,
# whatever the schema's version.
row_json() {
	sql "$1" "SELECT 'json_object(' ||
		group_concat(quote(name) || ',\"' || name || '\"') || ')'
		FROM pragma_table_info('$2')"
}

# replica_edit NAME SESSION SQL: SQL changes rows of issues and comments; beside
# it, in the same transaction, an action is logged for each row that changed,
# as td does. A session that is in the log already is not done twice;
# `edited` tells whether it was done now.
replica_edit() {
	db=$dir/replicas/$1/.todos/issues.db
	[ "$(sql "$db" "SELECT count(*) FROM action_log WHERE session_id = '$2'")" = 0 ] || return 0
	edited=yes
	issue=$(row_json "$db" issues)
	comment=$(row_json "$db" comments)
	action="INSERT INTO action_log (id, session_id, action_type, entity_type,
		entity_id, previous_data, new_data, timestamp)
		SELECT 'al-' || lower(hex(randomblob(4))), '$2'"
	sql "$db" "
		BEGIN IMMEDIATE;
		CREATE TEMP TABLE issues_before AS SELECT id, $issue AS j FROM issues;
		CREATE TEMP TABLE comments_before AS SELECT id FROM comments;
		$3;
		$action, 'create', 'issue', id, '', $issue, $now FROM issues
			WHERE id NOT IN (SELECT id FROM issues_before) ORDER BY id;
		$action, 'update', 'issue', issues.id, j, $issue, $now
			FROM issues JOIN issues_before USING (id) WHERE j <> $issue;
		$action, 'create', 'comments', id, '', $comment, $now FROM comments
			WHERE id NOT IN (SELECT id FROM comments_before) ORDER BY id;
		COMMIT;" || fail "the edit in replica $1 failed" "sqlite3 said so above" \
		"remove $dir/replicas/$1 and run this again"
	note "$1: edited"
}


# replica_new NAME FILE: a td project with a copy of this database, which is only
# read. (td's lock beside it is held meanwhile, where there is one; with
# a -wal or -journal, the copy has what is in it.)
replica_new() {
	new=$dir/tmp/replica
	rm -rf -- "$new"
	mkdir -p -- "$new/.todos"
	case $2 in
	*.gz) gzip -dc -- "$2" >"$new/.todos/issues.db" ;;
	*)
		lock=$(dirname -- "$2")/db.lock
		[ -r "$lock" ] || lock=$new/.todos/db.lock
		# shellcheck disable=SC2016 # expanded by the inner shell
		flock -s -w 5 "$lock" sh -c 'for end in "" -wal -journal; do
			[ ! -s "$1$end" ] || cat -- "$1$end" >"$2$end" || exit; done' \
			sh "$2" "$new/.todos/issues.db" ||
			fail "$2 could not be copied" "a td holds it for more than 5 seconds, or it can't be read" \
				"wait for that td, or look at the file's permissions"
		;;
	esac
	version=$(sql "$new/.todos/issues.db" \
		"SELECT value FROM schema_info WHERE key = 'version';
		PRAGMA integrity_check(1)" 2>"$dir/tmp/sqlite.err") || version=
	case $version in
	[0-9]*"${nl}ok") ;;
	*)
		fail "$2 can't be a replica" \
			"it is not a td database, or damaged: $(cat -- "$dir/tmp/sqlite.err") $version" \
			"give the .todos/issues.db of a td project"
		;;
	esac
	printf '%s\n' "$2" >"$new/copied-from"
	mv -- "$new" "$dir/replicas/$1"
	note "$1: a copy of $2 (schema ${version%"$nl"*})"
}

# tdsync REPLICA ARGUMENT...: the td-sync command there, as on a machine of its
# own: with a home folder of its own, so that no auth.json of yours is used.
tdsync() {
	at=$dir/replicas/$1
	shift
	(
		cd "$at"
		HOME=$at XDG_CONFIG_HOME=$at/.config TD_SYNC_URL=$TD_SYNC_URL \
			TD_AUTH_KEY=$TD_AUTH_KEY exec "$bin/td-sync" "$@"
	) >"$dir/tmp/td-sync.out" 2>&1 9>&- || fail "td-sync $1 failed in $at" \
		"it said: $(cat -- "$dir/tmp/td-sync.out")" \
		"$dir/run has the server's side; run this again"
}

# The replicas that --db asks for, or two samples; those that exist are kept.
demo_replicas() {
	step "Replicas"
	count=0
	printf '%s' "$databases" >"$dir/tmp/databases"
	while IFS= read -r file; do
		count=$((count + 1))
		made_of=$dir/replicas/db$count/copied-from
		if [ ! -e "$made_of" ]; then
			replica_new "db$count" "$file"
		elif [ "$(cat -- "$made_of")" != "$file" ]; then
			fail "replica db$count is a copy of another file" \
				"it was made from $(cat -- "$made_of")" "use another --dir for $file"
		fi
	done <"$dir/tmp/databases"
	if [ -z "$(ls -A -- "$dir/replicas")" ]; then
		replica_new laptop "$src/tests/fixtures/empty-v38.db.gz"
	fi
	if [ -d "$dir/replicas/laptop" ]; then
		[ -d "$dir/replicas/office" ] ||
			replica_new office "$src/tests/fixtures/empty-v38.db.gz"
		replica_edit laptop ses_de0001 "
			INSERT INTO issues (id, title, type, priority, creator_session, created_at, updated_at)
			VALUES ('td-de0001', 'Write the release notes', 'task', 'P2', 'ses_de0001', $now, $now),
			       ('td-de0002', 'Login fails with a long password', 'bug', 'P1', 'ses_de0001', $now, $now),
			       ('td-de0003', 'Sort the list by date', 'feature', 'P3', 'ses_de0001', $now, $now)"
		replica_edit office ses_de0001 "
			INSERT INTO issues (id, title, type, priority, creator_session, created_at, updated_at)
			VALUES ('td-de0004', 'Describe the backup in the handbook', 'task', 'P2', 'ses_de0001', $now, $now),
			       ('td-de0005', 'Renew the certificate', 'chore', 'P1', 'ses_de0001', $now, $now);
			INSERT INTO comments (id, issue_id, session_id, text, created_at)
			VALUES ('cm-de000001', 'td-de0005', 'ses_de0001', 'It runs out in May', $now)"
	elif [ ! -d "$dir/replicas/db2" ] && [ ! -d "$dir/replicas/empty" ]; then
		replica_new empty "$src/tests/fixtures/empty-v38.db.gz"
	fi
	replicas=$(cd "$dir/replicas" && printf '%s ' *)
	note "in $dir/replicas: $replicas"
}

# Every replica sends and fetches; then again, so that the first has what the
# last one sent.
demo_sync() {
	step "$1"
	for replica in $replicas; do
		if [ ! -e "$dir/replicas/$replica/linked" ]; then
			# A copy may be linked to another server's project.
			linked=$(sql "$dir/replicas/$replica/.todos/issues.db" \
				"SELECT count(*) FROM sync_state")
			[ "$linked" = 0 ] || tdsync "$replica" unlink
			tdsync "$replica" link "$TD_DEMO_PROJECT"
			: >"$dir/replicas/$replica/linked"
		fi
	done
	for replica in $replicas $replicas; do
		tdsync "$replica" sync
		note "$replica: $(tail -n 1 -- "$dir/tmp/td-sync.out")"
	done
}

# What people do at the same time, in replicas that are in step: two of them
# edit one issue (`both`), in different fields and in one that is the same, and
# each makes a new one.
demo_edits() {
	# shellcheck disable=SC2086 # a list of words
	set -- $replicas
	both=$(sql "$dir/replicas/$1/.todos/issues.db" "
		SELECT entity_id FROM action_log WHERE session_id = 'ses_de0002' AND action_type = 'update'
		UNION ALL
		SELECT * FROM (SELECT id FROM issues WHERE deleted_at IS NULL ORDER BY id LIMIT 1)
		LIMIT 1")
	for replica in $replicas; do
		case $replica in
		"$1") edit="UPDATE issues SET title = title || ' (edited on $replica)',
			points = points + 3, updated_at = $now
			WHERE id = '$both'" ;;
		"$2") edit="UPDATE issues SET priority = CASE priority WHEN 'P0' THEN 'P1' ELSE 'P0' END,
			points = points + 5, updated_at = $now WHERE id = '$both';
			INSERT INTO comments (id, issue_id, session_id, text, created_at)
			SELECT 'cm-' || lower(hex(randomblob(4))), id, 'ses_de0002',
				'Priority changed on $replica', $now FROM issues WHERE id = '$both'" ;;
		*) edit="SELECT 1 WHERE 0" ;;
		esac
		replica_edit "$replica" ses_de0002 "$edit;
			INSERT INTO issues (id, title, type, priority, creator_session, created_at, updated_at)
			VALUES ('td-' || lower(hex(randomblob(3))), 'Made on $replica',
				'task', 'P2', 'ses_de0002', $now, $now)"
	done
}

# --- the demo: what happened ---

# The tables that are synced, and what of them is local to a machine.
synced='issues logs handoffs comments boards board_issue_positions work_sessions
	work_session_issues issue_files issue_dependencies issue_reviews notes'
local_columns="'worktree_id', 'worktree_root', 'repo_root'"

# Every device keeps its own spelling of a time that no event set (td knows
# four): compared are instants. What is no time stays as it is.
instant="coalesce(strftime('%Y-%m-%d %H:%M:%f', CASE
	WHEN @ GLOB '????-??-?? * [-+][0-9][0-9][0-9][0-9]*'
	THEN substr(@, 1, 10 + instr(substr(@, 12), ' ')) ||
		substr(@, 12 + instr(substr(@, 12), ' '), 3) || ':' ||
		substr(@, 15 + instr(substr(@, 12), ' '), 2)
	ELSE @ END), @)"

# Rows of all synced tables that one of two databases has and the other lacks
# or has otherwise, as "TABLE ID" lines. Compared are the columns both have;
# of boards, td makes the built-in ones itself.
differences() {
	with="ATTACH '$(sql_text "$2")' AS other;"
	for table in $synced; do
		columns=$(sql "$1" "$with
			SELECT group_concat(CASE WHEN name LIKE '%\_at' ESCAPE '\' OR name = 'timestamp'
				THEN replace('$(sql_text "$instant")', '@', name) ELSE name END || ' AS ' || name)
			FROM pragma_table_info('$table', 'main') AS a
			JOIN pragma_table_info('$table', 'other') AS b USING (name)
			WHERE name NOT IN ($local_columns)")
		[ -n "$columns" ] || continue
		only=
		[ "$table" != boards ] || only='WHERE is_builtin = 0'
		ours="SELECT $columns FROM main.$table $only"
		theirs="SELECT $columns FROM other.$table $only"
		sql "$1" "$with
			SELECT '$table ' || id FROM ($ours EXCEPT $theirs)
			UNION SELECT '$table ' || id FROM ($theirs EXCEPT $ours)"
	done
}

sql_text() {
	printf '%s' "$1" | sed "s/'/''/g"
}

# sqlite ARGUMENT...: with nobody's ~/.sqliterc.
sqlite() {
	sqlite3 -batch -init /dev/null "$@"
}

# table FILE QUERY: what it gives, as a table.
table() {
	printf '\n'
	sqlite -table "$1" "$2" | sed 's/^/    /'
}

# One row of a replica each, put together: QUERY is asked of every replica, and
# gives the text of a SELECT's columns.
of_all() {
	together=
	for replica in $replicas; do
		row=$(sql "$dir/replicas/$replica/.todos/issues.db" "$1")
		[ -z "$row" ] || together="${together:+$together UNION ALL }
			SELECT '$replica' AS replica, $row"
	done
	printf '%s' "${together:-SELECT 'none' AS replica WHERE 0}"
}

# How the replicas stand, by td's own books.
demo_books() {
	table :memory: "$(of_all "SELECT printf('%d AS schema, %d AS issues, %d AS comments,
		%d AS sent, %d AS waiting, %d AS cursor',
		(SELECT value FROM schema_info WHERE key = 'version'),
		(SELECT count(*) FROM issues WHERE deleted_at IS NULL),
		(SELECT count(*) FROM comments),
		(SELECT count(*) FROM action_log WHERE synced_at IS NOT NULL),
		(SELECT count(*) FROM action_log WHERE synced_at IS NULL AND undone = 0),
		(SELECT max(last_pulled_server_seq) FROM sync_state))")"
}

# device_of REPLICA: its id, for SQL.
device_of() {
	tdsync "$1" --json status
	sql_text "$(member device_id <"$dir/tmp/td-sync.out")"
}

# The issue that was edited in two replicas at once.
demo_both() {
	printf '\n'
	note "The issue that two of them edited at once:"
	table :memory: "$(of_all "SELECT 'id AS issue' WHERE 0
		UNION ALL SELECT quote(id) || ' AS issue, ' || quote(title) || ' AS title, ' ||
			quote(priority) || ' AS priority, ' || quote(points) || ' AS points'
		FROM issues WHERE id = '$both'")"
}

# api PATH FILE: a GET with the demo's token (not on a command line, where
# everybody could see it).
api() {
	printf 'header = "Authorization: Bearer %s"\n' "$TD_AUTH_KEY" |
		curl -fsS -m 30 -K - -o "$2" "$TD_SYNC_URL$1" 2>"$dir/tmp/curl.err" ||
		fail "GET $1 failed" "$(cat -- "$dir/tmp/curl.err")" "read the files in $dir/run"
}

# What one of them wrote over, by the server's records.
demo_lost() {
	names=
	for replica in $replicas; do
		names="$names WHEN '$(device_of "$replica")' THEN '$replica'"
	done
	tdsync "${replicas%% *}" --json conflicts
	printf '\n'
	note "Where both edited the same field, one was written over; td-sync conflicts has it:"
	table :memory: "SELECT c.value ->> 'id' AS conflict, c.value ->> 'entity_id' AS issue,
			f.value ->> 'field' AS field, f.value ->> 'kept' AS kept,
			CASE c.value ->> '\$.kept.device_id' $names END AS \"by\",
			f.value ->> 'lost' AS lost, CASE c.value ->> '\$.lost.device_id' $names END AS \"by \"
		FROM json_each(CAST(readfile('$(sql_text "$dir/tmp/td-sync.out")') AS TEXT), '\$.conflicts') AS c,
			json_each(c.value, '\$.fields') AS f"
}

# The events in the server's log, fetched as any client would, counted.
demo_log() {
	pulled=$dir/tmp/pulled.db
	page=$dir/tmp/page.json
	rm -f -- "$pulled"
	sqlite "$pulled" "CREATE TABLE event (seq INTEGER PRIMARY KEY, device, action, entity)"
	after=0
	more=1
	while [ "$more" = 1 ]; do
		api "/v1/projects/$TD_DEMO_PROJECT/sync/pull?after_server_seq=$after" "$page"
		answer=$(sqlite "$pulled" "
			CREATE TEMP TABLE page AS SELECT CAST(readfile('$(sql_text "$page")') AS TEXT) AS j;
			INSERT INTO event SELECT value ->> 'server_seq', value ->> 'device_id',
				value ->> 'action_type', value ->> 'entity_type'
				FROM page, json_each(j, '\$.events');
			SELECT j ->> 'last_server_seq', j ->> 'has_more' FROM page")
		after=${answer%|*}
		more=${answer#*|}
	done
	columns=
	for replica in $replicas; do
		columns="$columns, sum(device = '$(device_of "$replica")') AS $replica"
	done
	columns="$columns, sum(device = 'td-sync') AS \"the server\""
	printf '\n'
	note "The server's log, event 1 to $after, by who sent them:"
	table "$pulled" "SELECT entity, action $columns FROM event
		GROUP BY entity, action ORDER BY min(seq)"
}

demo_compare() {
	first=${replicas%% *}
	differ=no
	for replica in ${replicas#* }; do
		differences "$dir/replicas/$first/.todos/issues.db" \
			"$dir/replicas/$replica/.todos/issues.db" >"$dir/tmp/differences"
		[ -s "$dir/tmp/differences" ] || continue
		differ=yes
		printf '\n'
		note "$first and $replica differ in $(grep -c . "$dir/tmp/differences") rows:"
		head -n 20 -- "$dir/tmp/differences" | sed 's/^/      /'
	done
	[ "$differ" = no ] || fail "the replicas are not identical" \
		"the rows named above differ" "please report it, with the folder $dir"
	rows=0
	for each in $synced; do
		n=$(sql "$dir/replicas/$first/.todos/issues.db" "SELECT count(*) FROM $each" 2>/dev/null) || n=0
		rows=$((rows + n))
	done
	printf '\n'
	# shellcheck disable=SC2086 # a list of words
	note "Compared row by row, the replicas are identical: $(printf '%s, ' $replicas)$rows rows each"
}

demo_report() {
	step "What happened"
	demo_books
	demo_both
	demo_lost
	demo_log
	demo_compare
}

# --- the demo: all of it ---

# Built already, by somebody who says where (the tests do): nothing is installed.
demo_built() {
	for program in td-sync td-sync-admin td-sync.fcgi; do
		[ -x "$TD_SYNC_BUILD/$program" ] || fail "there is no $program in $TD_SYNC_BUILD" \
			"TD_SYNC_BUILD names that folder" "make there, or unset TD_SYNC_BUILD"
	done
	for program in $packages_run; do
		command -v "$program" >/dev/null || fail "$program is missing" \
			"with TD_SYNC_BUILD nothing is installed" "apt-get install $program"
	done
	bin=$(CDPATH='' cd -- "$TD_SYNC_BUILD" && pwd -P)
}

# What an earlier run wrote into demo.env; the port is kept unless --port says
# another one.
demo_known() {
	old_port=$(sed -n 's/^[[:space:]]*listen 127\.0\.0\.1:\([0-9]*\);.*/\1/p' \
		"$dir/run/td-sync.conf" 2>/dev/null) || old_port=
	if [ -e "$dir/demo.env" ]; then
		# shellcheck disable=SC1091 # written by demo_env
		. "$dir/demo.env"
		: "${port:=${TD_SYNC_URL##*:}}" "${limits:=$TD_DEMO_LIMITS}"
	fi
	: "${port:=8080}" "${limits:=on}"
	TD_DEMO_LIMITS=$limits
	TD_SYNC_URL=http://127.0.0.1:$port
	# shellcheck disable=SC2034 # read by eval
	TD_SYNC_DATA=$dir/data TD_SYNC_BIN=$bin
}

demo_stop() {
	step "Stopping the server in $dir"
	if [ ! -e "$dir/$demo_mark" ]; then
		note "there is no demo: nothing to stop"
		return
	fi
	dir=$(CDPATH='' cd -- "$dir" && pwd -P)
	stop_process nginx
	stop_process td-sync
	note "the folder stays; ./setup.sh demo --dir $(quoted "$dir") starts it again"
}

# demo_arguments ARGUMENT...: sets dir, port, databases (one file a line),
# server_only and limits.
demo_arguments() {
	dir=./demo
	port=
	databases=
	server_only=no
	limits=
	stop=no
	if [ "${1-}" = stop ]; then
		stop=yes
		shift
	fi
	while [ $# -gt 0 ]; do
		option=$1
		case $option in
		--dir | --port | --db | --limits)
			[ -n "${2-}" ] || fail "$option needs a value" \
				"nothing follows it" "./setup.sh --help"
			value=$2
			shift
			;;
		esac
		shift
		case $option in
		--dir) dir=$value ;;
		--port) port=$value ;;
		--db) demo_database "$value" ;;
		--limits) limits=$value ;;
		--server-only) server_only=yes ;;
		*) fail "demo: unknown argument: $option" "it is none of those it takes" \
			"./setup.sh --help" ;;
		esac
	done
	case $port in
	'') ;;
	*[!0-9]* | ??????* | 0*) bad_port ;;
	*) [ "$port" -le 65535 ] || bad_port ;;
	esac
	case $limits in
	'' | on | off) ;;
	*) fail "--limits $limits" "it can be on or off" "./setup.sh --help" ;;
	esac
	case $dir in
	*"$nl"*) fail "--dir: a line break in the name" "a line ends there" \
		"choose another --dir" ;;
	/*) ;;
	*) dir=$PWD/${dir#./} ;;
	esac
}

bad_port() {
	fail "--port $port" "it must be a number from 1 to 65535" "./setup.sh demo --port 8081"
}

# Note a database that --db names, by its whole path.
demo_database() {
	# shellcheck disable=SC2015 # fail doesn't come back
	[ -f "$1" ] && [ -r "$1" ] || fail "--db $1" \
		"there is no such file, or it can't be read" \
		"give the .todos/issues.db of a td project"
	database=$(CDPATH='' cd -- "$(dirname -- "$1")" && pwd -P)/$(basename -- "$1")
	case $database in *"$nl"*)
		fail "--db: a line break in the name" "a line ends there" "copy it elsewhere" ;;
	esac
	databases=$databases$database$nl
}

demo_run() {
	demo_arguments "$@"
	if [ "$stop" = yes ]; then
		demo_stop
		return
	fi
	# shellcheck disable=SC2086 # lists of words
	if [ -n "${TD_SYNC_BUILD-}" ]; then
		demo_built
	else
		install_packages $packages_build $packages_run
	fi
	demo_folder
	exec 9>"$dir/run/setup.lock"
	flock -w 2 9 || fail "another setup.sh works in $dir" "it holds $dir/run/setup.lock" \
		"wait until it is done"
	if [ -z "${TD_SYNC_BUILD-}" ]; then
		step "Building"
		build_tree "$dir"
		bin=$build
	fi
	umask 077 # tokens and data; what was built is for everybody
	demo_known
	demo_server
	demo_accounts
	demo_env
	if [ "$server_only" = no ]; then
		demo_replicas
		demo_sync "Syncing"
		step "Editing two replicas at once"
		edited=no
		demo_edits
		if [ "$edited" = yes ]; then
			demo_sync "Syncing again"
		else
			note "done by an earlier run"
		fi
		demo_report
	fi
	step "The server is running: $TD_SYNC_URL"
	note "use it:    set -a; . $(quoted "$dir/demo.env"); set +a"
	note "           \"\$TD_SYNC_BIN/td-sync\" --help"
	note "stop it:   ./setup.sh demo stop --dir $(quoted "$dir")"
}

# --- main ---

[ $# -gt 0 ] || {
	usage
	exit 2
}
command=$1
shift
case $command in
demo) demo_run "$@" ;;
check) check_run "$@" ;;
-h | --help | help) usage ;;
*)
	usage >&2
	printf '\nsetup.sh: unknown command: %s\n' "$command" >&2
	exit 2
	;;
esac
