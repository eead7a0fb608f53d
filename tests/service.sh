#!/bin/sh
# An organisation's nginx, as setup.sh makes it: in a machine of its own, with a real
# systemd (tests/machine.sh). From nothing to a synced event through TLS; beside another
# site; killed at every step; new programs under load; wrong answers.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

needs nginx sqlite3 curl openssl systemd-analyze logrotate unshare nsenter
if [ "$(id -u)" != 0 ]; then
	echo "skipped: a machine with a systemd of its own can only be made by root"
	exit 77
fi

# --- the machine ---

machine=
init=
start_machine() {
	machine=$tmp/machine$1
	case $TD_SYNC_BUILD in "$src"/*) set -- ;; *) set -- "$TD_SYNC_BUILD" ;; esac
	unshare -m -p -C -n -i -u --fork sh "$src/tests/machine.sh" "$machine" "$src" "$@" >"$tmp/machine.log" 2>&1 9>&- &
	outer=$!
	for _ in $(seq 100); do
		init=$(cat "/proc/$outer/task/$outer/children" 2>/dev/null | tr -d ' ')
		[ -z "$init" ] || ! inside systemctl is-active basic.target >/dev/null 2>&1 || return 0
		sleep 0.1
	done
	return 1
}
stop_machine() {
	[ -z "$init" ] || kill -KILL "$init" 2>/dev/null || true
	init=
	wait "$outer" 2>/dev/null || true
}
# inside COMMAND...: there, as root.
inside() {
	nsenter -t "$init" -m -p -C -n -i -u -r -w env -i "PATH=$PATH" LANG=C.UTF-8 \
		TD_SYNC_BUILD="$TD_SYNC_BUILD" "$@" </dev/null
}
trap 'stop_machine; cleanup' EXIT
start_machine 1 || {
	echo "skipped: no machine could be made here: $(tail -n 1 "$tmp/machine.log")"
	exit 77
}
shared=$machine/shared # its /mnt

# --- what it is given ---

certificate() { # NAME HOST DAYS
	openssl req -newkey rsa:2048 -nodes -keyout "$shared/$1.key" -out "$shared/csr" -subj "/CN=$2" &&
		printf 'subjectAltName=DNS:%s' "$2" >"$shared/ext" &&
		openssl x509 -req -in "$shared/csr" -CA "$shared/ca.pem" -CAkey "$shared/ca.key" \
			-CAcreateserial -out "$shared/$1.pem" -days "$3" -extfile "$shared/ext"
}
{
	openssl req -x509 -newkey rsa:2048 -nodes -keyout "$shared/ca.key" -out "$shared/ca.pem" -days 9 -subj /CN=test
	certificate good sync.example.com 9
	certificate other other.example.com 9
	certificate over sync.example.com 0
} >/dev/null 2>&1
inside sh -c 'cat /mnt/ca.pem >>/etc/ssl/certs/ca-certificates.crt'
# answers [KEY=VALUE]...: a file of answers; the later of two of a key counts.
answers() {
	{
		echo 'format = 1'
		printf '%s\n' kind=nginx host=sync.example.com tls=files tls_certificate=/mnt/good.pem \
			tls_key=/mnt/good.key mail=off owner=anna@example.com backups= "$@" |
			awk -F= '{ line[$1] = $0 } END { for (key in line) { sub(/=/, " = ", line[key]); print line[key] } }'
	} >"$shared/answers"
}
setup() {
	status=0
	timeout 100 nsenter -t "$init" -m -p -C -n -i -u -r -w env -i "PATH=$PATH" LANG=C.UTF-8 \
		TD_SYNC_BUILD="$TD_SYNC_BUILD" "$src/setup.sh" --answers /mnt/answers --yes \
		</dev/null >"$tmp/out" 2>&1 || status=$?
	return "$status"
}
# refused PATTERN [KEY=VALUE]...: those answers end in a sentence, and what to do.
refused() {
	pattern=$1
	shift
	answers "$@"
	if setup; then return 1; fi
	grep -q -- "$pattern" "$tmp/out" && grep -q 'what to do: .' "$tmp/out"
}
get() { inside curl -sS -m 10 "$@"; }
other_lives() { same other "$(get http://other.example.com/)"; }
# What a run may not change: files with their owners and modes, and who runs.
tree() {
	inside sh -c 'for place in /etc /usr/local /var/lib/td-sync; do
		find "$place" -xdev ! -name "*.lock" ! -name "*-shm" ! -name "*-wal" \
			\( -type d -printf "%p %m %u %g\n" -o -printf "%p %m %u %g %s %T@\n" \); done | LC_ALL=C sort
		systemctl show --property MainPID td-sync.service nginx.service'
}

# --- wrong answers: nothing is made ---

is "no certificate there" refused "/mnt/none.pem can't be read" tls_certificate=/mnt/none.pem
is "one for another name" refused "is not for sync.example.com" tls_certificate=/mnt/other.pem tls_key=/mnt/other.key
is "one that is over" refused "certificate is over" tls_certificate=/mnt/over.pem tls_key=/mnt/over.key
is "another one's key" refused "does not fit" tls_key=/mnt/other.key
is "a host name that does not resolve" refused "does not resolve" host=nowhere.invalid
is "plain HTTP for others" refused "this machine only" tls=none
is "below a path, too" refused "this machine only" tls=none path=/td-sync
is "certbot for a port of one's own" refused "do not go together" tls=certbot host=sync.example.com:8443
is "a data folder that the service can't see" refused "can't be used" data=/home/td-sync
is "no sendmail, no mail_from" refused "mail needs\|there is no sendmail" mail=sendmail
inside sh -c 'openssl s_server -accept 443 -cert /mnt/good.pem -key /mnt/good.key -quiet \
	>/dev/null 2>&1 & echo $! >/mnt/pid'
sleep 0.5
is "a port that another program has" refused "port 443 is in use"
is "behind a proxy, too" refused "another port: listen = 127.0.0.1:8081" tls=proxy listen=127.0.0.1:443
inside sh -c 'kill "$(cat /mnt/pid)"'
is "nothing was made" not inside sh -c 'ls -d /var/lib/td-sync /usr/local/bin/td-sync.fcgi || id td-sync'

# --- beside another site ---

inside sh -c 'echo "server { listen 80; server_name other.example.com; return 200 other; }
	server { listen 443 ssl; server_name other.example.com; ssl_certificate /mnt/other.pem;
	ssl_certificate_key /mnt/other.key; return 200 other; }" >/etc/nginx/sites-enabled/other
	systemctl start nginx'
is "another site is there" other_lives
inside sh -c 'echo "server { nonsense; }" >/etc/nginx/sites-enabled/broken'
is "a site of others that nginx refuses is told" refused "refuses the configuration that is there"
is "and the other one lives" other_lives
inside rm /etc/nginx/sites-enabled/broken

# --- killed at every step ---

answers
for name in programs user folders accounts configuration owner service logs web-server site check; do
	(exec nsenter -t "$init" -m -p -C -n -i -u -r -w env -i "PATH=$PATH" LANG=C.UTF-8 \
		TD_SYNC_BUILD="$TD_SYNC_BUILD" setsid sh -c 'echo $$ >/mnt/pid
		exec "$0" --answers /mnt/answers --yes' "$src/setup.sh" </dev/null 2>&1 9>&-) |
		while IFS= read -r line; do
			case $line in "==> $name:"*)
				inside sh -c 'kill -KILL -$(cat /mnt/pid)' || true ;;
			esac
		done
done
is "killed at every step, it goes on" setup
is "an account, one token that is shown" grep -q '^    token     ey' "$tmp/out"
token=$(sed -n 's/^    token     //p' "$tmp/out")
operator=$(sed -n 's/^    operator  //p' "$tmp/out")
is "the operator's command, as it is said" inside sh -c "$operator | grep -q '^usage:'"
is "no other one is valid" same 1 "$(inside runuser -u td-sync -- td-sync-admin --json --data /var/lib/td-sync \
	token list | grep '"name":"setup"' | grep -vc '"revoked_at"')"
is "no file is left half" not inside sh -c 'find /etc /usr/local /var/lib/td-sync -name "*.setup-*" | grep .'
tree >"$tmp/before"
began=$(date +%s)
is "a second run" setup
is "takes less than 5 s" test $(($(date +%s) - began)) -le 5
tree >"$tmp/after"
is "and changes nothing" diff "$tmp/before" "$tmp/after"
is "the token is not shown again" not grep -q '^    token' "$tmp/out"
is "the other site lives" other_lives

# --- it is read after the other site, whose port this was ---

old_site() { inside openssl s_client -connect 127.0.0.1:443 -servername other.example.com "$@" 2>&1; }
narrowed() { for _ in $(seq 50); do old_site -tls1_2 >/dev/null || return 0; sleep 0.1; done; false; }
is "who asks for a name that nobody knows gets the site that was there first" same other "$(
	get -k --resolve nobody.example.com:443:127.0.0.1 https://nobody.example.com/)"
is "HTTP/2 is a port's, and now spoken there, too" same 2 "$(get -o /dev/null -w '%{http_version}' https://other.example.com/)"
is "its TLS is what it was" old_site -tls1_2
inside sed -i 's|other.key;|& ssl_protocols TLSv1.3;|' /etc/nginx/sites-enabled/other
inside systemctl reload nginx
is "narrowed, it is so" narrowed
is "and no less for what it has" old_site -tls1_3
inside sed -i 's| ssl_protocols TLSv1.3;||' /etc/nginx/sites-enabled/other
# An nginx of another make reads one folder only.
inside sed -i '/sites-enabled/d' /etc/nginx/nginx.conf
inside sh -c 'cat /etc/nginx/sites-enabled/other >/etc/nginx/conf.d/www.conf'
is "where nginx reads conf.d alone" setup
is "it is read last, too" same other "$(
	get -k --resolve nobody.example.com:443:127.0.0.1 https://nobody.example.com/)"
inside sed -i 's|include /etc/nginx/conf.d.*|& include /etc/nginx/sites-enabled/*;|' /etc/nginx/nginx.conf
inside rm /etc/nginx/conf.d/www.conf
is "and back" setup
is "by one link" same /etc/nginx/sites-enabled/zz-td-sync.conf "$(inside find /etc/nginx -name 'zz-*')"
is "the other site still lives" other_lives

# --- what is there ---

url=https://sync.example.com
is "TLS, trusted, HTTP/2" same "2 200" "$(get -o /dev/null -w '%{http_version} %{http_code}' $url/healthz)"
if inside grep -q . /proc/net/if_inet6; then
	is "by IPv6, too" same 200 "$(get --resolve 'sync.example.com:443:[::1]' -o /dev/null -w '%{http_code}' $url/healthz)"
	is "and its plain HTTP" same "301 $url/x" "$(get --resolve 'sync.example.com:80:[::1]' -o /dev/null \
		-w '%{http_code} %{redirect_url}' http://sync.example.com/x)"
else
	echo "skipped: IPv6, which this machine does not have"
fi
is "no TLS 1.1" not inside sh -c 'openssl s_client -connect 127.0.0.1:443 -tls1_1 -cipher ALL:@SECLEVEL=0 </dev/null 2>&1 | grep -q "Cipher is [A-Z]"'
is "it is to stay TLS" inside sh -c "curl -sSI $url/healthz | grep -qi '^strict-transport-security: max-age=63072000'"
is "a token by plain HTTP is told so" same 403 "$(get -o /dev/null -w '%{http_code}' http://sync.example.com/v1/projects)"
is "a page leads on" same "301 $url/x" "$(get -o /dev/null -w '%{http_code} %{redirect_url}' http://sync.example.com/x)"
exposure() { inside systemd-analyze security --no-pager td-sync.service | sed -n 's/.*level for td-sync.service: \([0-9.]*\) .*/\1/p'; }
is "the service is walled in" awk "BEGIN { exit !($(exposure) < 2.0) }"
inside mkdir /tmp/units
inside sh -c 'cp -r /etc/systemd/system/td-sync.service /tmp/units/ && mkdir /tmp/units/td-sync.service.d &&
	cp /usr/local/share/td-sync/systemd/mail-smtp.conf /tmp/units/td-sync.service.d/'
is "also where it sends mail by SMTP" inside systemd-analyze security --offline=yes --threshold=20 --no-pager /tmp/units/td-sync.service
is "the units are right" inside systemd-analyze verify --man=no /etc/systemd/system/td-sync.service
project=$(inside runuser -u td-sync -- td-sync-admin --data /var/lib/td-sync project add website --owner anna@example.com)
mkdir -p "$shared/work/.todos"
gzip -dc "$src/tests/fixtures/empty-v38.db.gz" >"$shared/work/.todos/issues.db"
sqlite3 "$shared/work/.todos/issues.db" "INSERT INTO issues(id, title) VALUES('td-000001', 'T');
	INSERT INTO action_log(id, session_id, action_type, entity_type, entity_id, new_data,
		timestamp, undone) VALUES('al-00000001', 's', 'create', 'issue', 'td-000001',
		'{\"id\":\"td-000001\",\"title\":\"T\"}', '2026-11-26T10:00:00Z', 0)"
client() { inside env HOME=/mnt TD_SYNC_URL="$1" TD_AUTH_KEY="$token" td-sync --dir /mnt/work "$2" ${3+"$3"}; }
is "a project is linked" client $url link website
is "an event is synced" client $url sync
status_of() { get -H "Authorization: Bearer $token" "$1/v1/projects/$project/sync/status"; }
is "the server has it" sh -c 'case $1 in *\"event_count\":[1-9]*) ;; *) echo "$1"; false ;; esac' sh "$(status_of $url)"

# --- new programs, under load ---

cat >"$shared/push" <<'TEXT'
n=0
while [ -e /mnt/loading ]; do
	n=$((n + 1))
	printf '{"device_id":"d%s","session_id":"s","events":[{"client_action_id":%s,"action_type":"create","entity_type":"issues","entity_id":"td-%s-%s","payload":{"new_data":{"title":"x"}},"client_timestamp":"2026-11-27T00:00:00Z"}]}' "$1" "$n" "$1" "$n" |
		curl -sS -m 20 -o /dev/null -w '%{http_code}\n' -H "Authorization: Bearer $2" --data-binary @- "$3"
done >"/mnt/load.$1" 2>&1
TEXT
# Each client has a token of its own, as nginx counts pushes by token and project.
load() {
	for n in 1 2 3 4 5 6 7 8; do
		inside runuser -u td-sync -- td-sync-admin --data /var/lib/td-sync token create \
			--user anna@example.com --name "client $n" >"$tmp/token.$n"
	done
	: >"$shared/loading"
	for n in 1 2 3 4 5 6 7 8; do
		inside sh /mnt/push "$n" "$(cat "$tmp/token.$n")" "$url/v1/projects/$project/sync/push" &
		eval "load$n=$!"
	done
	sleep 1
}
loaded() {
	sleep 1
	rm "$shared/loading"
	for n in 1 2 3 4 5 6 7 8; do eval "wait \$load$n" || true; done
	cat "$shared"/load.* | sort | uniq -c >"$tmp/is.load"
	cat "$tmp/is.load"
	[ "$(awk '{ print $2 }' "$tmp/is.load")" = 200 ] && awk '{ exit !($1 > 100) }' "$tmp/is.load"
}
pid() { inside systemctl show --property MainPID --value td-sync.service; }
workers() { inside sh -c 'cat /proc/$0/task/$0/children' "$(pid)" | tr ' ' '\n' | grep . | sort; }
# others WORKER...: none of these is one any more, of four, within seconds.
others() {
	for _ in $(seq 50); do
		workers >"$tmp/workers"
		printf '%s\n' "$@" | sort | comm -12 - "$tmp/workers" >"$tmp/stayed"
		if [ ! -s "$tmp/stayed" ] && [ "$(wc -l <"$tmp/workers")" = 4 ]; then return 0; fi
		sleep 0.1
	done
	printf 'were: %s\n' "$*"
	cat "$tmp/workers"
	false
}
idle=$(workers)
inside systemctl reload td-sync.service
# shellcheck disable=SC2086 # a list of words
is "a reload replaces idle workers, all of them" others $idle
# systemd makes the socket, which all share, a blocking one by a reload. A worker that is
# woken by what another one gets would wait in accept() then, and hear of no signal there.
inside sh -c 'echo nonsense >>/var/lib/td-sync/td-sync.conf'
is "a reload with a wrong configuration is refused" not inside systemctl reload td-sync.service
inside sed -i '$d' /var/lib/td-sync/td-sync.conf
is "it goes on serving" same 200 "$(get -o /dev/null -w '%{http_code}' $url/healthz)"
is "by a socket that does not block" inside sh -c 'grep "^flags:.*4...\$" /proc/$0/fdinfo/0' "$(pid)"
idle=$(workers)
inside systemctl reload td-sync.service
# shellcheck disable=SC2086 # a list of words
is "and so does the next one" others $idle
load
before=$(pid)
for n in 1 2 3; do inside systemctl restart td-sync.service; done
is "it was restarted, three times" not same "$before" "$(pid)"
before=$(pid)
inside systemctl reload td-sync.service
is "and rolled" same "$before" "$(pid)"
# Another version: its programs are other files.
inside sh -c "echo >>'$TD_SYNC_BUILD/td-sync.fcgi'"
is "new programs are installed" setup
is "and run" not same "$before" "$(pid)"
# A newer version still, with the command for it; its databases are backed up before.
backups() { inside sh -c 'ls -d /var/backups/td-sync/td-sync-*' 2>/dev/null | wc -l; }
manage() { # COMMAND [ARGUMENT]...: with the answers that are kept
	status=0
	timeout 100 nsenter -t "$init" -m -p -C -n -i -u -r -w env -i "PATH=$PATH" LANG=C.UTF-8 \
		TD_SYNC_BUILD="$TD_SYNC_BUILD" "$src/setup.sh" "$@" </dev/null >"$tmp/out" 2>&1 || status=$?
	return "$status"
}
timer() { inside systemctl is-active td-sync-backup.timer; }
is "under load of 8 clients no request fails" loaded

# --- backups, an upgrade, and one that goes wrong ---

is "no backups were answered" not timer
answers backups=/var/backups/td-sync
is "backups are made" setup
is "the first one at once" same 1 "$(backups)"
is "by td-sync, for itself" same "700 td-sync:td-sync" "$(inside stat -c '%a %U:%G' /var/backups/td-sync)"
is "the timer runs" timer
looked() { # the test's certificate is over in some days, which is a warning
	inside td-sync-admin --json --data /var/lib/td-sync doctor >"$tmp/is.doctor"
	cat "$tmp/is.doctor"
	! grep '"level":"error"' "$tmp/is.doctor"
}
is "the doctor finds no error in what was installed" looked
is "their unit is right" inside systemd-analyze verify --man=no /etc/systemd/system/td-sync-backup.timer
tree >"$tmp/before"
is "a run after that" setup
tree >"$tmp/after"
is "changes nothing" diff "$tmp/before" "$tmp/after"
is "all of it is so" manage status
before=$(pid)
is "an upgrade to what there is" manage upgrade
is "does nothing" same "$before 1" "$(pid) $(backups)"
load
inside sh -c "echo >>'$TD_SYNC_BUILD/td-sync.fcgi'"
is "an upgrade" manage upgrade
is "runs the new programs" not same "$before" "$(pid)"
is "after a backup" same 2 "$(backups)"
before=$(inside sha256sum /usr/local/bin/td-sync.fcgi /etc/td-sync/installed.list)
inside sh -c "cp '$TD_SYNC_BUILD/td-sync.fcgi' /tmp/right; printf '#!/bin/sh\nexit 1\n' >'$TD_SYNC_BUILD/td-sync.fcgi'"
is "programs that don't run are refused" not manage upgrade
is "it says what is the matter" grep -q 'the new version does not answer' "$tmp/out"
is "that the one before it runs again" grep -q 'the one before it runs again' "$tmp/out"
is "and what to do" grep -q 'what to do: .' "$tmp/out"
is "which is so" same "$before" "$(inside sha256sum /usr/local/bin/td-sync.fcgi /etc/td-sync/installed.list)"
is "nothing of the new one is left" not inside sh -c 'find /etc /usr/local /var/lib/td-sync -name "*.setup-*" | grep .'
is "it serves" same 200 "$(get -o /dev/null -w '%{http_code}' $url/healthz)"
inside sh -c "cat /tmp/right >'$TD_SYNC_BUILD/td-sync.fcgi'"
is "no request of 8 clients failed in all that" loaded

# --- an upgrade that changes the format of server.db, and goes wrong ---

# Of the next version only what setup.sh runs: a td-sync-admin that makes format 4 of
# server.db, beside the one before it, whose workers and commands refuse that.
cat >"$shared/next-admin" <<'TEXT'
#!/bin/sh
db=/var/lib/td-sync/server.db
sql() { sqlite3 -bail -cmd '.timeout 5000' "$db" "$1" >&2; }
format() { sql "UPDATE meta SET value = '$1' WHERE key = 'format'"; }
case " $* " in
*" upgrade --check "*) [ -e "$db.format3" ] || exit 6 ;;
*" upgrade --back "*)
	[ ! -e /mnt/no-way-back ] || { echo "format 3 has no place for it" >&2; exit 4; }
	format 3 && rm "$db.format3" ;;
