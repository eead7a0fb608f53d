# What the tests of the two doctors share, after lib.sh: a real server, and web servers
# before it that do one thing wrong each.
# shellcheck shell=sh

port=$(free_port)
url=http://127.0.0.1:$port
demo=$tmp/demo
data=$demo/data

serve() {
	"$src/setup.sh" demo --dir "$demo" --port "$port" --server-only --limits off </dev/null
}
admin() { "$TD_SYNC_BUILD/td-sync-admin" --data "$data" "$@"; }
# Not in every container root may.
can_mount() { [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; }
sql() { sqlite3 -batch -init /dev/null -cmd ".timeout 5000" "$@"; } # workers write, too

# front N PLACES: the N-th web server before it, with these directives.
front() {
	cat >>"$tmp/fronts/sites.conf" <<END
server {
	listen 127.0.0.1:$((port + $1));
	$2
}
END
}
at() { echo "http://127.0.0.1:$((port + $1))"; }

start_fronts() {
	mkdir -p "$tmp/fronts"
	pass="location / { proxy_pass $url; }"
	front 1 "location / { proxy_pass $url; proxy_set_header Authorization ''; }"
	front 2 "location '/my data/' { alias '$tmp/my data/'; default_type text/plain; }
	location /data/ { alias $data/; default_type text/plain; } $pass"
	front 3 "$pass"
	front 4 "default_type text/html; location / { return 200 '<html>log in first</html>'; }"
	front 5 "default_type text/plain; location /plain/ { return 200 'yes'; } location / { return 301 https://elsewhere.example.com\$request_uri; }"
	front 6 "client_max_body_size 0; $pass"
	front 7 "proxy_hide_header Cache-Control; add_header Cache-Control 'public, max-age=60' always; $pass"
	front 8 "add_header Date 'Thu, 01 Jan 2026 00:00:00 GMT' always; $pass"
	front 10 "default_type text/plain; location / { return 200 'yes'; } location /sub/ { proxy_pass $url/; }"
	cat >"$tmp/fronts/nginx.conf" <<END
user $(id -un);
pid $tmp/fronts/nginx.pid;
error_log $tmp/fronts/error.log;
events { }
http {
	access_log off;
	client_body_temp_path $tmp/fronts/1;
	proxy_temp_path $tmp/fronts/2;
	fastcgi_temp_path $tmp/fronts/3;
	uwsgi_temp_path $tmp/fronts/4;
	scgi_temp_path $tmp/fronts/5;
	include $tmp/fronts/sites.conf;
}
END
	(cd "$tmp/fronts" && nginx -e "$tmp/fronts/error.log" -c "$tmp/fronts/nginx.conf")
}
# end_pool: the workers end; nginx stays.
end_pool() {
	kill "$(cat "$demo/run/td-sync.pid")"
	for _ in $(seq 100); do
		[ -e "$demo/run/td-sync.pid" ] || break
		sleep 0.1
	done
}
stop_all() {
	[ ! -s "$tmp/fronts/nginx.pid" ] || kill "$(cat "$tmp/fronts/nginx.pid")" || true
	"$src/setup.sh" demo stop --dir "$demo" || true
	umount -l "$tmp/small" "$tmp/work" || true # those that are still there
}
trap 'stop_all >/dev/null 2>&1; cleanup' EXIT

# event N TYPE ENTITY DATA: an event of a push.
event() {
	printf '{"client_action_id":%s,"action_type":"create","entity_type":"%s",' "$1" "$2"
	printf '"entity_id":"%s","client_timestamp":"2026-11-26T10:00:00Z",' "$3"
	printf '"payload":{"schema_version":1,"new_data":%s,"previous_data":{}}}' "$4"
}
# issues FIRST N: so many issues, as a list.
issues() {
	awk -v first="$1" -v n="$2" 'BEGIN {
		for (i = first; i < first + n; i++)
			printf "%s{\"client_action_id\":%d,\"action_type\":\"create\"," \
				"\"entity_type\":\"issues\",\"entity_id\":\"td-%06x\"," \
				"\"client_timestamp\":\"2026-11-26T10:00:00Z\",\"payload\":" \
				"{\"schema_version\":1,\"new_data\":{\"id\":\"td-%06x\",\"title\":\"no %d\"," \
				"\"status\":\"open\",\"type\":\"task\",\"priority\":\"P2\"}," \
				"\"previous_data\":{}}}", (i > first ? "," : ""), i, i, i, i
	}'
}
# push PROJECT TOKEN: a list of events on stdin.
push() {
	{ printf '{"device_id":"dev-1","session_id":"s1","events":['; cat; printf ']}'; } >"$tmp/body"
	code=$(curl -sS -o "$tmp/answer" -w '%{http_code}' -H "Authorization: Bearer $2" \
		-H 'Content-Type: application/json' --data-binary "@$tmp/body" \
		"$url/v1/projects/$1/sync/push")
	[ "$code" = 200 ] || { echo "$code"; cat "$tmp/answer"; false; }
}
