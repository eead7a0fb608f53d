#!/bin/sh
# setup.sh's answers: asked for on a terminal (a real one), kept at once, taken from
# a file, and everything that can be wrong with them; --dry-run, --step, status,
# upgrade, uninstall; wrong circumstances end in a sentence that says what to do,
# and leave nothing running. The commands of docs/install.md are run, too.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

needs nginx sqlite3 curl script
# shellcheck source=tests/setup-lib.sh
. "${0%/*}/setup-lib.sh"
top="$tmp/a dèmo's folder"
mkdir -- "$top"

# typed TEXT ARGUMENT...: on a terminal where a person types these lines.
typed() {
	text=$1
	shift
	printf 'exec "%s"' "$src/setup.sh" >"$tmp/command"
	[ $# = 0 ] || printf ' "%s"' "$@" >>"$tmp/command"
	status=0
	(cd "$top" && printf '%b' "$text" |
		timeout 120 script -qec "sh '$tmp/command'" "$tmp/typescript" >"$tmp/out" 2>&1) || status=$?
	return "$status"
}
held() { # held FOLDER ARGUMENT...: it is refused while another one works in the folder
	hold "$1/setup.lock"
	shift
	status=0
	refused "another setup.sh works" "$@" || status=$?
	release
	return "$status"
}
value() { sed -n "s/^$2 = //p" "$1"; }

echo "# asked on a terminal"
is "without a terminal it only says how it is used" not setup
is "and changes nothing" same "$(ls -A "$top")" ""
is "a person who answers two questions and leaves" not typed "demo\n$top/asked\n$port\n\004"
kept=$top/asked/answers
is "has these kept" same "$(value "$kept" kind) $(value "$kept" dir) $(value "$kept" port)" "demo $top/asked $port"
is "for the owner only" same "$(stat -c %a "$kept")" 600
is "not the one that was not given" same "$(value "$kept" limits)" ""
is "nothing runs" not works_in "$top/asked"
is "what was answered is not asked again" typed "demo\n$top/asked\nmany\noff\nno\n"
is "a bad answer is asked for again, with the reason" said 'it can be on or off'
is "each question says why" said "On is how it is in earnest"
is "the port is not asked for" not said "Which port"
is "no to the last question starts nothing" not works_in "$top/asked"
is "and it is said how it goes on" said "setup.sh --answers '.*/asked/answers' goes on"
is "all answers are kept" same "$(value "$kept" limits)" off
is "then nothing is left to ask, and all is done" typed "demo\n$top/asked\n"
is "it runs" works_in "$top/asked"
is "with the answers" grep -q "listen 127.0.0.1:$port;" "$top/asked/run/td-sync.conf"

is "what only a shell knows is no folder" not typed "demo\n~/tilde\n'$top/quoted'\n\004"
is "that is said, twice" same "$(grep -c 'begins with / (quotes and ~' "$tmp/out")" 2
is "none is made" same "$(ls -A "$top")" asked
printf '%s\n' 'format = 1' 'kind = hosting' "dir = $top/upload" 'host = example.com' 'server = apache' >"$tmp/answers"
is "a folder of another machine" not typed "\npublic_html\n/home/anna/public_html\n\004" --answers "$tmp/answers"
is "is not looked for here" said 'begins with /'
is "but taken as it is" same "$(value "$top/upload/answers" web_root)" /home/anna/public_html
rm -r "$top/upload"

echo "# status, upgrade, uninstall"
is "status: all is so" setup status --dir "$top/asked"
setup demo stop --dir "$top/asked"
is "status: not all is so" not setup status --answers "$kept"
is "it names what" said '^  workers  *NOT so: start'
is "upgrade brings it back" setup upgrade --answers "$kept"
is "status: all is so again" setup status --dir "$top/asked"
is "status of nothing is a sentence" refused "nothing is installed" status --dir "$top/none"
mv "$top/asked" "$top/moved"
is "a demo that was moved is found where it is" setup upgrade --dir "$top/moved"
is "its answers, too" same "$(value "$top/moved/answers" port)" "$port"
moved_back() { setup demo stop --dir "$top/moved" && mv "$top/moved" "$top/asked" && setup demo --dir "$top/asked"; }
is "and moved back" moved_back
mkdir "$top/copies"
cp "$kept" "$top/copies/answers"
is "status by a copy of the answers" setup status --answers "$top/copies/answers"
is "says by which" said "^demo, by the answers in $top/copies/answers"
is "upgrade by it waits for who works there" held "$top/asked" upgrade --answers "$top/copies/answers"
is "so does uninstall" held "$top/asked" uninstall --answers "$top/copies/answers"
is "it runs all the time" works_in "$top/asked"
is "then it does its work" setup upgrade --answers "$top/copies/answers"
is "and leaves nothing beside the copy" same "$(ls -A "$top/copies")" answers
log=$(sqlite3 "$top"/asked/data/projects/*/events.db "SELECT count(*) FROM event")
is "uninstall --dry-run" setup uninstall --dir "$top/asked" --dry-run
is "changes nothing" works_in "$top/asked"
is "uninstall" setup uninstall --dir "$top/asked"
is "nothing runs then" not works_in "$top/asked"
is "it says where the data is" said "$top/asked/data"
is "the data is there" same "$(sqlite3 "$top"/asked/data/projects/*/events.db "SELECT count(*) FROM event")" "$log"
is "the token is not" not test -e "$top/asked/demo.env"
is "uninstalled once more" setup uninstall --dir "$top/asked"
is "installed again, it has the same log" setup demo --dir "$top/asked"
is "event for event" same "$(sqlite3 "$top"/asked/data/projects/*/events.db "SELECT count(*) FROM event")" "$log"
is "the data is not removed without being asked for twice" refused "asked for twice" uninstall --dir "$top/asked" --remove-data
is "nor when a person says no" not typed "no\n" uninstall --dir "$top/asked" --remove-data
is "which was asked" said "Type remove"
is "it is there still" setup status --dir "$top/asked"
is "with a yes it is" typed "remove\n" uninstall --answers "$top/copies/answers" --remove-data
is "all of it" not test -e "$top/asked"
is "the copy is whose it is" same "$(ls -A "$top/copies")" answers
is "nothing runs" not works_in "$top"

echo "# a file of answers"
# answers LINE...: the file $tmp/answers.
answers() { printf '%s\n' "$@" >"$tmp/answers"; }
taken() { setup --answers "$tmp/answers" --yes --dry-run; }
bad() { # bad PATTERN LINE...
	pattern=$1
	shift
	answers "$@"
	refused "$pattern" --answers "$tmp/answers" --yes && [ ! -e "$tmp/ran" ] && [ ! -e /tmp/td-sync-no ]
}
good='format = 1'
odd="$top/b'\`touch $tmp/ran\`; touch $tmp/ran #& | >$tmp/ran \"é\" x"
is "a \$ in the folder's name is refused" refused "take the . in it" demo --dir "$top/b\$(touch x)" --port "$port"
is "before anything is made" not test -e "$top/b\$(touch x)"
answers "# a comment" "" "  format=1  " "kind = demo" "dir = $odd" "port = $port"
is "names with anything in them are names" taken
is "a dry run makes nothing" not test -e "$odd"
is "it says of each step what it would do" same "$(grep -c 'to be done\|already so' "$tmp/out")" 13
is "without --dry-run" setup --answers "$tmp/answers" --yes
is "it is done there" works_in "$odd"
is "and nothing of the name was run" not test -e "$tmp/ran"
is "the answers are beside it" same "$(value "$odd/answers" dir)" "$odd"
is "removed" setup uninstall --answers "$odd/answers" --remove-data --yes
is "is removed" not test -e "$odd"
is "a newer format" bad "is of format 2" "format = 2" "kind = demo"
is "no format" bad "line 1: kind = demo" "kind = demo"
is "a format that is no number" bad "no number" "format = one"
is "an empty file" bad "holds no answers" ""
is "an unknown key" bad "line 3: colour" "$good" "kind = demo" "colour = red"
is "a key that is shell" bad "line 2" "$good" "x;touch $tmp/ran = 1"
is "the same key twice" bad "there twice" "$good" "kind = demo" "port = 1" "port = 2"
is "no kind" bad "which kind" "$good" "port = 8080"
is "an unknown kind" bad "line 2: kind = cloud" "$good" "kind = cloud"
is "no key at all" bad "not KEY = VALUE" "$good" "kind demo"
is "an empty value" bad "needs a value" "$good" "kind ="
is "a value over two lines" bad "not KEY = VALUE" "$good" "kind = demo" "dir = $top/a" "b"
is "line ends of Windows" bad "one of Windows" "$(printf 'format = 1\r')" "$(printf 'kind = demo\r')"
is "an empty line of Windows" bad "one of Windows" "$(printf '\r')" "$good"
is "another control character" bad "control character" "$good" "$(printf 'kind = de\033mo')"
is "a mark that nobody sees" bad "byte order mark" "$(printf '\357\273\277format = 1')"
is "a quoted path" bad "begins with /" "$good" "dir = \"$top/x\""
is "a relative path" bad "begins with /" "$good" "dir = demo"
is "the root" bad "the root" "$good" "data = /"
is "the root twice" bad "the root" "$good" "data = //"
is "a way up" bad "as a part" "$good" "dir = $top/x/.."
is "a dot" bad "as a part" "$good" "dir = /./x"
in_top() { (cd "$top" && setup "$@"); }
is "on the command line there is one from here" in_top demo --dir ../here --port "$port" --dry-run
is "which is that folder" said "$tmp/here/data"
for value in 0 65536 80a -1 08080 ''; do
	is "port $value" bad "line 2" "$good" "port = $value"
done
for value in 'a b' 'a_b.com' '-a.com' 'a..com' 'a.com/x' 'http://a.com' "a'b" 'a.com:0' 'a.com:99999' '$(id)' \
	'é.com' "$(printf '%064d' 0).com"; do
	is "host $value" bad "line 2" "$good" "host = $value"
done
for value in anna 'anna@' '@example.com' 'anna @example.com' 'anna@ex ample.com' 'a@b@c' 'anna@example.com>' 'anna@-x' -a@b.c; do
	is "owner $value" bad "line 2" "$good" "owner = $value"
done
for value in td-sync /td-sync/ / /a//b '/a b' '/../a' '/a;b' "/a'b"; do
	is "path $value" bad "line 2" "$good" "path = $value"
done
is "an smtp_url of something else" bad "smtp://HOST" "$good" "smtp_url = http://mail.example.com"
for line in tls=maybe mail=post signup=all public=on server=iis limits=yes; do
	is "$line" bad "it can be" "$good" "$line"
done
printf 'format = 1\nkind = de\000mo\n' >"$tmp/answers"
is "a zero byte" refused "not text" --answers "$tmp/answers" --yes
is "no file" refused "no such file" --answers "$tmp/none" --yes
is "a folder" refused "no such file" --answers "$tmp" --yes
head -c 4096 /dev/urandom >"$tmp/answers"
is "noise" refused "$tmp/answers" --answers "$tmp/answers" --yes
answers "$good" "kind = demo"
is "a kind that is not the command's" not setup --answers "$tmp/answers" nginx --yes
for value in localhost 127.0.0.1:8080 sync.example.com a-b.c:65535; do
	answers "$good" "kind = demo" "dir = $top/never" "host = $value" "path = /a/td-sync" "owner = anna.b+c@example.com"
	is "host $value is one" taken
done
is "no file of these was half a set-up" not works_in "$top"

echo "# one step"
is "one step alone" setup demo --dir "$top/one" --port "$port" --step data
is "is done alone" same "$(grep -c '^==> ' "$tmp/out") $(test -e "$top/one/data/server.db"; echo $?) $(ls "$top/one/run")" "1 0 "
is "a step that there is not" refused "no step nothing" demo --dir "$top/one" --step nothing
is "a dry run of a folder that is there" setup demo --dir "$top/one" --dry-run
is "starts nothing" not works_in "$top/one"

echo "# wrong circumstances"
is "a folder that can't be made" refused "can't make" demo --dir /proc/td-sync-demo --port "$port"
mkdir "$top/foreign"
"$TD_SYNC_BUILD/td-sync-admin" --data "$top/foreign" init >/dev/null
before=$(find "$top/foreign" | sort | cksum)
is "a folder that is another server's data" refused "holds other files" demo --dir "$top/foreign" --port "$port"
is "which stays as it is" same "$(find "$top/foreign" | sort | cksum)" "$before"
mkdir "$top/held"
: >"$top/held/ABOUT.txt"
is "two at once" held "$top/held" demo --dir "$top/held" --port "$port"
is "neither started anything" not works_in "$top/held"
mkdir "$tmp/disk"
if mount -t tmpfs -o size=200k,mode=755 tmpfs "$tmp/disk" 2>/dev/null; then
	trap 'umount -l "$tmp/disk" 2>/dev/null || true; cleanup' EXIT
	is "a full disk is a sentence" refused "no space is left" demo --dir "$tmp/disk/demo" --port "$port"
	is "nothing is left running" not works_in "$tmp/disk"
	mount -o remount,size=200m "$tmp/disk"
	is "with room, it goes on" setup demo --dir "$tmp/disk/demo" --port "$port"
	is "to its end" said identical
	is "removed" setup uninstall --dir "$tmp/disk/demo" --remove-data --yes
	umount "$tmp/disk"
else
	echo "skipped: a full disk (only root can mount a small one)"
fi

# What the kinds share: files that are never half there.
in_lib() { # in_lib COMMANDS: with lib.sh
	sh -euc '. "$1/setup/lib.sh"; answers_file=$2; cd "$3"; eval "$4"' sh "$src" "$tmp/a" "$tmp/lib" "$1" 2>&1
}
echo "# files"
mkdir "$tmp/lib"
is "a file is put" in_lib 'echo one | put_file - "a b" 640; [ "$(cat "a b") $(stat -c %a "a b")" = "one 640" ]'
is "the same once more is left alone" in_lib 'i=$(stat -c %i%z "a b"); echo one | put_file - "a b" 640
	[ "$i" = "$(stat -c %i%z "a b")" ]'
is "another mode is set" in_lib 'echo one | put_file - "a b" 600; [ "$(stat -c %a "a b")" = 600 ]'
is "what can't be put is said" not in_lib 'echo one | put_file - /proc/none 600'
is "an old file comes back" in_lib 'keep_old "a b"; echo two >"a b"; keep_old "a b"; put_back "a b"; [ "$(cat "a b")" = one ]'
is "one that was not there goes" in_lib 'keep_old new; echo x >new; put_back new; [ ! -e new ]'
is "a right one stays" in_lib 'keep_old "a b"; echo two >"a b"; drop_old "a b"; put_back "a b"; [ "$(cat "a b")" = two ]'
is "nothing else is left" same "$(ls -A "$tmp/lib")" "a b"
cant() { # cant SENTENCE COMMANDS
	! in_lib "$2" >"$tmp/said" || return 1
	grep -q "^setup.sh: can't $1\|^setup.sh: .* can't $1" "$tmp/said" && grep -q 'what to do: .' "$tmp/said"
}
is "a lock that can't be made is a sentence" cant "be written" 'lock /proc/none'
is "so is a build folder that can't be written to" cant "build in" \
	'mkdir -p b/setup.log; src=$PWD tree=$PWD build=$PWD/b; build_tree'
rm -r "$tmp/lib/b"
mkdir "$tmp/lib/data"
is "an empty data folder is taken" in_lib 'claim_data data; data_claimed data'
is "again by the same" in_lib 'claim_data data'
is "another installation's is refused" not in_lib 'answers_file=/other; claim_data data'
rm "$tmp/lib/data/.setup"
: >"$tmp/lib/data/server.db"
is "a server's that nobody claimed is refused" not in_lib 'claim_data data'
mv "$tmp/lib/data/server.db" "$tmp/lib/data/letter.txt"
is "a folder of other things is refused" not in_lib 'claim_data data'

echo "# docs/install.md"
awk '/^```/ { inside = 0 } inside; /^```sh$/ { inside = 1 }' "$src/docs/install.md" >"$tmp/commands"
is "there are commands in it" test -s "$tmp/commands"
mkdir "$tmp/checkout"
printf '#!/bin/sh\nexec "%s" "$@"\n' "$src/setup.sh" >"$tmp/checkout/setup.sh"
chmod +x "$tmp/checkout/setup.sh"
sed "s/8080/$port/g" "$tmp/commands" >"$tmp/script"
is "they work" sh -c "cd '$tmp/checkout' && sh -eux ../script </dev/null"
is "and leave nothing" not works_in "$tmp/checkout"
is "no temporary files are left" same "$(ls -A "$TMPDIR")" ""
totals
