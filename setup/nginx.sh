# An organisation's nginx: td-sync as a service of systemd, behind the nginx that
# is there, under a host name of its own or below a path of a site.
# shellcheck shell=sh

questions_nginx='host path data prefix tls tls_certificate tls_key listen proxies mail mail_from
	smtp_url smtp_user signup owner public backups'
steps_nginx='packages build programs user folders accounts configuration owner service
	logs web-server certificate site check backups'
# What ran before comes back where the new version does not answer.
steps_upgrade_nginx='packages build backup programs configuration databases service logs site
	check backups'

etc=/etc/td-sync
units=/etc/systemd/system
socket=/run/td-sync/td-sync.sock
log_folder=/var/log/td-sync
acme_folder=/var/lib/td-sync-acme
cache_folder=/var/lib/nginx/td-sync
# What nginx gets: what stands before a server; a server; what a server of others includes.
http_file=/etc/nginx/conf.d/td-sync.conf
server_file=/etc/nginx/sites-available/td-sync.conf
path_file=/etc/nginx/snippets/td-sync.conf
site_files="$http_file $server_file $path_file"

nginx_what() {
	echo "a service behind this machine's nginx, for an organisation (as root, with systemd)"
}

nginx_answers() {
	echo "$etc/answers"
}

nginx_asks() {
	case $1 in
	tls_certificate | tls_key) [ -z "${answer_path-}" ] ;;
	listen | proxies) [ "${answer_tls-}" = proxy ] && [ -z "${answer_path-}" ] ;;
	*) true ;;
	esac
}

# --- the answers, judged together ---

nginx_may() {
	[ "$(id -u)" = 0 ] || fail "this has to be run by root" \
		"it makes a user, a service and a site" "sudo ./setup.sh ${command:-nginx}"
	[ -d /run/systemd/system ] || fail "systemd does not run here" \
		"the workers are to be a service of it" \
		"docs/install-nginx.md says how it goes without it"
}

nginx_ready() {
	nginx_may
	prefix=$answer_prefix
	data=$answer_data
	plain_words prefix "$prefix"
	own_folder data "$data"
	[ -z "$answer_backups" ] || own_folder backups "$answer_backups"
	site_name=${answer_host%:*}
	site_port=443 scheme=https
	[ "$answer_tls" != none ] || site_port=80 scheme=http
	case $answer_host in *:*) site_port=${answer_host##*:} ;; esac
	url=$scheme://$answer_host$answer_path
	packages="$packages_build $packages_run openssl logrotate"
	spare=/var/cache/td-sync
	on_disk=$(dirname -- "$data")
	build_place
	bin=$prefix/bin
	share=$prefix/share/td-sync
	! judging || getent ahosts "$site_name" >/dev/null || fail "the host name $site_name does not resolve" \
		"neither the DNS nor /etc/hosts knows it, so no client would find the server" \
		"make a record for it, or a line in /etc/hosts; or correct host in $answers_file"
	nginx_tls
	nginx_mail
	wanted_configuration
}

# Nobody needs a certificate that is not over, or a free port, to see what is there
# or to take it away.
judging() {
	case $command in status | uninstall) false ;; esac
}

