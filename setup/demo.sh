# The kind "demo": a server with two replicas in one folder, running; all of it
# made as the calling user, on the loopback interface.
# shellcheck shell=sh
#
# answer_dir is the folder, an absolute path; answer_port where nginx listens;
# answer_limits whether with nginx's rate limits.

questions_demo='dir port limits'
steps_server='packages build data workers nginx reachable account tokens environment'
steps_replicas='replicas sync edits sync-again'
steps_demo="$steps_server $steps_replicas"

demo_user=demo@example.com
server_only=no
dir=         # answer_dir
port=        # answer_port
old_port=    # where nginx listens since an earlier run
bin=         # the folder of the commands
databases=   # what --db named, a file a line
replicas=    # their names
started=     # what this run has started; it is stopped where the run ends early
# What demo.env holds beside the variables that td and td-sync know.
# shellcheck disable=SC2034 # read by eval
TD_DEMO_PROJECT='' TD_DEMO_READ_KEY='' TD_DEMO_LIMITS=''

# --- its folder ---

# What an interrupted run or another program left in `dir` is never built upon:
# the folder is ours when it has this file.
demo_mark=ABOUT.txt

demo_what() {
	echo "try it here: a server with two replicas, in one folder of yours; no root but for packages"
}
demo_answers() {
	printf '%s/answers\n' "$answer_dir"
}
demo_data() {
	printf '%s\n' "$dir/data" "$dir/replicas"
}
# What others put into the folder stays in it.
demo_remove_data() {
	rm -rf -- "$dir/data" "$dir/replicas"
	rm -f -- "$dir/$demo_mark"
}

# Sets what the steps use. demo.env is what an earlier run wrote.
demo_ready() {
	dir=$answer_dir
	! [ -d "$dir" ] || dir=$(CDPATH='' cd -- "$dir" && pwd -P)
	answer_dir=$dir
	on_disk=$dir
	# shellcheck disable=SC2086 # a list of words
	packages="$packages_build $packages_run"
	spare=$dir
	build_place
	bin=$build
	old_port=$(sed -n 's/^[[:space:]]*listen 127\.0\.0\.1:\([0-9]*\);.*/\1/p' \
		"$dir/run/td-sync.conf" 2>/dev/null) || old_port=
	# It is run: so it must be this demo's, and ours, not what somebody put there.
	# shellcheck disable=SC3067 # dash and bash have -O
	if [ -e "$dir/$demo_mark" ] && [ -O "$dir" ] && [ -f "$dir/demo.env" ] && [ -O "$dir/demo.env" ]; then
		# shellcheck disable=SC1091 # written by demo_env
		. "$dir/demo.env"
	fi
	port=$answer_port
	limits=$answer_limits
	TD_DEMO_LIMITS=$limits
	TD_SYNC_URL=http://127.0.0.1:$port
	# No proxy of the environment reaches this machine's loopback interface.
	export no_proxy="127.0.0.1,${no_proxy-${NO_PROXY-}}"
	# shellcheck disable=SC2034 # read by eval
	TD_SYNC_DATA=$dir/data TD_SYNC_BIN=$bin
	replica_names
	case $command in
	status | upgrade | uninstall)
		[ -e "$dir/$demo_mark" ] || fail "$dir is not a folder of a demo" \
			"there is no $demo_mark in it" "./setup.sh $command --dir DIR names it"
		[ -n "$replicas" ] || server_only=yes
		;;
	esac
	[ "$server_only" = no ] || steps_demo=$steps_server
}

# A demo of before there were answers keeps its port and its limits.
demo_default() {
	[ -e "${answer_dir-}/demo.env" ] || return 1
	case $1 in
	port) sed -n "s/^TD_SYNC_URL='http:.*:\([0-9]*\)'\$/\1/p" "$answer_dir/demo.env" | grep . ;;
	limits) sed -n "s/^TD_DEMO_LIMITS='\(.*\)'\$/\1/p" "$answer_dir/demo.env" | grep . ;;
	*) return 1 ;;
	esac
}

