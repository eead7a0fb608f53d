#!/bin/sh
# td-sync doctor: each finding provoked for real, and a replica with which nothing is wrong.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
needs nginx sqlite3 curl flock openssl
# shellcheck source=tests/client-lib.sh
. "${0%/*}/client-lib.sh"
# shellcheck source=tests/doctor-lib.sh
. "${0%/*}/doctor-lib.sh"

work=$tmp/work
db=$work/.todos/issues.db
books=$work/.todos/td-sync.db
# doctor CODE ARGUMENT...: as JSON, in the folder; no secret is in it.
doctor() {
	doctor_code=$1
	shift
	exits "$doctor_code" --json --dir "$work" doctor "$@" && ! grep -q "$TD_AUTH_KEY" "$tmp/out"
}
# found LEVEL CHECK PATTERN: such a finding is there, with all its parts.
found() {
	grep -o '{"level":[^}]*}' "$tmp/out" >"$tmp/findings"
	sed 's/","why":.*//' "$tmp/findings" |
		grep -q "^{\"level\":\"$1\",\"check\":\"$2\",\"what\":\".*$3" &&
		! grep -v '"level":"ok"' "$tmp/findings" | grep -vq '"why":"..*","todo":"..*"}$'
}
replica() {
	rm -rf "$work"
	mkdir -p "$work/.todos"
	gzip -dc "$src/tests/fixtures/empty-v38.db.gz" >"$db"
}
linked() {
	replica
	exits 0 --dir "$work" link website && exits 0 --dir "$work" sync
}

TD_AUTH_KEY=none
export TD_AUTH_KEY
is "a server runs" serve
is "there is an account" admin user add anna@example.com
is "and a project" admin project add website --owner anna@example.com
project=$(admin project list | awk '/website/ { print $1; exit }')
good=$(admin token create --user anna@example.com)
issues 1 20 | push "$project" "$good"
start_fronts
TD_SYNC_URL=$url
TD_AUTH_KEY=$good
export TD_SYNC_URL

# --- nothing is wrong ---