*" upgrade "*) sql "VACUUM INTO '$db.format3'" && format 4 && [ ! -e /mnt/bad-log ] ;;
*) exec /mnt/right-admin "$@" ;;
esac
TEXT
inside sh -c "cp '$TD_SYNC_BUILD/td-sync-admin' /mnt/right-admin && chmod 755 /mnt/next-admin"
server_format() {
	inside runuser -u td-sync -- sqlite3 /var/lib/td-sync/server.db "SELECT value FROM meta WHERE key = 'format'"
}
next() { # LINE...: of a td-sync.fcgi
	inside sh -c "cat /mnt/next-admin >'$TD_SYNC_BUILD/td-sync-admin'; cat >'$TD_SYNC_BUILD/td-sync.fcgi' <<TEXT
#!/bin/sh
$1
TEXT"
}
right() {
	inside sh -c "cat /mnt/right-admin >'$TD_SYNC_BUILD/td-sync-admin'; cat /tmp/right >'$TD_SYNC_BUILD/td-sync.fcgi'"
}
programs() { inside sha256sum /usr/local/bin/td-sync.fcgi /usr/local/bin/td-sync-admin /etc/td-sync/installed.list; }
as_before() {
	same "3 200 $before" "$(server_format) $(get -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $token" $url/v1/projects) $(programs)" &&
		not inside sh -c 'find /etc /usr/local /var/lib/td-sync -name "*.setup-*" -o -name "server.db.format*" | grep .'
}
before=$(programs)
next 'exit 1'
is "a next version that does not run, for databases of its own format" not manage upgrade
is "they go back" grep -q 'the one before it runs again' "$tmp/out"
is "the one before serves" as_before
next 'case "\$*" in *--check*) ;; *) exit 1 ;; esac'
is "one whose workers end at once" not manage upgrade
is "goes back, too" grep -q 'the one before it runs again' "$tmp/out"
is "and all is as before" as_before
: >"$shared/bad-log"
is "one that can't bring all databases to its format" not manage upgrade
is "says so" grep -q 'the programs before it are there again' "$tmp/out"
is "and all is as before that, too" as_before
rm "$shared/bad-log"
: >"$shared/no-way-back"
is "where the old format has no place for what was written since" not manage upgrade
is "nothing is thrown away" same 4 "$(server_format)"
is "it says for what" grep -q 'format 3 has no place for it' "$tmp/out"
is "and what to do" grep -q 'what to do: .*Going back' "$tmp/out"
is "what went before is kept" inside test -e /usr/local/bin/td-sync.fcgi.setup-old
rm "$shared/no-way-back"
is "once there is a way" not manage upgrade
is "all goes back" as_before
right

