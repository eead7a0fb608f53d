# What setup.sh and the kinds of installation in this folder share: saying what
# happens, packages, building, files that are never half there, answers, steps.
# shellcheck shell=sh
#
# A step NAME (words with -; in functions with _) is
#
#   step_NAME_what    prints what it will do: one sentence
#   step_NAME_done    whether it is already so; quiet, changes nothing
#   step_NAME_do      does it; where it can't: fail
#   step_NAME_check   whether it has had its effect, where that takes more than
#                     step_NAME_done once more
#   step_NAME_undo    takes it away again, where that is to be done; never data
#
# A kind KIND is setup/KIND.sh with
#
#   steps_KIND        its steps, in order (a variable, a list of words)
#   steps_upgrade_KIND  those of an upgrade, where they are others
#   questions_KIND    the answers that it takes, in the order they are asked for
#   KIND_what         prints, for the question after the kind, what it is
#   KIND_answers      prints the path of its file of answers
#   KIND_may          whether this user may do it, on this machine; else fail
#                     (optional; before anything is asked)
#   KIND_ready        before anything else: judges the answers (answer_KEY), sets
#                     variables; changes nothing
#   KIND_begin        makes what has to be there before the first step (optional;
#                     the folder of the answers is made, and the lock is held)
#   KIND_report       what is said when all is done (optional)
#   KIND_data         prints the folders that hold data, a line each
#   KIND_remove_data  removes them, and what only is of use with them (optional);
#                     the file of answers goes by itself, and nothing of others'
#   KIND_asks KEY     whether that question makes sense after the answers so far
#                     (optional)
#
# `command` is status, upgrade or uninstall where that is done: KIND_ready then
# judges only what that needs (nobody needs a certificate to uninstall), and
# `remove_data` is yes where the data goes, too. uninstall calls the
# step_NAME_undo that there are, the last step's first; status only step_NAME_done.
#
# Steps that all kinds may use: packages (what `packages` lists) and build.

nl='
'
scratch= # a folder for this run, removed at its end
running= # the step that runs
interrupted=no
on_disk= # a folder that the kind writes to: whose disk may be full
at_end_do= # what a kind has to undo where its run ends early
dry_run=no

# --- saying what happens ---

step() {
	printf '\n==> %s\n' "$*"
}

note() {
	printf '    %s\n' "$*"
}

# The exit status that `fail` ends a shell with, so that who waits for it knows
# that all is said.
said=9

# fail WHAT WHY TODO [LOG]: the end, in sentences, with the log's last lines.
fail() {
	{
		printf '\nsetup.sh: %s\n' "$1"
		printf '  why:        %s\n' "$2"
		! disk_full || printf '              and no space is left on the disk of %s\n' "$on_disk"
		if [ -n "${4-}" ] && [ -s "$4" ]; then
			printf '  the end of %s:\n' "$4"
			tail -n 20 -- "$4" | sed 's/^/    | /'
		fi
		printf '  what to do: %s\n' "$3"
		[ -z "$running" ] ||
			printf '              (run again, it goes on at this step: %s)\n' "$running"
	} >&2
	exit "$said"
}

# Whether less than a megabyte is left where the kind writes.
disk_full() {
	[ -n "$on_disk" ] && [ -d "$on_disk" ] &&
		df -Pk -- "$on_disk" 2>/dev/null | awk 'END { exit !(NR > 1 && $4 < 1024) }'
}

# logged LOG COMMAND...: run it quietly; its output goes to the end of LOG.
logged() {
	logged_to=$1
	shift
	"$@" >>"$logged_to" 2>&1 </dev/null
}

# quoted TEXT: as one word of sh.
quoted() {
	printf "'"
	printf '%s' "$1" | sed "s/'/'\\\\''/g"
	printf "'"
}

# has FUNCTION: whether a kind, or a step, has it.
has() {
	command -v "$1" >/dev/null
}

# The end of this shell, however it comes.
at_end() {
	status=$?
	trap - EXIT
	set +e
	[ "$status" = 0 ] || [ -z "$at_end_do" ] || "$at_end_do"
	[ -z "$scratch" ] || rm -rf -- "$scratch"
	if [ "$status" = "$said" ]; then
		status=1
	elif [ "$interrupted" = yes ]; then
		printf '\nsetup.sh: interrupted; run again%s\n' "${running:+, it goes on at $running}" >&2
	elif [ "$status" != 0 ] && [ -n "$running" ]; then
		(fail "the step $running did not end well" "a command in it ended with an error (above)" \
			"set right what it says; where there is nothing to be set right, please report it")
		status=1
	fi
	exit "$status"
}

