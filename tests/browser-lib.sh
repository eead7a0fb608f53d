# A real browser for tests in sh: sourced after lib.sh, by those that need chromium,
# chromedriver and curl. It is $driver, and is to be killed in the end.
mkdir "$tmp/browser"

# --- the browser, driven over HTTP (W3C WebDriver) ---

port=$(free_port)
(
	cd "$tmp/browser"
	HOME=$tmp/browser TMPDIR=$tmp/browser exec chromedriver --port="$port"
) >"$tmp/chromedriver.log" 2>&1 &
driver=$!
session=

# web METHOD PATH [BODY]: what chromedriver answers, on one line.
web() {
	curl -sS -m 60 -X "$1" -H 'Content-Type: application/json' ${3+--data-binary "$3"} \
		"http://127.0.0.1:$port$2" 2>&1 | tr -d '\n'
}
here() { web POST "/session/$session/$1" "$2"; }
cdp() { here goog/cdp/execute "{\"cmd\":\"$1\",\"params\":$2}" >/dev/null; }
open_page() { here url "{\"url\":\"file://$1\"}" >/dev/null; }

# js EXPRESSION: its value in the page. Written with 'quotes' alone.
js() {
	here execute/sync "{\"script\":\"return String($1)\",\"args\":[]}" |
		sed 's/^{"value":"\(.*\)"}$/\1/'
}
# becomes EXPRESSION VALUE: it has that value within 5 s.
becomes() {
	tries=50
	while value=$(js "$1") && [ "$value" != "$2" ] && [ $tries -gt 0 ]; do
		sleep 0.1
		tries=$((tries - 1))
	done
	same "$value" "$2"
}
element() {
	here element "{\"using\":\"css selector\",\"value\":\"$1\"}" |
		sed 's/.*":"\([^"]*\)"}}$/\1/'
}
# at SELECTOR WHAT BODY: done to that element; says what went wrong.
at() { here "element/$(element "$1")/$2" "$3" | grep -v '^{"value":null}$' || true; }
click() { at "$1" click '{}'; }
keys() { at "$1" value "{\"text\":\"$2\"}"; }

# complaints: what is in the browser's console since the last time.
complaints() { here se/log '{"type":"browser"}'; }
# fetched: the addresses that were asked for since the last time.
fetched() {
	here se/log '{"type":"performance"}' | sed 's/{"level"/\n&/g' |
		sed -n '/Network.requestWillBeSent\\"/s/.*\\"request\\":{.*\\"url\\":\\"\([^"]*\)\\".*/\1/p' |
		LC_ALL=C sort -u
}
# screen WIDTH MOBILE SCHEME: a phone's (true) or not, "light" or "dark".
screen() {
	cdp Emulation.setDeviceMetricsOverride "{\"width\":$1,\"height\":740,\"deviceScaleFactor\":1,\"mobile\":$2}"
	cdp Emulation.setEmulatedMedia "{\"features\":[{\"name\":\"prefers-color-scheme\",\"value\":\"$3\"}]}"
}

wait_for_driver() {
	tries=100
	until web GET /status | grep -q '"ready":true'; do
		[ $tries -gt 0 ] || return 1
		sleep 0.1
		tries=$((tries - 1))
	done
}
begin_session() {
	session=$(web POST /session '{"capabilities":{"alwaysMatch":{
		"goog:loggingPrefs":{"browser":"ALL","performance":"ALL"},
		"goog:chromeOptions":{"args":["--headless","--no-sandbox","--disable-gpu",
			"--disable-quic","--no-first-run","--disable-background-networking",
			"--disable-component-update","--disable-sync",
			"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
			"--user-data-dir='"$tmp"'/browser/profile"]}}}}' |
		tee "$tmp/session" | sed -n 's/.*"sessionId":"\([^"]*\)".*/\1/p')
	[ -n "$session" ] || {
		cat "$tmp/session"
		false
	}
}
is "there is a browser" wait_for_driver
begin_session || true
is "it can be driven" test -n "$session"
here url '{"url":"about:blank"}' >/dev/null
