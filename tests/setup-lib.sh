# What the test scripts of setup.sh share, after lib.sh.
# shellcheck shell=sh

TMPDIR=$tmp/tmp
export TMPDIR
mkdir -m 1777 "$TMPDIR"
port=$(free_port)

# setup ARGUMENT...: setup.sh, with nobody to ask; what it says is in $tmp/out.
setup() { timeout 120 "$src/setup.sh" "$@" </dev/null >"$tmp/out" 2>&1; }
# refused PATTERN ARGUMENT...: it fails, and says a sentence with PATTERN and what to do.
refused() {
	pattern=$1
	shift
	! setup "$@" || return 1
	grep -q -- "$pattern" "$tmp/out" && grep -q 'what to do: .' "$tmp/out"
}
said() { grep -q -- "$1" "$tmp/out"; }
# works_in FOLDER: whether a process works in a folder of it.
works_in() { find /proc/[0-9]*/cwd -maxdepth 0 -lname "$1/*" 2>/dev/null | grep .; }