# Make or enter the folder of the demo.
demo_begin() {
	# In this order: another run may be making the folder right now.
	if [ -d "$answer_dir" ] && [ -n "$(ls -A -- "$answer_dir")" ] && [ ! -e "$answer_dir/$demo_mark" ]; then
		fail "$answer_dir is not a folder of a demo" "it holds other files" \
			"choose another --dir"
	fi
	(umask 077 && mkdir -p -- "$answer_dir") || fail "can't make $answer_dir" "mkdir said so above" \
		"choose another --dir"
	[ -w "$answer_dir" ] || fail "can't write to $answer_dir" "it belongs to somebody else" \
		"choose another --dir"
	dir=$(CDPATH='' cd -- "$answer_dir" && pwd -P)
	# The mark comes first: without it, a folder with anything in it isn't ours.
	: >>"$dir/$demo_mark"
	umask 077 # tokens and data
	mkdir -p -- "$dir/data" "$dir/run" "$dir/replicas"
}

demo_about() {
	cat <<-TEXT
	A demo of td-sync: server, data, log files and two replicas. Made by
	$src/setup.sh

	  answers      what setup.sh was told: folder, port, limits
	  demo.env     address, folders and token, for a shell: . demo.env
	  data/        what the server keeps
	  replicas/    a td project each
	  run/         log files, process ids, nginx's configuration

	Stop it with: setup.sh demo stop --dir (this folder). Then the folder can
	be removed; nothing lies elsewhere.
	TEXT
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
gone() { ! alive "$1"; }
# begun PID: whether the pool that was started as this process is there, or it ended.
begun() {
	alive td-sync && return
	case $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) in
	'' | [ZX]*) ;;
	*) return 1 ;;
	esac
}
healthy() {
	curl -fsS -m 5 -o "$scratch/healthz" "$TD_SYNC_URL/healthz" 2>"$scratch/healthz.err"
}

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

# What this run has started is stopped, where it ends before the server answered.
demo_undo() {
	for each in $started; do
		! alive "$each" || kill -TERM "$pid"
		wait_for 5 gone "$each" || true
	done
}

# --- the server ---