# own_folder KEY FOLDER: one that the units can be given.
own_folder() {
	case $2 in
	*[\"\\\$\;\{\}%]*) fail "$1 = $2 can't be used" \
		"nginx and systemd would take one of \" \\ \$ ; { } % in it for their own" "choose another folder" ;;
	/home/* | /root/* | /run/* | /tmp/* | /var/tmp/* | /dev/* | /proc/* | /sys/*)
		fail "$1 = $2 can't be used" \
			"the service sees nothing of home folders, and what is temporary is no place for data" \
			"choose another folder, such as /var/lib/td-sync" ;;
	esac
}

# plain_words KEY VALUE: for what goes through make and configure, too.
plain_words() {
	case $2 in
	*[!A-Za-z0-9/._+-]*) fail "$1 = $2 can't be used" \
		"only letters, digits and / . _ + - may be in it" "correct it in $answers_file" ;;
	esac
}

nginx_tls() {
	certificate='' cert_key=''
	case $answer_tls:$site_name in
	none:localhost | none:127.*) ;;
	none:*)
		! judging || fail "tls = none is for this machine only, and $site_name is not" \
			"tokens are passwords: they never go over plain HTTP to other machines" \
			"answer tls with files, certbot or proxy; or host with localhost:8080"
		;;
	esac
	[ -z "$answer_path" ] || return 0
	case $answer_tls in
	files) certificate=$answer_tls_certificate cert_key=$answer_tls_key ;;
	certbot) certificate=/etc/letsencrypt/live/$site_name/fullchain.pem cert_key=/etc/letsencrypt/live/$site_name/privkey.pem ;;
	esac
	judging || return 0
	case $answer_tls in
	files) ! has openssl || judge_certificate ;;
	certbot)
		[ "$site_port" = 443 ] || fail "certbot and the port $site_port do not go together" \
			"it proves by port 80 that $site_name is this machine, for a site on port 443" \
			"answer host without a port; or tls with files, and get the certificate elsewhere"
		;;
	esac
	case $certificate$cert_key in
	*[\"\\\$\;\{\}]*) fail "$certificate can't be used" \
		"nginx would take one of \" \\ \$ ; { } in it for its own" "choose another folder for it" ;;
	esac
	case $answer_tls in
	proxy) free_port "${answer_listen##*:}" ;;
	*)
		free_port "$site_port"
		[ "$site_port" != 443 ] || free_port 80
		;;
	esac
}

# free_port PORT: nobody listens there, or nginx, which can have several sites there.
free_port() {
	port_used "$1" || return 0
	for inode in $(awk -v port=":$(printf %04X "$1")" '$4 == "0A" &&
		substr($2, length($2) - 4) == port { print $10 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null); do
		holder=$(find /proc/[0-9]*/fd -lname "socket:\[$inode\]" 2>/dev/null | head -n 1)
		holder=${holder#/proc/}
		holder=${holder%%/*}
		[ -n "$holder" ] || continue
		program=$(cat "/proc/$holder/comm" 2>/dev/null) || continue
		case $program in nginx | systemd) continue ;; esac
		other="host = $site_name:8443"
		[ "$answer_tls" != proxy ] || other="listen = ${answer_listen%:*}:8081"
		fail "port $1 is in use" "$program (process $holder) listens there, and it is not nginx" \
			"end that program, or give another port: $other in $answers_file"
	done
}

# judge_certificate: readable, fitting each other and the name, and not over.
judge_certificate() {
	for file in "$certificate" "$cert_key"; do
		[ -r "$file" ] && [ -s "$file" ] || fail "$file can't be read" \
			"there is no such file, or it is empty" "correct tls_certificate and tls_key in $answers_file"
	done
	openssl x509 -in "$certificate" -noout >/dev/null 2>&1 || fail "$certificate is no certificate" \
		"openssl can't read it as PEM" "correct tls_certificate in $answers_file"
	public=$(openssl pkey -in "$cert_key" -passin pass: -pubout 2>/dev/null) || fail "$cert_key is no private key" \
		"openssl can't read it as PEM without a password" "correct tls_key in $answers_file"
	[ "$public" = "$(openssl x509 -in "$certificate" -noout -pubkey 2>/dev/null)" ] ||
		fail "the key does not fit the certificate" "$cert_key belongs to another one than $certificate" \
			"correct tls_certificate and tls_key in $answers_file"
	openssl x509 -in "$certificate" -noout -checkend 0 >/dev/null 2>&1 || fail "the certificate is over" \
		"$certificate was valid $(openssl x509 -in "$certificate" -noout -enddate | sed 's/.*=/until /')" \
		"get a new one; then run this again"
	openssl x509 -in "$certificate" -noout -checkhost "$site_name" | grep -q 'does match' ||
		fail "the certificate is not for $site_name" \
			"it is for $(openssl x509 -in "$certificate" -noout -subject -ext subjectAltName 2>/dev/null | tail -n 1 | sed 's/^ *//')" \
			"correct host or tls_certificate in $answers_file"
}

# Sets mail_way and what it needs. A sendmail can't do its work inside the
# service's walls: a mail server on this machine is handed mail by its port.
nginx_mail() {
	mail_way=$answer_mail mail_url=$answer_smtp_url mail_tls=on
	case $answer_mail in
	auto | sendmail)
		if [ "$answer_mail" = auto ] && [ -z "$answer_mail_from" ]; then
			mail_way=off
		elif [ "$answer_mail" = auto ] && grep -qsx 'mail = \(smtp\|sendmail\)' "$etc/configured"; then
			# As it was found before: a mail server may just be down.
			mail_way=$(sed -n 's/^mail = //p' "$etc/configured")
			[ "$mail_way" != smtp ] || mail_url=smtp://127.0.0.1:25 mail_tls=off
		elif [ "$answer_mail" = auto ] && port_used 25; then
			mail_way=smtp mail_url=smtp://127.0.0.1:25 mail_tls=off
		elif [ -x /usr/sbin/sendmail ]; then
			mail_way=sendmail
		elif [ "$answer_mail" = auto ]; then
			mail_way=off
		elif judging; then
			fail "there is no sendmail" "/usr/sbin/sendmail is no program here" \
				"install a mail server (exim4, postfix, msmtp-mta), or set mail = smtp or off in $answers_file"
		fi
		;;
	esac
	[ "$mail_way" = off ] || [ -n "$answer_mail_from" ] || ! judging || fail "mail needs an address that it comes from" \
		"mail_from is not answered" "set mail_from, or mail = off, in $answers_file"
}

# The keys of td-sync.conf that are answers. (Others are nobody's but the
# administrator's.)
wanted_configuration() {
	{
		echo "error_log = $log_folder/error.log"
		echo "access_log = $log_folder/access.log"
		echo "url = $url"
		echo "signup = $answer_signup"
		case $answer_public in yes) echo "public_projects = on" ;; *) echo "public_projects = off" ;; esac
		echo "mail = $mail_way"
		[ "$mail_way" = off ] || echo "mail_from = $answer_mail_from"
		if [ "$mail_way" = smtp ]; then
			echo "smtp_url = $mail_url"
			echo "smtp_tls = $mail_tls"
			[ -z "$answer_smtp_user" ] || printf 'smtp_user = %s\nsmtp_password_file = %s\n' \
				"$answer_smtp_user" smtp-password
		fi
		echo "profiles = $share/profiles"
		echo "smtp_program = $prefix/libexec/td-sync/td-sync-smtp"
	} >"$scratch/configured"
}

# --- the programs ---

