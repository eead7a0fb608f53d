# Answers: what setup.sh has to know. answer_KEY is the answer to the question
# KEY; given_KEY what the command line says. They are kept in a file that people
# can read and edit: KEY = VALUE, a line each, # begins a comment line. It is
# never run as shell: a value may hold any character but control characters.
# shellcheck shell=sh

answers_format=1
answer_keys='kind host path data prefix tls tls_certificate tls_key listen proxies
	mail mail_from smtp_url smtp_user signup owner public backups web_root server dir port limits'
answers_file= # where they are kept
byte_order_mark=$(printf '\357\273\277')
carriage_return=$(printf '\r')
wrong=        # why the last value that was judged is no answer; empty: it is one

# is_key WORD
is_key() {
	case $1 in '' | *[!a-z_]*) return 1 ;; esac
	for each in $answer_keys; do
		[ "$each" != "$1" ] || return 0
	done
	return 1
}

# question KEY: sets q_ask, q_why, q_default, and q_none: what is said instead of
# an empty answer, where that is one.
question() {
	q_default='' q_none=''
	case $1 in
	kind)
		q_ask="What is to be installed?"
		q_why="It decides what else is asked, and what is done." q_default=demo
		;;
	host)
		q_ask="Under which host name do people reach the server? (with :PORT where it is not the usual one)"
		q_why="It stands in the links of mails, and is the name that the certificate has to have."
		q_default=$(hostname -f 2>/dev/null || hostname) || q_default=
		;;
	path)
		q_ask="Below which path? (such as /td-sync; none: the host name is the server's alone)"
		q_why="With a path it lives beside a site that is there already." q_none=none
		;;
	data)
		q_ask="Which folder holds the data?"
		q_why="Accounts, keys and all projects lie there: a local disk, with room to grow." q_default=/var/lib/td-sync
		;;
	prefix)
		q_ask="Below which folder are the programs installed?"
		q_why="They go to its bin/." q_default=/usr/local
		;;
	tls)
		q_ask="Where does TLS come from? files (certificates that exist), certbot, proxy (one in front), none (loopback only)"
		q_why="Tokens are passwords: they never go over plain HTTP to other machines." q_default=certbot
		;;
	tls_certificate)
		q_ask="Which file is the certificate, with its chain?" q_why="nginx shows it to clients."
		;;
	tls_key)
		q_ask="Which file is the certificate's key?" q_why="nginx proves with it that the certificate is its own."
		;;
	listen)
		q_ask="At which address and port does nginx listen for that proxy?"
		q_why="The proxy sends requests there, in plain HTTP." q_default=127.0.0.1:8080
		;;
	proxies)
		q_ask="From which addresses does that proxy come? (with blanks between)"
		q_why="Only they are believed when they say whose request it is." q_default=127.0.0.1
		;;
	mail)
		q_ask="How is mail sent? auto (by sendmail where there is one), sendmail, smtp, off"
		q_why="People log in by a link that is mailed; without mail, you hand out the tokens." q_default=auto
		;;
	mail_from)
		q_ask="From which address does mail come?" q_why="What can't be delivered comes back to it; without one, auto sends none." q_none=none
		;;
	smtp_url)
		q_ask="Which mail server takes it? (smtp://HOST:PORT or smtps://HOST:PORT)"
		q_why="Mail is handed to it, with TLS."
		;;
	smtp_user)
		q_ask="As which user?" q_why="Most mail servers want a login; the password is a file in the data folder." q_none=none
		;;
	signup)
		q_ask="Who may get an account by logging in? closed (nobody: you make them), invited, open (everybody)"
		q_why="It can be changed later, in the file of these answers." q_default=closed
		;;
	owner)
		q_ask="Which e-mail address is the first owner's?" q_why="That account, and a token for it, is made now."
		;;
	public)
		q_ask="May projects be made public? yes, no" q_why="Everybody can read a public project, without a token." q_default=no
		;;
	backups)
		q_ask="Which folder holds backups?" q_why="One is made every night; best on another disk."
		q_default=/var/backups/td-sync q_none=none
		;;
	web_root)
		q_ask="Which folder of the host holds the site?" q_why="The start script and .htaccess are made for it."
		;;
	server)
		q_ask="Which web server does the host run? apache, lighttpd" q_why="Its configuration is made for it." q_default=apache
		;;
	dir)
		q_ask="Which folder holds what is made?" q_why="All of it lies there, so it is easily removed." q_default=$PWD/demo
		;;
	port)
		q_ask="Which port on 127.0.0.1?" q_why="Clients on this machine reach the demo there." q_default=8080
		;;
	limits)
		q_ask="With nginx's rate limits? on, off" q_why="On is how it is in earnest; off is for tests that hammer." q_default=on
		;;
	esac
	if [ -n "${kind-}" ] && has "${kind}_default"; then
		q_default=$("${kind}_default" "$1" || printf '%s' "$q_default")
	fi
}