step_data_what() {
	echo "make the data folder, $dir/data, with its first key"
}
step_data_done() {
	demo_about >"$scratch/about"
	same_file "$scratch/about" "$dir/$demo_mark" 644 && [ -e "$dir/data/td-sync.conf" ] &&
		"$bin/td-sync-admin" --data "$dir/data" user list >/dev/null 2>&1
}
step_data_do() {
	demo_about | put_file - "$dir/$demo_mark" 644
	[ -e "$dir/data/td-sync.conf" ] ||
		sed -e 's|^#\(error_log =\).*|\1 ../run/td-sync-error.log|' \
			-e 's|^#\(access_log =\).*|\1 ../run/td-sync-access.log|' \
			"$src/conf/td-sync.conf" | put_file - "$dir/data/td-sync.conf" 600
	rm -f -- "$dir"/data/keys/*.tmp-* # a key that an ended run did not make to its end
	code=0 # 4: it is there already; one that an ended run has begun is made anew
	"$bin/td-sync-admin" --data "$dir/data" init >"$scratch/admin.err" 2>&1 || code=$?
	case $code in
	0 | 4) ;;
	*) fail "the data folder can't be made" "td-sync-admin init said so" \
		"look at $dir/data; a new --dir starts from nothing" "$scratch/admin.err" ;;
	esac
}

step_workers_what() {
	echo "start the server's workers (again, where they were built anew)"
}
step_workers_done() {
	alive td-sync || return 1
	case $(readlink "/proc/$pid/exe") in *' (deleted)') return 1 ;; esac
	started_here
}
# Whether the process `pid` was started with this name of the folder: if not, it
# looks for its files where they were before the folder was moved.
started_here() {
	tr '\000' '\n' <"/proc/$pid/cmdline" | grep -qF -- "$dir/"
}
step_workers_do() {
	! alive td-sync || stop_process td-sync
	rm -f -- "$dir/run/td-sync.pid"
	: >"$dir/run/td-sync.out"
	at_end_do=demo_undo
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
# Nobody works in run/ any more then: nginx is taken away before.
step_workers_undo() {
	stop_process td-sync
	rm -rf -- "$dir/run"
}

# A file of nginx/ with its places filled in. Paths are relative to run/, where
# nginx and the pool work: so the folder's name may hold anything, and a
# socket's name never is too long.
nginx_file() {
	"$src/nginx/fill" "$src/nginx/$1.in" "LISTEN=127.0.0.1:$port" SOCKET=td-sync.sock \
		PREFIX_DIR=. DATA_DIR=../data "USER=$(id -un)" "LIMITS=$limits" >"$scratch/$1"
}

# nginx_do ARGUMENT...: nginx, of this demo.
nginx_do() {
	(cd "$dir/run" && exec nginx -p "$dir/run/" -c nginx.conf \
		-e nginx-error.log "$@" </dev/null >"$scratch/nginx.out" 2>&1 9>&-)
}

step_nginx_what() {
	limits_are="with the rate limits of nginx/td-sync.conf.in"
	[ "$limits" = on ] || limits_are="without rate limits"
	echo "start nginx on 127.0.0.1:$port, $limits_are"
}
# It runs since it was configured, and it is configured so.
step_nginx_done() {
	for file in nginx.conf td-sync.conf; do
		nginx_file "$file"
		same_file "$scratch/$file" "$dir/run/$file" 600 || return 1
		[ -z "$(find "$dir/run/$file" -newer "$dir/run/nginx.pid" 2>/dev/null)" ] || return 1
	done
	alive nginx && started_here
}
step_nginx_do() {
	if ! alive nginx || [ "$port" != "$old_port" ]; then
		! port_used "$port" || fail "port $port is in use" \
			"another program listens on 127.0.0.1:$port" \
			"./setup.sh demo --dir $(quoted "$dir") --port with another number, or end that program"
	fi
	for file in nginx.conf td-sync.conf; do
		nginx_file "$file"
		keep_old "$dir/run/$file"
		put_file "$scratch/$file" "$dir/run/$file" 600
	done
	if ! nginx_do -t; then
		put_back "$dir/run/nginx.conf"
		put_back "$dir/run/td-sync.conf"
		fail "nginx refuses its configuration" "it says why" \
			"it is made of $src/nginx/nginx.conf.in and td-sync.conf.in" "$scratch/nginx.out"
	fi
	drop_old "$dir/run/nginx.conf"
	drop_old "$dir/run/td-sync.conf"
	! alive nginx || stop_process nginx
	rm -f -- "$dir/run/nginx.pid"
	at_end_do=demo_undo
	nginx_do || fail "nginx did not start" "it says why" \
		"where the port is in use, give another --port; $dir/run/nginx-error.log says more" \
		"$scratch/nginx.out"
	started="$started nginx"
	wait_for 10 alive nginx || fail "nginx did not start" \
		"it wrote no pid file within 10 seconds" "read the lines above" \
		"$dir/run/nginx-error.log"
	step_nginx_what >/dev/null
	note "nginx runs (pid $pid), $limits_are"
}
step_nginx_undo() {
	stop_process nginx
}

step_reachable_what() {
	echo "ask the server whether it is well: $TD_SYNC_URL/healthz"
}
# From then on it stays, whatever comes.
step_reachable_done() {
	healthy && started=
}
step_reachable_do() {
	wait_for 10 healthy || fail "the server does not answer" \
		"GET $TD_SYNC_URL/healthz: $(cat -- "$scratch/healthz.err")" \
		"read the files in $dir/run" "$dir/run/td-sync-error.log"
	note "$TD_SYNC_URL/healthz: $(cat -- "$scratch/healthz")"
}

# --- an account, a project, tokens ---

admin() {
	"$bin/td-sync-admin" --data "$dir/data" "$@" 2>"$scratch/admin.err" ||
		fail "td-sync-admin $1 failed" "it said: $(cat -- "$scratch/admin.err")" \
			"read $dir/run; a new --dir starts from nothing"
}

# member NAME: that string member of the first of the JSON objects on stdin, a line each.
member() {
	sed -n 's/.*"'"$1"'": *"\([^"]*\)".*/\1/p' | head -n 1
}