answers backups=/usr/local
is "a folder of others takes no backups" not setup
is "it is said" grep -q '/usr/local is not for backups' "$tmp/out"
answers
is "backups that are not answered any more" setup
is "are not made" not timer
is "those that there are stay" test "$(backups)" -ge 2
answers backups=/var/backups/td-sync
is "and again" setup

# --- mail, by the machine's own mail server ---

cat >"$shared/exim.conf" <<'TEXT'
primary_hostname = td-sync-test
keep_environment =
local_interfaces = 127.0.0.1
pid_file_path = /mnt/exim.pid
untrusted_set_sender = *
local_from_check = false
host_lookup =
acl_smtp_rcpt = accept
begin routers
all:
  driver = accept
  transport = mailbox
begin transports
mailbox:
  driver = appendfile
  file = /mnt/mail/box
  headers_add = X-Protocol: $received_protocol
  user = nobody
TEXT
if [ -x /usr/sbin/exim4 ]; then
	mkdir -m 1777 "$shared/mail"
	inside sh -c 'cp /mnt/exim.conf /etc/exim4/exim4.conf; rm -rf /var/spool/exim4/input/* /var/log/exim4/*'
	inside runuser -u td-sync -- td-sync-admin --data /var/lib/td-sync user add bob@example.com
	# mails PROTOCOL ADDRESS: who logs in gets a link, over that. (It is one a minute for each.)
	mails() {
		rm -f "$shared/mail/box"
		get -f -o /dev/null -d '{"email":"'"$2"'","code_challenge_method":"S256",
		"code_challenge":"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}' $url/v1/auth/device/start || return 1
		for _ in $(seq 100); do
			if grep -q "^X-Protocol: $1\$" "$shared/mail/box" 2>/dev/null; then
				grep -q '^From: .*td-sync@example.com' "$shared/mail/box" &&
					grep -q " $url/auth/device/approve?token=" "$shared/mail/box" && return
			fi
			sleep 0.1
		done
		cat "$shared/mail/box"
		inside tail -n 3 /var/log/td-sync/error.log /var/log/exim4/mainlog
		return 1
	}
	answers mail=auto mail_from=td-sync@example.com
	inside exim4 -bd
	is "a mail server on port 25 is found" setup
	is "and handed mail by that" mails esmtp anna@example.com
	is "by a service that is no less walled in" awk "BEGIN { exit !($(exposure) < 2.0) }"
	inside sh -c 'kill $(cat /mnt/exim.pid)'
	is "while it is down, nothing else is chosen" setup
	is "it is as it was" inside grep -qx 'mail = smtp' /var/lib/td-sync/td-sync.conf
	answers mail=sendmail mail_from=td-sync@example.com
	is "the program sendmail, where that is wanted" setup
	is "which runs with its own rights" mails local bob@example.com
	answers backups=/var/backups/td-sync
	is "and no mail" setup
