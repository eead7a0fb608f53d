#!/bin/sh
# totals.sh BUILD...: what the tests of these build folders came to, as one
# line: "N passed, N failed[, N skipped]". Counted are single tests, not
# programs: the lines that Check prints, the "N passed, N failed" of the harness
# and of our scripts, and programs that print neither as one test each. A
# program that failed without telling which test did counts as one failure; a
# test that says "skipped: why" is a skipped one.
# Ends with 1 where something failed, and where nothing was run.
set -eu

for build; do
	[ -d "$build" ] || {
		printf 'totals.sh: %s: no such folder\n' "$build" >&2
		exit 2
	}
done

# A .trs file, which automake writes for each test, beside its .log.
find "$@" -name '*.trs' -type f | LC_ALL=C sort | LC_ALL=C awk '
	function number(text, before,    s) {
		s = text
		if (!sub(".*" before, "", s))
			return 0
		return s + 0
	}
	{
		trs = log_file = $0
		sub(/\.trs$/, ".log", log_file)
		result = ""
		while ((getline line < trs) > 0)
			if (line ~ /^:test-result: /)
				result = substr(line, 15)
		close(trs)
		if (result == "")
			next

		p = f = s = lines = told = 0
		while ((getline line < log_file) > 0) {
			if (line ~ /^[0-9]+%: Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+/) {
				bad = number(line, "Failures: ") + number(line, "Errors: ")
				p += number(line, "Checks: ") - bad
				f += bad
				told = 1
			} else if (line ~ /^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$/) {
				p += line + 0
				f += number(line, "passed, ")
				s += number(line, "failed, ")
				told = 1
			} else if (line ~ /^skipped: /)
				lines++
		}
		close(log_file)
		# Check has no skipping: such a test says so, and counts as passed.
		if (!s && lines) {
			s = lines
			p -= told ? (lines < p ? lines : p) : 0
		}

		if (result ~ /^SKIP/ && !told)
			s = s ? s : 1
		else if (result ~ /^(PASS|XFAIL)/ && !told)
			p = 1
		else if (result !~ /^(PASS|XFAIL|SKIP)/ && f == 0)
			f = 1
		passed += p
		failed += f
		skipped += s
	}
	END {
		printf "%d passed, %d failed", passed, failed
		if (skipped)
			printf ", %d skipped", skipped
		printf "\n"
		exit failed > 0 || passed == 0
	}'
