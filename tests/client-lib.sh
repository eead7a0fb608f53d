# What the test scripts of the client's command share, after lib.sh.
# shellcheck shell=sh

cli=$TD_SYNC_BUILD/td-sync
HOME=$tmp/home
export HOME
mkdir -p "$HOME"

# exits CODE ARGUMENT...: the exit code; stdout and stderr are in $tmp/out, err.
exits() {
	code=$1
	shift
	status=0
	"$cli" "$@" >"$tmp/out" 2>"$tmp/err" || status=$?
	[ "$status" = "$code" ] || { echo "exit code $status"; cat "$tmp/err"; false; }
}
# One line on stderr that begins with the name, and no secret anywhere.
one_line() {
	cat "$tmp/err"
	[ "$(wc -l <"$tmp/err")" = 1 ] && grep -q '^td-sync: .' "$tmp/err" &&
		! grep -q "$TD_AUTH_KEY" "$tmp/err" "$tmp/out"
}
said() { grep -q -- "$1" "$tmp/err" || { cat "$tmp/err"; false; }; }
printed() { grep -q -- "$1" "$tmp/out" || { cat "$tmp/out"; false; }; }