else
	echo "skipped: mail by exim4, which is not installed here"
fi

# --- logs ---

is "the real logrotate takes our file" inside logrotate --force /etc/logrotate.d/td-sync
# logged PATTERN ARGUMENT...: asked again and again (the workers are replaced one by
# one), the new log has it.
logged() {
	pattern=$1
	shift
	for _ in $(seq 100); do
		get -o /dev/null "$@"
		! inside grep -q "$pattern" /var/log/td-sync/access.log || return 0
		sleep 0.1
	done
	return 1
}
is "the old log is kept" inside test -s /var/log/td-sync/access.log.1
is "the new one is written" logged healthz $url/healthz

# --- the commands of docs/install-nginx.md ---

awk '/^```sh$/ { on = 1; next } /^```$/ { on = 0 } on' "$src/docs/install-nginx.md" >"$tmp/commands"
is "the page has commands" test -s "$tmp/commands"
while IFS= read -r line; do
	is "$line" inside sh -ec "$line"
done <"$tmp/commands"

# --- any supervisor: a loop of a shell ---

# shellcheck disable=SC2016 # expanded there
inside sh -c 'mkdir -p /tmp/alone && chown td-sync /tmp/alone && cd /tmp/alone &&
	setsid runuser -u td-sync -- sh -c "while :; do td-sync.fcgi --data /var/lib/td-sync \
		--listen /tmp/alone/sock --workers 2 --pid-file /tmp/alone/pid; done" >/dev/null 2>&1 &'
