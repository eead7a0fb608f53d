#!/bin/sh
# The harness's page, looked at in a browser: it shows what happened, it filters,
# it fits a phone, and it fetches nothing.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
needs chromium chromedriver curl

# harness STATUS ARGUMENT...: its page is $tmp/report/index.html.
harness() {
	want=$1
	shift
	status=0
	TMPDIR=$tmp/work "$TD_SYNC_BUILD/td-sync-harness" --report "$tmp/report" "$@" \
		>"$tmp/out" 2>&1 </dev/null || status=$?
	same "$status" "$want"
}
mkdir "$tmp/work"

# shellcheck source=tests/browser-lib.sh
. "${0%/*}/browser-lib.sh"

# --- runs of which one fails, with a fault and a conflict; texts that are HTML ---

cat >"$tmp/script" <<'TEXT'
new 38; new 31
A create i1 'One</script><img src=nowhere>'; A create i2 Two; all sync
A sql 'UPDATE issues SET title = upper(title)'
B title i1 Eins; B sync lost-answer; B sync; A sync
A sql 'UPDATE issues SET title = lower(title)'
TEXT
is "a run that fails is told by the status, and the page is written" \
	harness 1 --script "$tmp/script" --scenario lost-answer --scenario random --seeds 3 --transport direct
is "it says where the page is" grep -qx "the dashboard is in $tmp/report/index.html" "$tmp/out"
is "one file, nothing beside it" same "$(ls -A "$tmp/report")" "index.html"

page=$tmp/report/index.html
screen 1200 false light
fetched >/dev/null # what it began with is its own
open_page "$page"
rows="document.querySelectorAll('.run:not([hidden])').length"
shown="document.getElementById('shown').textContent"
is "it shows all runs" becomes "$rows" 5
is "it has a title" becomes "document.title" "1 failed, 4 passed: td-sync harness"
is "it sums up" becomes "[...document.querySelectorAll('#summary div')].slice(0, 3).map(e => e.textContent)" \
	"Runs5,Passed4,Failed1"
is "what failed comes first" becomes "document.querySelector('.run .badge').textContent" failed
is "there are charts of latency and batch size" becomes "document.querySelectorAll('figure rect.push').length > 5" true
pushes="document.querySelector('figure td').textContent"
is "they count the requests" becomes "$pushes > 9" true
all=$(js "$pushes")

click '#outcome option[value=failed]'
is "only what failed" becomes "$shown" "1 of 5 runs, 1 failed"
is "one row" becomes "$rows" 1
click '#filters button'
is "all of them again" becomes "$rows" 5
keys '#text' 'two script'
is "those that a text is about" becomes "$shown" "1 of 5 runs, 1 failed"
click '#filters button'
click '#scenario option[value=random]'
is "those of a scenario" becomes "$shown" "3 of 5 runs"
is "the charts are of these" becomes "0 < $pushes && $pushes < $all" true
click '#via option[value=direct]'
is "those over a transport" becomes "$shown" "3 of 5 runs"
keys '#text' 'no such thing'
is "none" becomes "$shown" "0 of 5 runs"
click '#filters button'

number=$(sed -n 's/.*"n":\([0-9]*\),.*"scenario":"lost-answer".*/\1/p' "$tmp/report/index.html")
click "#run-$number > summary"
is "what the server itself wrote" becomes \
	"[...document.querySelectorAll('#run-$number .body > details')][1].textContent.replace(/lg-[0-9a-f]{8}/, 'lg-*')" \
	'1 event of the server itselfevent 4: create logs lg-*, because of event 3 (lost_value)'
click "#run-$number > summary"

click '.run.failed > summary'
run="document.querySelector('.run.failed[open]')"
is "a run has a lane for each replica, and the server" becomes \
	"[...$run.querySelectorAll('.lanes div')].map(e => e.textContent)" "server,Aschema 38,Bschema 31,Cschema 38,Dschema 38"
is "its pushes and pulls" becomes \
	"['push', 'pull'].map(what => $run.querySelectorAll('.scroll .way.' + what).length)" "3,12"
is "its faults" becomes "$run.querySelector('.scroll .fault').textContent" lost-answer
is "what happened to a replica" becomes "$run.querySelectorAll('.scroll .diamond').length" 2
is "the call that failed" becomes "$run.querySelectorAll('.scroll .call.bad').length" 1
is "its conflict" becomes "$run.querySelectorAll('.scroll .sign').length" 1
is "the first difference, both sides" becomes \
	"[...$run.querySelectorAll('.first .value')].map(e => e.textContent)" "'two','Two'"
is "and what of it differs" becomes "[...$run.querySelectorAll('.first mark')].map(e => e.textContent)" "t,T"
is "the command that has it again" becomes "$run.querySelector('code').textContent" \
	"td-sync-harness --script $tmp/script --transport direct --replay 1"