step_programs_what() {
	echo "install the commands, manual pages and templates below $prefix"
}
# What is installed is listed in installed.list, with its checksums.
step_programs_done() {
	! programs_new && [ -e "$etc/installed.list" ] && grep -q "  $bin/td-sync.fcgi\$" "$etc/installed.list" &&
		sha256sum --check --status "$etc/installed.list" 2>/dev/null &&
		programs_are_ours
}
programs_are_ours() {
	for program in td-sync td-sync-admin td-sync.fcgi; do
		cmp -s "$build/$program" "$bin/$program" || return 1
	done
	for file in nginx/td-sync.conf.in nginx/fill systemd/td-sync.service.in systemd/td-sync.socket \
		systemd/mail-smtp.conf systemd/mail-sendmail.conf systemd/logrotate \
		systemd/td-sync-backup.service.in systemd/td-sync-backup.timer; do
		cmp -s "$src/$file" "$share/$file" || return 1
	done
}
step_programs_do() {
	stage=$scratch/stage
	logged "$scratch/install.log" make -C "$build" install DESTDIR="$stage" prefix="$prefix" ||
		fail "make install failed" "it ended with an error" "read the lines above" "$scratch/install.log"
	(cd "$stage" && find . -type d -printf '%P\n') >"$scratch/folders"
	while IFS= read -r folder; do
		mkdir -p -- "/$folder" || fail "can't make /$folder" "mkdir said so above" "see to what is in its place"
	done <"$scratch/folders"
	(cd "$stage" && find . -type f -printf '%m %P\n') >"$scratch/files"
	while read -r mode file; do
		[ ! -e "$etc/installed.list" ] || keep_old "/$file"
		put_file "$stage/$file" "/$file" "$mode"
	done <"$scratch/files"
	(cd "$stage" && find . -type l -printf '%l %P\n') >"$scratch/links"
	while read -r to link; do
		ln -sfn -- "$to" "/$link"
	done <"$scratch/links"
	[ ! -e "$etc/installed.list" ] || keep_old "$etc/installed.list"
	(cd "$stage" && find . ! -type d -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum) |
		sed 's|  |  /|' | put_file - "$etc/installed.list" 644
}
step_programs_check() {
	programs_are_ours
}
# Whether those that ran before are kept still: the new ones have not answered yet.
programs_new() {
	[ -n "$(find "$prefix" -name '*.setup-old' 2>/dev/null | head -n 1)" ]
}
# The version that ran before: its files are there, until the new one answers.
programs_back() {
	find "$prefix" "$etc/installed.list".setup-* \( -name '*.setup-old' -o -name '*.setup-none' \) \
		>"$scratch/old" 2>/dev/null || true
	while IFS= read -r file; do
		put_back "${file%.setup-*}"
	done <"$scratch/old"
}
# went_back: the version that ran before is there again. Where the new one has changed the
# format of server.db, it takes that back first, with all that was written since; false
# where that can't be, and then all stays as the new version has it.
new_tried=no # whether it was started: then it is to be gone, and no request may start it
went_back() {
	before_takes_data || {
		[ "$new_tried" = no ] || systemctl stop td-sync.socket td-sync.service
		nginx_admin upgrade --back >"$scratch/back.log" 2>&1 || {
			[ "$new_tried" = no ] || { systemctl start td-sync.socket && restarted; } || true
			return 1
		}
	}
	programs_back
}
before_takes_data() {
	[ ! -x "$bin/td-sync-admin.setup-old" ] || [ -z "$(find "$data" -maxdepth 1 -name 'server.db.format*')" ] ||
		(admin=$bin/td-sync-admin.setup-old && nginx_admin user list) >/dev/null 2>&1
}
programs_keep() {
	find "$prefix" \( -name '*.setup-old' -o -name '*.setup-none' \) -exec rm -f -- {} +
	drop_old "$etc/installed.list"
}
step_programs_undo() {
	[ -e "$etc/installed.list" ] || return 0
	sed 's/^[0-9a-f]*  //' "$etc/installed.list" >"$scratch/files"
	while IFS= read -r file; do
		rm -f -- "$file"
	done <"$scratch/files"
	programs_keep
	rm -f -- "$etc/installed.list"
	rmdir -- "$share/nginx" "$share/systemd" "$share/profiles" "$share" "$prefix/share/doc/td-sync" \
		"$prefix/libexec/td-sync" 2>/dev/null || true
}

# --- user, folders ---

# Who nginx runs as.
web_user() {
	found=$(sed -n 's/^[[:blank:]]*user[[:blank:]]\{1,\}\([^;[:blank:]]*\).*/\1/p' /etc/nginx/nginx.conf 2>/dev/null | head -n 1)
	echo "${found:-www-data}"
}

step_user_what() {
	echo "make the user td-sync, and let nginx's user $(web_user) into its group"
}
step_user_done() {
	id td-sync >/dev/null 2>&1 && id -nG "$(web_user)" 2>/dev/null | grep -qw td-sync
}
step_user_do() {
	id td-sync >/dev/null 2>&1 || useradd --system --user-group --home-dir "$data" \
		--no-create-home --shell /usr/sbin/nologin --comment "td-sync server" td-sync ||
		fail "the user td-sync can't be made" "useradd said so above" "set right what it says"
	usermod --append --groups td-sync "$(web_user)" || fail "$(web_user) can't be let into the group td-sync" \
		"usermod said so above" "set right what it says"
}
# It goes with the last that belongs to it.
step_user_undo() {
	id td-sync >/dev/null 2>&1 || return 0
	if [ "$remove_data" = no ] || { [ -n "$answer_backups" ] && [ -e "$answer_backups" ]; }; then
		note "the user td-sync stays, as what stays belongs to it"
		return
	fi
	gpasswd --delete "$(web_user)" td-sync >/dev/null 2>&1 || true
	userdel td-sync
}

# folder_so PATH MODE OWNER
folder_so() {
	[ -d "$1" ] && [ "$(stat -c '%a %U:%G' -- "$1")" = "$2 $3" ]
}
step_folders_what() {
	echo "make the folders $data and $log_folder, for td-sync alone"
}
step_folders_done() {
	folder_so "$data" 750 td-sync:td-sync && folder_so "$log_folder" 750 td-sync:td-sync &&
		folder_so "$acme_folder" 755 root:root && data_claimed "$data"
}
step_folders_do() {
	for folder in "$data" "$log_folder"; do
		mkdir -p -- "$folder" || fail "$folder can't be made" "mkdir said so above" \
			"choose another one, or see to the permissions above it"
	done
	claim_data "$data"
	for folder in "$data" "$log_folder"; do
		# shellcheck disable=SC2015 # fail doesn't come back
		chown td-sync:td-sync -- "$folder" && chmod 750 -- "$folder" ||
			fail "$folder can't be given to td-sync" "the command above said so" "set right what it says"
	done
	runuser -u td-sync -- test -x "$data" || fail "td-sync can't get into $data" \
		"a folder above it lets others not pass" "chmod o+x that folder, or choose another one"
	mkdir -p -- "$acme_folder"
	chmod 755 -- "$acme_folder"
}
step_folders_undo() {
	rm -rf -- "$acme_folder" "$cache_folder"
	[ "$remove_data" = no ] || rm -rf -- "$log_folder"
}

