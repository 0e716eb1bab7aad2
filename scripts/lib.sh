# shellcheck shell=bash
#
# lib.sh: what the scripts here share.  Tests run in a folder of their own
# ($WORK), as a user that may run a server, on servers that find envcrypt
# there; nothing is installed in the system.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
PG_CONFIG=${PG_CONFIG:-pg_config}
ME=${0##*/}
WORK=

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "$ME" "$*" >&2; exit 1; }

# The server refuses to run as root; Debian's package makes this user.
if [ "$(id -u)" -eq 0 ]; then
	SERVER_USER=${ENVCRYPT_SERVER_USER:-postgres}
else
	SERVER_USER=$(id -un)
fi

# Run a command as the server user, without the caller's PG* variables.
as_server() {
	local -a clean=(-u PGHOST -u PGHOSTADDR -u PGPORT -u PGUSER -u PGDATABASE
		-u PGOPTIONS -u PGSERVICE -u PGSERVICEFILE -u PGPASSFILE -u PGDATA
		-u PGSSLMODE -u PGCLIENTENCODING -u PGTZ -u PGDATESTYLE -u PGAPPNAME
		LC_ALL=C.UTF-8 LANG=C.UTF-8)

	if [ "$(id -u)" -eq 0 ]; then
		# from a folder that user can enter, which the caller's may not be
		(cd "${WORK:-/}" && runuser -u "$SERVER_USER" -- env "${clean[@]}" \
			USER="$SERVER_USER" LOGNAME="$SERVER_USER" HOME="${WORK:-/}" \
			PATH="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" "$@")
	else
		env "${clean[@]}" "$@"
	fi
}

need_server_user() {
	id -u "$SERVER_USER" >/dev/null 2>&1 ||
		die "user $SERVER_USER does not exist (it comes with the server package)"
}

# ---- the work folder

# Stop servers that a test left behind: those whose data lies in $WORK.
stop_leftovers() {
	local pidfile pid

	find "$WORK" -name postmaster.pid 2>/dev/null | while read -r pidfile; do
		pid=$(head -n 1 "$pidfile")
		if [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$(dirname "$pidfile")" ]; then
			kill -QUIT "$pid" 2>/dev/null || true
		fi
	done
}

clean_up() {
	local status=$?

	trap - EXIT INT TERM
	if [ -n "$WORK" ] && [ -d "$WORK" ]; then
		stop_leftovers
		rm -rf "$WORK" 2>/dev/null || { sleep 1; rm -rf "$WORK"; } || true
	fi
	exit "$status"
}

make_work() {
	need_server_user
	# resolved, because a server's working directory is compared with it
	WORK=$(cd "$(mktemp -d "${TMPDIR:-/tmp}/envcrypt-XXXXXX")" && pwd -P)
	trap clean_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	own "$WORK"
}

# Give files to the server user, where that is somebody else.
own() {
	[ "$(id -u)" -ne 0 ] || chown -R "$SERVER_USER:" "$@"
}

# Copy the checkout without its history and its build products.
copy_tree() {
	local to=$1

	mkdir -p "$to"
	# a file that is being edited meanwhile is no reason to stop (status 1)
	{ tar -C "$ROOT" --warning=no-file-changed --exclude=./.git --exclude=./build \
		--exclude='*.o' --exclude='*.bc' --exclude='*.so' --exclude=./src/cli/envcrypt \
		--exclude=./results --exclude=./tmp_check -cf - . || [ $? -eq 1 ]; } |
		tar -C "$to" --no-same-owner -xf -
}

# ---- optional test data: absolute paths the server user can read

# readable_data NAME DEFAULT: set and export NAME, or unset it when there is none.
readable_data() {
	local name=$1 path=${!1:-$ROOT/$2}

	if [ ! -d "$path" ]; then
		[ -z "${!name:-}" ] || die "$name: $path is not a folder"
		unset "$name"
		return
	fi
	path=$(cd "$path" && pwd -P)
	if ! as_server find "$path" -readable -prune 2>/dev/null | grep -q . ||
		as_server find "$path" ! -readable 2>&1 | grep -q .; then
		mkdir -p "$WORK/data"
		cp -rL "$path" "$WORK/data/$name"
		chmod -R u+rwX "$WORK/data"
		own "$WORK/data"
		path=$WORK/data/$name
	fi
	export "$name=$path"
}

find_test_data() {
	readable_data ENVCRYPT_VECTORS ../shared/vectors
	readable_data ENVCRYPT_SAKILA ../shared/data/sakila
}

# ---- a server that finds envcrypt under a DESTDIR

PG_BINDIR='' PG_TESTDIR=''

find_server() {
	local pgxs

	command -v "$PG_CONFIG" >/dev/null || die "$PG_CONFIG not found (make setup installs it)"
	PG_BINDIR=$("$PG_CONFIG" --bindir)
	pgxs=$("$PG_CONFIG" --pgxs)
	PG_TESTDIR=$(cd "$(dirname "$pgxs")/../../src/test" && pwd -P)
	[ -x "$PG_BINDIR/postgres" ] || die "no server in $PG_BINDIR"
}

# server_conf DESTDIR: the settings by which a server looks there first.
server_conf() {
	local dest=$1

	# a Debian patch, up to 17
	if grep -q extension_destdir "$PG_BINDIR/postgres"; then
		say "extension_destdir = '$dest'"
	elif grep -q extension_control_path "$PG_BINDIR/postgres"; then
		say "extension_control_path = '$dest$("$PG_CONFIG" --sharedir):\$system'"
	elif [ "${ENVCRYPT_SYSTEM_INSTALL:-0}" != 1 ]; then
		die "this server finds extensions only in its own folders;" \
			"ENVCRYPT_SYSTEM_INSTALL=1 allows an install there"
	fi
	say "dynamic_library_path = '$dest$("$PG_CONFIG" --pkglibdir):\$libdir'"
}

# install_private TREE DESTDIR [RUNNER..]: make install TREE under DESTDIR.
install_private() {
	local tree=$1 dest=$2
	shift 2

	if [ "${ENVCRYPT_SYSTEM_INSTALL:-0}" = 1 ]; then
		make -s -C "$tree" install PG_CONFIG="$PG_CONFIG" >/dev/null
	fi
	"$@" make -s -C "$tree" install DESTDIR="$dest" PG_CONFIG="$PG_CONFIG" >/dev/null
}

# The environment of a test: call after $WORK/tree and $WORK/stage are there.
test_env() {
	local cli=$WORK/tree/src/cli/envcrypt

	export ENVCRYPT_CLI=$cli
	# tests never meet the root keys of whoever runs them
	as_server "$cli" keygen "$WORK/root-keys.json" >/dev/null ||
		die "envcrypt keygen failed"
	{
		server_conf "$WORK/stage"
		say "envcrypt.local_key_file = '$WORK/root-keys.json'"
	} >"$WORK/server.conf"
	own "$WORK/server.conf"
	export TEMP_CONFIG=$WORK/server.conf
	export PG_REGRESS=$PG_TESTDIR/regress/pg_regress
	export TESTDIR=$WORK/tap TESTDATADIR=$WORK/tap/tmp_check TESTLOGDIR=$WORK/tap/tmp_check/log
	export PERL5LIB=$PG_TESTDIR/perl:$WORK/tree/test/lib
	mkdir -p "$TESTLOGDIR" "$WORK/out"
	own "$WORK/tap" "$WORK/out"
}

# In the copy of the tree, as the server user, with the server's programs first.
in_tree() {
	# shellcheck disable=SC2016
	as_server env -C "$WORK/tree" bash -c \
		'export PATH="$1:$PATH"; shift; exec "$@"' bash "$PG_BINDIR" "$@"
}

# ---- running and counting: each appends "passed failed skipped" to $WORK/tally

make_variable() { make -s -C "$WORK/tree" "print-$1" PG_CONFIG="$PG_CONFIG"; }

# pg_regress prints "test x ... ok" up to 15 and TAP since 16.
count_regress() {
	awk '/^(not )?ok / || /^(test| +)? *[a-zA-Z0-9_-]+ +\.\.\. / {
			if (/^not ok / || /\.\.\. FAILED/) failed++; else passed++ }
		END { print passed + 0, failed + 0, 0 }' "$1"
}