has_pool() { for _ in $(seq 50); do inside sh -c 'test -S /tmp/alone/sock && test -s /tmp/alone/pid' && return; sleep 0.1; done; false; }
is "in a loop the pool runs" has_pool
inside sh -c 'kill $(cat /tmp/alone/pid); sleep 0.5'
is "and comes again" has_pool

# --- below a path of another site ---

answers host=other.example.com path=/td-sync
inside sed -i 's|return 200 other; }$|location / { return 200 other; } include snippets/td-sync.conf; }|' \
	/etc/nginx/sites-enabled/other
is "below a path, with the line there first" setup
inside sed -i 's| include snippets/td-sync.conf;||; s|location / { return 200 other; } }$|return 200 other; }|' \
	/etc/nginx/sites-enabled/other
inside rm -f /etc/nginx/snippets/td-sync.conf
is "a path needs a line in the site's file" not setup
is "that is said" grep -q 'include /etc/nginx/snippets/td-sync.conf;' "$tmp/out"
is "the other site lives meanwhile" other_lives
inside sed -i 's|return 200 other; }$|location / { return 200 other; } include /etc/nginx/snippets/td-sync.conf; }|' \
	/etc/nginx/sites-enabled/other
is "with it the run goes on" setup
url=https://other.example.com/td-sync
is "the server is below the path" same 200 "$(get -o /dev/null -w '%{http_code}' $url/healthz)"
is "the other site beside it" other_lives
client $url unlink >/dev/null 2>&1 || true
is "a client links there" client $url link website
is "and syncs" client $url sync
is "links of mails have the path" inside grep -qx "url = $url" /var/lib/td-sync/td-sync.conf
is "a snapshot is sent, by nginx" inside sh -c "curl -sS -H 'Authorization: Bearer $token' $url/v1/projects/$project/sync/snapshot | head -c 15 | grep -q 'SQLite format 3'"
inside sh -c 'printf "x:{PLAIN}x\n" >/etc/nginx/passwords'
inside sed -i '2s|server_name|auth_basic x; auth_basic_user_file passwords; root /mnt; location = /ca.pem { } &|' \
	/etc/nginx/sites-enabled/other