# judge KEY VALUE: whether it is an answer; if not, `wrong` says why.
judge() {
	wrong=
	case $2 in *[[:cntrl:]]*)
		wrong="a control character is in it (line ends of Windows are such)"
		return 1
		;;
	esac
	question "$1"
	if [ -z "$2" ]; then
		[ -n "$q_none" ] || wrong="it needs a value"
		[ -z "$wrong" ]
		return
	fi
	case $1 in
	kind) one_of "$2" "$kinds" ;;
	tls) one_of "$2" "files certbot proxy none" ;;
	mail) one_of "$2" "auto sendmail smtp off" ;;
	signup) one_of "$2" "closed invited open" ;;
	public) one_of "$2" "yes no" ;;
	server) one_of "$2" "apache lighttpd" ;;
	limits) one_of "$2" "on off" ;;
	port) is_port "$2" ;;
	host) is_host "$2" ;;
	listen)
		case $2 in *:*) is_host "$2" ;; *) wrong="it must be ADDRESS:PORT, such as 127.0.0.1:8080" ;; esac
		;;
	proxies)
		printf '%s\n' "$2" | grep -Eqx '[0-9a-fA-F:.]+(/[0-9]{1,3})?( +[0-9a-fA-F:.]+(/[0-9]{1,3})?)*' ||
			wrong="they must be IP addresses or networks, with blanks between"
		;;
	path) is_path "$2" ;;
	owner | mail_from) is_address "$2" ;;
	smtp_url)
		case $2 in
		smtp://?* | smtps://?*) is_host "${2#smtp*://}" ;;
		*) wrong="it must be smtp://HOST:PORT or smtps://HOST:PORT" ;;
		esac
		;;
	*)
		! is_folder "$1" || case $(plain_path "$2")/ in
		//) wrong="it can't be the root of all folders" ;;
		*/./* | */../*) wrong="it can't have . or .. as a part: nobody sees what it is within" ;;
		*\$*) wrong="nginx would take the \$ in it for the beginning of a variable" ;;
		/*) ;;
		*) wrong="it must be an absolute path, one that begins with / (quotes and ~ would be a part of it)" ;;
		esac
		;;
	esac
	[ -z "$wrong" ]
}
# from_here KEY PATH: whether it may be a path from the current folder, which a person
# typed. One on the host is none; nor is one with what a shell would have taken away.
from_here() {
	case $kind:$1 in hosting:web_root | hosting:data) return 1 ;; esac
	case $2 in '' | '~'* | [\"\']*) return 1 ;; esac
	is_folder "$1"
}
# is_folder KEY: whether its answer is a folder's path, or a file's.
is_folder() {
	case $1 in dir | data | backups | prefix | web_root | tls_certificate | tls_key) ;; *) false ;; esac
}
one_of() {
	for each in $2; do
		[ "$each" != "$1" ] || return 0
	done
	wrong="it can be $(printf '%s' "$2" | sed 's/ \([^ ]*\)$/ or \1/; s/\([a-z]\) \([a-z]*\) or/\1, \2 or/; s/\([a-z]\) \([a-z]*\),/\1, \2,/')"
}
is_port() {
	case $1 in
	'' | *[!0-9]* | ??????* | 0*) wrong="it must be a number from 1 to 65535" ;;
	*) [ "$1" -le 65535 ] || wrong="it must be a number from 1 to 65535" ;;
	esac
}
is_host() {
	host_name=${1%%:*}
	case $1 in *:*) is_port "${1#*:}" ;; esac
	[ -z "$wrong" ] || return 0
	printf '%s\n' "$host_name" | LC_ALL=C grep -Eqx \
		'[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*' &&
		[ "${#host_name}" -le 253 ] ||
		wrong="it is no host name, such as sync.example.com or sync.example.com:8443"
}
is_path() {
	printf '%s\n' "$1" | LC_ALL=C grep -Eqx '(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+' ||
		wrong="it is no path such as /td-sync: letters, digits, - . _ ~, and no / at its end"
}
is_address() {
	# shellcheck disable=SC2015 # it is meant so
	printf '%s\n' "$1" | grep -v '^-' | grep -Eqx '[^][:space:]@"<>(),;:\\[]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?' &&
		[ "${#1}" -le 254 ] || wrong="it is no e-mail address, such as anna@example.com"
}

# plain_path PATH: with one / where there are more, and none at its end.
plain_path() {
	printf '%s' "$1" | sed 's,//*,/,g; s,\(.\)/$,\1,'
}

# absolute PATH: the same, from the current folder, as an absolute one.
absolute() {
	case $1 in
	/*) printf '%s' "$1" ;;
	*) realpath -ms -- "$PWD/$1" ;;
	esac
}

# given KEY VALUE: an answer of the command line.
given() {
	judge "$1" "$2" || fail "--$1 $2" "$wrong" "./setup.sh --help"
	eval "given_$1=\$2"
}

# answer KEY VALUE: it is one.
answer() {
	eval "answer_$1=\$2 answered_$1=yes"
	! is_folder "$1" || eval "answer_$1=\$(plain_path \"\$2\")"
}
answered() {
	eval "[ -n \"\${answered_$1-}\" ]"
}

# --- the file ---

# answers_load FILE: strictly; nothing that is in it is ever run.
answers_load() {
	line_number=0
	format=
	[ ! -f "$1" ] || [ -r "$1" ] || fail "$1 can't be read" \
		"it is for its owner only, who is $(stat -c %U -- "$1")" "run this as $(stat -c %U -- "$1"), by sudo for one"
	# shellcheck disable=SC2015 # fail doesn't come back
	[ -f "$1" ] && [ -r "$1" ] || fail "there are no answers in $1" \
		"there is no such file, or it can't be read" "./setup.sh asks for them"
	[ "$(tr -d '\000' <"$1" | wc -c)" = "$(wc -c <"$1")" ] ||
		fail "$1 is no file of answers" "it is not text" "./setup.sh makes one"
	while IFS= read -r line || [ -n "$line" ]; do
		line_number=$((line_number + 1))
		case $line in "$byte_order_mark"*)
			bad_line "$1" "an invisible byte order mark is before it: save the file without one"
			;;
		esac
		line=$(trimmed "$line")
		case $line in
		'' | '#'*) continue ;;
		*"$carriage_return") bad_line "$1" "its end is one of Windows: save the file with line ends of Unix" ;;
		*=*) ;;
		*) bad_line "$1" "it is not KEY = VALUE" ;;
		esac
		key=$(trimmed "${line%%=*}")
		value=$(trimmed "${line#*=}")
		if [ -z "$format" ]; then
			[ "$key" = format ] || bad_line "$1" "the first key must be format: format = $answers_format"
			case $value in
			'' | *[!0-9]* | 0* | ??????*) bad_line "$1" "the format is no number" ;;
			esac
			[ "$value" -le "$answers_format" ] || fail "$1 is of format $value" \
				"a newer setup.sh made it; this one knows format $answers_format" "run that newer one"
			format=$value
			continue
		fi
		is_key "$key" || bad_line "$1" "there is no key $key"
		eval "[ -z \"\${loaded_$key-}\" ]" || bad_line "$1" "the key $key is there twice"
		eval "loaded_$key=yes"
		judge "$key" "$value" || bad_line "$1" "$key: $wrong"
		answer "$key" "$value"
	done <"$1"
	for key in $answer_keys; do
		eval "loaded_$key="
	done
	[ -n "$format" ] || fail "$1 holds no answers" "there is not even the line format = $answers_format" \
		"./setup.sh asks for them"
}
bad_line() {
	fail "$1, line $line_number: $(printf '%s' "$line" | LC_ALL=C tr -d '\000-\037\177' | cut -c 1-200)" "$2" \
		"edit that file, and run this again; docs/install.md says what can be in it"
}
# trimmed TEXT: without the blanks around it.
trimmed() {
	text=$1
	while :; do
		case $text in
		[\ \	]*) text=${text#?} ;;
		*[\ \	]) text=${text%?} ;;
		*) break ;;
		esac
	done
	printf '%s' "$text"
}

# Keep the answers that are there.
answers_save() {
	[ "$dry_run" = no ] || return 0
	{
		printf '# What setup.sh was told. It may be edited: ./setup.sh --answers FILE then does the rest.\n'
		printf 'format = %s\nkind = %s\n' "$answers_format" "$kind"
		eval "set -- \$questions_$kind"
		for key; do
			answered "$key" || continue
			question "$key"
			eval "value=\$answer_$key"
			printf '\n# %s\n# %s\n%s =%s\n' "$q_ask" "$q_why" "$key" "${value:+ $value}"
		done
	} >"$scratch/answers"
	put_file "$scratch/answers" "$answers_file" 600
}

# --- asking ---

# ask KEY: on the terminal, until there is an answer.
ask() {
	question "$1"
	! answered "$1" || eval "q_default=\$answer_$1"
	printf '\n%s\n    %s\n' "$q_ask" "$q_why"
	if [ "$1" = kind ]; then
		for each in $kinds; do
			printf '      %-8s %s\n' "$each" "$("${each}_what")"
		done
	fi
	while :; do
		shown=${q_default:-$q_none}
		printf '  %s%s: ' "$1" "${shown:+ [$shown]}"
		IFS= read -r reply || {
			printf '\n'
			fail "no answer" "the terminal ended" "run this again: what was answered is kept"
		}
		reply=$(trimmed "$reply")
		reply=${reply:-$q_default}
		[ -z "$q_none" ] || [ "$reply" != "$q_none" ] || reply=
		! from_here "$1" "$reply" || reply=$(absolute "$reply")
		if judge "$1" "$reply"; then
			answer "$1" "$reply"
			return
		fi
		printf '  %s\n' "$wrong"
		question "$1"
	done
}

# wanted KEY: whether the question makes sense after the answers so far.
wanted() {
	case $1 in
	tls_certificate | tls_key) [ "${answer_tls-}" = files ] ;;
	mail_from) [ "${answer_mail-}" != off ] ;;
	smtp_url | smtp_user) [ "${answer_mail-}" = smtp ] ;;
	*) true ;;
	esac && { ! has "${kind}_asks" || "${kind}_asks" "$1"; }
}

# Ask what is not answered yet; each answer is kept at once. Sets `asked`.
ask_rest() {
	asked=no
	eval "set -- \$questions_$kind"
	for key; do
		! answered "$key" && wanted "$key" || continue
		ask "$key"
		asked=yes
		answers_save
	done
}

# What is not answered gets its default; without one, it is an error.
answer_rest() {
	lacking=
	eval "set -- \$questions_$kind"
	for key; do
		eval ": \"\${answer_$key=}\""
		! answered "$key" && wanted "$key" || continue
		question "$key"
		if judge "$key" "$q_default"; then
			answer "$key" "$q_default"
		else
			lacking="$lacking $key"
		fi
	done
	[ -z "$lacking" ] || fail "no answer to:$lacking" "it has no default, and nobody was asked" \
		"add it to a file of answers (docs/install.md), and run: ./setup.sh --answers FILE --yes"
}