card="$run.querySelector('.conflict-card')"
is "a conflict with both versions side by side" becomes \
	"[...$card.querySelectorAll('.differs')].slice(0, 2).map(e => e.textContent)" \
	'Eins,ONE\u003C/SCRIPT>\u003CIMG SRC=NOWHERE>'
is "and who wrote what was kept" becomes "$card.querySelector('.head').textContent.slice(0, 10)" "Kept, by B"
is "a text that is HTML stays a text" becomes "document.querySelectorAll('img').length" 0

keys '.run.failed .scroll' '\uE010'
is "keys go through the time line" becomes \
	"/^[0-9.]+ m?s: [A-D]: [a-z]+ request, answer 200/.test($run.querySelector('.detail').textContent)" true
is "it is scrolled to there" becomes "$run.querySelector('.scroll').scrollLeft > 0" true
click '.run.failed .scroll .on'
is "a click on a conflict goes to its card" becomes "document.activeElement === $card" true
click '.run.failed .body > details > summary'
is "all of it can be read as a list" becomes \
	"[...$run.querySelectorAll('.list li')].filter(e => /fault: lost-answer/.test(e.textContent)).length" 1

for scheme in light dark; do
	screen 360 true $scheme
	is "a phone, $scheme: nothing is wider than it" becomes \
		"[innerWidth, document.documentElement.scrollWidth]" "360,360"
	js "getComputedStyle(document.body).backgroundColor" >"$tmp/$scheme"
done
is "light is light, and dark is dark" same "$(cat "$tmp/light" "$tmp/dark" | tr -d ' ')" \
	"rgb(246,247,248)rgb(20,23,26)"
is "nothing was complained of" same "$(complaints)" '{"value":[]}'
is "nothing was fetched but the page" same "$(fetched)" "file://$page"

# What these two must be able to see.
sed '/Content-Security-Policy/d; s|<h1>|<img src="http://127.0.0.1:'"$port"'/x" alt="">&|; s/"runs":/"walks":/' \
	"$page" >"$tmp/broken.html"
open_page "$tmp/broken.html"
complaints >"$tmp/complaints"
is "a page that is broken is complained of" grep -q TypeError "$tmp/complaints"
is "a page that fetches something is seen" same "$(fetched)" "file://$tmp/broken.html
http://127.0.0.1:$port/x"

# --- runs that end otherwise ---

is "runs that all pass" harness 0 --scenario one-way --transport direct
open_page "$page"
is "have their page" becomes "document.title" "1 passed: td-sync harness"
printf 'new 38; A create i1 One; A sync; A dance\n' >"$tmp/script"
is "a run that breaks off is a failure" harness 1 --script "$tmp/script"
open_page "$page"
click '.run.failed > summary'
is "it is shown until there" becomes "$run.querySelectorAll('.scroll .way.push').length" 1
is "a trace of all is another thing" harness 2 --trace "$tmp/trace"

# 2,000 ordinary marks are shown; a fault is never left out.
marks="$run.querySelector('.scroll').getAttribute('aria-label')"
for times in 300 400; do
	printf 'new 38; A create i1 One; repeat %d : A push & A title i1 Two\nA push lost-answer\nA push fails\n' \
		$times >"$tmp/script"
	is "$times pushes" harness 1 --script "$tmp/script"
	open_page "$page"
	click '.run.failed > summary'
	is "a long run has its fault" becomes "$run.querySelectorAll('.scroll .fault').length" 1
	echo "$(js "$marks") $(js "/left out/.test($run.textContent)")" >"$tmp/marks$times"
done
is "below the limit all is there" grep -q '^Time line, 1,[89].* false$' "$tmp/marks300"
is "above it the others are counted" grep -q '^Time line, 2,00[0-9] .* true$' "$tmp/marks400"

TMPDIR=$tmp/work "$TD_SYNC_BUILD/td-sync-harness" --report "$tmp/report" --scenario random \
	--seeds 5000 >"$tmp/out" 2>&1 </dev/null &
harness=$!
i=0 # until the first of them are done
while [ "$(ls -d "$tmp/work"/*/random-* 2>/dev/null | wc -l)" -lt 4 ] && [ $i -lt 600 ]; do
	sleep 0.1
	i=$((i + 1))
done
sleep 1
kill "$harness"
wait "$harness" || true
open_page "$page"
is "one that is ended leaves a page of what there is" becomes \
	"document.querySelectorAll('.run').length > 0 && document.title.endsWith(' passed: td-sync harness')" true

web DELETE "/session/$session" >/dev/null
kill "$driver"
wait "$driver" || true
totals
