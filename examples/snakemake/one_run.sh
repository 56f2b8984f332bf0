#!/usr/bin/env bash
# One task of porch, one run of Snakemake: what `porch drain` starts for each task.
#
#   porch drain -j 4 -- one_run.sh WORK [SNAKEMAKE OPTION ...]
#
# WORK has a folder for each task, so that a re-run goes on where the last one failed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$1
shift

task=$(cat)
field() { python3 -c 'import json, sys; it = json.load(sys.stdin)[sys.argv[1]]
print(it if isinstance(it, str) else json.dumps(it))' "$1" <<<"$task"; }
folder=$work/$(field task_input_id)
mkdir -p "$folder/logs"
cd "$folder"
field task_input >config.json

# An earlier attempt that was thought dead may live: the kernel, and not a file that a killed run
# leaves behind, says whether it does. So Snakemake needs no lock of its own.
exec 9>lock
flock --nonblock 9 || {
    echo "an earlier attempt still runs in $folder" >&2
    exit 1
}
rm -f logs/*.log

rc=0
snakemake --snakefile "$here/Snakefile" --configfile config.json --cores 1 --nolock \
    --rerun-incomplete "$@" >snakemake.log 2>&1 || rc=$?
if [ "$rc" -ne 0 ]; then
    # The last lines on standard error become the message: what went wrong, not where Snakemake says
    # that its log is. Where no rule has written a word, it is Snakemake itself that cannot go on.
    grep -h '^Error in rule' snakemake.log >&2 || tail -n 10 snakemake.log >&2
    tail -q -n 10 logs/*.log >&2 2>/dev/null || true
    echo "more: $folder/snakemake.log" >&2
fi
exit "$rc"
