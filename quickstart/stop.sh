#!/bin/bash
# stop.sh: stop and remove what quickstart/run.sh made.

set -euo pipefail
# shellcheck source=quickstart/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

place=$(quickstart_place)
if [ -z "$place" ]; then
	say 'There is no quickstart to stop.'
	exit 0
fi
quickstart_remove "$place"
say "Stopped; $place is removed."
