#!/bin/sh
# Every man page is in order (mandoc's lint), and says what the programs and the
# configuration are: each command and option of --help, and no other; each key of
# td-sync.conf, as the server knows it, with the same default; each of setup.sh's answers.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

needs mandoc
man=$src/man
for page in "$man"/*.[1-9]; do
	is "${page##*/} is in order" mandoc -T lint -W warning "$page"
done
for page in td-sync.1 td-sync-admin.1 td-sync.fcgi.8 td-sync.conf.5 td-sync-profile.5 td-sync-setup.5; do
	is "there is $page" test -s "$man/$page"
done

sorted() { LC_ALL=C sort -u; }

# What a text names as options; what a page has as its own (what it says of other
# programs' stands in other lines).
options_in() { grep -o -e '--[a-z][a-z-]*' | sorted; }
options_of() { grep -E '^\.(It|Op|Oo|Fl)' "$man/$1" | grep -oE 'Fl Fl [a-z][a-z-]*' | sed 's/Fl Fl /--/' | sorted; }

admin=$TD_SYNC_BUILD/td-sync-admin
# Commands of td-sync-admin: one word or two, before what stands in capitals.
"$admin" --help | sed -n '/^commands:/,/^$/s/^  \([a-z][a-z-]*\( [a-z][a-z-]*\)\{0,1\}\)\( .*\)*$/\1/p' >"$tmp/lines"
: >"$tmp/commands"
: >"$tmp/help"
while read -r group verb; do
	# A verb, or the first word of what a command without one does.
	if [ -n "$verb" ] && "$admin" "$group" "$verb" --help >"$tmp/one" 2>/dev/null &&
		grep -q "^usage: .* $group $verb" "$tmp/one"; then
		echo "$group $verb" >>"$tmp/commands"
	else
		"$admin" "$group" --help >"$tmp/one"
		echo "$group" >>"$tmp/commands"
	fi
	cat "$tmp/one" >>"$tmp/help"
done <"$tmp/lines"
"$admin" --help >>"$tmp/help"
is "td-sync-admin has commands" grep -q '^token create$' "$tmp/commands"
is "td-sync-admin(1) has its commands" same \
	"$(sed -nE 's/^\.It Cm ([a-z-]+( [a-z-]+)?)( .*)?$/\1/p' "$man/td-sync-admin.1" | sorted)" \
	"$(sorted <"$tmp/commands")"
is "td-sync-admin(1) has its options" same \
	"$(options_of td-sync-admin.1)" "$(options_in <"$tmp/help")"

"$TD_SYNC_BUILD/td-sync" --help >"$tmp/help"
# Columns, so two words of one command: "token      create", "conflicts  show ID".
sed -n '/^commands:/,/^$/s/^  \([a-z]*\)  *\([a-z]*\).*/\1 \2/p' "$tmp/help" |
	while read -r group verb; do
		case $group in
		token | invitation) echo "$group $verb" ;;
		conflicts) case $verb in show | restore) echo "$group $verb" ;; *) echo "$group" ;; esac ;;
		doctor | *) echo "$group" ;;
		esac
	done | sorted >"$tmp/commands"
is "td-sync(1) has its commands" same \
	"$(sed -nE 's/^\.It Cm ([a-z]+( [a-z]+)?)( .*)?$/\1/p' "$man/td-sync.1" | sorted)" \
	"$(cat "$tmp/commands")"
is "td-sync(1) has its options" same \
	"$(options_of td-sync.1)" "$(options_in <"$tmp/help")"

"$TD_SYNC_BUILD/td-sync.fcgi" --help >"$tmp/help"
is "td-sync.fcgi(8) has its options" same \
	"$(options_of td-sync.fcgi.8)" "$( { options_in <"$tmp/help"; echo --help; } | sorted)"

# --- td-sync.conf: the server's table of keys, the file and the page ---

sed -n '/^static const struct.*{$/,/^};/s/^	{ "\([a-z_]*\)", *set_[a-z_]* },$/\1/p' \
	"$src/src/http/config.c" | sorted >"$tmp/keys"
