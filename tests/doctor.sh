#!/bin/sh
# td-sync-admin doctor: each finding provoked for real, with the real nginx and a pool; and
# a server on which it finds nothing.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
needs nginx sqlite3 curl flock pgrep
# shellcheck source=tests/doctor-lib.sh
. "${0%/*}/doctor-lib.sh"

# doctor CODE ARGUMENT...: its exit code; what it says is in $tmp/out, as JSON lines.
# $at is the data folder.
at=$data
doctor() {
	want=$1
	shift
	status=0
	"$TD_SYNC_BUILD/td-sync-admin" --data "$at" --json doctor "$@" >"$tmp/out" 2>"$tmp/err" ||
		status=$?
	cat "$tmp/err"
	[ "$status" = "$want" ] && [ ! -s "$tmp/err" ] || { echo "exit code $status"; false; }
}
# found LEVEL CHECK PATTERN: such a finding is there; every one has all its parts.
found() {
	sed 's/","why":".*//' "$tmp/out" |
		grep -q "^{\"level\":\"$1\",\"check\":\"$2\",\"what\":\".*$3" &&
		! grep -v '"level":"ok"' "$tmp/out" | grep -vq '"why":"..*","todo":"..*"}$'
}
# only LEVEL CHECK PATTERN: it is the only one that isn't fine.
only() { found "$@" && same 1 "$(grep -vc '"level":"ok"' "$tmp/out")"; }
# nothing_left: no file of its own is in the data folder.
nothing_left() { not ls "$at"/td-sync-doctor-* 2>/dev/null; }
# backed_up SECONDS_AGO: a note of a backup.
backed_up() {
	printf '{"at":"%s","path":"/backups/x","projects":1,"events":2}\n' \
		"$(date -u -d "@$(($(date +%s) - $1))" +%Y-%m-%dT%H:%M:%SZ)" >"$at/last-backup.json"
}
# a_copy: of the data folder, to be spoilt; it is $at from then on.
a_copy() {
	at=$tmp/copy
	rm -rf "$at"
	cp -a "$data" "$at"
}
log_of() { echo "$at/projects/$project/events.db"; }
edit() { sql "$at/projects/$project/$1" "$2" >/dev/null; }
root() { [ "$(id -u)" = 0 ]; }

is "a server runs" serve
is "there is an account" admin user add anna@example.com
is "and a project" admin project add website --owner anna@example.com
project=$(admin project list | awk '$NF == "website" || /website/ { print $1; exit }')
token=$(admin token create --user anna@example.com)
issues 1 20 | push "$project" "$token"
start_fronts

# --- nothing is wrong ---

backed_up 3600
tokens=$(admin token list | wc -l)
deeds=$(admin audit | wc -l)
is "a server where nothing is wrong" doctor 0 --url "$url"
is "all of it was looked at" same \
	"backup clock configuration exposed file_system health keys large locks logs mail metrics nginx permissions pool space sqlite token_arrives" \
	"$(sed 's/.*"check":"\([a-z_]*\)".*/\1/' "$tmp/out" | sort | tr '\n' ' ' | sed 's/ $//')"
is "nginx's configuration in force was read" found ok nginx 'are right for /sync/push'
is "the pool is seen" found ok pool '[0-9]* workers, master'
is "SQLite's bug is no fault" found ok sqlite '3\.[0-9]*\.'
is "nothing is left behind" nothing_left
is "no token was made" same "$tokens" "$(admin token list | wc -l)"
is "nothing was noted in the audit log" same "$deeds" "$(admin audit | wc -l)"
is "as text" "$TD_SYNC_BUILD/td-sync-admin" --data "$data" doctor --url "$url"
"$TD_SYNC_BUILD/td-sync-admin" --data "$data" doctor --url "$url" >"$tmp/out"
is "in groups" same "data folder,settings,projects,web server,server,nothing is wrong," \
	"$(grep -v '^ ' "$tmp/out" | tr '\n' ',')"

# --- the data folder ---

