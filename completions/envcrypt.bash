# bash completion for envcrypt(1)

_envcrypt()
{
	local cur prev words cword
	if declare -F _init_completion >/dev/null; then
		_init_completion || return
	else
		cur=${COMP_WORDS[COMP_CWORD]}
		prev=${COMP_WORDS[COMP_CWORD - 1]}
		words=("${COMP_WORDS[@]}")
		cword=$COMP_CWORD
	fi

	local choices=
	if ((cword == 1)); then
		choices='keygen inspect keyring decrypt --help --version'
	else
		case $prev in
			--name | --column | --bytea-column)
				return
				;;
			--keyring | --key-file)
				mapfile -t COMPREPLY < <(compgen -f -- "$cur")
				compopt -o filenames 2>/dev/null
				return
				;;
		esac
		case ${words[1]} in
			keygen) choices='--name --add --verify --help' ;;
			inspect) choices='- --help' ;;
			keyring) ((cword == 2)) && choices='verify --help' || choices='--key-file' ;;
			decrypt) choices='--keyring --key-file --column --bytea-column --all --csv --without-envcrypt --help' ;;
		esac
		if [[ $cur != -* && (${words[1]} == keygen || (${words[1]} == keyring && cword -gt 2)) ]]; then
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			compopt -o filenames 2>/dev/null
			return
		fi
	fi
	mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$cur")
}

complete -F _envcrypt envcrypt