sed -n 's/^#\([a-z_]*\) =.*/\1/p' "$src/conf/td-sync.conf" | sorted >"$tmp/shown"
# The keys that a page has.
keys_of() { sed -n 's/^\.It Ic //p' "$man/$1" | tr -s ' ,' '\n' | grep . | sorted; }
keys_of td-sync.conf.5 >"$tmp/told"
is "the server has keys" grep -q '^max_push_bytes$' "$tmp/keys"
is "conf/td-sync.conf has every key" same "$(cat "$tmp/shown")" "$(cat "$tmp/keys")"
is "td-sync.conf(5) has every key" same "$(cat "$tmp/told")" "$(cat "$tmp/keys")"

# says_default PAGE KEY VALUE: whether the page's sentence on a key's default has that
# value. Keys that have none, or one that is no value, are shown with an example.
# says PAGE KEY VALUE: whether any sentence on it has.
says_default() { says "$@" default; }
says() {
	awk -v key="$2" -v value="$3" -v about="${4-}" '
		/^\.It Ic / { on = 0; for (i = 3; i <= NF; i++) if ($i == key) on = 1; next }
		/^\.S[sh] / { on = 0 }
		on { sub(/^\.[A-Z][a-z] /, ""); text = text " " $0 }
		END {
			n = split(text " ", sentences, /[.] /)
			for (i = 1; i <= n; i++) {
				if (sentences[i] !~ about)
					continue
				m = split(sentences[i], words, /[ ,;]+/)
				for (k = 1; k <= m; k++)
					if (words[k] == value)
						exit 0
			}
			exit 1
		}' "$man/$1"
}
sed -n 's/^#\([a-z_]*\) = \(.*\)/\1 \2/p' "$src/conf/td-sync.conf" >"$tmp/defaults"
while read -r key value; do
	case $key in
	data | mail_from | mail_command | mail_file | smtp_url | smtp_user | \
		smtp_password_file | smtp_ca_file) ;;
	*) is "td-sync.conf(5) has the default of $key: $value" says_default td-sync.conf.5 "$key" "$value" ;;
	esac
done <"$tmp/defaults"

# --- the answers of setup.sh: keys, values, defaults; and docs/install.md has them ---

with_answers() { sh -euc 'kinds="demo nginx hosting"; . "$1/setup/lib.sh"; . "$1/setup/answers.sh"; eval "$2"' sh "$src" "$1"; }
with_answers 'echo format $answer_keys' | tr ' ' '\n' | sorted >"$tmp/keys"
is "setup.sh has answers" grep -q '^web_root$' "$tmp/keys"
is "td-sync-setup(5) has every key" same "$(keys_of td-sync-setup.5)" "$(cat "$tmp/keys")"
is "docs/install.md has every key" same \
	"$( { echo format; grep '^| `' "$src/docs/install.md" | cut -d'|' -f2 | grep -o '`[a-z_]*`' | tr -d '`'; } |
		grep -vx -e demo -e hosting -e nginx | sorted)" "$(cat "$tmp/keys")"
sed -n 's/^	\([a-z]*\)) one_of "$2" "\{0,1\}\([^";]*\).*/\1 \2/p' "$src/setup/answers.sh" |
	sed 's/\$kinds/demo nginx hosting/' >"$tmp/values"
is "some have values to choose from" grep -q '^tls files certbot proxy none$' "$tmp/values"
while read -r key values; do
	for value in $values; do
		is "td-sync-setup(5) has $key = $value" says td-sync-setup.5 "$key" "$value"
	done
done <"$tmp/values"
with_answers 'for key in $answer_keys; do question "$key"; echo "$key $q_default"; done' >"$tmp/defaults"
while read -r key value; do
	case $key in
	host | dir) ;; # this machine's, this folder's
	*) [ -z "$value" ] ||
		is "td-sync-setup(5) has the default of $key: $value" says_default td-sync-setup.5 "$key" "$value" ;;
	esac
done <"$tmp/defaults"
totals