# --- configuration and data ---

step_configuration_what() {
	echo "write the answers into $data/td-sync.conf; what else is in it stays"
}
step_configuration_done() {
	same_file "$scratch/configured" "$etc/configured" 644 &&
		[ -e "$data/td-sync.conf" ] && [ ! -e "$data/td-sync.conf.setup-old" ] &&
		[ ! -e "$data/td-sync.conf.setup-none" ] &&
		[ "$(stat -c '%a %U:%G' -- "$data/td-sync.conf")" = "640 root:td-sync" ]
}
step_configuration_do() {
	conf=$data/td-sync.conf
	if grep -q '^smtp_password_file' "$scratch/configured" && [ ! -s "$data/smtp-password" ]; then
		fail "the mail server's password is missing" "smtp_user is answered, and $data/smtp-password is not there" \
			"put it there: install -m 600 -o td-sync -g td-sync /dev/stdin $(quoted "$data/smtp-password"); type it, then Ctrl-D"
	fi
	from=$conf
	[ -e "$from" ] || from=$share/td-sync.conf
	# Each key has the value of its answer; one that is no longer answered goes.
	awk '
		FILENAME == ARGV[1] { key = $1; sub(/ =.*/, "", key); value[key] = $0; next }
		FILENAME == ARGV[2] { key = $1; if (!(key in value)) gone[key] = 1; next }
		match($0, /^#?[a-z_]+ *=/) {
			key = $0; sub(/^#/, "", key); sub(/ *=.*/, "", key)
			if (key in value) { if (!(key in put)) print value[key]; put[key] = 1; next }
			if (key in gone && $0 !~ /^#/) { print "#" $0; next }
		}
		{ print }
		END { for (key in value) if (!(key in put)) print value[key] }
	' "$scratch/configured" "$(if [ -e "$etc/configured" ]; then echo "$etc/configured"; else echo /dev/null; fi)" \
		"$from" >"$scratch/td-sync.conf"
	keep_old "$conf"
	put_file "$scratch/td-sync.conf" "$conf" 640 root:td-sync
	if ! logged "$scratch/check.log" runuser -u td-sync -- "$bin/td-sync.fcgi" \
		--check --data "$data"; then
		put_back "$conf"
		fail "$conf would not be right" "td-sync.fcgi --check says why" \
			"correct the answer in $answers_file; the file is as it was" "$scratch/check.log"
	fi
	put_file "$scratch/configured" "$etc/configured" 644
	drop_old "$conf"
	systemctl --quiet is-active td-sync.service && systemctl reload td-sync.service || true
}
step_configuration_undo() {
	rm -f -- "$etc/configured"
}

# nginx_admin ARGUMENT...: the operator's command, as td-sync: what it makes is the
# service's, too.
nginx_admin() {
	(umask 027 && cd / && exec runuser -u td-sync -- "${admin:-$bin/td-sync-admin}" --data "$data" "$@" 9>&-)
}

step_accounts_what() {
	echo "make the accounts and the first key in $data"
}
step_accounts_done() {
	[ -s "$data/server.db" ] && [ -d "$data/keys" ] && nginx_admin user list >/dev/null 2>&1
}
step_accounts_do() {
	rm -f -- "$data"/keys/*.tmp-* # a key that an ended run did not make to its end
	code=0 # 4: it is there already
	nginx_admin init >"$scratch/admin.log" 2>&1 || code=$?
	case $code in
	0 | 4) ;;
	*) fail "the data folder can't be made" "td-sync-admin init says why" "set right what it says" \
		"$scratch/admin.log" ;;
	esac
}

step_owner_what() {
	echo "make the account of $answer_owner, and a first token for it, shown once"
}
# The token lies in owner-token until it was shown.
# Where nobody has an account, the data of then is gone, and what was shown with it.
step_owner_done() {
	{ [ -e "$etc/owner-token" ] || [ "$(cat -- "$etc/owner-shown" 2>/dev/null)" = "$answer_owner" ]; } &&
		[ -n "$(nginx_admin user list 2>/dev/null)" ]
}
step_owner_do() {
	code=0
	nginx_admin user add "$answer_owner" >"$scratch/admin.log" 2>&1 || code=$?
	case $code in
	0 | 4) ;;
	*) fail "the account of $answer_owner can't be made" "td-sync-admin says why" \
		"correct owner in $answers_file" "$scratch/admin.log" ;;
	esac
	# Those that an ended run made and nobody saw.
	nginx_admin --json token list --user "$answer_owner" 2>/dev/null | sed -n '/"name":"setup"/s/.*"id":"\([^"]*\)".*/\1/p' >"$scratch/tokens"
	while IFS= read -r id; do
		nginx_admin token revoke "$id" >/dev/null 2>&1 || true
	done <"$scratch/tokens"
	(umask 077 && nginx_admin token create --user "$answer_owner" --name setup >"$scratch/token" 2>"$scratch/admin.log") ||
		fail "a token can't be made" "td-sync-admin says why" "set right what it says" "$scratch/admin.log"
	put_file "$scratch/token" "$etc/owner-token" 600
}
# Where the data stays, so does the token that was shown.
step_owner_undo() {
	[ "$remove_data" = no ] || rm -f -- "$etc/owner-token" "$etc/owner-shown"
}

# --- the service ---

# unit_files: those that are wanted, in scratch/units.
unit_files() {
	rm -rf -- "$scratch/units"
	mkdir -p -- "$scratch/units/td-sync.service.d"
	cp -- "$share/systemd/td-sync.socket" "$scratch/units/"
	"$share/nginx/fill" "$share/systemd/td-sync.service.in" PREFIX="$prefix" DATA_DIR="$data" \
		>"$scratch/units/td-sync.service"
	case $mail_way in
	smtp | sendmail) cp -- "$share/systemd/mail-$mail_way.conf" "$scratch/units/td-sync.service.d/mail.conf" ;;
	esac
}
units_same() {
	for unit in td-sync.socket td-sync.service td-sync.service.d/mail.conf; do
		if [ -e "$scratch/units/$unit" ]; then
			same_file "$scratch/units/$unit" "$units/$unit" 644 || return 1
		else
			[ ! -e "$units/$unit" ] || return 1
		fi
	done
}
service_runs() {
	systemctl --quiet is-active td-sync.socket td-sync.service &&
		case $(readlink "/proc/$(systemctl show --property MainPID --value td-sync.service)/exe") in
		"$bin/td-sync.fcgi") true ;;
		*) false ;;
		esac
}
step_service_what() {
	echo "start the workers as td-sync.service, on the socket of td-sync.socket, now and at each start"
}
step_service_done() {
	[ -x "$share/nginx/fill" ] || return 1
	unit_files && units_same && systemctl --quiet is-enabled td-sync.socket td-sync.service &&
		service_runs && ! programs_new && [ "$(systemctl show --property NeedDaemonReload --value td-sync.service)" = no ]
}
# A restart fails no request: they wait in the socket's queue.
step_service_do() {
	fronted=no # whether there is a site that leads to them
	! front || fronted=yes
	unit_files
	mkdir -p -- "$units/td-sync.service.d"
	for unit in td-sync.socket td-sync.service td-sync.service.d/mail.conf; do
		if [ -e "$scratch/units/$unit" ]; then
			put_file "$scratch/units/$unit" "$units/$unit" 644
		else
			rm -f -- "$units/$unit"
		fi
	done
	rmdir -- "$units/td-sync.service.d" 2>/dev/null || true
	systemctl daemon-reload
	systemctl --quiet enable td-sync.socket td-sync.service
	# What does not even run is not tried: what runs would end for it.
	checked && new_tried=yes && systemctl start td-sync.socket && restarted && wait_for 20 answers || {
		service_said
		if programs_new; then
			went_back || {
				cat -- "$scratch/back.log" >>"$scratch/service.log"
				fail "the new version does not answer, and the one before it could not use the data" \
					"server.db can't have its old format again: the last line below says why; nothing is lost" \
					"report it. docs/backup.md, \"Going back\", says what can be done; the last backup is in ${answer_backups:-no folder}" \
					"$scratch/service.log"
			}
			unit_files
			for unit in td-sync.socket td-sync.service; do
				put_file "$scratch/units/$unit" "$units/$unit" 644
			done
			systemctl daemon-reload
			systemctl start td-sync.socket
			restarted || true
			wait_for 20 answers || fail "neither the new version nor the one before it answers" \
				"its last lines are below" \
				"read $log_folder/error.log; the last backup is in ${answer_backups:-no folder}" "$scratch/service.log"
			fail "the new version does not answer" "its last lines are below; the one before it runs again" \
				"report it, or look into $log_folder/error.log; then run this again" "$scratch/service.log"
		fi
		fail "the workers don't answer" "the service's last lines are below" \
			"set right what they say; journalctl -u td-sync and $log_folder/error.log say more" "$scratch/service.log"
	}
	programs_keep
}
service_said() {
	{
		runuser -u td-sync -- "$bin/td-sync.fcgi" --check --data "$data"
		systemctl --no-pager --full --lines=5 status td-sync.service
		tail -n 5 -- "$log_folder/error.log"
	} >"$scratch/service.log" 2>&1 || true
}
# Whether the workers answer, where nginx leads to them already; else (the site is a
# step of its own) whether they run, on a configuration that is right.
answers() {
	service_runs && checked && { [ "$fronted" = no ] || front; }
}
checked() {
	runuser -u td-sync -- "$bin/td-sync.fcgi" --check --data "$data" >/dev/null 2>&1
}
# systemd itself would wait as long as it tries again, which is for ever.
restarted() {
	timeout 60 systemctl restart td-sync.service
}
step_service_undo() {
	systemctl --quiet disable --now td-sync.service td-sync.socket 2>/dev/null || true
	rm -rf -- "$units/td-sync.service" "$units/td-sync.socket" "$units/td-sync.service.d/mail.conf" /run/td-sync
	# What an administrator put beside it stays.
	rmdir -- "$units/td-sync.service.d" 2>/dev/null || true
	systemctl daemon-reload
	systemctl reset-failed td-sync.service td-sync.socket 2>/dev/null || true
}

