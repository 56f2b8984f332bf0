#!/usr/bin/env bash
# Registers a sample sheet and adds a command to wr for each task that waits.
#
#   start.sh PIPELINE SHEET COLUMN[,COLUMN ...] CMD [ARG ...]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
pipeline=$1 sheet=$2 columns=$3
shift 3
AT_ONCE="${AT_ONCE:-50}"

rc=0
waiting=$("$here/../array/register.sh" "$pipeline" "$sheet" "$columns") || rc=$?
if [ "$rc" -gt 1 ]; then exit "$rc"; fi

# wr takes equal commands for one, so each has its own name, which porch shows with the task. Which
# task it will do is known only when it claims.
run=$(date +%Y%m%dT%H%M%S).$$
printf -v command '%q ' "$here/../array/one_task.sh" "$@"
for ((n = 1; n <= waiting; n++)); do
    echo "JOB_ID=wr.$run.$n $command"
done | if [ "$waiting" -gt 0 ]; then
    # No retries: porch has them (porch pipeline update NAME --retry 5m), and knows which run it was.
    wr add -f - -i "porch-$pipeline" --req_grp "porch-$pipeline" --retries 0 \
        --limit_grps "porch-$pipeline:$AT_ONCE" -m "${MEMORY:-4G}" -t "${TIME_LIMIT:-12h}"
fi
exit "$rc"
