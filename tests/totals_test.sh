#!/bin/sh
# totals.sh counts what test programs print, and never calls a failure a success.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

# log NAME RESULT LINE...: what automake keeps of a test.
log() {
	name=$1
	printf ':test-result: %s\n' "$2" >"$tmp/build/$name.trs"
	shift 2
	printf '%s\n' "$@" "PASS $name (exit status: 0)" >"$tmp/build/$name.log"
}
# counted STATUS TOTALS: of the logs made since the last time.
counted() {
	code=0
	line=$(sh "$src/tests/totals.sh" "$tmp/build") || code=$?
	rm -rf "$tmp/build"
	mkdir "$tmp/build"
	same "$line, $code" "$2, $1"
}
mkdir "$tmp/build"

is "no tests are a failure" counted 1 "0 passed, 0 failed"
log a PASS "Running suite(s): a" "100%: Checks: 12, Failures: 0, Errors: 0"
log b PASS "x" "100%: Checks: 3, Failures: 0, Errors: 0" "100%: Checks: 4, Failures: 0, Errors: 0"
is "Check's lines are added up" counted 0 "19 passed, 0 failed"
log a FAIL "62%: Checks: 8, Failures: 2, Errors: 1"
is "failures and errors of Check are failures" counted 1 "5 passed, 3 failed"
log a PASS "skipped: no recording" "100%: Checks: 8, Failures: 0, Errors: 0"
is "a test of Check that says it was skipped is no pass" counted 0 "7 passed, 0 failed, 1 skipped"
log a PASS "    skipped: why" "skipped: why" "7 passed, 0 failed, 2 skipped"
log b PASS "5 passed, 0 failed"
is "lines of ours are taken as they are" counted 0 "12 passed, 0 failed, 2 skipped"
log a FAIL "7 passed, 2 failed, 1 skipped"
is "their failures count" counted 1 "7 passed, 2 failed, 1 skipped"
log a FAIL "100%: Checks: 3, Failures: 0, Errors: 0" "==1==ERROR: LeakSanitizer: detected memory leaks"
is "a program that fails after its tests is a failure" counted 1 "3 passed, 1 failed"
log a ERROR
log b FAIL "Segmentation fault"
is "one that dies is a failure" counted 1 "0 passed, 2 failed"
log a PASS "I say nothing"
log b SKIP "skipped: nginx is not installed"
log c SKIP
is "a program that tells nothing is one test" counted 0 "1 passed, 0 failed, 2 skipped"
log a XPASS
is "an unexpected success is a failure" counted 1 "0 passed, 1 failed"
is "a folder that isn't there is an error" not sh "$src/tests/totals.sh" "$tmp/none"
totals