step_account_what() {
	echo "make the account $demo_user, and a project of it"
}
step_account_done() {
	[ -n "$TD_DEMO_PROJECT" ]
}
# Where the server has no project, a folder of one with nothing in it is what a
# killed td-sync-admin left, its tables made or not: it goes.
half_made_projects() {
	for folder in "$dir"/data/projects/*; do
		[ -d "$folder" ] || continue
		if [ -e "$folder/events.db" ]; then
			events=$(sqlite "$folder/events.db" "SELECT count(*) FROM event" 2>/dev/null) ||
				events=$(sqlite "$folder/events.db" "SELECT count(*) FROM sqlite_schema" 2>/dev/null) ||
				events=unknown
			[ "$events" = 0 ] || continue
		fi
		rm -rf -- "$folder"
	done
}
# What an interrupted run made already is taken as it is.
step_account_do() {
	users=$(admin --json user list)
	case $users in *"\"$demo_user\""*) ;; *) admin user add "$demo_user" >/dev/null ;; esac
	projects=$(admin --json project list)
	[ -n "$projects" ] || half_made_projects
	TD_DEMO_PROJECT=$(printf '%s\n' "$projects" | grep -v '"deleted_at"' | member id)
	[ -n "$TD_DEMO_PROJECT" ] ||
		TD_DEMO_PROJECT=$(admin project add demo --owner "$demo_user")
	demo_env | put_file - "$dir/demo.env" 600
	note "account $demo_user, project $TD_DEMO_PROJECT"
}

step_tokens_what() {
	echo "make two tokens: for the account's projects, and one that only reads this one"
}
step_tokens_done() {
	[ -n "${TD_AUTH_KEY-}" ] && [ -n "$TD_DEMO_READ_KEY" ]
}
# A token is shown once: those that an interrupted run made are of no use.
step_tokens_do() {
	tokens=$(admin --json token list --user "$demo_user")
	lost=$(printf '%s\n' "$tokens" | grep '"state": *"valid"' |
		grep -E '"name": *"(demo|viewer)"' | sed -n 's/.*"id": *"\([^"]*\)".*/\1/p')
	for token in $lost; do
		admin token revoke "$token" >/dev/null
	done
	TD_AUTH_KEY=$(admin token create --user "$demo_user" --name demo)
	# shellcheck disable=SC2034 # read by eval
	TD_DEMO_READ_KEY=$(admin token create --user "$demo_user" --name viewer \
		--project "$TD_DEMO_PROJECT" --scope sync:read)
	demo_env | put_file - "$dir/demo.env" 600
}

# demo.env, on stdout.
demo_env() {
	printf '# td-sync demo. In a shell: set -a; . %s; set +a\n' "$(quoted "$dir/demo.env")"
	for name in TD_SYNC_URL TD_SYNC_DATA TD_SYNC_BIN TD_AUTH_KEY \
		TD_DEMO_PROJECT TD_DEMO_READ_KEY TD_DEMO_LIMITS; do
		eval "value=\${$name-}"
		printf '%s=%s\n' "$name" "$(quoted "$value")"
	done
}

step_environment_what() {
	echo "write $dir/demo.env: address, folders and token, for a shell"
}
step_environment_done() {
	# Not by way of a file: there are tokens in it.
	demo_env | cmp -s -- - "$dir/demo.env" && [ "$(stat -c %a -- "$dir/demo.env")" = 600 ]
}
step_environment_do() {
	demo_env | put_file - "$dir/demo.env" 600
}
step_environment_undo() {
	rm -f -- "$dir/demo.env"
}

# --- replicas ---

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

# replica_edited NAME SESSION: whether the session is in its log.
replica_edited() {
	[ -e "$dir/replicas/$1/.todos/issues.db" ] &&
		[ "$(sql "$dir/replicas/$1/.todos/issues.db" \
			"SELECT count(*) > 0 FROM action_log WHERE session_id = '$2'" 2>/dev/null)" = 1 ]
}

