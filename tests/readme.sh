#!/bin/sh
# README's commands, run in the order in which they stand there, as a reader
# would; and that its table of packages is setup.sh's list.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

needs nginx sqlite3 curl
mkdir -p "$tmp/home/work/.todos" "$tmp/checkout"
gzip -dc "$src/tests/fixtures/empty-v38.db.gz" >"$tmp/home/work/.todos/issues.db"

# The checkout's setup.sh, but for the ports: README's may be in use here.
free_port >"$tmp/port"
cat >"$tmp/checkout/setup.sh" <<TEXT
#!/bin/sh
case "\$1 \${2-}" in
"demo stop") ;;
"demo "*)
	read -r port <'$tmp/port'
	echo \$((port + 1)) >'$tmp/port'
	set -- "\$@" --port \$port
	;;
esac
exec '$src/setup.sh' "\$@"
TEXT
chmod +x "$tmp/checkout/setup.sh"

# The blocks that are marked as sh, but two, which the CI runs: make check
# can't run itself.
awk '
	/^```/ && inside { inside = 0; if (block !~ /^(.\/setup.sh check|autoreconf -i)\n/) printf "%s", block }
	inside { block = block $0 "\n" }
	/^```sh$/ { inside = 1; block = "" }
' "$src/README.md" >"$tmp/blocks"

{
	echo 'set -eux'
	cat "$tmp/blocks"
	echo "cd '$tmp/checkout' && ./setup.sh demo stop"
} >"$tmp/script"
is "there are commands in README" grep -q 'setup.sh demo --server-only' "$tmp/blocks"
is "all of them work" env HOME="$tmp/home" sh -c "cd '$tmp/checkout' && sh ../script </dev/null"

# shellcheck disable=SC2016 # backquotes of Markdown
is "README names the packages that setup.sh installs" same \
	"$(sed -n 's/^| \(`[a-z].*`\) |.*/\1/p' "$src/README.md" | grep -v / | tr -d '`,' | tr ' ' '\n' | LC_ALL=C sort)" \
	"$(awk "/^packages_/ { on = 1 } on; /'\$/ { on = 0 }" "$src/setup.sh" | sed "s/packages_[a-z]*=//; s/'//g" | tr -s ' \t' '\n' | grep . | LC_ALL=C sort)"

# The table that README shows is the one that the demo prints.
sed -n '/^==> What happened/,/identical/p' "$src/README.md" >"$tmp/shown"
(cd "$tmp/checkout" && ./setup.sh demo --dir fresh && ./setup.sh demo stop --dir fresh) >"$tmp/said" 2>&1 </dev/null || true
is "the demo prints what README shows" same \
	"$(cat "$tmp/shown")" "$(sed -n '/^==> What happened/,/identical/p' "$tmp/said")"
totals