is "a replica" linked
before=$(cat "$work"/.todos/* | cksum)
is "with which nothing is wrong" doctor 0
is "all of it was looked at" same \
	"clock database events health large project token token_arrives" \
	"$(grep -o '"check":"[a-z_]*"' "$tmp/out" | cut -d'"' -f4 | sort | tr '\n' ' ' | sed 's/ $//')"
is "whose token it is" found ok token 'good for anna@example.com (sync:read sync:write project:admin) until 20'
is "the role" found ok project "$project is there; you are its owner"
is "how far it is" found ok events '20 here, 20 at the server, 0 to send'
is "nothing was changed" same "$before" "$(cat "$work"/.todos/* | cksum)"
is "as text" exits 0 --dir "$work" doctor
is "a line each" same 8 "$(wc -l <"$tmp/out")"
is "quietly" exits 0 --quiet --dir "$work" doctor
is "it says nothing" same '' "$(cat "$tmp/out")"
rm -rf "$tmp/bare"
mkdir "$tmp/bare"
proxied() { (unset no_proxy; export http_proxy="$(at 9)"; "$@"); }
is "a proxy is not asked for what is on this machine" proxied exits 0 --dir "$work" sync
is "nor is the way looked at by it" proxied doctor 0
is "in a folder without a project" exits 0 --json --dir "$tmp/bare" doctor
is "the server alone is looked at" found ok database 'no td project in this folder'

# --- the way to the server ---

is "an address that is none" doctor 6 ftp://x
is "is told" found error address 'http'
is "a host without an address" doctor 6 http://host.invalid
is "is told" found error name resolve
is "nobody at the port" doctor 6 "$(at 9)"
is "is told" found error connect .
is "and what is here is looked at all the same" found ok database whole
is "a page" doctor 6 "$(at 4)"
is "is no td-sync" found error health 'text/html (200)'
is "an address that moved" doctor 6 "$(at 5)"
is "is told" found error health '(301)'
is "a wrong path" doctor 6 "$url/somewhere"
is "is told" found error health '.'
is "a front door that drops the token" doctor 6 "$(at 1)"
is "is told" found error token_arrives 'drops the Authorization header'
is "a 413 that is a page" doctor 7 "$(at 3)"
is "is told" found warning large 'text/html (413)'
is "a front door that takes everything" doctor 7 "$(at 6)"
is "is told" found warning large 'begins to take'
is "one that keeps answers" doctor 7 "$(at 7)"
is "is told" found warning cache 'max-age=60'
is "another clock" doctor 7 "$(at 8)"
is "is told" found warning clock 'ahead of the server'
is "another port gets no token" found warning token 'was not sent'
is "TLS spoken where there is none" doctor 6 "https://127.0.0.1:$port"
is "is told" found error tls .
is "as what it is" grep -q '"check":"tls".*speaks plain http.*is the port right' "$tmp/out"
is "not as a certificate's fault" not grep -q certificate "$tmp/out"

# TLS that is none of anybody's, and one that ends soon
tls() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days "$1" \
		-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout "$tmp/fronts/key.pem" \
		-out "$tmp/fronts/cert.pem" 2>/dev/null
	cat >"$tmp/fronts/sites.conf" <<END
server {
	listen 127.0.0.1:$((port + 9)) ssl;
	ssl_certificate $tmp/fronts/cert.pem;
	ssl_certificate_key $tmp/fronts/key.pem;
	client_max_body_size 70m;
	error_page 413 /413;
	location = /413 { internal; client_max_body_size 0; default_type application/json;
		return 413 '{"error":{"code":"too_large","message":"too large"}}'; }
	$pass
}
END
	kill -HUP "$(cat "$tmp/fronts/nginx.pid")"
	sleep 1
}
secure=https://localhost:$((port + 9))
tls 30
is "a certificate that nobody knows" doctor 6 "$secure"
is "is told" found error tls certificate
is "with what to do about it" grep -q '"check":"tls".*authority has to be made known' "$tmp/out"
authorities=/etc/ssl/certs/ca-certificates.crt
# trusting CODE: the same where this machine knows it, for that one process.
trusting() {
	TD_SYNC_URL=$secure unshare -m sh -c "mount --bind '$tmp/fronts/cert.pem' '$authorities' &&
		exec '$cli' --json --dir '$work' doctor '$secure'" >"$tmp/out" || [ $? = "$1" ]
}
if can_mount && [ -f "$authorities" ]; then
	is "one that it knows" trusting 0
	is "is good for so many days" found ok tls 'good for 29 days'
	tls 13
	is "one that ends soon" trusting 7
	is "is told" found warning tls 'ends in 1[23] days'
	tls 15
	is "one that ends a bit later" trusting 0
	is "is good" found ok tls 'good for 14 days'
	# A host that is elsewhere, as far as its name tells.
	echo '127.0.0.1 sync.example.com' >"$tmp/hosts"
	unshare -m sh -c "mount --bind '$tmp/hosts' /etc/hosts &&
		exec '$cli' --json --dir '$work' doctor 'http://sync.example.com:$port'" >"$tmp/out" || true
	is "no encryption is told" found warning tls 'is not encrypted'
	is "the rest is fine" found ok health 'the server answers'
else
	echo "skipped: certificates (needs root)"
fi

# --- whom the token is for ---

elsewhere=http://localhost:$port
is "another server's address" doctor 7 "$elsewhere"
is "gets no token" found warning token 'was not sent'
is "and why is told" grep -q '"why":"it is for the server of TD_SYNC_URL' "$tmp/out"
TD_SYNC_URL=$elsewhere
is "the address of all commands" doctor 0 "$elsewhere/"
is "gets it" found ok token 'good for anna@example.com'
TD_SYNC_URL=$url
is "whatever the address' path" doctor 6 "$url/somewhere"
if can_mount; then
	printf '127.0.0.1 %s\n' sync.example.com localhost.example.com 127.example.com >"$tmp/hosts"
	for host in sync.example.com localhost.example.com 127.example.com; do
		TD_SYNC_URL=http://$host:$port unshare -m sh -c "mount --bind '$tmp/hosts' /etc/hosts &&
			exec '$cli' --json --dir '$work' doctor 'http://$host:$port'" >"$tmp/out" || true
		is "http to $host gets none" found warning token 'was not sent'
		is "for the reason" grep -q '"why":"over http' "$tmp/out"
		is "it is told" found warning tls 'is not encrypted'
	done
else
	echo "skipped: http to other machines (needs root)"
fi

# --- who asks ---

unset TD_AUTH_KEY
is "no token" exits 7 --json --dir "$work" doctor
is "is told" found warning token 'there is no token'
TD_AUTH_KEY=wrong-token
export TD_AUTH_KEY
is "a wrong one" doctor 6
is "is told" found error token 'does not take the token'
TD_AUTH_KEY=$(admin token create --user anna@example.com --days 13)
is "one that ends soon" doctor 7
is "is told" found warning token 'of anna@example.com ends in 1[23] days'
TD_AUTH_KEY=$(admin token create --user anna@example.com --days 15)
is "one that ends a bit later" doctor 0
TD_AUTH_KEY=$(admin token create --user anna@example.com --read-only)
is "one to read with" doctor 0
is "is told" found ok token 'to read alone (sync:read)'
admin user add ben@example.com >/dev/null
TD_AUTH_KEY=$(admin token create --user ben@example.com)
is "somebody else's" doctor 6
is "is not let in" found error project 'does not let you into'
admin project share website >/dev/null
is "where anyone may read" doctor 0
is "so may he" found ok project 'as anyone may'
(unset TD_AUTH_KEY && exits 7 --json --dir "$work" doctor)
is "and who has no token" found ok events '20 here, 20 at the server'
admin project unshare website >/dev/null
admin member set website ben@example.com reader >/dev/null
is "a reader" doctor 0
is "may read" found ok project 'you may read it, not push'
TD_AUTH_KEY=$good

# --- what is here ---

replica
is "no link" doctor 7
is "is told" found warning project 'linked to no project'
linked
hold "$work/.todos/db.lock"
is "td's lock is held" doctor 7
is "that is told" found warning lock 'has held .todos/db.lock for 5 s'
release
sql "$books" "UPDATE replica SET log_id = '00112233445566778899aabbccddeeff'"
is "a log that was restored" doctor 7
is "is told" found warning lost 'may hold events that the server lost'
linked
sql "$db" "UPDATE sync_state SET last_pulled_server_seq = 25"
is "a log that was set back" doctor 7
is "is told" found warning lost 'this device is at event 25, the server at 20'
linked
sql "$db" "INSERT INTO action_log(id, session_id, action_type, entity_type, entity_id, previous_data,
	new_data, timestamp, undone) VALUES ('al-1', 's', 'create', 'issue', 'td-ffff01', '',
	'{\"id\":\"td-ffff01\",\"title\":\"new\"}', '2026-11-26T10:00:00Z', 0)"
is "something to send" doctor 0
is "is counted" found ok events ', 1 to send'
linked
sql "$db" "UPDATE schema_info SET value = '99' WHERE key = 'version'"
is "a database of a newer td" doctor 6
is "is told" found error database 'has schema 99'
linked
size=$(stat -c %s "$db")
printf '%04000d' 0 | dd of="$db" bs=1 seek=$((size / 2 / 4096 * 4096)) conv=notrunc 2>/dev/null
is "a damaged one" doctor 6
is "is told" found error database 'damaged'
echo 'this is no database, however long one looks at it' >"$db"
is "something else" doctor 6
is "is told" found error database .
linked
if can_mount; then
	mount --bind "$work" "$work"
	mount -o remount,bind,ro "$work"
	is "a disk that is read-only" doctor 6
	is "is told" found error database 'read-only'
	umount "$work"
elif [ "$(id -u)" != 0 ]; then
	chmod 400 "$db"
	is "a file that is read-only" doctor 6
	is "is told" found error database 'read-only'
	chmod 600 "$db"
fi
mv "$data/projects/$project/events.db" "$tmp/events.db"
is "a project whose log is out of order" doctor 6
is "is told" found error events '(503'
mv "$tmp/events.db" "$data/projects/$project/events.db"
admin project delete website --yes
is "a project that was deleted" doctor 6
is "is told" found error project 'is gone from the server'

# --- the server is down ---

end_pool
is "no workers" doctor 6
is "are told" found error health 'out of order (503)'

# --- the command line ---

for arguments in 'doctor a b' 'doctor --hidden' 'doctor --hidden x http://y' '--hidden /x status'; do
	# shellcheck disable=SC2086
	is "wrong usage: '$arguments'" exits 2 $arguments
done
totals