# replica_edit NAME SESSION SQL: SQL changes rows of issues and comments; beside
# it, in the same transaction, an action is logged for each row that changed,
# as td does. A session that is in the log already is not done twice;
# `edited` tells whether it was done now.
replica_edit() {
	! replica_edited "$1" "$2" || return 0
	db=$dir/replicas/$1/.todos/issues.db
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
	new=$dir/replicas/.new
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
		PRAGMA integrity_check(1)" 2>"$scratch/sqlite.err") || version=
	case $version in
	[0-9]*"${nl}ok") ;;
	*)
		fail "$2 can't be a replica" \
			"it is not a td database, or damaged: $(cat -- "$scratch/sqlite.err") $version" \
			"give the .todos/issues.db of a td project"
		;;
	esac
	printf '%s\n' "$2" >"$new/copied-from"
	mv -- "$new" "$dir/replicas/$1"
	note "$1: a copy of $2 (schema ${version%"$nl"*})"
}

# td_sync REPLICA ARGUMENT...: the td-sync command there, as on a machine of its
# own: with a home folder of its own, so that no auth.json of yours is used.
td_sync() (
	cd "$dir/replicas/$1" || exit
	at=$PWD
	shift
	HOME=$at XDG_CONFIG_HOME=$at/.config TD_SYNC_URL=$TD_SYNC_URL \
		TD_AUTH_KEY=${TD_AUTH_KEY-} exec "$bin/td-sync" "$@" 9>&-
)
# tdsync REPLICA ARGUMENT...: the same, its output kept.
tdsync() {
	td_sync "$@" >"$scratch/td-sync.out" 2>&1 || fail "td-sync $2 failed in $dir/replicas/$1" \
		"it said: $(cat -- "$scratch/td-sync.out")" \
		"$dir/run has the server's side; run this again"
}

# Sets `replicas`: the names of those that are there.
replica_names() {
	replicas=
	for replica in "$dir"/replicas/*; do
		[ ! -d "$replica" ] || replicas="$replicas${replica##*/} "
	done
}

step_replicas_what() {
	if [ -n "$databases" ]; then
		echo "make replicas of the databases that --db names"
	else
		echo "make two replicas of the project, as if on two machines, with a few issues in them"
	fi
}
step_replicas_done() {
	count=0
	printf '%s' "$databases" >"$scratch/databases"
	while IFS= read -r file; do
		count=$((count + 1))
		made_of=$dir/replicas/db$count/copied-from
		[ -e "$made_of" ] && [ "$(cat -- "$made_of")" = "$file" ] || return 1
	done <"$scratch/databases"
	replica_names
	if [ -d "$dir/replicas/laptop" ]; then
		replica_edited laptop ses_de0001 && replica_edited office ses_de0001
	else
		[ -d "$dir/replicas/db2" ] || [ -d "$dir/replicas/empty" ]
	fi
}
# Those that --db asks for, or two samples; those that exist are kept.
step_replicas_do() {
	count=0
	printf '%s' "$databases" >"$scratch/databases"
	while IFS= read -r file; do
		count=$((count + 1))
		made_of=$dir/replicas/db$count/copied-from
		if [ ! -e "$made_of" ]; then
			replica_new "db$count" "$file"
		elif [ "$(cat -- "$made_of")" != "$file" ]; then
			fail "replica db$count is a copy of another file" \
				"it was made from $(cat -- "$made_of")" "use another --dir for $file"
		fi
	done <"$scratch/databases"
	replica_names
	if [ -z "$replicas" ]; then
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
	replica_names
	note "in $dir/replicas: $replicas"
}

# in_step REPLICA: whether it is linked, has sent what it has, and has what the
# server has.
in_step() (
	[ -e "$dir/replicas/$1/linked" ] || exit 1
	at=$(td_sync "$1" --json status 2>/dev/null) || exit 1
	case $at in *'"pending":0,'*) ;; *) exit 1 ;; esac
	[ "$(printf '%s' "$at" | sed -n 's/.*"cursor":\([0-9]*\),.*/\1/p')" = \
		"$(printf '%s' "$at" | sed -n 's/.*"last_server_seq":\([0-9]*\),.*/\1/p')" ]
)

