# The kind "hosting": a folder to be uploaded to shared hosting (no root, no daemon, no
# compiler there), made and tried here. hosting/make does the most of it.
# shellcheck shell=sh
#
# answer_web_root is the site's folder as the host (or its FTP server) shows it; what is
# not for the web is put beside it.

questions_hosting='dir host path tls server web_root data mail mail_from signup owner public'
steps_hosting='packages build folder settings trial'

hosting_dir=  # what is made: site/, td-sync-private/, answers
hosting_url=  # where clients find the server
hosting_home= # the folder of the host that td-sync-private/ goes to
hosting_root= # the site's folder, as seen from there

hosting_what() {
	echo "shared hosting: a folder to upload by FTP or scp; no root, nothing is installed here"
}
# In a tree that is its own build folder, hosting/ is a folder of the sources.
hosting_folder() {
	build_place
	[ "$build" = "$src" ] && echo "$build/hosting/upload" || echo "$build/hosting"
}
hosting_answers() {
	printf '%s/answers\n' "${answer_dir:-$(hosting_folder)}"
}
hosting_default() {
	case $1 in
	dir) hosting_folder ;;
	host) ;;
	path) echo /td-sync ;;
	tls) echo proxy ;; # the host's own
	web_root) echo "/home/$(id -un)/public_html" ;;
	data) echo "$(hosting_beside "${answer_web_root:-/home/you/public_html}")/td-sync-private/data" ;;
	*) return 1 ;;
	esac
}
# hosting_beside FOLDER: the folder that a site's folder is in; where that is a part of
# another site, as hosts do it with a second name, the one beside that site.
hosting_beside() {
	printf '%s\n' "$1" | sed -E -e 's,/(public_html|httpdocs|htdocs)(/.*)?$,,; t' -e 's,/[^/]*$,,'
}
hosting_asks() {
	case $1 in dir | tls) false ;; esac
}
hosting_data() {
	printf '%s\n' "$hosting_dir/td-sync-private/data" "$hosting_dir/td-sync-private/td-sync.conf"
	[ "$remove_data" = yes ] || echo "on $answer_host: what was uploaded, and $answer_data"
}
hosting_remove_data() {
	rm -rf -- "$hosting_dir/td-sync-private"
}

