# What the test scripts share; each begins with: . "${0%/*}/lib.sh"
# A script ends with `totals`, whose line is counted (totals.sh).
# shellcheck shell=sh
set -eu

src=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
# The folder that was built, as make check sets it.
TD_SYNC_BUILD=${TD_SYNC_BUILD:-$src/build}
export TD_SYNC_BUILD
PATH=$PATH:/usr/sbin:/sbin
# Nobody's settings, nor those of the make that runs the tests.
unset TD_SYNC_URL TD_AUTH_KEY MAKEFLAGS MFLAGS MAKELEVEL GNUMAKEFLAGS DESTDIR || true
no_proxy='*'
export no_proxy

tmp=$(mktemp -d "${TMPDIR:-/tmp}/td-sync-test.XXXXXX")
passed=0
failed=0

# Kill what was left running in our folder, and remove it.
cleanup() {
	for cwd in /proc/[0-9]*/cwd; do
		case $(readlink "$cwd" 2>/dev/null) in
		"$tmp"/*)
			process=${cwd#/proc/}
			kill "${process%/cwd}" 2>/dev/null || true
			;;
		esac
	done
	rm -rf -- "$tmp"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

# needs PROGRAM...: the script is skipped, visibly, where one is missing.
needs() {
	for program; do
		command -v "$program" >/dev/null || {
			echo "skipped: $program is not installed"
			exit 77
		}
	done
}

# is WHAT COMMAND...: a test; what the command says is shown where it fails.
is() {
	what=$1
	shift
	if "$@" >"$tmp/is" 2>&1; then
		passed=$((passed + 1))
		echo "ok: $what"
	else
		failed=$((failed + 1))
		echo "NOT ok: $what"
		echo "    $*"
		sed 's/^/    | /' "$tmp/is"
		[ ! -s "$tmp/out" ] || sed 's/^/    > /' "$tmp/out"
	fi
}
not() { ! "$@"; }
same() { [ "$1" = "$2" ] || { printf '%s\n--- is not ---\n%s\n' "$1" "$2"; false; }; }

# hold FILE: another process, a flock that is $holder, has the file's lock until release.
hold() {
	rm -f -- "$tmp/held"
	flock -o "$1" sh -c ': >"$1"; exec sleep 120' sh "$tmp/held" >/dev/null 2>&1 &
	holder=$!
	for _ in $(seq 1200); do
		[ ! -e "$tmp/held" ] || return 0
		sleep 0.05
	done
	echo "nobody gets the lock of $1"
	return 1
}
release() {
	kill "$holder" $(pgrep -P "$holder")
	wait "$holder" 2>/dev/null || true
}

# A port that nobody listens on: of ten that are this script's own, below those
# that the kernel gives to connections (32768 and more).
free_port() {
	port=$((10000 + $$ * 7 % 2000 * 10))
	while awk -v p=":$(printf %04X "$port")" 'substr($2, length($2) - 4) == p { used = 1 }
		END { exit !used }' /proc/net/tcp /proc/net/tcp6 2>/dev/null; do
		port=$((port + 1))
	done
	echo "$port"
}

totals() {
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ]
}