# run_regress PROGRAM NAME TESTS: one temporary server, SQL or isolation tests.
run_regress() {
	local program=$1 name=$2 inputdir=$3 out=$WORK/out/$2 log status=0
	shift 3

	[ $# -gt 0 ] || return 0
	log=$WORK/out/$name.log
	in_tree mkdir -p "$out"
	in_tree timeout -k 10 900 "$PG_TESTDIR/$program" --bindir="$PG_BINDIR" \
		--inputdir="$inputdir" --outputdir="$out" --temp-instance="$out/pg" \
		--temp-config="$TEMP_CONFIG" --encoding=UTF8 --no-locale \
		--dbname="envcrypt_$name" "$@" >"$log" 2>&1 || status=$?
	grep -E '^(not ok|#|All|ok)|\.\.\. ' "$log" | grep -vE '^#? *(using|initializ|running|$)' || true
	if [ "$status" -eq 0 ]; then
		count_regress "$log" >>"$WORK/tally"
		return 0
	fi
	if [ -s "$out/regression.diffs" ]; then
		head -n "${ENVCRYPT_DIFF_LINES:-200}" "$out/regression.diffs"
	else
		tail -n 30 "$log"
		tail -n 20 "$out/log/postmaster.log" 2>/dev/null || true
	fi
	# a run that failed counts at least one failure
	count_regress "$log" | awk '{ if ($2 == 0) $2 = 1; print }' >>"$WORK/tally"
	return 1
}

run_sql_tests() { run_regress regress/pg_regress sql . "$@"; }
run_isolation_tests() { run_regress isolation/pg_isolation_regress isolation test/isolation "$@"; }

# run_unit JOBS PROGRAM...: as the caller, since no server runs and some tests
# of file ownership need root.
run_unit() {
	local jobs=$1
	shift
	(cd "$WORK/tree" && test/lib/harness --jobs "$jobs" --tally "$WORK/tap/tally" "$@")
}

# run_tap JOBS [harness options] PROGRAM...
run_tap() {
	local jobs=$1
	shift
	in_tree test/lib/harness --jobs "$jobs" --tally "$WORK/tap/tally" "$@"
}

# "N passed, N failed" over everything counted; fails when anything did, or nothing ran.
print_total() {
	local passed failed skipped

	read -r passed failed skipped < <(cat "$WORK/tally" "$WORK/tap/tally" 2>/dev/null |
		awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }')
	[ "$skipped" -eq 0 ] || say "$skipped skipped"
	say "$passed passed, $failed failed"
	[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}
