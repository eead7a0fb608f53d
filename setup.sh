#!/bin/sh
# setup.sh: install td-sync, try it, and test it.
#
#   ./setup.sh         asks what is to be installed, and does it
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
packages_check='check valgrind mandoc xz-utils chromium chromium-driver openssl
	apache2-bin libapache2-mod-fcgid lighttpd bash-static systemd logrotate'
packages_mail='exim4-daemon-light'

usage() {
	cat <<'TEXT'
usage: ./setup.sh [KIND] [--answers FILE] [--yes] [--dry-run] [--step NAME]
       ./setup.sh demo [--dir DIR] [--port N] [--db FILE]... [--server-only]
                       [--limits on|off]
       ./setup.sh demo stop [--dir DIR]
       ./setup.sh status | upgrade | uninstall [--remove-data]
                       [KIND] [--dir DIR] [--answers FILE]
       ./setup.sh check

Without a KIND, and on a terminal, it asks for what it has to know. Every answer
is kept at once, in a file that can be edited. What is already so is left alone:
running it again goes on where it stopped. docs/install.md says more.

KIND            what is installed: demo, nginx or hosting
  --answers FILE  take the answers from this file
  --yes           ask nothing: what is not answered gets its default
  --dry-run       only say what would be done
  --step NAME     only this step
demo            installs what is missing, builds, and starts a td-sync server on
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
status          say of each step whether it is so
upgrade         bring what is installed to the version of these sources
uninstall       take away what was installed; the data stays
  --remove-data   the data, too
check           installs what the tests need, builds, and runs them
TEXT
}

. "$src/setup/lib.sh"
. "$src/setup/answers.sh"
. "$src/setup/manage.sh"
. "$src/setup/check.sh"
kinds=
for kind in demo nginx hosting; do
	[ -e "$src/setup/$kind.sh" ] || continue
	# shellcheck disable=SC1090 # named by the line above
	. "$src/setup/$kind.sh"
	kinds="${kinds:+$kinds }$kind"
done
kind=

# --- an installation ---

# open_kind: `kind` is known; its answers are the command line's, those of
# --answers, those kept by an earlier run.
open_kind() {
	! has "${kind}_may" || "${kind}_may"
	if [ -n "$answers_given" ]; then
		answers_load "$answers_given"
		[ "${answer_kind-$kind}" = "$kind" ] || fail "$answers_given is for the kind $answer_kind" \
			"it says so, and the command line says $kind" "./setup.sh --answers $(quoted "$answers_given")"
	fi
	take_given
	# The file of answers may lie where one of them says.
	[ "$kind" != demo ] || answered dir || {
		if [ "$asking" = yes ]; then ask dir; else answer dir "$PWD/demo"; fi
	}
	answers_file=$("${kind}_answers")
	if [ -z "$answers_given" ] && [ -e "$answers_file" ]; then
		moved=${answer_dir-}
		answers_load "$answers_file"
		[ "$kind" != demo ] || answer dir "$moved" # it may have been moved
		take_given
	fi
}
take_given() {
	for key in $answer_keys; do
		eval "value=\${given_$key-}"
		[ -z "$value" ] || answer "$key" "$value"
	done
}

# The folder of the answers, and the lock in it.
begin_kind() {
	if has "${kind}_begin"; then
		"${kind}_begin"
	else
		mkdir -p -- "$(dirname -- "$answers_file")" || fail "can't make $(dirname -- "$answers_file")" \
			"mkdir said so above" "see to the permissions of the folder above it"
	fi
	lock "$(dirname -- "$answers_file")/setup.lock"
}

# steps: the names of the kind's steps; of `upgrade`, where it has others then.
kind_steps() {
	if [ "$command" = upgrade ]; then
		eval "steps=\${steps_upgrade_$kind-\$steps_$kind}"
	else
		eval "steps=\$steps_$kind"
	fi
}

