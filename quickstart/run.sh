#!/bin/bash
#
# run.sh: envcrypt on a private server with 1,000 customers, and what each
# party then sees.  Run by "make quickstart"; stop.sh removes it all.
#
# The server listens on a Unix socket in its own folder and nowhere else.

set -euo pipefail
# shellcheck source=quickstart/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

STEP=''
QS=''
WIDTH=$( (tput cols || echo 80) 2>/dev/null)
if [ -t 1 ]; then BOLD=$(tput bold 2>/dev/null || true) PLAIN=$(tput sgr0 2>/dev/null || true); else BOLD='' PLAIN=''; fi

step() { STEP=$1; printf '\n%s%s%s\n' "$BOLD" "$1" "$PLAIN"; }
note() { fold -s -w "$WIDTH" <<<"$*"; }

on_exit() {
	local status=$?
	[ "$status" -ne 0 ] || return 0
	printf '\n%s: failed at: %s\n' "$ME" "${STEP:-the start}" >&2
	if [ -n "$QS" ] && [ -d "$QS" ]; then
		tail -qn 15 "$QS/initdb.log" "$QS/server.log" 2>/dev/null >&2 || true
		quickstart_remove "$QS" || true
	fi
}

# ---- the place

# The server user must be able to enter it, a socket's path has at most 107
# bytes, and a key file is refused where others could replace it.
suitable() {
	local dir=$1 owner mode server_uid

	[ ${#dir} -le 80 ] || return 1
	server_uid=$(id -u "$SERVER_USER")
	while :; do
		read -r owner mode < <(stat -c '%u %a' "$dir")
		[ "$owner" -eq 0 ] || [ "$owner" -eq "$server_uid" ] || return 1
		(( (8#$mode & 8#22) == 0 )) || (( owner == 0 && (8#$mode & 8#1000) )) || return 1
		[ "$dir" != / ] || break
		dir=$(dirname "$dir")
	done
	as_server test -x "$1"
}

choose_place() {
	local old

	need_server_user
	old=$(quickstart_place)
	if [ -n "$old" ]; then
		note "Replacing the quickstart that is there ($old)."
		quickstart_remove "$old"
	fi
	mkdir -p "$ROOT/build"
	if suitable "$ROOT/build"; then
		QS=$HERE
		mkdir "$QS"
	else
		QS=$(cd "$(mktemp -d "${TMPDIR:-/tmp}/envcrypt-quickstart-XXXXXX")" && pwd -P)
		say "$QS" >"$ELSEWHERE"
	fi
	chmod 700 "$QS"
	WORK=$QS
}

# ---- the steps

build() {
	copy_tree "$QS/tree"
	mkdir "$QS/stage"
	own "$QS"
	as_server env -C "$QS/tree" timeout 300 make -s -j2 all PG_CONFIG="$PG_CONFIG"
	install_private "$QS/tree" "$QS/stage" as_server
	as_server cp "$QS/tree/src/cli/envcrypt" "$QS/envcrypt"
	rm -rf "$QS/tree"
}

start_server() {
	as_server "$PG_BINDIR/initdb" -D "$QS/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 \
		>"$QS/initdb.log" 2>&1
	{
		server_conf "$QS/stage"
		cat <<-SETTINGS
			cluster_name = 'envcrypt quickstart'
			listen_addresses = ''
			unix_socket_directories = '$QS'
			envcrypt.local_key_file = '$QS/root-keys.json'
		SETTINGS
	} >>"$QS/data/postgresql.conf"
	as_server timeout 90 "$PG_BINDIR/pg_ctl" -D "$QS/data" -l "$QS/server.log" -w start >/dev/null
	admin postgres -c 'CREATE DATABASE shop'
}

# psql_as ROLE DATABASE [psql options]: from this folder, because of \copy.
psql_as() {
	local role=$1 database=$2
	shift 2
	(cd "$ROOT/quickstart" && env -u PGOPTIONS -u PGSERVICE PGCLIENTENCODING=UTF8 timeout 120 \
		"$PG_BINDIR/psql" -X -q -v ON_ERROR_STOP=1 -P pager=off -P linestyle=unicode -P footer=off \
		-h "$QS" -p 5432 -U "$role" -d "$database" "$@")
}
admin() { psql_as postgres "$@" >/dev/null; }
app() { psql_as app shop "$@"; }

# A psql table no wider than the terminal, without the empty line below it.
table() { app -P format=wrapped -P columns="$WIDTH" -P border=0 "$@" | sed '${/^$/d}'; }

# What pg_dump writes, with the middle of each value left out.
show_dump() {
	"$PG_BINDIR/pg_dump" -h "$QS" -p 5432 -U postgres shop >"$QS/thief.sql"
	sed -n '/^COPY public.customer /,/^\\\.$/p' "$QS/thief.sql" | sed -n 1,4p |
		perl -CSD -pe 's/(\\\\x.{4})[0-9a-f]+(.{6})(?=\t|$)/$1\x{2026}$2/g; s/\t/ /g; s/ (?=FROM stdin;)/\n  /'
	cut -d, -f3 "$ROOT/quickstart/customers.csv" | sed 1d >"$QS/emails"
	say "$(grep -c -F -f "$QS/emails" "$QS/thief.sql" || true) of the 1,000 e-mail addresses are in the dump."
	rm -f "$QS/emails" "$QS/thief.sql"
}

# Fails unless the server refuses.
show_refusal() {
	local output

	if output=$(psql_as intern shop -c 'SELECT name, decrypt(phone) FROM customer' 2>&1); then
		die 'a role without a grant could read'
	fi
	fold -s -w "$WIDTH" <<<"$output"
}

main() {
	local email

	trap on_exit EXIT
	trap 'exit 130' INT TERM
	STEP='installing packages'
	"$ROOT/scripts/setup" build
	find_server
	choose_place

	step "Building for $("$PG_CONFIG" --version | cut -d' ' -f1,2)"
	build

	step 'A root key, in a file that stays on this machine: envcrypt keygen'
	as_server "$QS/envcrypt" keygen "$QS/root-keys.json"

	step 'A private server, two keys, two roles; 1,000 customers, sealed as they arrive'
	start_server
	admin shop -f 1-keys-and-roles.sql
	email=$(sed -n '12s/^[^,]*,"[^"]*",\([^,]*\),.*/\1/p' "$ROOT/quickstart/customers.csv")
	app -At -f 2-load.sql
	admin shop -c 'VACUUM ANALYZE customer'

	step 'What the application reads (role app, granted both keys)'
	note 'All but id and name is sealed; the name is left readable on purpose.'
	table -f 3-application.sql

	step 'What a thief reads who has pg_dump of everything'
	show_dump

	step 'What a role without the grant gets (role intern, may read the table)'
	show_refusal

	step 'A look-up by e-mail, and its plan'
	table -v email="$email" -f 4-lookup.sql
	say
	app -At -v email="$email" -f 4-plan.sql | fold -s -w "$WIDTH"

	step 'What a value costs in space'
	table -f 5-overhead.sql

	step 'What it costs in time: 100,000 e-mail addresses, one session'
	table -f 6-rates.sql

	step 'Yours to try'
	say "  $PG_BINDIR/psql -h $QS -U app shop"
	say "  $PG_BINDIR/psql -h $QS -U intern shop"
	say "  $PG_BINDIR/psql -h $QS -U postgres shop"
	[ "$QS" = "$HERE" ] || note "The server user cannot use this checkout, so it lies in $QS."
	say
	say 'As app, for example:'
	say "  UPDATE customer SET phone = encrypt('+44 20 7946 0958', 'pii') WHERE id = 1;"
	say '  SELECT name, decrypt(phone), phone FROM customer WHERE id = 1;'
	say "and as postgres the emergency stop, after which app's SELECT is refused:"
	say "  SELECT disable_key('pii');    -- enable_key('pii') ends it"
	say
	say "make quickstart-stop stops the server and removes it."
	say "Took $SECONDS s."
}

main
