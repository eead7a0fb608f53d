#!/bin/sh
# setup.sh: try td-sync, and test it.
#
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
	libcurl4-openssl-dev'
packages_run='nginx sqlite3 curl'
packages_check='check valgrind mandoc xz-utils'

usage() {
	cat <<'TEXT'
usage: ./setup.sh demo [--dir DIR] [--port N] [--db FILE]... [--server-only]
                       [--limits off]
       ./setup.sh demo stop [--dir DIR]
       ./setup.sh check

demo    installs what is missing, builds, and starts a td-sync server on
        127.0.0.1 with everything in one folder; makes two replicas, edits
        them, syncs them, and shows what happened. The server stays. Run again
        it starts what is stopped and keeps the data.
  --dir DIR       the folder (./demo)
  --port N        the port (8080)
  --db FILE       use a copy of this td database (.todos/issues.db) as a
                  replica; may be given several times
  --server-only   no replicas, no edits
  --limits off    no rate limits
  stop            stop the server; the folder stays
check   installs what the tests need, builds, and runs them
TEXT
}

# --- saying what happens ---

step() {
	printf '\n==> %s\n' "$*"
}

note() {
	printf '    %s\n' "$*"
}

# fail WHAT WHY TODO [LOG]: the end, in sentences, with the log's last lines.
fail() {
	{
		printf '\nsetup.sh: %s\n' "$1"
		printf '  why:        %s\n' "$2"
		if [ -n "${4-}" ] && [ -s "$4" ]; then
			printf '  the end of %s:\n' "$4"
			tail -n 20 -- "$4" | sed 's/^/    | /'
		fi
		printf '  what to do: %s\n' "$3"
	} >&2
	exit 1
}

# logged LOG COMMAND...: run it quietly; its output goes to the end of LOG.
logged() {
	logged_to=$1
	shift
	"$@" >>"$logged_to" 2>&1 </dev/null
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

# Run as root: install packages, without starting nginx's own service, which
# Debian would put on port 80 of every address (only its program is wanted).
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
		systemctl disable nginx.service 2>/dev/null || true ;;
	esac'

# install_packages PACKAGE...: those of them that are missing.
install_packages() {
	step "Looking for the packages that are needed"
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
	step "Installing ${need% }"
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
	note "done"
}

# --- building ---

cpus() {
	getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1
}

# build_tree SPARE CONFIGURE-OPTION...: configure and make. Sets `build` to the
# folder that holds the commands: build/ below the sources; the sources
# themselves where somebody configured them there; below SPARE where
# the sources can't be written to.
build_tree() {
	spare=$1
	shift
	tree=$src
	build=$src/build
	if [ -e "$src/config.status" ]; then
		build=$src
	elif [ ! -w "$src" ]; then
		build=$spare/build
		if [ ! -e "$src/Makefile.in" ]; then
			tree=$spare/src
		fi
		note "$src can't be written to: building in $spare"
	fi
	mkdir -p -- "$build" || fail "can't build" "$build can't be made" \
		"run this as the owner of $src"
	log=$build/setup.log
	: >"$log" || fail "can't build" "$log can't be written" \
		"run this as the owner of $build, or remove that folder"
	if [ "$tree" != "$src" ]; then
		mkdir -p -- "$tree"
		(cd "$src" && tar -cf - --exclude=./.git --exclude='./build*' \
			--exclude=./demo .) | (cd "$tree" && tar -xf -)
	fi
	if [ ! -e "$tree/Makefile.in" ]; then # the last thing autoreconf makes
		note "making configure (autoreconf)"
		logged "$log" autoreconf -i "$tree" || fail "autoreconf failed" \
			"it ended with an error" "read the lines above" "$log"
	fi
	if [ ! -e "$build/Makefile" ]; then
		note "configuring"
		(cd "$build" && logged "$log" "$tree/configure" "$@") ||
			fail "configure failed" "it ended with an error" \
				"install what it names; $build/config.log says more" "$log"
	fi
	note "compiling (make -j$(cpus))"
	logged "$log" make -C "$build" -j"$(cpus)" || fail "the build failed" \
		"make ended with an error" \
		"read the lines above; 'rm -r $build' starts from nothing" "$log"
	note "built in $build"
}

# --- check ---

check_run() {
	[ $# = 0 ] || fail "check: unknown argument: $1" "it takes none" "./setup.sh check"
	# shellcheck disable=SC2086 # lists of words
	install_packages $packages_build $packages_run $packages_check
	step "Building"
	build_tree "${TMPDIR:-/tmp}/td-sync-check.$(id -u)"
	step "Running the tests (make check)"
	find "$build" -name '*.trs' -type f -exec rm -f -- {} +
	status=0
	make -C "$build" -j"$(cpus)" check VERBOSE=1 </dev/null || status=$?
	step "Totals"
	sh "$src/tests/totals.sh" "$build" || status=1
	return "$status"
}

# --- main ---

[ $# -gt 0 ] || {
	usage
	exit 2
}
command=$1
shift
case $command in
check) check_run "$@" ;;
-h | --help | help) usage ;;
*)
	usage >&2
	printf '\nsetup.sh: unknown command: %s\n' "$command" >&2
	exit 2
	;;
esac
