#!/bin/sh
# Shared hosting: what `make hosting` makes, uploaded to a home folder, under a real
# Apache (plain CGI, and mod_fcgid) and a real lighttpd, that run as an ordinary user;
# and in a chroot that holds nothing but a shell.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
# shellcheck source=tests/client-lib.sh
. "${0%/*}/client-lib.sh"

needs curl sqlite3 openssl

apache=$(command -v apache2 || command -v httpd || true)
lighttpd=$(command -v lighttpd || true)
modules=
for each in /usr/lib/apache2/modules /usr/lib64/httpd/modules /usr/lib/httpd/modules; do
	[ ! -e "$each/mod_cgid.so" ] || modules=$each
done
[ -n "$modules" ] || apache=

host=$tmp/host
home=$host/home
up=$tmp/upload
secret='correct horse & "battery"; staple=100%'
servers= # their process ids
trap 'stop_servers; cleanup' EXIT

# --- the host: an account, and its web servers ---

# $as_host COMMAND...: as the host's account, which is no root.
as_host=
[ "$(id -u)" != 0 ] || as_host='setpriv --reuid=65534 --regid=65534 --clear-groups'
# Everything of the host is its account's, as if uploaded there.
give() { [ "$(id -u)" != 0 ] || chown -R 65534:65534 "$host"; }

# upload: the folder, as scp does it (modes stay).
upload() {
	rm -rf -- "$home"
	mkdir -p "$home/$1"
	cp -R "$up/site/." "$home/$1/"
	cp -R "$up/td-sync-private" "$home/"
	at_port
}
# at_port: where it will be asked for, and what its configuration says of that.
at_port() {
	port=$(free_port)
	url=http://127.0.0.1:$port/td-sync
	configure "url=$url" "setup_secret=$secret"
	give
}
# configure KEY=VALUE...: edit td-sync.conf where it was uploaded.
configure() {
	"$src/hosting/conf" "$home/td-sync-private/td-sync.conf" "$@" >"$tmp/conf" &&
		cat "$tmp/conf" >"$home/td-sync-private/td-sync.conf"
}

listens() { curl -s -m 5 -o /dev/null "http://127.0.0.1:$port/"; }
# started COMMAND...: a server that runs until stop_servers.
started() {
	# shellcheck disable=SC2086 # words
	(cd "$host" && exec $as_host "$@") >>"$tmp/server.out" 2>&1 </dev/null &
	servers="$servers $!"
	tries=100
	until listens; do
		[ $tries -gt 0 ] || { cat "$tmp/server.out" "$host"/*.log; return 1; }
		sleep 0.1
		tries=$((tries - 1))
	done
}
stop_servers() {
	for each in $servers; do
		kill "$each" 2>/dev/null || true
		wait "$each" 2>/dev/null || true
	done
	servers=
}

# apache_start OVERRIDE MODULE...: with what .htaccess may say, and further modules.
apache_start() {
	override=$1
	shift
	{
		echo "ServerName localhost"
		for module in mpm_event authz_core mime dir autoindex rewrite cgid "$@"; do
			echo "LoadModule ${module}_module $modules/mod_$module.so"
		done
		cat <<-TEXT
		Listen 127.0.0.1:$port
		PidFile $host/apache.pid
		ErrorLog $host/apache.log
		ScriptSock $host/cgid.sock
		Mutex file:$host default
		TypesConfig /dev/null
		DocumentRoot $home/public_html
		<Directory />
			AllowOverride None
			Require all denied
		</Directory>
		<Directory $home/public_html>
			Options Indexes SymLinksIfOwnerMatch
			AllowOverride $override
			Require all granted
		</Directory>
		<IfModule mod_fcgid.c>
			FcgidIPCDir $host/fcgid
			FcgidProcessTableFile $host/fcgid_shm
		</IfModule>
		TEXT
	} >"$host/apache.conf"
	give
	started "$apache" -f "$host/apache.conf" -DFOREGROUND
}

lighttpd_start() {
	{
		cat <<-TEXT
		server.document-root = "$home/public_html"
		server.port = $port
		server.bind = "127.0.0.1"
		server.errorlog = "$host/lighttpd.log"
		server.upload-dirs = ( "$host" )
		dir-listing.activate = "enable"
		TEXT
		sed "s,HOME,$home,g" "$home/td-sync-private/lighttpd.conf"
	} >"$host/lighttpd.conf"
	give
	started "$lighttpd" -D -f "$host/lighttpd.conf"
}

# --- asking ---

# ask STATUS PATH [CURL'S ARGUMENT...]: the answer is in $tmp/body.
ask() {
	want=$1
	path=$2
	shift 2
	got=$(curl -sS -m 60 -o "$tmp/body" -w '%{http_code} %{content_type}' "$@" "$url$path")
	[ "${got%% *}" = "$want" ] || { echo "$got"; cat "$tmp/body" "$host"/*/*/error.log; false; }
}
# refused STATUS CODE PATH [CURL'S ARGUMENT...]: an error of ours, as JSON.
refused() {
	code=$2
	status=$1
	shift 2
	ask "$status" "$@" && [ "${got#* }" = application/json ] &&
		grep -q "\"code\":\"$code\"" "$tmp/body" || { echo "$got"; cat "$tmp/body"; false; }
}
has() { grep -q -- "$1" "$tmp/body" || { cat "$tmp/body"; false; }; }
with_key() {
	status=$1
	path=$2
	shift 2
	ask "$status" "$path" -H "Authorization: Bearer $TD_AUTH_KEY" "$@"
}
# The text behind a term of the page.
term() { sed -n "s|.*<dt>$1</dt><dd>\([^<]*\)</dd>.*|\1|p" "$tmp/body"; }