hosting_ready() {
	packages=$packages_build
	hosting_dir=${answer_dir:-$(hosting_folder)}
	on_disk=$hosting_dir
	spare=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/td-sync
	build_place
	[ "$answer_mail" != smtp ] || fail "there is no mail by smtp on shared hosting" \
		"the folder has no libcurl in it, so that it runs on any host" "answer mail with auto, sendmail or off"
	[ "$answer_mail" != sendmail ] || [ -n "${answer_mail_from-}" ] ||
		fail "mail needs an address that it comes from" "mail is sendmail, and mail_from is not answered" \
			"answer mail_from, or mail with off"
	hosting_home=$(hosting_beside "$answer_web_root")
	hosting_root=${answer_web_root#"$hosting_home/"}
	case $answer_data/ in
	"$hosting_home/${hosting_root%%/*}"/*) fail "the data folder is in the web root" \
		"$answer_data is below $hosting_home/${hosting_root%%/*}, which the web server shows to everybody" \
		"answer data with a folder beside it" ;;
	esac
	hosting_url=https://$answer_host${answer_path-}
	[ "$answer_tls" != none ] || hosting_url=http://${hosting_url#https://}
}

# The data folder as it is seen from td-sync-private/.
hosting_data_place() {
	case $answer_data in
	"$hosting_home/td-sync-private"/?*) printf '%s' "${answer_data#"$hosting_home/td-sync-private/"}" ;;
	*) printf '%s' "$answer_data" ;;
	esac
}

# --- the folder ---

# What it was made of.
hosting_state() {
	cat -- "$build/td-sync.fcgi" "$build/td-sync-admin" "$src"/hosting/* "$src"/conf/profiles/* \
		2>/dev/null | cksum
	printf '%s\n' "$answer_web_root" "${answer_path-}" "$answer_data"
}

step_folder_what() {
	echo "put programs, libraries and start scripts together, in $hosting_dir"
}
step_folder_done() {
	[ -x "$hosting_dir/td-sync-private/lib/ld.so" ] && [ -e "$hosting_dir/.made" ] &&
		[ "$(hosting_state)" = "$(cat -- "$hosting_dir/.made")" ]
}
step_folder_do() {
	rm -f -- "$hosting_dir/.made"
	logged "$scratch/make.log" "$src/hosting/make" "$build" "$hosting_dir" \
		"WEB_ROOT=$hosting_root" "URL_PATH=${answer_path-}" \
		"DATA=$(hosting_data_place)" "HOME_DIR=$hosting_home" ||
		fail "the folder could not be made" "hosting/make says why" \
			"set that right, or remove $hosting_dir" "$scratch/make.log"
	hosting_state | put_file - "$hosting_dir/.made" 644
}
# What hosting/make makes anew; data and td-sync.conf stay.
step_folder_undo() {
	rm -rf -- "$hosting_dir/site" "$hosting_dir/.made" "$hosting_dir/.tried"
	[ ! -d "$hosting_dir/td-sync-private" ] || find "$hosting_dir/td-sync-private" -mindepth 1 -maxdepth 1 \
		! -name data ! -name td-sync.conf -exec rm -rf -- {} +
}

# --- its configuration ---

# The file with the answers in it. The secret of the setup page is made once.
hosting_conf() {
	file=$hosting_dir/td-sync-private/td-sync.conf
	hosting_secret=$(sed -n 's/^setup_secret = //p' "$file")
	[ -n "$hosting_secret" ] ||
		hosting_secret=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
	public=on
	[ "$answer_public" = yes ] || public=off
	"$src/hosting/conf" "$file" "data=$(hosting_data_place)" "url=$hosting_url" \
		"mail=$answer_mail" "mail_from=${answer_mail_from-}" "signup=$answer_signup" \
		"public_projects=$public" "setup_secret=$hosting_secret"
}

step_settings_what() {
	echo "write the answers, and a secret for the setup page, into td-sync.conf"
}
step_settings_done() {
	[ -e "$hosting_dir/td-sync-private/td-sync.conf" ] &&
		grep -q '^setup_secret = ' "$hosting_dir/td-sync-private/td-sync.conf" &&
		hosting_conf >"$scratch/conf" 2>/dev/null &&
		same_file "$scratch/conf" "$hosting_dir/td-sync-private/td-sync.conf" 600
}
step_settings_do() {
	(umask 077 && hosting_conf >"$scratch/conf") || fail "td-sync.conf can't be filled in" \
		"hosting/conf says why above" "remove $hosting_dir/td-sync-private/td-sync.conf, and run this again"
	put_file "$scratch/conf" "$hosting_dir/td-sync-private/td-sync.conf" 600
}

# --- whether it runs ---

# hosting_run PROGRAM ARGUMENT...: out of the folder, with a data folder of this run's.
hosting_run() {
	(
		cd "$hosting_dir/td-sync-private"
		export TD_SYNC_SERVER_DATA="$scratch/data" TD_SYNC_SERVER_ERROR_LOG=stderr
		exec lib/ld.so --library-path lib "bin/$@" </dev/null
	)
}
# hosting_get PATH TEXT: asked for by CGI, the answer has that in it.
hosting_get() {
	GATEWAY_INTERFACE=CGI/1.1 REQUEST_METHOD=GET SCRIPT_NAME="${answer_path-}" PATH_INFO=$1 HTTPS=on \
		hosting_run td-sync.fcgi --config td-sync.conf >"$scratch/trial" 2>&1 &&
		grep -q -- "$2" "$scratch/trial"
}
hosting_tried() {
	cat -- "$hosting_dir/.made" "$hosting_dir/td-sync-private/td-sync.conf" | cksum
}

step_trial_what() {
	echo "run what is in the folder, with an empty data folder: does it answer?"
}
step_trial_done() {
	[ -e "$hosting_dir/.tried" ] && [ "$(hosting_tried)" = "$(cat -- "$hosting_dir/.tried")" ]
}
step_trial_do() {
	rm -rf -- "$scratch/data"
	hosting_get /auth/setup 'action="setup"' || fail "the setup page does not answer" \
		"td-sync.fcgi says why" "see to $hosting_dir/td-sync-private/td-sync.conf" "$scratch/trial"
	hosting_run td-sync-admin init >"$scratch/trial" 2>&1 || fail "td-sync-admin does not run" \
		"it says why" "remove $hosting_dir, and run this again" "$scratch/trial"
	hosting_get /healthz '"ok"' || fail "the server does not answer" \
		"td-sync.fcgi says why" "see to $hosting_dir/td-sync-private/td-sync.conf" "$scratch/trial"
	hosting_tried | put_file - "$hosting_dir/.tried" 644
}

# --- what is left for a person to do ---

hosting_report() {
	step "What to upload, and how to test it"
	if [ "$answer_server" = lighttpd ]; then
		include="
  3. lighttpd has no .htaccess. Its configuration, or the place where the host takes
     yours, needs this line, and a restart:
         include \"$hosting_home/td-sync-private/lighttpd.conf\""
	else
		include="
  3. Uploaded by FTP, files lose their modes. Give these two 755 (the FTP program can
     do that; the rest mends itself):
         $answer_web_root${answer_path-}/td-sync.cgi
         $answer_web_root${answer_path-}/td-sync.fcgi"
	fi
	cat <<-TEXT
	All is in $hosting_dir ($(du -sk -- "$hosting_dir" | cut -f1) KiB). Some names begin with a dot: have the
	FTP program show them, and upload them, too.

	  1. The content of site/ goes to      $answer_web_root${answer_path-}/
	  2. The folder td-sync-private/ to    $hosting_home/td-sync-private/
	     Make it there first, empty, and give it 700 (scp -p does): others at that host
	     must not read td-sync.conf. docs/install-hosting.md says more.
	$include

	  4. The first owner, where there is a shell on the host:
	         cd $(quoted "$hosting_home/td-sync-private")
	         ./td-sync-admin init
	         ./td-sync-admin user add $(quoted "$answer_owner")
	         ./td-sync-admin project add NAME --owner $(quoted "$answer_owner")
	         ./td-sync-admin token create --user $(quoted "$answer_owner")
	     Where there is none, open $hosting_url/auth/setup
	     It wants the setup_secret of td-sync-private/td-sync.conf, and is there once.
	  5. Test it, from here:
	         curl $hosting_url/healthz
	         printf 'header = "Authorization: Bearer %s"\n' TOKEN | curl -K - $hosting_url/v1/tokens/self
	     and that nothing private is served (403 or 404):
	         curl -o /dev/null -w '%{http_code}\n' ${hosting_url%"${answer_path-}"}/td-sync-private/td-sync.conf
	TEXT
}