# begin_run: from here on, what a run has begun is taken care of at its end.
begin_run() {
	trap at_end EXIT
	trap 'interrupted=yes; exit 1' HUP INT TERM
	scratch=$(umask 077 && mktemp -d "${TMPDIR:-/tmp}/td-sync-setup.XXXXXX") ||
		fail "no folder for temporary files" "mktemp said so above" \
			"make room in ${TMPDIR:-/tmp}, or set TMPDIR to another folder"
}

# --- files ---

# put_file SOURCE TARGET MODE [OWNER]: TARGET has the content of SOURCE (-: of
# standard input), this mode, and this owner (USER:GROUP). Where it is so
# already, nothing is touched; else it is written beside it, reaches the disk,
# and takes its place: whole, or not at all.
put_file() {
	[ "$1" = - ] || ! same_file "$@" || return 0
	beside=$2.setup-new
	rm -f -- "$beside"
	(umask 077 && cat -- "$1" >"$beside") || put_failed "$2"
	if same_file "$beside" "$2" "$3" "${4-}"; then
		rm -f -- "$beside"
		return
	fi
	# shellcheck disable=SC2015 # fail doesn't come back
	{ [ -z "${4-}" ] || chown -- "$4" "$beside"; } && chmod -- "$3" "$beside" &&
		sync -- "$beside" && mv -f -- "$beside" "$2" || put_failed "$2"
}
put_failed() {
	rm -f -- "$beside"
	fail "$1 can't be written" "the command above said so" \
		"make room on that disk, or see to the folder's permissions"
}

# same_file SOURCE TARGET MODE [OWNER]: whether put_file would change nothing.
same_file() {
	[ -f "$2" ] && cmp -s -- "$1" "$2" && [ "$(stat -c %a -- "$2")" = "${3#0}" ] &&
		{ [ -z "${4-}" ] || [ "$(stat -c %U:%G -- "$2")" = "$4" ]; }
}

# keep_old FILE: before it is changed in a way that only shows in use whether
# it was right. Then put_back FILE: it is what it was (gone, where it was not
# there); or drop_old FILE: the new one is right. An old one that an ended run
# kept is the right one still.
keep_old() {
	[ ! -e "$1.setup-old" ] && [ ! -e "$1.setup-none" ] || return 0
	if [ -e "$1" ]; then
		cp -p -- "$1" "$1.setup-copy" && mv -f -- "$1.setup-copy" "$1.setup-old"
	else
		: >"$1.setup-none"
	fi
}
put_back() {
	if [ -e "$1.setup-old" ]; then
		mv -f -- "$1.setup-old" "$1"
	elif [ -e "$1.setup-none" ]; then
		rm -f -- "$1" "$1.setup-none"
	fi
}
drop_old() {
	rm -f -- "$1.setup-old" "$1.setup-none"
}

# claim_data FOLDER: a data folder that is there is ours, or made so where it is
# empty; one that belongs to another installation, or to nobody known, is refused.
# FOLDER must be there. data_claimed FOLDER: whether it is ours.
claim_data() {
	! data_claimed "$1" || return 0
	if [ -e "$1/.setup" ]; then
		fail "$1 belongs to another installation" "it was made by $(head -n 1 -- "$1/.setup")" \
			"choose another data folder; or, where that one is gone: rm $(quoted "$1/.setup")"
	fi
	[ ! -e "$1/server.db" ] || [ -n "${take_over-}" ] || fail "$1 is the data folder of a server already" \
		"this setup did not make it" \
		"choose another one; or take it over: echo $(quoted "$answers_file") >$(quoted "$1/.setup")"
	[ -e "$1/server.db" ] || [ -z "$(find "$1" -mindepth 1 -maxdepth 1 ! -name .setup-new ! -name lost+found)" ] ||
		fail "$1 holds other files" "a data folder begins empty" "choose another data folder"
	printf '%s\n' "$answers_file" | put_file - "$1/.setup" 644
}
data_claimed() {
	[ -e "$1/.setup" ] && [ "$(head -n 1 -- "$1/.setup")" = "$answers_file" ]
}

# lock FILE: one setup at a time. It is held as descriptor 9 until this shell
# ends: what is started to stay gets 9>&-.
lock() {
	# (A shell ends when a redirection of exec fails: so it is tried in another one. Who
	# can read it could hold it.)
	(umask 077 && : >>"$1") || fail "$1 can't be written" "the shell said so above" \
		"see to the permissions of that folder"
	exec 9>>"$1"
	flock -w 2 9 || fail "another setup.sh works in $(dirname -- "$1")" "it holds $1" \
		"wait until it is done"
}

# --- processes ---