install_run() {
	open_kind
	if [ "$asking" = yes ]; then
		if [ "$dry_run" = no ]; then
			begin_kind
			answers_save
		fi
		ask_rest
		[ "$asked" = no ] || confirmed || exit 0
	fi
	answer_rest
	"${kind}_ready"
	if [ "$dry_run" = no ]; then
		[ "$asking" = yes ] || begin_kind
		answers_save
		"${kind}_ready"
	fi
	kind_steps
	if [ -n "$only" ]; then
		case " $(echo "$steps" | tr '\n\t' '  ') " in
		*" $only "*) steps=$only ;;
		*) fail "there is no step $only" "the steps are: $(echo $steps)" "name one of them" ;;
		esac
	fi
	for this_step in $steps; do
		run_step "$this_step"
	done
	if [ "$dry_run" = no ] && [ -z "$only" ] && has "${kind}_report"; then
		"${kind}_report"
	fi
}

confirmed() {
	printf '\nThe answers are in %s. Go on? [yes]: ' "$answers_file"
	IFS= read -r reply || reply=no
	case $reply in '' | y | yes | Y | Yes) return 0 ;; esac
	note "nothing was done; ./setup.sh --answers $(quoted "$answers_file") goes on"
	return 1
}

# --- main ---

begin_run
command=
only=
answers_given=
yes=no
remove_data=no
asking=no
rest= # what a kind's own arguments are, each quoted
while [ $# -gt 0 ]; do
	case $1 in
	--answers | --step)
		[ -n "${2-}" ] || fail "$1 needs a value" "nothing follows it" "./setup.sh --help"
		if [ "$1" = --step ]; then only=$2; else answers_given=$(absolute "$2"); fi
		shift
		;;
	--yes) yes=yes ;;
	--dry-run) dry_run=yes ;;
	--remove-data) remove_data=yes ;;
	-h | --help | help) usage; exit ;;
	*)
		if [ -z "$command" ] && [ "${1#-}" = "$1" ]; then
			command=$1
		else
			rest="$rest $(quoted "$1")"
		fi
		;;
	esac
	shift
done
eval "set -- $rest"

if [ -t 0 ] && [ -t 1 ] && [ "$yes" = no ]; then
	terminal=yes
else
	terminal=no
fi
case " $kinds " in *" $command "*) [ -z "$command" ] || kind=$command ;; esac
if [ -z "$command" ]; then
	[ "$terminal" = yes ] || [ "$yes" = yes ] || {
		usage
		exit 2
	}
	[ $# = 0 ] || fail "unknown argument: $1" "it is none of those it takes" "./setup.sh --help"
	if [ -n "$answers_given" ]; then
		answers_load "$answers_given"
		kind=${answer_kind-}
	fi
	if [ -z "$kind" ]; then
		[ "$terminal" = yes ] || fail "which kind is to be installed?" "no answer says so" \
			"./setup.sh KIND --yes, or kind = KIND in the file of answers"
		ask kind
		kind=$answer_kind
	fi
	asking=$terminal
	install_run
	exit
fi
case $command in
check) check_run "$@" ;;
status | upgrade | uninstall)
	manage_arguments "$@"
	"${command}_run"
	;;
demo)
	demo_arguments "$@"
	if [ "$stop" = yes ]; then
		demo_stop
	else
		install_run
	fi
	;;
*)
	if [ -z "$kind" ]; then
		usage >&2
		printf '\nsetup.sh: unknown command: %s\n' "$command" >&2
		exit 2
	fi
	[ $# = 0 ] || fail "unknown argument: $1" "it is none of those it takes" "./setup.sh --help"
	asking=$terminal
	[ "$terminal" = yes ] || [ "$yes" = yes ] || [ -n "$answers_given" ] ||
		fail "$kind asks questions" "there is no terminal to ask them on" \
			"./setup.sh $kind --yes takes kept answers and defaults"
	install_run
	;;
esac
