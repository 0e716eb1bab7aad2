# shellcheck shell=bash
#
# Where the quickstart's server is, and how to stop it.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

HERE=$ROOT/build/quickstart
ELSEWHERE=$ROOT/build/quickstart.path

# The folder of the quickstart that is there, or nothing.
quickstart_place() {
	if [ -s "$ELSEWHERE" ]; then
		cat "$ELSEWHERE"
	elif [ -d "$HERE" ]; then
		say "$HERE"
	fi
}

# Stop the server in a folder and remove the folder.
quickstart_remove() {
	local place=$1 pid

	if [ -s "$place/data/postmaster.pid" ]; then
		pid=$(head -n 1 "$place/data/postmaster.pid")
		if [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$(cd "$place/data" && pwd -P)" ]; then
			WORK=$place as_server timeout -k 5 60 "$("$PG_CONFIG" --bindir)/pg_ctl" \
				-D "$place/data" -m fast -w stop >/dev/null || die "the server (process $pid) does not stop"
		fi
	fi
	rm -rf "$place"
	rm -f "$ELSEWHERE"
}