step_logs_what() {
	echo "have the logs in $log_folder rotated, every week or above 100 MB"
}
step_logs_done() {
	same_file "$share/systemd/logrotate" /etc/logrotate.d/td-sync 644
}
step_logs_do() {
	put_file "$share/systemd/logrotate" /etc/logrotate.d/td-sync 644
}
step_logs_undo() {
	rm -f -- /etc/logrotate.d/td-sync
}

# --- nginx ---

nginx_right() {
	nginx -t >"$scratch/nginx.log" 2>&1
}
nginx_was_right() {
	# The line that includes it may have been written first.
	[ -z "$answer_path" ] || [ -e "$path_file" ] || {
		mkdir -p -- "${path_file%/*}"
		: | put_file - "$path_file" 644
	}
	nginx_right || fail "nginx refuses the configuration that is there" \
		"it does so without td-sync's site, see below; nothing of it was changed" \
		"set it right (nginx -t tells when it is); then run this again" "$scratch/nginx.log"
}

step_web_server_what() {
	echo "have nginx run, now and at each start"
}
step_web_server_done() {
	systemctl --quiet is-active nginx.service && systemctl --quiet is-enabled nginx.service
}
step_web_server_do() {
	nginx_was_right
	logged "$scratch/systemctl.log" systemctl enable --now nginx.service || fail "nginx does not start" \
		"systemctl says why" "journalctl -u nginx says more" "$scratch/systemctl.log"
}