inside systemctl reload nginx
site_asks() { for _ in $(seq 50); do [ "$(get -o /dev/null -w '%{http_code}' https://other.example.com/ca.pem)" != 401 ] || return 0; sleep 0.1; done; false; }
is "a site that asks for passwords" site_asks
is "asks for none below the path" client $url sync
inside sed -i 's|auth_basic x; auth_basic_user_file passwords; root /mnt; location = /ca.pem { } ||' /etc/nginx/sites-enabled/other
is "errors are JSON there" sh -c 'case $1 in *not_found*) ;; *) false ;; esac' sh "$(get $url/nothing)"

# --- certbot, a proxy ---

inside sh -c 'printf "%s\n" "#!/bin/sh" "echo \"\$*\" >/mnt/certbot.said" \
	"mkdir -p /etc/letsencrypt/live/sync.example.com" \
	"cp /mnt/good.pem /etc/letsencrypt/live/sync.example.com/fullchain.pem" \
	"cp /mnt/good.key /etc/letsencrypt/live/sync.example.com/privkey.pem" >/usr/local/sbin/certbot'
answers
is "from a path to a host name of its own, with the line still there" setup
is "it answers there" same 200 "$(get -o /dev/null -w '%{http_code}' https://sync.example.com/healthz)"
is "once more, nothing is to be done" same 0 "$(setup && grep -cx '    done' "$tmp/out")"
inside sed -i 's| include /etc/nginx/snippets/td-sync.conf;||' /etc/nginx/sites-enabled/other
answers tls=certbot
is "without certbot it says how" not setup
is "in a sentence" grep -q "apt-get install certbot" "$tmp/out"
inside chmod 755 /usr/local/sbin/certbot
is "certbot (one that only pretends) is asked for a certificate" setup
is "by its webroot" grep -q -- '--webroot .*--domain sync.example.com' "$shared/certbot.said"
is "with that the server answers" same 200 "$(get -o /dev/null -w '%{http_code}' https://sync.example.com/healthz)"
answers tls=proxy listen=127.0.0.1:8085
is "behind a proxy" setup
is "it is asked by plain HTTP" same 200 "$(get -o /dev/null -w '%{http_code}' -H 'Host: sync.example.com' http://127.0.0.1:8085/healthz)"
is "and knows who the proxy says it is" logged 203.0.113.7 -H 'Host: sync.example.com' \
	-H 'X-Forwarded-For: 203.0.113.7' http://127.0.0.1:8085/healthz