at=$tmp/nowhere
is "no folder" sh -c "'$TD_SYNC_BUILD/td-sync-admin' --data '$at' doctor 2>/dev/null; [ \$? = 1 ]"
mkdir "$tmp/empty"
at=$tmp/empty
is "one that is none" doctor 6
is "is told" found error accounts 'is no data folder'
at=$data

key=$(ls "$data"/keys/*.json)
chmod 640 "$key"
is "a key that others may read" doctor 6 --url "$url"
is "is named" found error keys "keys/[^ ]*json can be read by others"
chmod 600 "$key"
chmod 755 "$data"
is "a folder that is open" doctor 7 --url "$url"
is "is told" only warning permissions 'open to everybody (mode 0755)'
chmod 700 "$data"

if root; then
	chown 1 "$data/projects/$project/waiters"
	is "a file of another user" doctor 6 --url "$url"
	is "is named" found error owner "1 file is not user 0.s.*projects/$project/waiters"
	chown 0 "$data/projects/$project/waiters"
	: >"$data/.setup"
	chown 1 "$data/.setup"
	is "what setup.sh wrote there is nobody's fault" doctor 0 --url "$url"
	rm "$data/.setup"
	mkdir "$data/lost+found"
	chown 1 "$data/lost+found"
	is "a disk of its own has a folder of its own" doctor 0 --url "$url"
	rmdir "$data/lost+found"

	cp -a "$data" "$tmp/theirs"
	chown -R 65534 "$tmp/theirs"
	chmod 755 "$tmp"
	at=$tmp/theirs
	backed_up 0
	is "root looks as the folder's owner" doctor 7
	is "and finds no fault of rights" only warning pool 'no td-sync.fcgi runs'
	chmod 644 "$tmp/theirs/td-sync.conf"
	chmod 755 "$at"
	at=$data
	status=0
	setpriv --reuid 65534 --clear-groups "$TD_SYNC_BUILD/td-sync-admin" --data "$data" --json \
		doctor >"$tmp/out" 2>/dev/null || status=$?
	is "somebody else can't look" test "$status" -ge 1
else
	echo "skipped: owners (needs root)"
fi
if can_mount; then
	mkdir "$tmp/small"
	for each in 'size=40m ERROR error' 'size=400m WARNING warning'; do
		size=${each%% *} level=${each##* }
		mount -t tmpfs -o "$size,mode=700" none "$tmp/small"
		cp -a "$data/." "$tmp/small"
		at=$tmp/small
		[ "$level" = error ] && code=6 || code=7
		is "a disk with $size" doctor $code
		is "has little room: $level" found "$level" space 'MiB are free'
		umount "$tmp/small"
	done
	mount -t tmpfs -o nr_inodes=300,size=2g,mode=700 none "$tmp/small"
	cp -a "$data/." "$tmp/small"
	is "a disk with few inodes" doctor 6
	is "is told" found error inodes 'more files'
	umount "$tmp/small"
	mount -t tmpfs -o size=64m,mode=700 none "$tmp/small"
	cp -a "$data/." "$tmp/small"
	dd if=/dev/zero of="$tmp/small/fill" bs=1M 2>/dev/null || true
	is "a full disk" doctor 6
	is "has no room" found error space '[^0-9]*0 MiB are free'
	is "for anything" found error file_system '.'
	umount "$tmp/small"
	mount -t tmpfs -o size=2g,mode=700 none "$tmp/small"
	cp -a "$data/." "$tmp/small"
	mount -o remount,ro "$tmp/small"
	is "a disk that is read-only" doctor 6
	is "can't be written" found error permissions "can't be read and written"
	is "for nothing can be made there" found error file_system "nothing can be made"
	umount "$tmp/small"
	# The kernel tells locks by numbers, which files of two such disks share.
	for each in small other; do
		mkdir -p "$tmp/$each"
		mount -t tmpfs -o size=2g,mode=700 none "$tmp/$each"
	done
	cp -a "$data/." "$tmp/small"
	for n in $(seq 2000); do
		: >"$tmp/other/$n"
	done
	twin=$(find "$tmp/other" -inum "$(stat -c %i "$tmp/small/server.lock")")
	hold "$twin"
	is "a lock of another disk's" test -f "$twin"
	doctor 7 || true
	is "is none of ours" not found error lock .
	release
	umount -l "$tmp/other"
	umount "$tmp/small"
	at=$data
else
	echo "skipped: small disks (root can't mount here, or isn't root)"
fi

# --- settings ---

a_copy
echo 'colour = red' >>"$at/td-sync.conf"
is "an unknown key" doctor 6
is "is named with its line" found error configuration 'colour'
a_copy
echo 'max_push_bytes = many' >>"$at/td-sync.conf"
is "a value that is none" doctor 6
is "is named" found error configuration 'max_push_bytes.*must be a number'
a_copy
rm "$at"/keys/*.json
is "no key" doctor 6
is "signs" found error keys 'no key that signs'
echo '{' >"$at/keys/k_1.json"
chmod 600 "$at/keys/k_1.json"
is "a broken key" doctor 6
is "is named" found error keys 'k_1.json'
a_copy
TD_SYNC_SERVER_DATA='' "$TD_SYNC_BUILD/td-sync-admin" --data "$at" key rotate --overlap 0 >"$tmp/kid"
doctor 7 || true
is "which signs, and what is retired" found ok keys "$(cat "$tmp/kid") (HS256) signs; 1 verifies, 1 is retired"

mail() {
	a_copy
	printf '%s\n' "$@" >>"$at/td-sync.conf"
}
mail 'mail = sendmail' 'mail_from = a@example.com' "sendmail = $tmp/no-sendmail"
is "mail by a program that isn't there" doctor 6
is "is told" found error mail 'no-sendmail, which can.t be run'
mail 'mail_from = a@example.com' "sendmail = $tmp/no-sendmail"
is "the same where nobody said how" doctor 7
is "is a warning" found warning mail 'mail_from is set'
mail 'signup = open'
is "sign-up without mail" doctor 7
is "is told" found warning mail 'signup is not closed'
smtp="$TD_SYNC_BUILD/td-sync-smtp"
mail 'mail = smtp' 'mail_from = a@example.com' 'smtp_url = smtp://127.0.0.1' "smtp_program = $smtp" \
	'smtp_user = u' "smtp_password_file = $tmp/password"
is "no password file" doctor 6
is "is told" found error mail "password can.t be read"
echo secret >"$tmp/password"
chmod 644 "$tmp/password"
is "one that all may read" doctor 6
is "is told, too" found error mail 'password can be read by others (mode 0644)'
chmod 600 "$tmp/password"
is "one that is right" doctor 7
is "is fine, and no mail was sent" found ok mail 'from a@example.com by smtp://127.0.0.1'
is "the secret is told nowhere" not grep -q secret "$tmp/out"

a_copy
rm "$at/last-backup.json"
is "no backup" doctor 7
is "is told" found warning backup 'never was a backup'
backed_up $((2 * 86400 - 60))
is "one of two days" doctor 7
is "will do" found ok backup '47 h old: /backups/x'
backed_up $((2 * 86400 + 60))
is "an older one" doctor 7
is "will not" found warning backup 'is 2 days old'
echo nonsense >"$at/last-backup.json"
is "a note that makes no sense" doctor 7
is "tells of none" found warning backup 'tells of no backup'

# --- projects ---

a_copy
edit events.db "UPDATE head SET time_us = (strftime('%s','now') + 7200) * 1000000"
is "a clock that was set back" doctor 6
is "is told" found error clock 'from now: the clock was set back'
a_copy
edit events.db "UPDATE head SET count = count + 3"
is "events that are missing" doctor 6
is "are told" found error log 'it says that it has 23 events up to 20, of the newest there are 20'
a_copy
edit events.db "UPDATE event SET seq = seq + 100 WHERE seq = 20"
is "events behind the head" doctor 6
is "are told" found error log 'of the newest there are 20 up to 120'
a_copy
rm "$(log_of)"
is "no log" doctor 6
is "is told" found error log "$project): there is no log at"
a_copy
printf '%065d' 0 | dd of="$(log_of)" conv=notrunc 2>/dev/null
rm -f "$(log_of)"-*
is "a damaged log" doctor 6
is "is told" found error log 'events.db'
a_copy
edit events.db "DELETE FROM event WHERE seq > 10; UPDATE head SET seq = 10, count = 10, visible = 10"
is "an older copy of a log" doctor 6
is "is told" found error log 'not the log that was written here last'
a_copy
edit events.db "UPDATE meta SET value = 99 WHERE key = 'format'"
is "a log of a newer td-sync" doctor 6
is "is told" found error log 'has format 99'
a_copy
edit events.db "UPDATE meta SET value = 'garden' WHERE key = 'profile'"
is "a log for a profile that isn't there" doctor 6
is "is told" found error profile garden
a_copy
printf '%0100d' 0 | dd of="$at/server.db" conv=notrunc 2>/dev/null
rm -f "$at"/server.db-*
is "damaged accounts" doctor 6
is "are told" found error accounts 'server.db'
a_copy
edit events.db "UPDATE head SET seq = seq + 1000"
sql "$at/projects/$project/devices.db" "CREATE TABLE IF NOT EXISTS lost(name TEXT PRIMARY KEY,
	after_seq INTEGER NOT NULL, until_seq INTEGER NOT NULL, seen_us INTEGER NOT NULL) WITHOUT ROWID;
	INSERT INTO lost(name, after_seq, until_seq, seen_us) VALUES ('dev-lost', 20, 35, 1764150000000000)"
is "a device that holds what was lost" doctor 7
is "is named" found warning lost 'dev-lost holds events that the server lost: of 21 to 35'

at=$data
event 900 gizmos g-1 '{"id":"g-1"}' | push "$project" "$token"
event 901 issues td-900001 '{"id":"td-900001","flavour":1,"colour":2}' | push "$project" "$token"
event 902 comments c-900001 '{"id":"c-900001","issue_id":"td-none","text":"x","session_id":"s"}' |
	push "$project" "$token"
curl -sS -o "$tmp/answer" -H "Authorization: Bearer $token" "$url/v1/projects/$project/sync/conflicts"
is "events that nobody knows are warned of" doctor 7 --url "$url"
is "what, how many, since when" found warning parked '1 event of the type gizmos, which is unknown here, since 20.*(event 21)'
is "and the columns" found warning parked 'of the type issues with unknown columns alone (id, flavour, colour)'
is "one that could not be applied is no fault" found ok skipped '1 event could not be applied'
is "as text they are told once" sh -c \
	"'$TD_SYNC_BUILD/td-sync-admin' --data '$data' doctor --url '$url' | grep -c 'parked:' | grep -qx 2"

for first in 10000 11000 12000; do
	issues $first 700 | push "$project" "$token"
done
a_copy
rm -f "$at/projects/$project"/state.db*
is "no state of a log that is in use" doctor 7
is "will be made" not found warning state '.'
edit events.db "UPDATE head SET time_us = time_us - 900000000"
is "none though the log is at rest" doctor 7
is "is told" found warning state 'there is none of it, though it has 2123 events'
a_copy
curl -sS -o "$tmp/answer" -H "Authorization: Bearer $token" "$url/v1/projects/$project/sync/conflicts"
a_copy
edit state.db "UPDATE tdsync_state SET seq = 23"
edit events.db "UPDATE head SET time_us = time_us - 900000000"
is "a state that is behind" doctor 7
is "is told" found warning state 'it is at event 23, the log at 2123 since'
edit state.db "UPDATE tdsync_state SET seq = 123"
is "one that is 2000 behind" doctor 7
is "is not" not found warning state '.'

# --- locks ---

at=$data
hold "$data/projects/$project/lock"
flock "$data/projects/$project/lock" true &
waiter=$!
sleep 0.2
is "a lock that somebody holds" doctor 6 --url "$url"
is "is told, with who waits" found error lock \
	"process [0-9]* ([a-z]*) has held projects/$project/lock for more than 3 s; 1 waits"
release
wait $waiter
is "one that was let go" doctor 7 --url "$url"
is "is not" found ok locks 'nobody holds one'

for lock in 'server.lock error' "projects/$project/state.lock warning"; do
	hold "$data/${lock% *}"
	doctor "$([ "${lock#* }" = error ] && echo 6 || echo 7)" || true
	is "${lock% *} is named, too" found "${lock#* }" lock "(flock) has held ${lock% *} for more"
	release
done

# --- nginx ---

conf=$demo/run/td-sync.conf
cp "$conf" "$tmp/td-sync.conf"
wrong() {
	sed "$1" "$tmp/td-sync.conf" >"$conf"
	doctor "$2" --url "$url"
}
is "pushes that nginx refuses" wrong 's/client_max_body_size 65m/client_max_body_size 10m/' 6
is "are told" found error nginx 'client_max_body_size is 10485760 bytes for /sync/push'
is "any size" wrong 's/client_max_body_size 65m/client_max_body_size 0/' 7
is "is told" found warning nginx 'client_max_body_size is off'
is "a limit that is just enough" wrong 's/client_max_body_size 65m/client_max_body_size 64m/' 7
is "is fine" found ok nginx 'are right'
is "one of the server's own, behind the location" wrong \
	's/client_max_body_size 65m;//; s/client_max_body_size 1m/client_max_body_size 70m/' 7
is "counts for it" found ok nginx 'are right'
is "answers that end with the connection" wrong 's/fastcgi_keep_conn on/fastcgi_keep_conn off/' 7
is "are told" found warning nginx 'fastcgi_keep_conn is off'
is "slow bodies" wrong 's/fastcgi_request_buffering on/fastcgi_request_buffering off/' 7
is "are told" found warning nginx 'fastcgi_request_buffering is off'
is "stale answers" wrong 's/fastcgi_cache_use_stale off/fastcgi_cache_use_stale updating/' 7
is "are told" found warning nginx 'fastcgi_cache_use_stale is on'
is "addresses that anybody makes up" wrong 's/#set_real_ip_from 192.0.2.1/set_real_ip_from 0.0.0.0\/0/' 7
is "are told" found warning nginx 'set_real_ip_from is everybody'
is "no place for pushes" wrong 's,location ~ /sync/push\$,location ~ /sync/pull$,' 7
is "is told" found warning nginx 'no location for pushes'
is "what nginx can't read" wrong 's/^server {/server { nonsense;/' 7
is "is told" found warning nginx 'a configuration that is wrong: .*-T failed: .*nonsense'
cp "$tmp/td-sync.conf" "$conf"
is "what nginx has not read again since it was changed" doctor 7 --url "$url"
is "is told" found warning nginx 'td-sync.conf was changed after nginx read it'
sleep 3 # so exactly it is known when a process began
kill -HUP "$(cat "$demo/run/nginx.pid")"
sleep 1
is "what it has" doctor 7 --url "$url"
is "is not" not found warning nginx '.'

# Started by files, and for a folder, whose names have blanks.
cp -a "$data" "$tmp/my data"
mkdir "$tmp/my nginx"
blank() { # blank HOW: the folder's name, as that nginx has it
	cat >"$tmp/my nginx/nginx.conf" <<END
user $(id -un);
pid nginx.pid;
events { }
http {
	access_log off;
	client_body_temp_path 1;
	proxy_temp_path 2;
	fastcgi_temp_path 3;
	uwsgi_temp_path 4;
	scgi_temp_path 5;
	server {
		listen 127.0.0.1:$((port + 9));
		location /pages/ { alias	$1; }
		location /sync/push { client_max_body_size 10m; fastcgi_pass unix:$tmp/none; }
	}
}
END
	(cd / && nginx -p "$tmp/my nginx" -e "$tmp/my nginx/error.log" -c "$tmp/my nginx/nginx.conf")
	at="$tmp/my data"
	looked=0
	doctor 6 || looked=$?
	at=$data
	kill "$(cat "$tmp/my nginx/nginx.pid")"
	return "$looked"
}
small() { found error nginx 'client_max_body_size is 10485760 bytes'; }
for how in "'$tmp/my data/pages/'" "\"$tmp/my data/pages/\"" "$tmp/my\\ data/pages/" "'../my data/pages/'"; do
	is "a folder with a blank: $how" blank "$how"
	is "is looked at" small
done

# Where ours is found, it is no matter what another installation's nginx says.
cp "$tmp/fronts/sites.conf" "$tmp/sites.conf"
echo 'nonsense on;' >>"$tmp/fronts/sites.conf"
is "another installation's nginx whose configuration is wrong" doctor 7 --url "$url"
is "is no fault of this one's" not found warning nginx '.'
is "which is looked at" found ok nginx 'are right'
cp "$tmp/sites.conf" "$tmp/fronts/sites.conf"

# In a container, a name stands for another program.
if can_mount; then
	mkdir "$tmp/container"
	printf '#!/bin/sh\n: >"%s/ran"\n' "$tmp" >"$tmp/container/nginx"
	chmod 755 "$tmp/container/nginx"
	unshare -m sh -c 'mount -t tmpfs none "$1/container" && cp "$(command -v nginx)" "$1/container/" &&
		cd / && "$1/container/nginx" -p "$1/my nginx" -e "$1/my nginx/error.log" -c "$1/my nginx/nginx.conf"' \
		sh "$tmp"
	at="$tmp/my data"
	is "an nginx in a container" doctor 7
	is "is not asked" found ok nginx 'no nginx was found here'
	is "nor what has its name here" not test -e "$tmp/ran"
	at=$data
	kill "$(cat "$tmp/my nginx/nginx.pid")"
else
	echo "skipped: an nginx in a container (needs root)"
fi

# --- the front door ---

is "a front door that drops the token" doctor 6 --url "$(at 1)"
is "is told" found error token_arrives 'drops the Authorization header'
is "a folder that is handed out" doctor 6 --url "$(at 2)"
is "is told" found error exposed '/data/td-sync-doctor-[0-9a-f]* is handed out'
is "with what to do about the keys" grep -q 'key rotate --overlap 0' "$tmp/out"
at="$tmp/my data"
is "one whose name has a blank" doctor 6 --url "$(at 2)"
is "is found, too" found error exposed '/my%20data/td-sync-doctor-[0-9a-f]* is handed out'
at=$data
is "a 413 that is a page" doctor 7 --url "$(at 3)"
is "is told" found warning large 'the front door answers text/html (413)'
is "a web server that knows nothing of it" doctor 6 --url "$(at 4)"
is "is told" found error health 'is no td-sync server: it answers text/html (200)'
is "and a page for everything hands out nothing" found ok exposed 'not handed out'
is "one that answers everything" doctor 6 --url "$(at 5)/plain"
is "hands out nothing, either" found ok exposed 'not handed out'
is "below a path of a site that answers everything" doctor 7 --url "$(at 10)/sub"
is "nothing is handed out, either" found ok exposed 'not handed out'
is "an address that moved" doctor 6 --url "$(at 5)"
is "is told" found error health 'sends elsewhere (301)'
is "a body of any size" doctor 7 --url "$(at 6)"
is "is told" found warning large 'begins to take a body of 2 GiB'
is "answers that may be kept" doctor 7 --url "$(at 7)"
is "are told" found warning cache 'public, max-age=60'
is "another clock" doctor 7 --url "$(at 8)"
is "is told" found warning clock 'ahead of the server.s'
is "nobody there" doctor 6 --url "$(at 9)"
is "is told" found error connect 'refused\|connect'
is "an address that is none" doctor 6 --url 'gopher://x'
is "is told" found error address 'http'
is "a host that has no address" doctor 6 --url http://host.invalid
is "is told" found error name 'resolve'
is "nothing is left behind" nothing_left
echo "url = $url" >>"$data/td-sync.conf"
is "the address of the configuration" doctor 7
is "is asked" found ok health 'the server answers'

# alone, without the client's command
mkdir "$tmp/alone"
cp "$TD_SYNC_BUILD/td-sync-admin" "$tmp/alone"
is "without td-sync beside it" sh -c \
	"'$tmp/alone/td-sync-admin' --data '$data' --json doctor >'$tmp/out'; [ \$? = 7 ]"
is "the way from outside is not looked at" found ok front_door "td-sync doctor $url"

# Whether the file that is asked for from outside lies in the folder.
lies_there() {
	for file in "$data"/td-sync-doctor-*; do
		[ ! -f "$file" ] || return 0
	done
	return 1
}
# ended by a signal while nobody answers: what it laid into the folder goes
nginx_pid=$(cat "$demo/run/nginx.pid")
workers=$(pgrep -P "$nginx_pid")
# shellcheck disable=SC2086
kill -STOP $workers
for signal in TERM INT HUP; do
	"$TD_SYNC_BUILD/td-sync-admin" --data "$data" doctor >"$tmp/out" 2>&1 &
	pid=$!
	for _ in $(seq 200); do
		lies_there && break
		sleep 0.05
	done
	is "$signal comes while it has a file in the folder" lies_there
	[ "$signal" != INT ] || signal=TERM # a shell's background child ignores SIGINT
	kill -s "$signal" "$pid"
	status=0
	wait "$pid" || status=$?
	is "it ends by it" test "$status" -gt 128
	is "and leaves nothing" nothing_left
done
# shellcheck disable=SC2086
kill -CONT $workers
# one that was killed outright
mkdir "$data/td-sync-doctor-0123456789abcdef"
touch -d '1 hour ago' "$data/td-sync-doctor-0123456789abcdef"
touch "$data/td-sync-doctor-0123456789abcdee"
doctor 7 || true
is "what an older one left goes" not test -e "$data/td-sync-doctor-0123456789abcdef"
is "what another one has just made stays" test -e "$data/td-sync-doctor-0123456789abcdee"
rm "$data/td-sync-doctor-0123456789abcdee"

# --- docs/operate.md: its commands, in their order, as an operator runs them ---

mkdir -p "$tmp/log" "$tmp/work/.todos" "$tmp/home"
ln -s "$demo/run/td-sync-error.log" "$tmp/log/error.log"
ln -s "$demo/run/td-sync-access.log" "$tmp/log/access.log"
gzip -dc "$src/tests/fixtures/empty-v38.db.gz" >"$tmp/work/.todos/issues.db"
admin project add garden --owner anna@example.com >/dev/null
garden=$(admin project list | awk '/garden/ { print $1; exit }')
issues 1 5 | push "$garden" "$token"
# A project where nothing is parked, so that the doctor has nothing to say.
admin project delete website --yes
sed "s/website/garden/g" "$src/docs/operate.md" | awk '
	/^```/ && inside { inside = 0 }
	inside
	/^```sh$/ { inside = 1 }' >"$tmp/blocks"
is "there are commands in docs/operate.md" grep -q '^td-sync-admin doctor' "$tmp/blocks"
backed_up 60
{ echo 'set -eu'; cat "$tmp/blocks"; } >"$tmp/script"
new=$(admin token create --user anna@example.com)
(cd "$tmp/work" && HOME=$tmp/home TD_SYNC_URL=$url TD_AUTH_KEY=$new "$TD_SYNC_BUILD/td-sync" link garden)
is "all of them work" env HOME="$tmp/home" TD_SYNC_SERVER_DATA="$data" TD_SYNC_URL="$url" \
	TD_AUTH_KEY="$new" PATH="$TD_SYNC_BUILD:$PATH" log="$tmp/log" \
	sh -c "cd '$tmp/work' && sh -x ../script"

# --- the server ---

: >"$tmp/metrics"
mv "$data/metrics" "$tmp/metrics.old"
: >"$data/metrics"
is "nothing that counts" doctor 7
is "is told" found warning metrics "can.t be used"
mv "$tmp/metrics.old" "$data/metrics"

(cd "$demo/run" && exec "$TD_SYNC_BUILD/td-sync.fcgi" --data "$data" --listen second.sock --workers 1 \
	>/dev/null 2>&1 </dev/null) &
second=$!
sleep 0.5
is "two pools" doctor 7
is "are told" found warning pool '2 pools'
kill $second
wait $second 2>/dev/null || true
end_pool
is "no pool" doctor 6
is "is seen from outside" found error health 'out of order (503)'
is "and here" found warning pool 'no td-sync.fcgi runs'
totals