step_sync_what() {
	echo "link the replicas, and sync them"
}
step_sync_done() {
	replica_names
	[ -n "$replicas" ] || return 1
	! edits_begun || return 0
	for replica in $replicas; do
		in_step "$replica" || return 1
	done
}
# Whether the edits were begun, and not finished: that they are made at once
# means that nothing is synced between them.
edits_begun() {
	edited=0
	count=0
	for replica in $replicas; do
		[ -e "$dir/replicas/$replica/linked" ] || return 1
		count=$((count + 1))
		! replica_edited "$replica" ses_de0002 || edited=$((edited + 1))
	done
	[ "$edited" -gt 0 ] && [ "$edited" -lt "$count" ]
}
# Every replica sends and fetches; then again, so that the first has what the
# last one sent.
step_sync_do() {
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
		note "$replica: $(tail -n 1 -- "$scratch/td-sync.out")"
	done
}

step_sync_again_what() {
	echo "sync the replicas again, with those edits"
}
step_sync_again_done() {
	step_sync_done
}
step_sync_again_do() {
	step_sync_do
}

step_edits_what() {
	echo "edit two replicas at once: one issue in both, and a new one in each"
}
step_edits_done() {
	[ -n "$replicas" ] || return 1
	for replica in $replicas; do
		replica_edited "$replica" ses_de0002 || return 1
	done
}
# What people do at the same time, in replicas that are in step: two of them
# edit one issue (`both`), in different fields and in one that is the same, and
# each makes a new one.
step_edits_do() {
	edited_by_both
	# shellcheck disable=SC2086 # a list of words
	set -- $replicas
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

# Sets `both`: the issue that is, or was, edited in two replicas.
edited_by_both() {
	both=$(sql "$dir/replicas/${replicas%% *}/.todos/issues.db" "
		SELECT entity_id FROM action_log WHERE session_id = 'ses_de0002' AND action_type = 'update'
		UNION ALL
		SELECT * FROM (SELECT id FROM issues WHERE deleted_at IS NULL ORDER BY id LIMIT 1)
		LIMIT 1")
}

# --- what happened ---

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
	sql_text "$(member device_id <"$scratch/td-sync.out")"
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
		curl -fsS -m 30 -K - -o "$2" "$TD_SYNC_URL$1" 2>"$scratch/curl.err" ||
		fail "GET $1 failed" "$(cat -- "$scratch/curl.err")" "read the files in $dir/run"
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
		FROM json_each(CAST(readfile('$(sql_text "$scratch/td-sync.out")') AS TEXT), '\$.conflicts') AS c,
			json_each(c.value, '\$.fields') AS f"
}

# The events in the server's log, fetched as any client would, counted.
demo_log() {
	pulled=$scratch/pulled.db
	page=$scratch/page.json
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
			"$dir/replicas/$replica/.todos/issues.db" >"$scratch/differences"
		[ -s "$scratch/differences" ] || continue
		differ=yes
		printf '\n'
		note "$first and $replica differ in $(grep -c . "$scratch/differences") rows:"
		head -n 20 -- "$scratch/differences" | sed 's/^/      /'
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
	if [ "$server_only" = no ]; then
		edited_by_both
		step "What happened"
		demo_books
		demo_both
		demo_lost
		demo_log
		demo_compare
	fi
	step "The server is running: $TD_SYNC_URL"
	note "use it:    set -a; . $(quoted "$dir/demo.env"); set +a"
	note "           \"\$TD_SYNC_BIN/td-sync\" --help"
	note "stop it:   ./setup.sh demo stop --dir $(quoted "$dir")"
}

# --- stopping, and what the command line says ---

demo_stop() {
	dir=$given_dir
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

# demo_arguments ARGUMENT...: what they say is given_dir, given_port, given_limits,
# and databases (one file a line), server_only, stop.
demo_arguments() {
	given_dir=$PWD/demo
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
		--dir)
			given dir "$(absolute "$value")"
			dir_given=yes
			;;
		--port) given port "$value" ;;
		--db) demo_database "$value" ;;
		--limits) given limits "$value" ;;
		--server-only) server_only=yes ;;
		*) fail "demo: unknown argument: $option" "it is none of those it takes" \
			"./setup.sh --help" ;;
		esac
	done
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