# set_up STATUS SECRET EMAIL PROJECT: the page's form, as a browser sends it.
set_up() {
	ask "$1" /auth/setup --data-urlencode "secret=$2" --data-urlencode "email=$3" \
		--data-urlencode "project=$4"
}

# No file of the private folder is served, whatever name it is asked for by.
not_served() {
	(cd "$home" && find td-sync-private -type f) >"$tmp/files"
	[ "$(wc -l <"$tmp/files")" -gt 20 ] || return 1
	while read -r file; do
		for where in "/$file" "/td-sync/$file" "/td-sync/../$file" "/td-sync/%2e%2e/$file" \
			"/../$file" "/${file#*/}" "/td-sync/${file#*/}"; do
			got=$(curl -sS -m 20 --path-as-is -o "$tmp/body" -w '%{http_code}' \
				"http://127.0.0.1:$port$where")
			case $got in
			403 | 404 | 400) ;;
			*) echo "$got for $where"; return 1 ;;
			esac
		done
	done <"$tmp/files"
	for where in / /td-sync/ /td-sync/.htaccess /td-sync/td-sync.cgi /td-sync/td-sync.fcgi \
		/td-sync/td-sync.cgi/healthz /td-sync-private/ /td-sync-private/data/; do
		curl -sS -m 20 -o "$tmp/body" "http://127.0.0.1:$port$where"
		! grep -q -e '#!/bin' -e RewriteRule -e events.db "$tmp/body" || { echo "$where"; return 1; }
	done
}

# --- pushes ---

# What a stock td pushed first of 6300 events, as one body: above 128 KiB.
gzip -dc "$src/tests/fixtures/replay/large/log.jsonl.gz" | head -n 500 |
	awk '{
		match($0, /"session_id":"[^"]*"/)
		session = session == "" ? substr($0, RSTART, RLENGTH) : session
		sub(/^{.*"client_action_id"/, "{\"client_action_id\"")
		printf "%s%s", NR == 1 ? "" : ",", $0 > rest
	}
	END { print "{\"device_id\":\"a1a1000000000000000000000000000a\"," session ",\"events\":[" }
	' rest="$tmp/events" | tr -d '\n' >"$tmp/stock"
cat "$tmp/events" >>"$tmp/stock"
printf ']}' >>"$tmp/stock"