# --- taking it away ---

answers host=other.example.com path=/td-sync backups=/var/backups/td-sync
setup || true # which wants that line
# As most sites write it: from nginx's own folder.
inside sed -i 's|location / { return 200 other; }|& include snippets/td-sync.conf;|' \
	/etc/nginx/sites-enabled/other
is "below a path once more" setup
inside sh -c 'mkdir -p /etc/systemd/system/td-sync.service.d &&
	printf "[Service]\nNice=5\n" >/etc/systemd/system/td-sync.service.d/override.conf'
is "uninstalled from there" manage uninstall
is "where the data is, is said" grep -qx '    /var/lib/td-sync' "$tmp/out"
is "and the backups" grep -qx '    /var/backups/td-sync' "$tmp/out"
is "nginx is right without it" inside nginx -t
is "the other site lives on" other_lives
is "what an administrator added to the unit stays" inside rm /etc/systemd/system/td-sync.service.d/override.conf
inside rmdir /etc/systemd/system/td-sync.service.d
inside sed -i 's| include snippets/td-sync.conf;||' /etc/nginx/sites-enabled/other
answers backups=/var/backups/td-sync
is "installed again, it takes up the data" setup
is "which has the project" sh -c 'case $1 in *website*) ;; *) false ;; esac' sh "$(get -H "Authorization: Bearer $token" https://sync.example.com/v1/projects)"
manage uninstall
inside sh -c 'rm -r /var/lib/td-sync && mkdir /var/lib/td-sync && mount -t tmpfs none /var/lib/td-sync &&
	mkdir -m 700 /var/lib/td-sync/lost+found'
