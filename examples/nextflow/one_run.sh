#!/usr/bin/env bash
# One task of porch, one run of Nextflow: what `porch drain` starts for each task.
#
#   porch drain -j 4 -- one_run.sh WORK [NEXTFLOW RUN OPTION ...]
#
# WORK has a folder for each task, so that a re-run goes on (-resume) where the last one failed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$1
shift

task=$(cat)
field() { python3 -c 'import json, sys; it = json.load(sys.stdin)[sys.argv[1]]
print(it if isinstance(it, str) else json.dumps(it))' "$1" <<<"$task"; }
id=$(field task_input_id) attempt=$(field attempt)
folder=$work/$id
mkdir -p "$folder"
cd "$folder"
field task_input >params.json

exec 9>lock
flock --nonblock 9 || {
    echo "an earlier attempt still runs in $folder" >&2
    exit 1
}

# A name may be used once, in letters, digits and hyphens: `nextflow log` has a run for each attempt.
rc=0
nextflow -log nextflow.log run "$here/main.nf" -params-file params.json -work-dir work -resume \
    -ansi-log false -name "porch-${id:0:12}-$attempt" --outdir "$folder/out" "$@" >output.log 2>&1 || rc=$?
if [ "$rc" -ne 0 ]; then
    # What the process said, which Nextflow shows below these words, becomes the message.
    sed -n '/^ *Command error:/,/^ *Work dir:/p' output.log | grep -v 'Work dir:' | tail -n 10 >&2 || true
    grep '^ERROR' output.log | tail -n 2 >&2 || true
    echo "more: $folder/nextflow.log" >&2
fi
exit "$rc"