# Whether an interface has it. (A file of the kernel's has no size.)
has_ipv6() {
	grep -q . /proc/net/if_inet6 2>/dev/null
}

# make_site: those of site_files that are wanted, below scratch/site. (An argument of fill
# is there twice where there is IPv6.)
make_site() {
	rm -rf -- "$scratch/site"
	for file in $site_files; do
		mkdir -p -- "$scratch/site${file%/*}"
	done
	set -- "$share/nginx/td-sync.conf.in" SOCKET="$socket" DATA_DIR="$data" CACHE_DIR="$cache_folder" \
		ACCESS_LOG=/var/log/nginx/td-sync-access.log PATH="$answer_path" HOST="$site_name"
	"$share/nginx/fill" "$@" FOR=http >"$scratch/site$http_file"
	if [ -n "$answer_path" ]; then
		"$share/nginx/fill" "$@" FOR=path >"$scratch/site$path_file"
		return
	fi
	parts="server name"
	case $answer_tls in
	files | certbot)
		parts="$parts tls"
		set -- "$@" LISTEN="$site_port ssl http2" TLS_CERTIFICATE="$certificate" TLS_KEY="$cert_key" \
			TLS_DH="$share/nginx/ffdhe2048.pem" HSTS="max-age=63072000"
		! has_ipv6 || set -- "$@" LISTEN="[::]:$site_port ssl http2"
		[ "$site_port" != 443 ] || {
			parts="$parts plain"
			set -- "$@" PLAIN_LISTEN=80 ACME_DIR="$acme_folder"
			! has_ipv6 || set -- "$@" PLAIN_LISTEN="[::]:80"
		}
		;;
	proxy)
		parts="$parts proxy"
		set -- "$@" LISTEN="$answer_listen"
		for proxy in $answer_proxies; do
			set -- "$@" PROXY="$proxy"
		done
		;;
	none) set -- "$@" LISTEN="127.0.0.1:$site_port" ;;
	esac
	"$share/nginx/fill" "$@" FOR="${only_parts:-$parts}" >"$scratch/site$server_file"
}

# A link has nginx read our server after those of others: the first one of a port is
# asked for all names that nobody knows, and the port has its TLS protocols.
last_folder() {
	# (No nginx yet: it will be Debian's.)
	if [ ! -e /etc/nginx/nginx.conf ] ||
		grep -Eq '^[^#]*include[[:blank:]]+(/etc/nginx/)?sites-enabled/\*(\.conf)?;' /etc/nginx/nginx.conf; then
		echo /etc/nginx/sites-enabled
	else
		echo /etc/nginx/conf.d
	fi
}
site_links='/etc/nginx/sites-enabled/zz-td-sync.conf /etc/nginx/conf.d/zz-td-sync.conf'
# The link is there where the server is. A dead one would keep nginx from starting:
# it comes after the server's file, and goes before it.
link_site() {
	unlink_site
	[ ! -e "$server_file" ] || ln -s -- "$server_file" "$(last_folder)/zz-td-sync.conf"
}
unlink_site() {
	# shellcheck disable=SC2086 # two words
	rm -f -- $site_links
}
site_linked() {
	# shellcheck disable=SC2086 # two words
	set -- $(readlink -- $site_links)
	if [ -e "$server_file" ]; then
		[ "$*" = "$server_file" ] && [ -L "$(last_folder)/zz-td-sync.conf" ]
	else
		[ $# = 0 ]
	fi
}

# Where a server includes the path's file, an empty one stays: without it nginx
# would not start again.
path_file_goes() {
	if grep -ERqs "^[^#]*include[[:blank:]]+[\"']?(/etc/nginx/)?snippets/td-sync\.conf" /etc/nginx; then
		printf '%s\n' "$path_file_empty" | put_file - "$path_file" 644
		note "a server includes $path_file: remove that line, then this file, which is empty now"
	else
		rm -f -- "$path_file"
	fi
}
path_file_empty='# td-sync is not here any more. Remove the line that includes this file, then the file.'

# put_site: what make_site made is in force, or what was there before.
put_site() {
	nginx_was_right
	for file in $site_files; do
		keep_old "$file"
	done
	unlink_site
	for file in $site_files; do
		if [ -e "$scratch/site$file" ]; then
			mkdir -p -- "${file%/*}"
			put_file "$scratch/site$file" "$file" 644
		elif [ "$file" = "$path_file" ]; then
			path_file_goes
		else
			rm -f -- "$file"
		fi
	done
	link_site
	if ! nginx_right; then
		site_back
		fail "nginx refuses the site" "it says why; what was there before is there again" \
			"correct the answer that it is about in $answers_file; where none is, please report it" "$scratch/nginx.log"
	fi
	logged "$scratch/systemctl.log" systemctl reload nginx.service || {
		site_back
		fail "nginx can't be told to read its configuration" "systemctl says why; the old site is there again" \
			"journalctl -u nginx says more" "$scratch/systemctl.log"
	}
}
site_back() {
	unlink_site
	for file in $site_files; do
		put_back "$file"
	done
	link_site
	systemctl reload nginx.service 2>/dev/null || true
}
site_keep() {
	for file in $site_files; do
		drop_old "$file"
	done
}

step_certificate_what() {
	case $answer_tls in
	certbot) echo "have certbot get a certificate for $site_name: $answer_owner agrees to Let's Encrypt's terms by that" ;;
	files) echo "look at the certificate for $site_name: readable, fitting its key and name, and not over" ;;
	*) echo "no certificate: TLS is not this server's business" ;;
	esac
}
step_certificate_done() {
	[ -n "$certificate" ] || return 0
	[ "$answer_tls" != certbot ] || [ -s "$certificate" ] || return 1
	(judge_certificate) 2>/dev/null
}
step_certificate_do() {
	[ "$answer_tls" != files ] || judge_certificate
	[ -s "$certificate" ] || {
		has certbot || fail "certbot is not installed" "tls = certbot has it get the certificate" \
			"apt-get install certbot; then run this again (or answer tls with files, and get it elsewhere)"
		# Let's Encrypt asks at port 80.
		only_parts=plain make_site
		put_site
		site_keep
		logged "$scratch/certbot.log" certbot certonly --non-interactive --agree-tos --email "$answer_owner" \
			--webroot --webroot-path "$acme_folder" --domain "$site_name" \
			--deploy-hook "systemctl reload nginx.service" || fail "certbot got no certificate" \
			"it says why" "$site_name has to lead to this machine from outside, on port 80; then run this again" "$scratch/certbot.log"
	}
	judge_certificate
}