# port_used PORT: whether anybody listens there on 127.0.0.1 or all addresses.
port_used() {
	hex=$(printf '%04X' "$1")
	cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port=":$hex" '
		$4 == "0A" && substr($2, length($2) - 4) == port &&
		$2 ~ /^(0100007F|00000000|0000000000000000FFFF00000100007F|0+):/ { used = 1 }
		END { exit !used }'
}

# wait_for SECONDS COMMAND...: until it succeeds; false when time is up.
wait_for() {
	tries=$(($1 * 10))
	shift
	while ! "$@"; do
		[ "$tries" -gt 0 ] || return 1
		tries=$((tries - 1))
		sleep 0.1
	done
}

# --- installing ---

# The packages of "$@" that are not installed, with blanks between.
missing() {
	for package; do
		state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=
		[ "$state" = installed ] || printf '%s ' "$package"
	done
}

# as_root COMMAND...: as root, by sudo where we are not.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif [ -t 0 ]; then
		sudo "$@"
	else
		sudo -n "$@" </dev/null
	fi
}

# Run as root: install packages, without starting the services of nginx, which
# Debian would put on port 80 of every address, of lighttpd and exim4 (only their
# programs are wanted).
# shellcheck disable=SC2016 # expanded by the inner shell
install_script='
	export DEBIAN_FRONTEND=noninteractive
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		trap "rm -f $policy" EXIT
		trap "exit 1" HUP INT TERM
		printf "#!/bin/sh\nexit 101\n" >$policy
		chmod 755 $policy
	fi
	apt-get -o DPkg::Lock::Timeout=300 -q update &&
	apt-get -o DPkg::Lock::Timeout=300 -q install -y --no-install-recommends "$@" ||
		exit
	case " $* " in *" nginx "*)
		update-rc.d nginx disable ;;
	esac
	case " $* " in *" lighttpd "*)
		update-rc.d lighttpd disable ;;
	esac
	case " $* " in *" exim4-daemon-light "*)
		update-rc.d exim4 disable ;;
	esac'

# The package that is this machine's mail server, if any but ours: there can be one
# only, and ours would take its place.
other_mail_server() {
	dpkg-query -W -f '${db:Status-Status} ${Package} ${Provides}\n' 2>/dev/null | awk -v ours="$packages_mail" '
		$1 == "installed" && $2 != ours && / mail-transport-agent(,|$)/ { print $2; exit }'
}

# install_packages PACKAGE...: those of them that are missing.
install_packages() {
	if ! command -v dpkg-query >/dev/null; then
		note "this is not Debian: can't tell what is installed; going on"
		return
	fi
	need=$(missing "$@")
	if [ -z "$need" ]; then
		note "all $# are installed"
		return
	fi
	by_hand="as root: apt-get update && apt-get install -y ${need% }"
	if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
		fail "packages are missing: ${need% }" \
			"they can only be installed by root, and there is no sudo" \
			"$by_hand; then run this again"
	fi
	note "installing ${need% }"
	log=$(mktemp "${TMPDIR:-/tmp}/td-sync-install.XXXXXX")
	# shellcheck disable=SC2086 # a list of words
	if ! as_root sh -c "$install_script" sh $need >"$log" 2>&1; then
		fail "packages could not be installed: ${need% }" \
			"apt-get (or sudo) ended with an error" "$by_hand" "$log"
	fi
	rm -f -- "$log"
	need=$(missing "$@")
	[ -z "$need" ] || fail "packages are still missing: ${need% }" \
		"apt-get ended without an error, and without installing them" "$by_hand"
	note "installed"
}

packages= # those that the kind needs

step_packages_what() {
	echo "install what is missing of the $(echo "$packages" | wc -w) packages that are needed (as root, by apt-get)"
}
# With TD_SYNC_BUILD (the tests set it) nothing is installed or built.
step_packages_done() {
	if [ -n "${TD_SYNC_BUILD-}" ]; then
		for program in $packages_run; do
			has "$program" || return 1
		done
		return
	fi
	# Where it is not Debian, the build says what is missing.
	# shellcheck disable=SC2086 # a list of words
	! has dpkg-query || [ -z "$(missing $packages)" ]
}
step_packages_do() {
	[ -z "${TD_SYNC_BUILD-}" ] || fail "$program is missing" \
		"with TD_SYNC_BUILD nothing is installed" "apt-get install $program"
	# shellcheck disable=SC2086 # a list of words
	(umask 022; install_packages $packages)
}

# --- building ---

cpus() {
	getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1
}

with_tests=no # the demo is built without them where check is not installed
spare=        # a folder for a copy of the sources, where they can't be written to
build=        # the folder of the commands, set by build_place

