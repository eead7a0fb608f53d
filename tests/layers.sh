#!/bin/sh
# Proves that no source file includes a header of a higher layer, and that
# this would be seen. Run by make check; by hand: tests/layers.sh [ROOT]
set -u
LC_ALL=C
export LC_ALL

# The layers whose headers a layer may include: itself and those below it.
# mail stands beside store to engine, client beside auth and http; cli stands on top. (The harness and the
# tests may include everything.)
allowed() {
	case $1 in
	base)     echo "base" ;;
	store)    echo "base store" ;;
	profiles) echo "base store profiles" ;;
	engine)   echo "base store profiles engine" ;;
	mail)     echo "base mail" ;;
	auth)     echo "base store profiles engine mail auth" ;;
	http)     echo "base store profiles engine mail auth http" ;;
	client)   echo "base store profiles engine client tdsync.h" ;;
	cli)      echo "base store profiles engine mail auth http client cli tdsync.h" ;;
	include)  echo "" ;; # the public header stands alone
	*)        return 1 ;;
	esac
}

# What a file includes, as NUMBER:NAME lines: all but system headers, which
# are in brackets and not named like ours.
includes() {
	awk '/^[ \t]*#[ \t]*include/ {
		name = $0
		sub(/^[ \t]*#[ \t]*include[ \t]*/, "", name)
		kind = substr(name, 1, 1)
		name = substr(name, 2)
		sub(/[">].*/, "", name)
		if (kind == "<" && name !~ /^(base|store|profiles|engine|mail|auth|http|client|cli)\// &&
		    name != "tdsync.h")
			next
		print NR ":" (kind == "<" || kind == "\"" ? name : "(computed)")
	}' "$1"
}

# Check a tree; one line for each fault. False when there is any.
check() {
	root=$1
	faults=0
	files=0
	for file in $(cd "$root" && find src include -name '*.[ch]' | sort); do
		files=$((files + 1))
		case $file in
		src/*/*) layer=${file#src/} layer=${layer%%/*} ;;
		src/*)   layer=- ;;
		*)       layer=${file%%/*} ;;
		esac
		if ! may=$(allowed "$layer"); then
			echo "$file: in no known layer"
			faults=$((faults + 1))
			continue
		fi
		for line in $(includes "$root/$file"); do
			name=${line#*:}
			from=${name%%/*} # its layer, or all of a name without a slash
			case " $may config.h " in
			*" $from "*)
				case $name in
				*..*) ;;
				*) continue ;;
				esac
				;;
			esac
			echo "$file:${line%%:*}: $layer must not include $name"
			faults=$((faults + 1))
		done
	done
	[ $faults -eq 0 ]
}

# The check sees what it is there for: each of these is a fault of its own.
selftest() {
	tmp=$(mktemp -d) || exit 99
	trap 'rm -rf "$tmp"' EXIT
	trap 'exit 99' HUP INT TERM
	mkdir -p "$tmp/src/base" "$tmp/src/engine" "$tmp/src/client" "$tmp/src/http" \
	    "$tmp/include"
	printf '#include "config.h"\n#include "base/a.h"\n#include <stdio.h>\n' > "$tmp/src/base/a.c"
	printf '#include "engine/a.h"\n#include "store/b.h"\n' > "$tmp/src/engine/a.c"
	printf '#include "client/a.h"\n#include "tdsync.h"\n' > "$tmp/src/client/a.c"
	printf '#include "auth/a.h"\n/* "cli/a.h" */\n' > "$tmp/src/http/a.c"
	printf '#include <stdint.h>\n' > "$tmp/include/tdsync.h"
	if ! out=$(check "$tmp"); then
		echo "a good tree is refused: $out"
		return 1
	fi
	bad=0
	while IFS='|' read -r file text; do
		mkdir -p "$tmp/$(dirname "$file")"
		printf 'int x;\n%s\n' "$text" > "$tmp/$file"
		if out=$(check "$tmp") || [ "$(printf '%s\n' "$out" | wc -l)" -ne 1 ]; then
			echo "not seen, or not alone: $file: $text: $out"
			bad=1
		fi
		rm "$tmp/$file"
	done <<-'EOF'
		src/base/bad.c|#include "store/db.h"
		src/base/bad.h|#include "store/db.h"
		src/base/sub/bad.c|#include "store/db.h"
		src/base/bad.c|  #  include	"http/request.h" /* why not */
		src/base/bad.c|#include"cli/x.h"
		src/base/bad.c|#include <engine/apply.h>
		src/base/bad.c|#include "../store/db.h"
		src/base/bad.c|#include "base/../store/db.h"
		src/base/bad.c|#include "db.h"
		src/base/bad.c|#include "tdsync.h"
		src/base/bad.c|#include HEADER
		src/base/bad.c|#include "nowhere/db.h"
		src/store/bad.c|#include "profiles/profile.h"
		src/profiles/bad.c|#include "engine/apply.h"
		src/engine/bad.c|#include "auth/auth.h"
		src/engine/bad.c|#include "client/client.h"
		src/mail/bad.c|#include "store/db.h"
		src/engine/bad.c|#include "mail/mail.h"
		src/auth/bad.c|#include "http/request.h"
		src/http/bad.c|#include "client/client.h"
		src/http/bad.c|#include "tdsync.h"
		src/client/bad.c|#include "auth/auth.h"
		src/client/bad.c|#include "http/request.h"
		src/client/bad.c|#include "cli/x.h"
		src/cli/bad.c|#include "harness/x.h"
		include/bad.h|#include "base/buf.h"
		src/new/bad.c|int y;
		src/bad.c|int y;
	EOF
	return $bad
}

root=${1:-${srcdir:-.}}
if [ ! -d "$root/src/base" ]; then
	echo "no sources in $root"
	exit 99
fi
selftest || exit 1
if ! check "$root"; then
	exit 1
fi
echo "$files files keep to their layers"