step_site_what() {
	if [ -n "$answer_path" ]; then
		echo "write $path_file for the server of $site_name, and have nginx take it"
	else
		echo "write the site $server_file, and have nginx take it"
	fi
}
step_site_done() {
	[ -x "$share/nginx/fill" ] || return 1
	make_site
	for file in $site_files; do
		[ ! -e "$file.setup-old" ] && [ ! -e "$file.setup-none" ] || return 1
		if [ -e "$scratch/site$file" ]; then
			same_file "$scratch/site$file" "$file" 644 || return 1
		else
			[ ! -e "$file" ] || [ "$(cat -- "$file")" = "$path_file_empty" ] || return 1
		fi
	done
	site_linked && nginx_reads "$http_file" && { [ -z "$answer_path" ] || nginx_reads "$path_file"; } && front
}
# Whether nginx's own configuration has it: that may not include conf.d.
nginx_reads() {
	nginx -T 2>/dev/null | grep -qxF "# configuration file $1:"
}
step_site_do() {
	make_site
	put_site
	nginx_reads "$http_file" || {
		site_back
		fail "nginx does not read $http_file" "/etc/nginx/nginx.conf does not include conf.d/*.conf" \
			"put this line into its http block, and run this again:  include /etc/nginx/conf.d/*.conf;"
	}
	[ -z "$answer_path" ] || nginx_reads "$path_file" || {
		site_keep
		fail "the server of $site_name does not have the path $answer_path yet" \
			"its file is yours: nothing is written into it by itself" \
			"put this line into its server block, and run this again:  include $path_file;"
	}
	wait_for 10 front || {
		tail -n 5 /var/log/nginx/error.log >>"$scratch/front.log" 2>/dev/null || true
		site_back
		fail "the server does not answer at $url" "what nginx said is below; the old site is there again" \
			"set right what it says; then run this again" "$scratch/front.log"
	}
	site_keep
}
step_site_undo() {
	path_file_goes
	unlink_site
	rm -f -- "$server_file" "$http_file"
	site_keep
	has nginx && systemctl --quiet is-active nginx.service || return 0
	if nginx_right; then
		systemctl reload nginx.service
	else
		note "nginx refuses what is left of its configuration, and goes on with what it has: see nginx -t"
	fi
}

# asked PATH [ARGUMENT...]: from this machine, through nginx. (The certificate
# was judged by itself; whether this machine trusts its issuer is another question.)
asked() {
	asked_path=$1
	shift
	if [ "$answer_tls" = proxy ] && [ -z "$answer_path" ]; then
		curl -sS -m 10 --noproxy '*' -H "Host: $answer_host" "$@" "http://$answer_listen$asked_path"
	else
		curl -sS -m 10 -k --noproxy '*' --resolve "$site_name:$site_port:127.0.0.1" "$@" "$url$asked_path" ||
			curl -sS -m 10 -k --noproxy '*' "$@" "$url$asked_path"
	fi
}
# Whether a worker answers behind it.
front() {
	asked /healthz -f >"$scratch/front.out" 2>"$scratch/front.log" && grep -q '"ok"' "$scratch/front.out"
}

step_check_what() {
	echo "ask the server at $url, as a client does"
}
# A request without a token is refused by a worker, in JSON; one with the owner's is
# answered, as long as that is here; the data folder can't be had.
step_check_done() {
	front || return 1
	asked /v1/projects >"$scratch/front.out" 2>/dev/null && grep -q '"unauthorized"' "$scratch/front.out" || return 1
	[ "$(asked /.td-sync/pages/../server.db --path-as-is -o /dev/null -w '%{http_code}' 2>/dev/null)" != 200 ] || return 1
	[ ! -e "$etc/owner-token" ] || {
		sed 's/^/header = "Authorization: Bearer /; s/$/"/' "$etc/owner-token" >"$scratch/curl.conf"
		[ "$(asked /v1/projects -K "$scratch/curl.conf" -o /dev/null -w '%{http_code}' 2>/dev/null)" = 200 ]
	}
}
step_check_do() {
	wait_for 10 step_check_done || fail "the server does not answer as it should at $url" \
		"it said: $(head -c 300 "$scratch/front.out" 2>/dev/null; head -c 300 "$scratch/front.log" 2>/dev/null)" \
		"read $log_folder/error.log and /var/log/nginx/error.log"
}

# --- backups ---

