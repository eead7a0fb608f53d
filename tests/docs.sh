#!/bin/sh
# The documentation: every link leads somewhere; each page with commands (```sh) is run,
# here or by a test of its own; every error code of the sources is in docs/protocol.md, with
# its status, and no other is. (Routes and examples there: protocol_test.)
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

needs nginx sqlite3 curl
pages=$(cd "$src" && ls README.md docs/*.md)

# --- links ---

# What a title is called in a link, as hosts of repositories do it.
anchors_of() {
	awk '/^```/ { code = !code } !code && /^#+ / {
		sub(/^#+ /, ""); s = tolower($0); gsub(/[^a-z0-9 _-]/, "", s); gsub(/ /, "-", s)
		print n[s]++ ? s "-" n[s] - 1 : s }' "$1"
}

# Links of a page that lead to nothing: files beside it, and titles in them.
broken_links_of() {
	awk '/^```/ { code = !code } !code' "$src/$1" | grep -oE '\]\([^) ]+\)' |
		sed 's/^](//; s/)$//' | grep -vE '^(https?|mailto):' | LC_ALL=C sort -u |
		while IFS='#' read -r file title; do
			target=$src/$1
			[ -z "$file" ] || target=$src/$(dirname "$1")/$file
			if [ ! -e "$target" ]; then
				echo "$1: there is no $file"
			elif [ -n "$title" ] && ! anchors_of "$target" | grep -qxF -e "$title"; then
				echo "$1: $file has no title $title"
			fi
		done
}

for page in $pages CHANGELOG.md; do
	is "links of $page lead somewhere" same "$(broken_links_of "$page")" ""
done
printf '%s\n' 'See [a](nothing.md), [b](limits.md#nowhere), [c](#d) and [e](limits.md).' >"$tmp/page.md"
is "a link that leads nowhere is found" same \
	"$(ln -s "$src/docs/limits.md" "$tmp/limits.md"; src=$tmp; broken_links_of page.md | wc -l | tr -d ' ')" 3

# --- who runs the commands of which page ---

# The test of a page; "long": what README says takes more time than make check has.
runner_of() {
	case $1 in
	README.md) echo readme.sh ;;
	docs/backup.md) echo backup.sh ;;
	docs/install-hosting.md) echo hosting.sh ;;
	docs/install-nginx.md) echo service.sh ;;
	docs/install.md) echo setup_answers.sh ;;
	docs/moving.md) echo moving.sh ;;
	docs/operate.md) echo doctor.sh ;;
	docs/security.md) echo docs.sh ;;
	esac
}
is_run() {
	runner=$(runner_of "$1")
	[ -n "$runner" ] || { echo "no test runs the commands of $1: add one, or make them text"; return 1; }
	grep -qF "${1##*/}" "$src/tests/$runner"
}
for page in $pages; do
	! grep -q '^```sh$' "$src/$page" || is "the commands of $page are run by a test" is_run "$page"
done

# --- the commands of docs/security.md, in a demo ---

mkdir "$tmp/demo"
port=$(free_port)
{
	echo 'set -eu'
	echo "'$src/setup.sh' demo --server-only --dir demo --port $port"
	# shellcheck disable=SC2016 # for the script
	echo 'set -a; . demo/demo.env; set +a; PATH=$TD_SYNC_BIN:$PATH'
	echo 'set -x'
	awk '/^```/ { on = 0 } on; /^```sh$/ { on = 1 }' "$src/docs/security.md"
} >"$tmp/script"
rmdir "$tmp/demo"
is "there are commands in docs/security.md" grep -q 'key rotate --overlap 0' "$tmp/script"
is "they do what it says" sh -c "cd '$tmp' && sh script </dev/null"
(cd "$tmp" && "$src/setup.sh" demo stop --dir demo) >/dev/null 2>&1 || true

# --- error codes ---

{
	sed -nE 's/.*\{ ([0-9]{3}), "([a-z_]+)".*/\1 \2/p' "$src/src/http/reply.c"
	cat "$src"/src/http/*.c | grep -oE 'reply_error\(r, [0-9]{3}, "[a-z_]+"' |
		sed -E 's/.* ([0-9]{3}), "([a-z_]+)"/\1 \2/'
	grep -h '"code\\":' "$src"/src/http/cgi.c | sed -E 's/.*code\\":\\"([a-z_]+).*/500 \1/'
	sed -nE "s/^[ 	]*([0-9]{3}|default) +'\"([a-z_]+)\",.*/\1 \2/p; s/.*return (50[0-9]) '.*\"code\":\"([a-z_]+)\".*/\1 \2/p" \
		"$src/nginx/td-sync.conf.in" | sed 's/^default/500/'
} | LC_ALL=C sort -u >"$tmp/codes"
sed -n '/^## Errors$/,/^## Who/p' "$src/docs/protocol.md" |
	sed -nE 's/^\| ([0-9]{3}) \| `([a-z_]+)` \|.*/\1 \2/p' | LC_ALL=C sort >"$tmp/told"
is "there are error codes" grep -q '^409 cursor_ahead$' "$tmp/codes"
is "docs/protocol.md has every error code, and no other" same "$(cat "$tmp/told")" "$(cat "$tmp/codes")"
totals
