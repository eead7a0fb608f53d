# What is done with an installation that is there: status, upgrade, uninstall.
# shellcheck shell=sh

# manage_arguments ARGUMENT...: [KIND] [--dir DIR], which is the demo in DIR.
manage_arguments() {
	while [ $# -gt 0 ]; do
		case $1 in
		--dir)
			[ -n "${2-}" ] || fail "--dir needs a value" "nothing follows it" "./setup.sh --help"
			kind=demo
			given dir "$(absolute "$2")"
			shift
			;;
		*)
			case " $kinds " in *" $1 "*) kind=$1 ;; *) fail "$command: unknown argument: $1" \
				"it is none of those it takes" "./setup.sh --help" ;; esac
			;;
		esac
		shift
	done
}

# kept_answers KIND: where such an installation keeps its answers.
kept_answers() (
	answer_dir=
	[ "$1" != demo ] || answer_dir=${given_dir-$PWD/demo}
	"${1}_answers"
)

# find_installation: the one that --answers or KIND names, or that there is.
# Its answers are taken (from taken_from, which may be a copy), and it is ready.
find_installation() {
	answers_file=$answers_given
	looked=
	[ -n "$answers_file" ] || for each in ${kind:-$kinds}; do
		file=$(kept_answers "$each")
		looked="$looked${looked:+, }$file"
		[ -e "$file" ] || continue
		[ -z "$answers_file" ] || fail "there is more than one installation" \
			"there are $answers_file and $file" "say which: ./setup.sh $command KIND, or --answers FILE"
		answers_file=$file
	done
	[ -n "$answers_file" ] || fail "nothing is installed" "there is none of: $looked" \
		"./setup.sh installs; --answers FILE, or --dir DIR of a demo, says where it is"
	answers_load "$answers_file"
	[ -n "${answer_kind-}" ] || fail "$answers_file does not say of what kind it is" "it has no key kind" \
		"add it: kind = demo, for instance"
	[ "${kind:-$answer_kind}" = "$answer_kind" ] || fail "$answers_file is for the kind $answer_kind" \
		"it says so, and the command line says $kind" \
		"./setup.sh $command --answers $(quoted "$answers_file")"
	kind=$answer_kind
	# A demo's folder may have been moved, with all that is in it.
	place=$(dirname -- "$answers_file")
	if [ "$kind" = demo ] && [ -e "$place/$demo_mark" ]; then
		answer dir "$place"
	fi
	answer_rest
	# The lock is where the installation's own answers are.
	taken_from=$answers_file
	answers_file=$("${kind}_answers")
	place=$(dirname -- "$answers_file")
	"${kind}_ready"
	kind_steps
}

status_run() {
	find_installation
	printf '%s, by the answers in %s\n' "$kind" "$taken_from"
	all=0
	for this_step in $steps; do
		function=step_$(printf '%s' "$this_step" | tr - _)
		if "${function}_done"; then
			printf '  %-14s so\n' "$this_step"
		else
			all=1
			printf '  %-14s NOT so: %s\n' "$this_step" "$("${function}_what")"
		fi
	done
	[ "$all" = 0 ] || printf '%s\n' "What is not so: ./setup.sh $kind --answers $(quoted "$taken_from") --yes"
	return "$all"
}

upgrade_run() {
	find_installation
	if [ "$dry_run" = no ]; then
		begin_kind
		"${kind}_ready"
	fi
	for this_step in $steps; do
		run_step "$this_step"
	done
	[ "$dry_run" = yes ] || step "$kind is of the version of $src"
}

uninstall_run() {
	find_installation
	if [ "$remove_data" = yes ] && [ "$yes" = no ] && [ "$dry_run" = no ]; then
		really_remove || exit 1
	fi
	[ "$dry_run" = yes ] || begin_kind
	for this_step in $(for each in $steps; do echo "$each"; done | sed '1!G;h;$!d'); do
		function=step_$(printf '%s' "$this_step" | tr - _)_undo
		has "$function" || continue
		step "$this_step: taking it away"
		if [ "$dry_run" = yes ]; then
			note "to be done"
			continue
		fi
		running=$this_step
		"$function"
		running=
		note "done"
	done
	[ "$dry_run" = no ] || return 0
	if [ "$remove_data" = yes ]; then
		step "Removing the data"
		! has "${kind}_remove_data" || "${kind}_remove_data"
		rm -f -- "$answers_file" "$place/setup.lock"
		rmdir -- "$place" 2>/dev/null || true
	fi
	step "What stays"
	note "packages, and the sources in $src with what was built there"
	"${kind}_data" >"$scratch/data"
	while IFS= read -r folder; do
		[ ! -e "$folder" ] && [ "${folder#/}" != "$folder" ] || note "$folder"
	done <"$scratch/data"
	[ ! -e "$answers_file" ] || note "$answers_file: ./setup.sh --answers with that file takes it all up again"
}

really_remove() {
	[ -t 0 ] && [ -t 1 ] || fail "the data is not removed without being asked for twice" \
		"there is no terminal, and no --yes" "./setup.sh uninstall --remove-data --yes"
	printf 'This is removed, and can'\''t be had back:\n'
	"${kind}_data" | sed 's/^/    /'
	printf 'Type remove: '
	IFS= read -r reply && [ "$reply" = remove ]
}