# Sets `tree`, the sources that are built, and `build`, the folder that holds
# the commands: build/ below the sources; the sources themselves where somebody
# configured them there; where they can't be written to, a copy of them in
# `spare` is built.
build_place() {
	if [ -n "${TD_SYNC_BUILD-}" ]; then
		build=$TD_SYNC_BUILD
		[ ! -d "$build" ] || build=$(CDPATH='' cd -- "$build" && pwd -P)
		return
	fi
	tree=$src
	[ -w "$src" ] || tree=$spare/src
	build=$tree/build
	[ ! -e "$tree/config.status" ] || build=$tree
}

# configure and make. (configure is called by a relative path: it takes no
# other with blanks.)
build_tree() {
	if [ "$tree" != "$src" ]; then
		note "$src can't be written to: building a copy in $tree"
		# shellcheck disable=SC2015 # fail doesn't come back
		mkdir -p -- "$tree" && (cd "$src" && tar -cf "$tree.tar" --exclude=./.git \
			--exclude=./build --exclude=./build-sanitize --exclude=./demo .) &&
			(cd "$tree" && tar -xf "$tree.tar" && chmod -R u+w .) ||
			fail "the sources could not be copied" "tar said so above" \
				"make room in $spare, or run this as the owner of $src"
		rm -f -- "$tree.tar"
	fi
	log=$build/setup.log
	# shellcheck disable=SC2015 # fail doesn't come back
	mkdir -p -- "$build" && (: >"$log") || fail "can't build in $build" \
		"it, or the log in it, can't be written" \
		"run this as the owner of $build, or remove that folder"
	exec 8>>"$build/setup.lock"
	flock -w 600 8 || fail "can't build in $build" "another setup.sh builds there for 10 minutes" \
		"wait until it is done"
	if [ ! -e "$tree/Makefile.in" ]; then # the last thing autoreconf makes
		note "making configure (autoreconf)"
		(cd "$tree" && logged "$log" autoreconf -i) || fail "autoreconf failed" \
			"it ended with an error" "read the lines above" "$log"
	fi
	if [ ! -e "$build/Makefile" ]; then
		note "configuring"
		(cd "$build" && logged "$log" ../configure) || fail "configure failed" \
			"it ended with an error" \
			"install what it names; $build/config.log says more" "$log"
	fi
	if [ "$with_tests" = yes ] && grep -q '^S\["HAVE_CHECK_FALSE"\]=""' "$build/config.status"; then
		note "configuring again, now with the unit tests"
		(cd "$build" && logged "$log" ./config.status --recheck &&
			logged "$log" ./config.status) || fail "configure failed" \
			"it ended with an error" \
			"install what it names; $build/config.log says more" "$log"
	fi
	note "compiling (make -j$(cpus))"
	logged "$log" make -C "$build" -j"$(cpus)" || fail "the build failed" \
		"make ended with an error" \
		"read the lines above; 'rm -r $build' starts from nothing" "$log"
	: >"$build/setup.built"
	exec 8>&-
	note "built in $build"
}

# Whether there are all three commands.
programs_built() {
	for program in td-sync td-sync-admin td-sync.fcgi; do
		[ -x "$build/$program" ] || return 1
	done
}

step_build_what() {
	echo "make the commands out of the sources, in $build"
}
step_build_done() {
	programs_built || return 1
	[ -z "${TD_SYNC_BUILD-}" ] || return 0
	# make itself can't be asked: config.status leaves config.h older than its stamp,
	# so make -q always finds something to do.
	[ -e "$build/setup.built" ] &&
		[ -z "$(find "$src" -path "$src/.git" -prune -o -path "$src/build*" -prune -o -path "$src/demo" -prune \
			-o -type f -newer "$build/setup.built" -print 2>/dev/null | head -n 1)" ]
}
step_build_do() {
	[ -z "${TD_SYNC_BUILD-}" ] || fail "there is no $program in $TD_SYNC_BUILD" \
		"TD_SYNC_BUILD names that folder" "make there, or unset TD_SYNC_BUILD"
	(umask 022; build_tree)
}
# Only the copy is ours.
step_build_undo() {
	[ -n "${TD_SYNC_BUILD-}" ] || [ "$tree" = "$src" ] || rm -rf -- "$tree"
}

# --- steps ---

# run_step NAME: say what it does; do it, where it is not already so; and see
# that it is so then.
run_step() {
	running=$1
	function=step_$(printf '%s' "$1" | tr - _)
	step "$1: $("${function}_what")"
	if "${function}_done"; then
		note "already so"
	elif [ "$dry_run" = yes ]; then
		note "to be done"
	else
		"${function}_do"
		step_verified "$function" || fail "the step $1 had no effect" \
			"it ended without an error, and what it does is not so" \
			"run this again; where that does not help, please report it"
		note "done"
	fi
	running=
}
step_verified() {
	if has "$1_check"; then
		"$1_check"
	else
		"$1_done"
	fi
}