# large BYTES: a push of one event with so many bytes in all.
large() {
	begin='{"device_id":"big","session_id":"s","events":[{"client_action_id":1,"action_type":"create","entity_type":"issues","entity_id":"td-b1g000","payload":{"schema_version":1,"new_data":{"id":"td-b1g000","title":"Big","description":"'
	end='"},"previous_data":{}},"client_timestamp":"2026-11-26T10:00:00Z"}]}'
	printf %s "$begin"
	head -c $(($1 - ${#begin} - ${#end})) /dev/zero | tr '\0' x
	printf %s "$end"
}
large 8388608 >"$tmp/large"
large 8388609 >"$tmp/larger"

push() { with_key "$1" "/v1/projects/$project/sync/push" -H 'Content-Type: application/json' --data-binary "@$2"; }

# An entity whose id has a slash in it.
cat >"$tmp/slash" <<-TEXT
	{"device_id":"odd","session_id":"s","events":[{"client_action_id":1,"action_type":"create",
	"entity_type":"notes","entity_id":"a/b","payload":{"schema_version":1,"new_data":{"id":"a/b",
	"title":"Odd","content":""},"previous_data":{}},"client_timestamp":"2026-11-26T10:00:00Z"}]}
TEXT
reads_slash() { exits 0 --dir "$tmp/office" history notes/a/b && printed Odd; }

# replica NAME: a td project.
replica() {
	rm -rf "$tmp/$1"
	mkdir -p "$tmp/$1/.todos"
	gzip -dc "$src/tests/fixtures/empty-v38.db.gz" >"$tmp/$1/.todos/issues.db"
}
rows() { sqlite3 "$tmp/$1/.todos/issues.db" "SELECT count(*) FROM issues"; }

# serves SERVER STATUS_AND_TYPE: what every server must do, as it was just set up: whole
# syncs of our client, what a stock client sends, and errors as JSON. The answer to %2F in
# a path is the server's.
serves() {
	is "$1: the service is below a path" ask 200 /healthz
	is "$1: no token is refused as JSON" refused 401 unauthorized /v1/projects
	is "$1: nor is a wrong one taken" refused 401 unauthorized /v1/projects \
		-H 'Authorization: Bearer td_live_nobody'
	is "$1: the token arrives" with_key 200 /v1/tokens/self
	is "$1: no such path, as JSON" refused 404 not_found /v1/nothing
	is "$1: nor method" refused 405 method_not_allowed /healthz -X DELETE
	is "$1: nor with a body" refused 405 method_not_allowed /healthz -d x
	is "$1: a page for people" ask 404 /auth/setup

	replica laptop
	sqlite3 "$tmp/laptop/.todos/issues.db" "INSERT INTO issues(id, title) VALUES('td-000001', 'T');
		INSERT INTO action_log(id, session_id, action_type, entity_type, entity_id, new_data,
		timestamp, undone) VALUES('al-00000001', 's', 'create', 'issue', 'td-000001',
		'{\"id\":\"td-000001\",\"title\":\"T\"}', '2026-11-26T10:00:00Z', 0)"
	TD_SYNC_URL=$url
	export TD_SYNC_URL TD_AUTH_KEY
	is "$1: our client links" exits 0 --dir "$tmp/laptop" link "$project"
	is "$1: pushes" exits 0 --dir "$tmp/laptop" push
	is "$1: what a stock td pushes above 128 KiB" push 200 "$tmp/stock"
	is "$1: all of it" same 500 "$(grep -o '"client_action_id"' "$tmp/body" | wc -l)"
	is "$1: our client pulls" exits 0 --dir "$tmp/laptop" pull
	is "$1: all of it" same 501 "$(rows laptop)"
	is "$1: it is right" exits 0 --dir "$tmp/laptop" verify
	is "$1: a snapshot" with_key 200 "/v1/projects/$project/sync/snapshot"
	is "$1: is a database" same ok "$(sqlite3 "$tmp/body" 'PRAGMA integrity_check')"
	replica office
	TD_SYNC_SNAPSHOT_THRESHOLD=1
	export TD_SYNC_SNAPSHOT_THRESHOLD
	is "$1: another replica" exits 0 --dir "$tmp/office" link "$project"
	is "$1: begins with one" exits 0 --dir "$tmp/office" sync
	is "$1: and is whole" same 501 "$(rows office)"
	is "$1: a push of 8 MiB" push 200 "$tmp/large"
	seq=$(sed -n 's/.*"server_seq":\([0-9]*\).*/\1/p' "$tmp/body")
	is "$1: comes back whole" with_key 200 "/v1/projects/$project/sync/pull?after_server_seq=$((seq - 1))&limit=1"
	is "$1: it does" test "$(wc -c <"$tmp/body")" -gt 8388000
	is "$1: one byte more" refused 413 too_large "/v1/projects/$project/sync/push" \
		-H "Authorization: Bearer $TD_AUTH_KEY" --data-binary "@$tmp/larger"
	is "$1: nor one without a token" refused 401 unauthorized "/v1/projects/$project/sync/push" \
		--data-binary "@$tmp/large"
	is "$1: nor one in pieces" refused 413 too_large "/v1/projects/$project/sync/push" \
		-H "Authorization: Bearer $TD_AUTH_KEY" -H 'Transfer-Encoding: chunked' \
		--data-binary "@$tmp/larger"
	is "$1: an id with a slash" push 200 "$tmp/slash"
	is "$1: its history" with_key 200 "/v1/projects/$project/entities/notes/a/b/history"
	is "$1: our client reads it" reads_slash
	is "$1: as %2F it is ${2%% *}" with_key "${2%% *}" "/v1/projects/$project/entities/notes/a%2Fb/history"
	is "$1: by ${2#* }" same "${2#* }" "${got#* }"
	is "$1: many at once" hammer
	is "$1: no file of ours is served" not_served
	is "$1: nothing was wrong" not grep -q '"level":"error"' "$home/td-sync-private/error.log"
	unset TD_SYNC_SNAPSHOT_THRESHOLD
}

# Eight clients at once, five requests each: nobody fails.
hammer() {
	hammered=
	for n in 1 2 3 4 5 6 7 8; do
		curl -sS -m 60 -w '%{http_code}\n' -H "Authorization: Bearer $TD_AUTH_KEY" \
			"$url/v1/projects/$project/sync/status?n=[1-5]" -o /dev/null >"$tmp/hammer$n" 2>&1 &
		hammered="$hammered $!"
	done
	for each in $hammered; do
		wait "$each" || true
	done
	same "40 200" "$(cat "$tmp"/hammer? | sort | uniq -c | sed 's/^ *//')"
}

# first_owner WHAT: by the page.
first_owner() {
	is "$1: the first owner" set_up 200 "$secret" anna@example.com website
	TD_AUTH_KEY=$(term TD_AUTH_KEY)
	project=$(term 'Its id')
	is "$1: has a token" test -n "$TD_AUTH_KEY"
	is "$1: and a project" test -n "$project"
}

# --- what is made ---

chmod 711 "$tmp"
mkdir -p "$host"
make_it() { make -C "$TD_SYNC_BUILD" hosting HOSTING_DIR="$up" CC=false; }
is "make hosting" make_it
kib=$(du -sk "$up" | cut -f1)
said=$(sed -n 's/^It has some \([0-9]*\) MiB.*/\1/p' "$src/docs/install-hosting.md")
is "its size is as the manual says ($kib KiB)" test $((kib * 10 / 1024 + 5)) -ge $((said * 9)) -a \
	$((kib * 10 / 1024)) -le $((said * 11))
is "the configuration is its owner's" same 600 "$(stat -c %a "$up/td-sync-private/td-sync.conf")"
is "as is the folder" same 700 "$(stat -c %a "$up/td-sync-private")"
is "no libcurl" not test -e "$up/td-sync-private/lib/libcurl.so.4"
for script in site/td-sync.cgi site/td-sync.fcgi td-sync-private/td-sync-admin; do
	is "$script has two lines" same 2 "$(wc -l <"$up/$script")"
done
echo '# kept' >>"$up/td-sync-private/td-sync.conf"
is "made again" make_it
is "it keeps the configuration" grep -q '^# kept' "$up/td-sync-private/td-sync.conf"
is "the data is its owner's, too" same 700 "$(stat -c %a "$up/td-sync-private/data")"
is "no other folder is taken for it" not "$src/hosting/make" "$TD_SYNC_BUILD" "$tmp"
for bad in WEB_ROOT=. WEB_ROOT=./ WEB_ROOT=/srv/www WEB_ROOT=../www 'WEB_ROOT=a"b' WEB_ROOT= URL_PATH=td URL_PATH=/td/ \
	URL_PATH=/../x DATA= DATA=x/ DATA=../public_html/x DATA=../x/../public_html NOTHING=1; do
	is "$bad is refused" not "$src/hosting/make" "$TD_SYNC_BUILD" "$tmp/bad" "$bad"
done
is "DATA in the web root is refused by its whole path, too" not "$src/hosting/make" "$TD_SYNC_BUILD" "$tmp/bad" \
	HOME_DIR=/home/anna DATA=/home/anna/public_html/x
is "and nothing is left of it" not test -e "$tmp/bad.new"
# Where the two scripts look for td-sync-private/, from wherever they are started.
finds() {
	rm -rf "$tmp/place"
	"$src/hosting/make" "$TD_SYNC_BUILD" "$tmp/place" "WEB_ROOT=$1" "URL_PATH=$2" &&
		mkdir -p "$tmp/place/home/$1$2" && cp "$tmp/place/site/td-sync.cgi" "$tmp/place/home/$1$2/" &&
		mv "$tmp/place/td-sync-private" "$tmp/place/home/" &&
		"$tmp/place/home/$1$2/td-sync.cgi" </dev/null 2>&1 | grep '^usage: td-sync.fcgi' &&
		(cd "$tmp/place/home/$1$2" && sh td-sync.cgi </dev/null 2>&1 | grep '^usage: td-sync.fcgi')
}
is "a path below a deep web root" finds www/example.com/htdocs /a/b
is "the web root itself" finds public_html ''
for data in ../data ../public_html2; do
	is "DATA=$data is fine" "$src/hosting/make" "$TD_SYNC_BUILD" "$tmp/beside" "DATA=$data"
done
odd='/srv/it'\''s "a" $HOME `x` \ ü'
rm -rf "$tmp/place"
"$src/hosting/make" "$TD_SYNC_BUILD" "$tmp/place" "DATA=$odd" >/dev/null
is "any data folder" sh -c "'$tmp/place/td-sync-private/td-sync-admin' user list 2>&1 | grep -qF \"\$1\"" sh "$odd"

# --- setup.sh ---

cat >"$tmp/answers" <<-TEXT
	format = 1
	kind = hosting
	dir = $tmp/made
	host = example.com
	web_root = $home/public_html
	mail_from = td-sync@example.com
	owner = anna@example.com
TEXT
setup() { "$src/setup.sh" --answers "$tmp/answers" --yes </dev/null >"$tmp/said" 2>&1 || { cat "$tmp/said"; false; }; }
conf=$tmp/made/td-sync-private/td-sync.conf
tree() { (cd "$tmp/made" && find . -type f -exec cksum {} + && find . -type f -exec stat -c '%n %a %Y' {} +) | LC_ALL=C sort; }
is "setup.sh makes it" setup
is "it says what to upload" grep -q "td-sync-private/ to *$home/td-sync-private/" "$tmp/said"
is "no command of it shows a token to others" not grep -q -e '-H .*Bearer' "$tmp/said" "$src/docs/install-hosting.md"
before=$(tree)
is "again" setup
is "nothing changes" same "$before" "$(tree)"
is "the answers are in it" grep -q '^url = https://example.com/td-sync$' "$conf"
secret_made=$(sed -n 's/^setup_secret = //p' "$conf")
is "and a secret" test ${#secret_made} = 32
echo 'signup = invited' >>"$tmp/answers"
is "another answer" setup
is "is in it, too" grep -q '^signup = invited$' "$conf"
sed -i "s/^owner =.*/owner = o'neil@example.com/" "$tmp/answers"
is "an owner with a quote" setup
is "is one word in what is to be typed" grep -qF "user add 'o'\\''neil@example.com'" "$tmp/said"
sed -i "s/^owner =.*/owner = anna@example.com/" "$tmp/answers"
is "the secret stays" grep -q "^setup_secret = $secret_made$" "$conf"
answered() {
	sed "s,^$1 =.*,," "$tmp/answers" >"$tmp/answers-bad"
	echo "$1 = $2" >>"$tmp/answers-bad"
	! "$src/setup.sh" --answers "$tmp/answers-bad" --yes </dev/null >"$tmp/said" 2>&1 && grep -q "$3" "$tmp/said"
}
private=$tmp/made/td-sync-private
accounts() { "$TD_SYNC_BUILD/td-sync-admin" --data "$private/data" user list | grep -q anna@example.com; }
"$TD_SYNC_BUILD/td-sync-admin" --data "$private/data" init >/dev/null
"$TD_SYNC_BUILD/td-sync-admin" --data "$private/data" user add anna@example.com >/dev/null
there() { (cd / && "$private/td-sync-admin" "$@") >"$tmp/said" 2>&1 || { cat "$tmp/said"; false; }; }
is "td-sync-admin there finds the profiles" there --data "$private/data" project add books \
	--profile shelf --owner anna@example.com
for given in doctor '--json doctor'; do
	# shellcheck disable=SC2086 # words
	there $given >/dev/null || true
	is "$given finds the configuration" grep -q "$private/./td-sync.conf is valid" "$tmp/said"
done
echo gone >"$private/bin/old"
rm "$tmp/made/.made"
is "made again" setup
is "it has the accounts that were in it" accounts
is "not what else was" not test -e "$private/bin/old"
uninstall() { "$src/setup.sh" uninstall "$@" --answers "$tmp/answers" --yes </dev/null >"$tmp/said" 2>&1 || { cat "$tmp/said"; false; }; }
is "uninstalled" uninstall
is "what is data stays" same "data td-sync.conf" "$(ls -A "$private" | tr '\n' ' ' | sed 's/ $//')"
is "it says where" grep -q "$private/data\$" "$tmp/said"
is "the configuration, too" grep -q "$private/td-sync.conf\$" "$tmp/said"
is "the accounts are there" accounts
is "made once more" setup
is "they are there still" accounts
is "the secret, too" grep -q "^setup_secret = $secret_made$" "$conf"
cp "$tmp/answers" "$tmp/answers-kept"
is "uninstalled with the data" uninstall --remove-data
is "all of it is gone" not test -e "$private"
mv "$tmp/answers-kept" "$tmp/answers"
is "no data in the web root" answered data "$home/public_html/data" 'the data folder is in the web root'
is "however it is written" answered data "/$home//public_html/data/" 'the data folder is in the web root'
is "nor through another one" answered data "$home/x/../public_html/data" 'as a part'
is "nor by a dot" answered data "$home/./public_html/data" 'as a part'
sed -i "s,^web_root =.*,&/," "$tmp/answers"
is "nor where the web root ends with a slash" answered data "$home/public_html/data" 'the data folder is in the web root'
sed -i "s,^\\(web_root =.*\\)/$,\\1," "$tmp/answers"
# A second site, in the folder of the first one.
sed "s,^web_root =.*,&/shop/htdocs," "$tmp/answers" >"$tmp/answers-shop"
shop() { "$src/setup.sh" --answers "$tmp/answers-shop" --yes </dev/null >"$tmp/said" 2>&1 || { cat "$tmp/said"; false; }; }
is "a site in another one's folder" shop
is "has its private folder beside both" grep -q "td-sync-private/ to *$home/td-sync-private/" "$tmp/said"
is "which it finds" grep -qF '/../../../../td-sync-private"' "$tmp/made/site/td-sync.cgi"
is "and its data there" grep -qx 'data = data' "$conf"
echo "data = $home/public_html/data" >>"$tmp/answers-shop"
is "none in the other one's" not shop
is "it says so" grep -q "is below $home/public_html," "$tmp/said"
is "beside it is fine" not answered data "$home/public_html2" .
is "no mail by smtp" answered mail smtp 'no libcurl in it'
is "no host" answered host 'a b' 'no host name'

# --- without any library of the host: in a chroot with nothing but a shell ---

# in_chroot COMMAND: in /bin/sh there; as root, or as root of a user namespace.
in_chroot() {
	if [ "$(id -u)" = 0 ]; then
		env -i PATH=/bin "$@" /usr/sbin/chroot "$tmp/root" /bin/sh -c "$command" </dev/null
	else
		env -i PATH=/bin "$@" /usr/bin/unshare -r /usr/sbin/chroot "$tmp/root" /bin/sh -c \
			"$command" </dev/null
	fi
}
shell=$(command -v bash-static || true)
mkdir -p "$tmp/root/bin" "$tmp/root/dev" "$tmp/root/tmp" "$tmp/root/home/public_html/td-sync"
if [ -z "$shell" ]; then
	echo "skipped: the chroot: bash-static is not installed"
elif ! cp "$shell" "$tmp/root/bin/sh" || ! command=: || ! in_chroot; then
	echo "skipped: the chroot: neither root nor user namespaces"
else
	cp -R "$up/site/." "$tmp/root/home/public_html/td-sync/"
	cp -R "$up/td-sync-private" "$tmp/root/home/"
	: >"$tmp/root/dev/null"
	command='for each in /* /bin/* /dev/*; do echo $each; done'
	is "in the chroot there is a shell" same "/bin /dev /home /tmp /bin/sh /dev/null" \
		"$(in_chroot | tr '\n' ' ' | sed 's/ $//')"
	command='/home/td-sync-private/td-sync-admin init'
	is "there td-sync-admin makes the data folder" in_chroot
	command='/home/td-sync-private/td-sync-admin user add anna@example.com'
	is "an account" in_chroot
	command='cd /home/td-sync-private && ./td-sync-admin project add website --owner anna@example.com'
	is "a project" in_chroot
	project=$(in_chroot 2>/dev/null | tail -n 1)
	command='cd /home && td-sync-private/td-sync-admin token create --user anna@example.com'
	key=$(in_chroot)
	is "and a token" test ${#key} -gt 100
	command=/home/public_html/td-sync/td-sync.cgi
	cgi() {
		in_chroot REQUEST_METHOD=GET GATEWAY_INTERFACE=CGI/1.1 REMOTE_ADDR=127.0.0.1 \
			SCRIPT_NAME=/td-sync "PATH_INFO=$1" "REDIRECT_HTTP_AUTHORIZATION=Bearer $key" \
			>"$tmp/body" 2>&1
	}
	is "the worker answers there" cgi /healthz
	is "well" has 'Status: 200'
	is "and pulls from the log" cgi "/v1/projects/$project/sync/pull"
	is "of that project" has '"events":\[\]'
fi

# --- Apache, plain CGI, with the least that .htaccess may say ---

if [ -z "$apache" ]; then
	echo "skipped: apache2 (with mod_cgid) is not installed"
else
	upload public_html/td-sync
	cp -p "$up/td-sync-private/td-sync.conf" "$home/td-sync-private/"
	is "Apache runs" apache_start 'FileInfo Options=ExecCGI'

	# Before anybody has set anything up.
	is "without data there is no service" refused 503 unavailable /v1/projects \
		-H 'Authorization: Bearer x'
	is "nor a page without a secret" refused 404 not_found /auth/setup
	configure setup_secret=fifteen-bytes-x
	is "a short secret is none" ask 500 /auth/setup
	configure "setup_secret=sixteen-bytes-xx"
	is "one that is long enough" ask 503 /auth/setup
	is "needs an address" has 'Set url in td-sync.conf'
	configure "url=https://example.com/td-sync" "setup_secret=$secret"
	is "over TLS only, where the address says so" ask 403 /auth/setup
	is "it says where" has '<a href="https://example.com/td-sync/auth/setup">'
	is "the secret itself is not even looked at" set_up 403 "$secret" anna@example.com ''
	is "but is no secret any more" has 'put another one'
	is "nothing was made" test ! -e "$home/td-sync-private/data/server.db"
	is "TLS may end at the host's proxy" ask 200 /auth/setup -H 'X-Forwarded-Proto: https'
	configure "url=$url"
	is "the page" ask 200 /auth/setup
	is "is a form" has '<form method="post" action="setup">'
	before=$(date +%s%N)
	is "a wrong secret" set_up 403 "$secret." anna@example.com website
	is "takes a second" test $((($(date +%s%N) - before) / 1000000)) -ge 1000
	is "it is not shown" not grep -q staple "$tmp/body"
	is "the rest is kept" has 'value="anna@example.com"'
	is "an empty one" set_up 403 '' anna@example.com website
	is "none" ask 403 /auth/setup -d email=anna@example.com
	is "the beginning of it" set_up 403 correct anna@example.com website
	is "in the address it is none" ask 403 '/auth/setup?secret=correct+horse+%26+%22battery%22%3B+staple%3D100%25' -d email=a@example.com
	is "no address" set_up 400 "$secret" anna website
	is "a name that is too long" set_up 400 "$secret" anna@example.com "$(printf %0256d 0)"
	is "markup stays text" set_up 403 x '"><script>' '<b>'
	is "it does" not grep -q -e '<script>' -e '<b>' "$tmp/body"
	is "nothing was made" test ! -e "$home/td-sync-private/data/server.db"
	# Nine at once: eight wait, one is told to come again.
	for n in 1 2 3 4 5 6 7 8 9 10; do
		curl -s -o /dev/null -w '%{http_code}\n' -d secret=wrong "$url/auth/setup" >"$tmp/wrong$n" &
		racers="${racers-} $!"
	done
	# shellcheck disable=SC2086 # process ids
	wait $racers || true
	is "guesses are few at a time" same "8 403 2 503" "$(cat "$tmp"/wrong* | sort | uniq -c | tr -s '\n ' ' ' | sed 's/^ //; s/ $//')"

	# Two at the same moment: one owner.
	racers=
	for who in anna bob carl dora; do
		curl -s -o "$tmp/race-$who" --data-urlencode "secret=$secret" -d "email=$who@example.com" \
			-d project=website "$url/auth/setup" &
		racers="$racers $!"
	done
	# shellcheck disable=SC2086 # process ids
	wait $racers || true
	is "of four at once one is the owner" same 1 "$(grep -l TD_AUTH_KEY "$tmp"/race-* | wc -l)"
	is "the others find no page" same 3 "$(grep -l '"not_found"' "$tmp"/race-* | wc -l)"
	cat "$(grep -l TD_AUTH_KEY "$tmp"/race-*)" >"$tmp/body"
	TD_AUTH_KEY=$(term TD_AUTH_KEY)
	project=$(term 'Its id')
	is "one user" same 1 "$($as_host "$home/td-sync-private/td-sync-admin" user list | wc -l)"
	is "one project" same 1 "$($as_host "$home/td-sync-private/td-sync-admin" project list | wc -l)"
	is "one token" same 1 "$($as_host "$home/td-sync-private/td-sync-admin" token list | wc -l)"
	is "the page is gone" refused 404 not_found /auth/setup
	is "with the secret, too" set_up 404 "$secret" eve@example.com ''
	is "no log has the secret" not grep -rq -e staple -e battery "$host/apache.log" \
		"$home/td-sync-private/error.log"
	is "nor the token" not grep -rqF "$TD_AUTH_KEY" "$host/apache.log" "$home/td-sync-private"
	is "what was made is the owner's alone" same '' \
		"$(find "$home/td-sync-private/data" -mindepth 1 ! -name .htaccess -perm /077)"
	: >"$home/td-sync-private/error.log"
	serves "Apache, CGI" '404 text/html; charset=iso-8859-1'
	stop_servers

	# Uploaded by FTP: all modes are lost, and two are set by hand.
	upload public_html/td-sync
	find "$home" -type f -exec chmod 644 {} +
	find "$home" -type d -exec chmod 755 {} +
	chmod 755 "$home/public_html/td-sync/td-sync.cgi" "$home/public_html/td-sync/td-sync.fcgi"
	is "Apache runs again" apache_start All
	first_owner "modes lost"
	is "modes lost: the token arrives" with_key 200 /v1/tokens/self
	is "the private folder is closed again" same 700 "$(stat -c %a "$home/td-sync-private")"
	# Tokens that are over are cleaned away one day.
	accounts() { $as_host sqlite3 -cmd ".timeout 5000" "$home/td-sync-private/data/server.db" "$1"; }
	is "there is no page with a token" ask 404 /auth/setup
	accounts "DELETE FROM token"
	is "without one a run that broke off is repeated" ask 200 /auth/setup
	accounts "UPDATE user SET created_at = strftime('%s') - 3590"
	is "within the hour" ask 200 /auth/setup
	accounts "UPDATE user SET created_at = strftime('%s') - 3600"
	is "then there is no page" refused 404 not_found /auth/setup
	is "and nobody becomes the owner" set_up 404 "$secret" eve@example.com ''
	stop_servers

	# Uploaded with the folder left open, though the programs may run.
	upload public_html/td-sync
	chmod 755 "$home/td-sync-private"
	mv "$home/td-sync-private/td-sync.conf" "$tmp/later"
	is "Apache runs with an open folder" apache_start All
	is "open: what is asked for before there is a configuration" ask 500 /healthz
	closed() { same 700 "$(stat -c %a "$home/td-sync-private")"; }
	is "open: closes it" closed
	mv "$tmp/later" "$home/td-sync-private/td-sync.conf"
	first_owner open
	chmod 755 "$home/td-sync-private"
	is "open: so does each request" with_key 200 /v1/tokens/self
	is "open: it does" closed
	chmod 755 "$home/td-sync-private"
	is "open: and the operator's command" $as_host "$home/td-sync-private/td-sync-admin" user list
	is "open: it does" closed
	stop_servers

	# Put into the web root by mistake, the private folder is refused all the same.
	upload public_html/td-sync
	cp -Rp "$home/td-sync-private" "$home/public_html/"
	is "Apache runs with a mistake" apache_start All
	refused_inside() {
		(cd "$home/public_html" && find td-sync-private -type f) >"$tmp/files"
		[ "$(wc -l <"$tmp/files")" -gt 15 ] || return 1
		while read -r file; do
			got=$(curl -sS -o "$tmp/body" -w '%{http_code}' "http://127.0.0.1:$port/$file")
			[ "$got" = 403 ] || { echo "$got $file"; return 1; }
		done <"$tmp/files"
	}
	is "inside: no file of the private folder" refused_inside
	stop_servers
fi

# --- the manual's commands, in their order ---

if [ -n "$apache" ]; then
	upload public_html/td-sync
	is "Apache runs for the manual" apache_start All
	mkdir "$tmp/manual"
	ln -s "$TD_SYNC_BUILD" "$tmp/manual/build"
	printf '#!/bin/sh\nexec "%s" "$@"\n' "$src/setup.sh" >"$tmp/manual/setup.sh"
	chmod 755 "$tmp/manual/setup.sh"
	cp "$tmp/answers" "$tmp/manual/answers"
	# A file each block; what only the host's account may do is done as that.
	awk -v to="$tmp/manual/block" '/^```sh$/ { n++; on = 1; next } /^```/ { on = 0 }
		on { print > (to n) } END { print n > (to "s") }' "$src/docs/install-hosting.md"
	run_block() {
		sed "s,https://example.com/td-sync,$url,; s,https://example.com,${url%/td-sync}," \
			"$tmp/manual/block$1" >"$tmp/manual/run"
		chmod 755 "$tmp/manual/run"
		shift
		(cd "$tmp/manual" && "$@" sh -eu "$tmp/manual/run") >"$tmp/manual/out" 2>&1 ||
			{ cat "$tmp/manual/out"; false; }
	}
	is "there are five blocks" same 5 "$(cat "$tmp/manual/blocks")"
	is "the folder is made by setup.sh" run_block 1
	is "or by hand" run_block 2
	is "the first owner, in a shell" run_block 3 $as_host env HOME="$home"
	TD_AUTH_KEY=$(tail -n 1 "$tmp/manual/out")
	export TD_AUTH_KEY
	is "is let in" run_block 4
	is "nothing private is served" run_block 5
	is "it prints so" grep -qx -e 403 -e 404 "$tmp/manual/out"
	stop_servers
fi

# --- Apache with mod_fcgid ---

if [ -z "$apache" ] || [ ! -e "$modules/mod_fcgid.so" ]; then
	echo "skipped: mod_fcgid is not installed"
else
	upload public_html/td-sync
	is "Apache with mod_fcgid runs" apache_start All fcgid
	first_owner mod_fcgid
	serves mod_fcgid '404 text/html; charset=iso-8859-1'
	is "a worker stays" sh -c "ps -eo args | grep -v grep | grep -q 'lib/ld.so.*td-sync.fcgi'"
	is "it has served" not grep -q 'Premature end' "$host/apache.log"
	is "a login's body above 128 KiB" refused 413 too_large /v1/auth/device/start \
		--data-binary "@$tmp/stock"
	stop_servers
fi

# --- lighttpd ---

if [ -z "$lighttpd" ]; then
	echo "skipped: lighttpd is not installed"
else
	upload public_html/td-sync
	is "lighttpd runs" lighttpd_start
	first_owner lighttpd
	serves lighttpd '200 application/json'
	stop_servers
fi
totals