is "where somebody removed the data and made a disk of it, it begins anew" setup
is "with an owner and a token" grep -q '^    token     ey' "$tmp/out"
awk '/^```/ { on = 0 } /^backup=/ { on = 1 } on' "$src/docs/backup.md" |
	sed "s|td-sync-2[0-9TZ]*\$|$(inside sh -c 'ls /var/backups/td-sync | head -n 1')|" >"$shared/restore"
is "a backup comes in its place by docs/backup.md" inside sh -eu /mnt/restore
is "that is what setup.sh made" manage status
is "with the project that was in it" inside sh -c 'td-sync-admin --data /var/lib/td-sync project list | grep website'
inside mkdir -m 700 /var/lib/td-sync/lost+found
inside sh -c 'cp /mnt/over.pem /mnt/good.pem; cp /mnt/over.key /mnt/good.key'
is "with a certificate that is over it is no less uninstalled" manage uninstall --remove-data --yes
is "the data is gone, not what is the disk's" same lost+found "$(inside ls -A /var/lib/td-sync)"
inside sh -c 'umount /var/lib/td-sync && rmdir /var/lib/td-sync'
is "the backups are not" test "$(backups)" -ge 2
is "nor their owner" inside id td-sync
is "no unit is left" not inside sh -c 'ls -d /etc/systemd/system/td-sync* /run/td-sync ||
	systemctl list-units --all --plain --no-legend | grep td-sync'
is "no program, site, log, answer" not inside sh -c 'ls -d /usr/local/bin/td-sync* /usr/local/share/td-sync \
	/etc/nginx/*/*td-sync* /etc/logrotate.d/td-sync /etc/td-sync /var/log/td-sync | grep .'
is "the other site is there" other_lives
totals