step_backup_what() {
	echo "make a backup in ${answer_backups:-no folder: none is answered}"
}
# Only for programs that are others than those that are installed.
step_backup_done() {
	[ -z "$answer_backups" ] || [ ! -x "$bin/td-sync-admin" ] || programs_are_ours
}
step_backup_do() {
	backup_folder
	nginx_admin backup "$answer_backups" >"$scratch/admin.log" 2>&1 || fail "the backup failed, and nothing was changed" \
		"td-sync-admin backup says why" "set right what it says; then run this again" "$scratch/admin.log"
}
step_backup_check() { true; }
backup_folder() {
	! folder_so "$answer_backups" 700 td-sync:td-sync || return 0
	[ ! -e "$answer_backups" ] || [ "$(stat -c %U -- "$answer_backups")" = td-sync ] ||
		[ -z "$(ls -A -- "$answer_backups" 2>&1)" ] || fail "$answer_backups is not for backups of td-sync" \
		"it belongs to others, and is not empty" "choose another folder: backups in $answers_file"
	# shellcheck disable=SC2015 # fail doesn't come back
	mkdir -p -- "$answer_backups" && chown td-sync:td-sync -- "$answer_backups" && chmod 700 -- "$answer_backups" ||
		fail "$answer_backups can't be made" "the command above said so" "correct backups in $answers_file"
}

step_databases_what() {
	echo "bring the databases to the format of this version"
}
step_databases_done() {
	nginx_admin upgrade --check >/dev/null 2>&1
}
step_databases_do() {
	nginx_admin upgrade >"$scratch/admin.log" 2>&1 || {
		before="the programs before it are there again"
		! programs_new || went_back || before="the programs before it could not use them any more"
		fail "the databases can't be brought to the format of this version" \
			"td-sync-admin upgrade says why; $before" \
			"set right what it says; then run this again" "$scratch/admin.log"
	}
}

step_backups_what() {
	if [ -n "$answer_backups" ]; then
		echo "make a backup every night in $answer_backups, and the first one now; keep 14"
	else
		echo "no backups: no folder is answered"
	fi
}
# Those units that are wanted, in scratch/backups.
backup_units() {
	rm -rf -- "$scratch/backups"
	mkdir -p -- "$scratch/backups"
	cp -- "$share/systemd/td-sync-backup.timer" "$scratch/backups/"
	"$share/nginx/fill" "$share/systemd/td-sync-backup.service.in" PREFIX="$prefix" DATA_DIR="$data" \
		BACKUP_DIR="$answer_backups" KEEP=14 >"$scratch/backups/td-sync-backup.service"
}
step_backups_done() {
	if [ -z "$answer_backups" ]; then
		[ ! -e "$units/td-sync-backup.service" ] && [ ! -e "$units/td-sync-backup.timer" ]
		return
	fi
	[ -x "$share/nginx/fill" ] && backup_units || return 1
	for unit in td-sync-backup.service td-sync-backup.timer; do
		same_file "$scratch/backups/$unit" "$units/$unit" 644 || return 1
	done
	systemctl --quiet is-enabled td-sync-backup.timer && systemctl --quiet is-active td-sync-backup.timer &&
		folder_so "$answer_backups" 700 td-sync:td-sync &&
		[ -n "$(find "$answer_backups" -mindepth 2 -maxdepth 2 -name backup.json)" ]
}
step_backups_do() {
	if [ -z "$answer_backups" ]; then
		step_backups_undo
		return
	fi
	backup_folder
	backup_units
	for unit in td-sync-backup.service td-sync-backup.timer; do
		put_file "$scratch/backups/$unit" "$units/$unit" 644
	done
	systemctl daemon-reload
	systemctl start td-sync-backup.service || {
		systemctl --no-pager --full --lines=5 status td-sync-backup.service >"$scratch/service.log" 2>&1 || true
		fail "no backup could be made in $answer_backups" "the last lines of td-sync-backup.service are below" \
			"set right what they say, or correct backups in $answers_file; then run this again" "$scratch/service.log"
	}
	systemctl --quiet enable --now td-sync-backup.timer
}
# The backups stay.
step_backups_undo() {
	systemctl --quiet disable --now td-sync-backup.timer 2>/dev/null || true
	systemctl --quiet stop td-sync-backup.service 2>/dev/null || true
	rm -f -- "$units/td-sync-backup.service" "$units/td-sync-backup.timer"
	systemctl daemon-reload
	systemctl reset-failed td-sync-backup.service 2>/dev/null || true
}

# --- the end ---

nginx_report() {
	step "td-sync runs"
	note "address   $url"
	note "owner     $answer_owner"
	if [ -e "$etc/owner-token" ]; then
		note "token     $(cat -- "$etc/owner-token")"
		note "          (for TD_AUTH_KEY; it is shown this once, and is kept nowhere)"
		printf '%s\n' "$answer_owner" | put_file - "$etc/owner-shown" 600
		rm -f -- "$etc/owner-token"
	fi
	note "data      $data"
	note "operator  runuser -u td-sync -- $bin/td-sync-admin --data $(quoted "$data") --help"
	[ "$mail_way" != off ] || note "mail      off: hand out tokens yourself (token create); nobody can log in by mail"
}

nginx_data() {
	printf '%s\n' "$data"
	[ "$remove_data" = yes ] || printf '%s\n' "$log_folder" ${answer_backups:+"$answer_backups"}
}
nginx_remove_data() {
	case $(head -n 1 -- "$data/.setup" 2>/dev/null) in
	"$answers_file" | "$(nginx_answers)")
		# It may be a disk of its own. What says that it is ours goes last.
		find "$data" -mindepth 1 -maxdepth 1 ! -name lost+found ! -name .setup -exec rm -rf -- {} +
		rm -f -- "$data/.setup"
		rmdir -- "$data" 2>/dev/null || true
		;;
	*) note "$data stays: this setup did not make it" ;;
	esac
	[ -z "$answer_backups" ] || [ ! -e "$answer_backups" ] || note "the backups in $answer_backups stay"
}
