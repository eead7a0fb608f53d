#!/bin/sh
# The commands of docs/backup.md, in their order, and what they say they do; the units.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

PATH=$(cd -- "$TD_SYNC_BUILD" && pwd -P):$PATH
data=$tmp/data
mkdir "$tmp/backups"
td-sync-admin --data "$data" init >/dev/null
td-sync-admin --data "$data" user add anna@example.com >/dev/null
td-sync-admin --data "$data" project add Garden --owner anna@example.com >/dev/null

# All blocks as one script, with this test's folders in place of the page's; and the disk
# is lost where the page says so.
sed -n -e 's|^### After the disk was lost$|rm -r /var/lib/td-sync; mkdir /var/lib/td-sync|p' \
	-e '/^```sh$/,/^```$/{/^```/!p;}' "$src/docs/backup.md" |
	sed "s|/var/lib/td-sync|$data|g; s|/var/backups/td-sync|$tmp/backups|g; s|/tmp/restored|$tmp/restored|g" \
	>"$tmp/page.sh"
is "the page has commands" test "$(wc -l <"$tmp/page.sh")" -gt 10
run_page() { sh -eux "$tmp/page.sh" >"$tmp/out" 2>"$tmp/err" || { cat "$tmp/err"; false; }; }
is "each command of the page succeeds" run_page
is "without keys it says so" grep -q 'make them anew' "$tmp/err"
is "the project is there" grep -q Garden <<-EOT
	$(td-sync-admin --data "$data" project list)
EOT
is "nothing is left beside" same "$(ls -A "$tmp/backups" | grep -vc '^td-sync-[0-9T]*Z$')" 0
is "only its owner reads a backup" same "$(stat -c %a "$tmp/backups"/td-sync-*)" 700

mkdir "$tmp/units"
sh "$src/nginx/fill" "$src/systemd/td-sync-backup.service.in" PREFIX=/usr/local \
	DATA_DIR=/var/lib/td-sync BACKUP_DIR=/var/backups/td-sync KEEP=14 \
	>"$tmp/units/td-sync-backup.service"
cp "$src/systemd/td-sync-backup.timer" "$tmp/units"
is "no place of the unit is left open" not grep -q '^[^#].*@[A-Z]' "$tmp/units/td-sync-backup.service"
# exposure: "N.N OK", below 2.0
score() {
	systemd-analyze security --offline=yes "$1" 2>&1 | awk '/Overall exposure/ {
		for (i = 1; i <= NF; i++) if ($i ~ /^[0-9.]+$/) { print; exit !($i < 2.0) } }'
}
if command -v systemd-analyze >/dev/null; then
	is "the unit may do little" score "$tmp/units/td-sync-backup.service"
	is "the timer's times are some" systemd-analyze calendar --iterations=1 \
		"$(sed -n 's/^OnCalendar=//p' "$tmp/units/td-sync-backup.timer")"
fi
totals
