#!/bin/sh
# run.sh CLANG SOURCE SECONDS TARGET...: fuzz each target for that long, one
# after the other. Run by `make fuzz` in the build folder. Everything is built
# anew there, in fuzz-clang/, with clang's libFuzzer, ASan and UBSan; what was
# learnt stays in fuzz-clang/corpus/TARGET. What is found: fuzz-clang/found/.
set -u
clang=$1 source=$2 seconds=$3
shift 3
build=$PWD
work=$build/fuzz-clang

fail() {
	printf 'make fuzz: %s\n' "$*" >&2
	exit 1
}

mkdir -p "$work/found" || exit 1
cd "$work" || exit 1

[ -n "$clang" ] || fail "clang is missing (Debian: clang)"
printf 'int LLVMFuzzerTestOneInput(const char *p, unsigned long n) { return p == 0 && n; }\n' >try.c
"$clang" -fsanitize=fuzzer,address,undefined -o try try.c 2>try.log ||
	fail "$clang has no libFuzzer (Debian: libclang-rt-NN-dev), see $work/try.log"

if [ ! -e Makefile ]; then
	"$source/configure" -q --disable-werror CC="$clang" \
		CFLAGS='-g -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all' \
		LDFLAGS='-fsanitize=address,undefined' || fail "configure failed, see $work/config.log"
fi
programs=
for target; do
	programs="$programs fuzz/${target}_fuzz"
done
# shellcheck disable=SC2086
make -s FUZZ_MAIN= FUZZ_LDFLAGS=-fsanitize=fuzzer $programs >make.log 2>&1 ||
	fail "the build failed, see $work/make.log"

# Logs of the targets lie here: in memory where that can be had.
TMPDIR=$(mktemp -d /dev/shm/td-sync-fuzz-XXXXXX 2>/dev/null || mktemp -d) || exit 1
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 1' HUP INT TERM

failed=0
for target; do
	mkdir -p "corpus/$target"
	set -- "corpus/$target"
	for known in "$build/fuzz/seeds.d/$target" "$source/fuzz/corpus/$target"; do
		[ ! -d "$known" ] || set -- "$@" "$known"
	done
	before=$(ls found)
	fuzz/"${target}_fuzz" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 \
		-artifact_prefix="$work/found/$target-" "$@" >"$target.log" 2>&1
	status=$?
	if [ $status -ne 0 ]; then
		failed=1
		tail -n 40 "$target.log"
		printf '%s: found: ' "$target"
		for name in $(ls found); do
			case " $(echo $before) " in
			*" $name "*) ;;
			*) printf '%s ' "$work/found/$name" ;;
			esac
		done
		printf '(see %s)\n' "$work/$target.log"
	else
		printf '%s: %s\n' "$target" "$(sed -n 's/^Done \(.*\) second.*/\1 s: nothing found/p' "$target.log")"
	fi
done
exit $failed
