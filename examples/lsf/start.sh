#!/usr/bin/env bash
# Registers a sample sheet and starts an LSF array job with an element for each task that waits.
#
#   start.sh PIPELINE SHEET COLUMN[,COLUMN ...] CMD [ARG ...]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
pipeline=$1 sheet=$2 columns=$3
shift 3
AT_ONCE="${AT_ONCE:-50}" MOST="${MOST:-1000}" # MAX_JOB_ARRAY_SIZE of the cluster
MEGABYTES="${MEGABYTES:-4000}"

rc=0
waiting=$("$here/../array/register.sh" "$pipeline" "$sheet" "$columns") || rc=$?
if [ "$rc" -gt 1 ]; then exit "$rc"; fi
if [ "$waiting" -eq 0 ]; then exit "$rc"; fi
elements=$((waiting < MOST ? waiting : MOST))

# -rn: LSF would run a job again after a host has failed, with nothing to say that the first is dead:
# porch's lease decides that. At the run limit (-W) it sends SIGUSR2, then SIGINT, SIGTERM, SIGKILL.
bsub -J "porch-${pipeline}[1-$elements]%$AT_ONCE" -q "${QUEUE:-normal}" -W "${MINUTES:-720}" -rn \
    -M "$MEGABYTES" -R "select[mem>$MEGABYTES] rusage[mem=$MEGABYTES]" \
    -o "${LOGS:-$PWD}/porch-$pipeline-%J_%I.log" \
    "$here/../array/one_task.sh" "$@"
exit "$rc"
