# ./setup.sh check: build, and run the tests.
# shellcheck shell=sh

check_run() {
	[ $# = 0 ] || fail "check: unknown argument: $1" "it takes none" "./setup.sh check"
	mail_server=$(other_mail_server) || mail_server=
	if [ -n "$mail_server" ]; then
		note "$mail_server stays this machine's mail server: tests that need exim4 are skipped"
		packages_mail=
	fi
	step "Looking for the packages that are needed"
	# shellcheck disable=SC2086 # lists of words
	install_packages $packages_build $packages_run $packages_check $packages_mail
	step "Building"
	with_tests=yes
	unset TD_SYNC_BUILD
	spare=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/td-sync
	build_place
	build_tree
	step "Running the tests (make check)"
	find "$build" -name '*.trs' -type f -exec rm -f -- {} +
	status=0
	# One more than processors: the long ones wait most of their time.
	make -C "$build" -j"$(($(cpus) + 1))" check VERBOSE=1 </dev/null || status=$?
	step "Totals"
	sh "$src/tests/totals.sh" "$build" || status=1
	return "$status"
}
